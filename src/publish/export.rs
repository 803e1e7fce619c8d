//! A platform's image in the form an output asks for: its layers' compression, and no time after an epoch.
//!
//! Layers are in the store once, as they were first compressed. A form that differs is made from them and
//! kept under an export key, so the next one who asks finds it. What comes out depends on the image and the
//! form alone. Layers of bases stay as they are unless the form is forced on them. Not known here: how images
//! come to be, and where they go.

use std::io;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::merge::read_manifest;
use crate::base::{Digest, Parts};
use crate::diag::{Kind, Problem};
use crate::layer::{
    self, Compression, DEFAULT_GZIP_LEVEL, DEFAULT_ZSTD_LEVEL, FORMAT, Index, LayerError, LayerOptions,
};
use crate::model::{ExportOptions, LayerCompression};
use crate::oci::{Descriptor, ImageConfig, Manifest, media_type};
use crate::store::{KeyKind, NewRecord, Store, act_problem};

/// An image as an engine made it.
#[derive(Clone, Debug)]
pub struct BuiltImage {
    pub manifest: Descriptor,
    /// Of each layer how it is compressed; `None` for what others made.
    pub compressions: Vec<Option<Compression>>,
}

/// An image in some form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExportedImage {
    pub manifest: Descriptor,
    pub config: Digest,
    /// Compressed bytes of config and layers.
    pub size: u64,
    pub layers: usize,
}

/// A layer in some form, as the store remembers it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct LayerRecord {
    diff_id: Digest,
    blob: Descriptor,
}

/// Puts the image into the form; as it is, if it has that form already.
pub fn export_image(
    store: &Store,
    image: &BuiltImage,
    options: &ExportOptions,
) -> Result<ExportedImage, Box<Problem>> {
    if let Some(exported) = as_it_is(store, image, options)? {
        return Ok(exported);
    }
    let manifest = read_manifest(store, &image.manifest)?;
    let forms = forms(&manifest, &image.compressions, options);
    let epoch = options.source_date_epoch;
    let mut config = read_config(store, &manifest)?;
    let mut layers = Vec::with_capacity(manifest.layers.len());
    for ((blob, form), diff_id) in manifest.layers.iter().zip(forms).zip(&mut config.rootfs.diff_ids) {
        let Some(form) = form else {
            layers.push(blob.clone());
            continue;
        };
        let formed = in_form(store, blob, *diff_id, form)?;
        *diff_id = formed.diff_id;
        layers.push(formed.blob);
    }
    if let Some(epoch) = epoch {
        clamp(&mut config, epoch);
    }
    write(store, image, manifest, &config, layers)
}

/// The image, if it has the form already. Reads its manifest alone.
pub fn as_it_is(
    store: &Store,
    image: &BuiltImage,
    options: &ExportOptions,
) -> Result<Option<ExportedImage>, Box<Problem>> {
    let manifest = read_manifest(store, &image.manifest)?;
    let has_form = is_in_form(&manifest, &image.compressions, options);
    Ok(has_form.then(|| exported(image.manifest.clone(), &manifest)))
}

/// Whether the image has the form already, so that its layers need not be read.
pub fn is_in_form(
    manifest: &Manifest,
    compressions: &[Option<Compression>],
    options: &ExportOptions,
) -> bool {
    options.source_date_epoch.is_none() && forms(manifest, compressions, options).iter().all(Option::is_none)
}

/// The form that each layer is to be put into, where it has another.
fn forms(
    manifest: &Manifest,
    compressions: &[Option<Compression>],
    options: &ExportOptions,
) -> Vec<Option<Form>> {
    let layers = manifest.layers.iter().enumerate();
    layers.map(|(place, blob)| wanted(compressions.get(place).copied().flatten(), blob, options)).collect()
}

/// A form's name: equal for options that make the same of an image.
pub fn form_name(options: &ExportOptions) -> String {
    let compression = match options.compression {
        LayerCompression::Estargz { level } => format!("estargz:{}", level.unwrap_or(DEFAULT_GZIP_LEVEL)),
        _ => preferred_compression(options).to_string(),
    };
    let forced = if options.force_compression { " forced" } else { "" };
    let Some(epoch) = options.source_date_epoch else { return format!("{compression}{forced}") };
    let kept = if options.rewrite_timestamp == Some(false) { " with times of files" } else { "" };
    format!("{compression}{forced} until {epoch}{kept}")
}

