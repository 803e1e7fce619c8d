//! What the images of a publication consist of.

use std::io::{self, Read as _};
use std::sync::OnceLock;

use super::PushSource;
use super::push::PushError;
use crate::base::Digest;
use crate::oci::{Descriptor, Index, Manifest, media_type};

const LARGEST_DOCUMENT: u64 = 4 * 1024 * 1024;
/// An index of indexes is rare, more is an attack.
const DEEPEST: usize = 4;

/// The images of a publication. Each is read when somebody has to know what is in it: those whose tags stand are not.
pub struct Contents<'a> {
    source: &'a dyn PushSource,
    images: Vec<(&'a Descriptor, OnceLock<Result<Content, PushError>>)>,
}

impl<'a> Contents<'a> {
    pub fn new(source: &'a dyn PushSource, images: impl Iterator<Item = &'a Descriptor>) -> Self {
        Self { source, images: images.map(|image| (image, OnceLock::new())).collect() }
    }

    /// What the image at a place consists of.
    pub fn of(&self, place: usize) -> Result<&Content, PushError> {
        let (image, content) = &self.images[place];
        content.get_or_init(|| Content::read(self.source, image)).as_ref().map_err(PushError::clone)
    }
}

/// Everything an image consists of.
pub struct Content {
    /// Children before the index that names them; the last one is the image itself.
    pub documents: Vec<Document>,
}

/// A manifest or index.
pub struct Document {
    pub descriptor: Descriptor,
    pub bytes: Vec<u8>,
    /// What a manifest needs besides itself.
    pub blobs: Vec<Descriptor>,
}

impl Document {
    /// Of a manifest.
    pub fn config(&self) -> Option<&Descriptor> {
        self.blobs.first()
    }
}

impl Content {
    pub fn read(source: &dyn PushSource, image: &Descriptor) -> Result<Self, PushError> {
        let mut content = Self { documents: Vec::new() };
        content.add(source, image, DEEPEST)?;
        Ok(content)
    }

    /// Its layers and configs.
    pub fn blobs(&self) -> impl Iterator<Item = &Descriptor> {
        self.documents.iter().flat_map(|document| &document.blobs)
    }

    /// Whether a layer or config is part of the image.
    pub fn has(&self, blob: &Digest) -> bool {
        self.blobs().any(|part| part.digest == *blob)
    }

    pub fn root(&self) -> &Document {
        self.documents.last().expect("reading an image ends with its own document")
    }

    fn add(
        &mut self,
        source: &dyn PushSource,
        descriptor: &Descriptor,
        depth: usize,
    ) -> Result<(), PushError> {
        if self.documents.iter().any(|document| document.descriptor.digest == descriptor.digest) {
            return Ok(());
        }
        let failed = |cause: String| PushError::Document { digest: descriptor.digest, cause };
        let bytes = read_document(source, descriptor).map_err(|cause| failed(cause.to_string()))?;
        let mut blobs = Vec::new();
        if media_type::is_index(&descriptor.media_type) {
            let deeper = depth.checked_sub(1).ok_or_else(|| failed("indexes are nested too deep".into()))?;
            for child in &Index::parse(&bytes).map_err(|cause| failed(cause.to_string()))?.manifests {
                self.add(source, child, deeper)?;
            }
        } else if media_type::is_manifest(&descriptor.media_type) {
            let manifest = Manifest::parse(&bytes).map_err(|cause| failed(cause.to_string()))?;
            blobs.push(manifest.config);
            // Layers with addresses of their own (Windows base layers) are not distributed with an image.
            blobs.extend(manifest.layers.into_iter().filter(|layer| layer.urls.is_empty()));
        } else {
            return Err(failed(format!("`{}` is neither a manifest nor an index", descriptor.media_type)));
        }
        self.documents.push(Document { descriptor: descriptor.clone(), bytes, blobs });
        Ok(())
    }
}

/// A manifest or index, if its bytes are what its digest says.
pub fn read_document(source: &dyn PushSource, descriptor: &Descriptor) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    source.open(&descriptor.digest)?.take(LARGEST_DOCUMENT + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > LARGEST_DOCUMENT {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "it is larger than registries accept"));
    }
    if Digest::of(&bytes) != descriptor.digest {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "its bytes have another digest"));
    }
    Ok(bytes)
}