/// How layers are best compressed at once, for an image that is wanted like this.
pub fn preferred_compression(options: &ExportOptions) -> Compression {
    match options.compression {
        LayerCompression::Uncompressed => Compression::None,
        LayerCompression::Gzip { level } => gzip(level),
        LayerCompression::Zstd { level } => Compression::Zstd { level: level.unwrap_or(DEFAULT_ZSTD_LEVEL) },
        // Made from any other; this is the one that others ask for, too.
        LayerCompression::Estargz { .. } => Compression::GZIP,
    }
}

fn gzip(level: Option<u32>) -> Compression {
    Compression::Gzip { level: level.unwrap_or(DEFAULT_GZIP_LEVEL) }
}

/// A form that a layer is to be put into.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    /// The same tar.
    Recompressed(Compression),
    /// A new tar without younger files.
    Clamped(Compression, i64),
    Estargz {
        level: u32,
        clamp_mtime: Option<i64>,
    },
}

/// What is to be done to a layer, if something is.
fn wanted(made: Option<Compression>, blob: &Descriptor, options: &ExportOptions) -> Option<Form> {
    if made.is_none() && !options.force_compression {
        return None;
    }
    let clamp_mtime =
        options.source_date_epoch.filter(|_| made.is_some() && options.rewrite_timestamp != Some(false));
    if let LayerCompression::Estargz { level } = options.compression {
        return Some(Form::Estargz { level: level.unwrap_or(DEFAULT_GZIP_LEVEL), clamp_mtime });
    }
    let compression = preferred_compression(options);
    if let Some(latest) = clamp_mtime {
        return Some(Form::Clamped(compression, latest));
    }
    // Of what others made nobody knows the level; the kind is enough.
    let is_so = match made {
        Some(made) => made == compression,
        None => media_type::to_oci(&blob.media_type) == compression.media_type(),
    };
    (!is_so).then_some(Form::Recompressed(compression))
}

impl Form {
    fn parts(self, diff_id: &Digest) -> Parts {
        let mut parts = Parts::new();
        parts.text("export", "layer").text("format", FORMAT.to_string()).digest_of("diff id", *diff_id);
        let (compression, latest) = match self {
            Self::Recompressed(compression) => (compression.to_string(), None),
            Self::Clamped(compression, latest) => (compression.to_string(), Some(latest)),
            Self::Estargz { level, clamp_mtime } => (format!("estargz:{level}"), clamp_mtime),
        };
        parts.text("compression", compression);
        if let Some(latest) = latest {
            parts.text("latest", latest.to_string());
        }
        parts
    }
}

/// The layer in that form: from the store, else made and remembered.
fn in_form(
    store: &Store,
    blob: &Descriptor,
    diff_id: Digest,
    form: Form,
) -> Result<LayerRecord, Box<Problem>> {
    let failed = |error: crate::store::StoreError| Box::new(error.problem());
    let key = form.parts(&diff_id).digest();
    let known = || -> Result<Option<LayerRecord>, Box<Problem>> {
        let record = store.keys().get(KeyKind::Export, &key).map_err(failed)?;
        Ok(record.and_then(|record| serde_json::from_slice(&record.value).ok()))
    };
    if let Some(record) = known()? {
        return Ok(record);
    }
    let _flight = store.exclusive(&key).map_err(failed)?;
    // Another image, or process, may have asked for it in the meantime.
    if let Some(record) = known()? {
        return Ok(record);
    }
    let record = make(store, blob, diff_id, form)?;
    let value = serde_json::to_vec(&record).expect("a layer's record is plain data");
    let subject = diff_id.to_string();
    let new = NewRecord {
        kind: KeyKind::Export,
        key: &key,
        subject: &subject,
        value: &value,
        parts: None,
        blobs: &[record.blob.digest],
    };
    store.keys().put(&new).map_err(failed)?;
    Ok(record)
}

fn make(store: &Store, blob: &Descriptor, diff_id: Digest, form: Form) -> Result<LayerRecord, Box<Problem>> {
    let unreadable = |error: io::Error| Box::new(act_problem("read a layer", &error));
    let source = store.blobs().open(&blob.digest).map_err(unreadable)?;
    let writer = store.blobs().writer().map_err(|error| Box::new(error.problem()))?;
    let out = writer.file().try_clone().map_err(|error| Box::new(act_problem("write a layer", &error)))?;
    let said = |error: LayerError| layer_problem(&blob.digest, error);
    let record = match form {
        Form::Recompressed(compression) => {
            let index = index(store, blob)?;
            let made = layer::recompress(source, &blob.media_type, &index, out, compression).map_err(said)?;
            if made.diff_id != diff_id {
                let text = format!("its content is {} where the image says {diff_id}", made.diff_id);
                return Err(said(LayerError::Malformed(text)));
            }
            record(made.diff_id, Descriptor::new(made.media_type, made.digest, made.size))
        }
        Form::Clamped(compression, latest) => {
            let options = LayerOptions { compression, clamp_mtime: Some(latest) };
            let made = layer::rewrite(source, &blob.media_type, out, options).map_err(said)?;
            record(made.diff_id, Descriptor::new(made.media_type, made.digest, made.size))
        }
        Form::Estargz { level, clamp_mtime } => {
            let made =
                layer::write_estargz(source, &blob.media_type, out, level, clamp_mtime).map_err(said)?;
            let mut descriptor = Descriptor::new(media_type::OCI_LAYER_GZIP, made.digest, made.size);
            descriptor.annotations.insert(layer::TOC_DIGEST.to_string(), made.toc.to_string());
            let size = made.uncompressed_size.to_string();
            descriptor.annotations.insert(layer::UNCOMPRESSED_SIZE.to_string(), size);
            record(made.diff_id, descriptor)
        }
    };
    let (digest, size) = (record.blob.digest, record.blob.size);
    writer.commit(&digest, size).map_err(|error| Box::new(error.problem()))?;
    Ok(record)
}

fn record(diff_id: Digest, blob: Descriptor) -> LayerRecord {
    LayerRecord { diff_id, blob }
}

/// The layer's entries; read out of it where the store has no index.
fn index(store: &Store, blob: &Descriptor) -> Result<Index, Box<Problem>> {
    let stored = store.indexes().read(&blob.digest).map_err(|error| Box::new(error.problem()))?;
    if let Some(index) = stored.and_then(|bytes| Index::from_bytes(&bytes).ok()) {
        return Ok(index);
    }
    let file =
        store.blobs().open(&blob.digest).map_err(|error| Box::new(act_problem("read a layer", &error)))?;
    let scanned = Index::scan(file, &blob.media_type);
    scanned.map(|(index, _)| index).map_err(|error| layer_problem(&blob.digest, error))
}

fn write(
    store: &Store,
    image: &BuiltImage,
    mut manifest: Manifest,
    config: &ImageConfig,
    layers: Vec<Descriptor>,
) -> Result<ExportedImage, Box<Problem>> {
    let put = |bytes: &[u8]| store.blobs().put_bytes(bytes).map_err(|error| Box::new(error.problem()));
    let config_bytes = config.to_bytes();
    put(&config_bytes)?;
    let (digest, size) = (Digest::of(&config_bytes), config_bytes.len() as u64);
    manifest.config = Descriptor { digest, size, ..manifest.config };
    manifest.layers = layers;
    let bytes = manifest.to_bytes();
    put(&bytes)?;
    let descriptor =
        Descriptor { digest: Digest::of(&bytes), size: bytes.len() as u64, ..image.manifest.clone() };
    Ok(exported(descriptor, &manifest))
}

/// What is told of an image whose manifest this is.
pub fn exported(descriptor: Descriptor, manifest: &Manifest) -> ExportedImage {
    ExportedImage {
        config: manifest.config.digest,
        size: manifest.content_size(),
        layers: manifest.layers.len(),
        manifest: descriptor,
    }
}

fn read_config(store: &Store, manifest: &Manifest) -> Result<ImageConfig, Box<Problem>> {
    const LARGEST_CONFIG: u64 = 4 << 20;
    let bytes = store.blobs().read(&manifest.config.digest, LARGEST_CONFIG);
    let config = bytes.ok().and_then(|bytes| ImageConfig::parse(&bytes).ok());
    config.filter(|config| config.rootfs.diff_ids.len() == manifest.layers.len()).ok_or_else(|| {
        let message = format!("the store has lost {}", manifest.config.digest);
        let problem = Problem::new(Kind::Host, "store::missing-blob", message);
        Box::new(problem.help("run again: what is missing is built again"))
    })
}

/// No time of the config after `epoch`.
fn clamp(config: &mut ImageConfig, epoch: i64) {
    let history = config.history.iter_mut().map(|entry| &mut entry.created);
    for time in history.chain([&mut config.created]) {
        let seconds = time.as_ref().and_then(|time| time.parse::<Timestamp>().ok()).map(Timestamp::as_second);
        if let (Some(seconds), Ok(latest)) = (seconds, Timestamp::from_second(epoch))
            && seconds >= epoch
        {
            *time = Some(latest.to_string());
        }
    }
}

fn layer_problem(blob: &Digest, error: LayerError) -> Box<Problem> {
    match error {
        LayerError::Io(error) => Box::new(act_problem("write a layer", &error)),
        error => Box::new(Problem::input("output::layer", format!("layer {blob}: {error}"))),
    }
}
