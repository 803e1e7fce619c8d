//! Images as another reader sees them: `oci-spec` for the documents, `tar` and `flate2` for layers.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use flate2::read::MultiGzDecoder;
use oci_spec::image::{Descriptor, ImageConfiguration, ImageIndex, ImageManifest};
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use tempfile::TempDir;

/// An OCI image layout, in a folder or unpacked from a tar archive.
pub struct Layout {
    path: PathBuf,
    _unpacked: Option<TempDir>,
}

impl Layout {
    pub fn open(path: &Path) -> Self {
        if path.is_dir() {
            return Self { path: path.to_path_buf(), _unpacked: None };
        }
        let unpacked = tempfile::tempdir().expect("there is a place for files");
        let file = fs::File::open(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        tar::Archive::new(file).unpack(unpacked.path()).expect("it is a tar archive");
        Self { path: unpacked.path().to_path_buf(), _unpacked: Some(unpacked) }
    }

    /// What `index.json` names, all of it.
    pub fn roots(&self) -> Vec<Descriptor> {
        let text = fs::read(self.path.join("index.json")).expect("a layout has an index");
        let version = fs::read_to_string(self.path.join("oci-layout")).expect("a layout says so");
        assert_eq!(
            serde_json::from_str::<Value>(&version).expect("it is JSON")["imageLayoutVersion"],
            "1.0.0"
        );
        ImageIndex::from_reader(&text[..]).expect("index.json is an image index").manifests().clone()
    }

    /// The digest of the one image that the layout is about, under however many names.
    pub fn digest(&self) -> String {
        let roots = self.roots();
        assert!(roots.windows(2).all(|pair| pair[0].digest() == pair[1].digest()), "one image: {roots:?}");
        roots[0].digest().to_string()
    }

    pub fn index(&self) -> ImageIndex {
        ImageIndex::from_reader(&self.blob(&self.digest())[..]).expect("it is an image index")
    }

    /// The platforms of the index, in its order.
    pub fn platforms(&self) -> Vec<String> {
        self.index().manifests().iter().map(platform_of).collect()
    }

    pub fn image(&self, platform: &str) -> Image {
        let index = self.index();
        let found = index.manifests().iter().find(|manifest| platform_of(manifest) == platform);
        let descriptor = found.unwrap_or_else(|| panic!("no {platform} in {:?}", self.platforms()));
        Image::read(descriptor, &|digest| self.blob(digest))
    }

    /// The image of a layout that was made for one platform, and so has no index.
    pub fn only_image(&self) -> Image {
        let roots = self.roots();
        assert_eq!(roots[0].digest().to_string(), self.digest());
        Image::read(&roots[0], &|digest| self.blob(digest))
    }

    /// One layer of the only image, as the tar it is.
    pub fn layer(&self, number: usize) -> Vec<u8> {
        uncompressed(&self.blob(&self.only_image().layer_digests()[number]))
    }

    fn blob(&self, digest: &str) -> Vec<u8> {
        let (algorithm, hex) = digest.split_once(':').expect("a digest");
        let path = self.path.join("blobs").join(algorithm).join(hex);
        let bytes = fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        assert_eq!(sha256(&bytes), digest, "the blob is what its name says");
        bytes
    }
}

fn platform_of(descriptor: &Descriptor) -> String {
    let platform = descriptor.platform().as_ref().expect("manifests of an index have a platform");
    let variant = platform.variant().as_ref().map(|variant| format!("/{variant}")).unwrap_or_default();
    format!("{}/{}{variant}", platform.os(), platform.architecture())
}

pub fn sha256(bytes: &[u8]) -> String {
    let hex: String = Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{hex}")
}

/// One platform's image: its config, and its layers put over each other.
pub struct Image {
    pub digest: String,
    pub manifest: ImageManifest,
    pub config: Value,
    /// The paths each layer holds, base first.
    pub layers: Vec<Vec<String>>,
    pub tree: BTreeMap<String, Entry>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    File(Vec<u8>),
    Folder,
    Symlink(String),
    /// To a path in the same tree.
    Hardlink(String),
    Device,
    Pipe,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    pub kind: Kind,
    pub mode: u32,
    pub owner: (u64, u64),
    pub mtime: u64,
}

impl Image {
    /// Reads an image through `blob`, which gives a digest's bytes.
    pub fn read(descriptor: &Descriptor, blob: &dyn Fn(&str) -> Vec<u8>) -> Self {
        let digest = descriptor.digest().to_string();
        let manifest = ImageManifest::from_reader(&blob(&digest)[..]).expect("it is an image manifest");
        let config = blob(manifest.config().digest().as_ref());
        let typed = ImageConfiguration::from_reader(&config[..]).expect("it is an image config");
        let diff_ids = typed.rootfs().diff_ids();
        assert_eq!(diff_ids.len(), manifest.layers().len(), "a diff id for each layer");
        let mut image = Self {
            digest,
            config: serde_json::from_slice(&config).expect("it is JSON"),
            layers: Vec::new(),
            tree: BTreeMap::new(),
            manifest: manifest.clone(),
        };
        for (layer, diff_id) in manifest.layers().iter().zip(diff_ids) {
            let bytes = blob(layer.digest().as_ref());
            assert_eq!(bytes.len() as u64, layer.size(), "the layer has its size");
            let tar = uncompressed(&bytes);
            assert_eq!(&sha256(&tar), diff_id, "the layer has its diff id");
            image.apply(&tar);
        }
        image
    }

    fn apply(&mut self, bytes: &[u8]) {
        let mut archive = tar::Archive::new(bytes);
        let mut paths = Vec::new();
        for entry in archive.entries().expect("a layer is a tar archive") {
            let mut entry = entry.expect("a layer is a tar archive");
            let path = entry.path().expect("a path").display().to_string();
            let path = path.trim_start_matches("./").trim_end_matches('/').to_string();
            paths.push(path.clone());
            let (folder, name) = path.rsplit_once('/').unwrap_or(("", &path));
            let below =
                |name: &str| if folder.is_empty() { name.to_string() } else { format!("{folder}/{name}") };
            if name == ".wh..wh..opq" {
                self.tree.retain(|path, _| !path.starts_with(&below("")));
            } else if let Some(gone) = name.strip_prefix(".wh.") {
                self.remove(&below(gone));
            } else {
                let read = read_entry(&mut entry);
                if read.kind != Kind::Folder {
                    self.remove(&path);
                }
                self.tree.insert(path, read);
            }
        }
        self.layers.push(paths);
    }

    fn remove(&mut self, gone: &str) {
        let inner = format!("{gone}/");
        self.tree.retain(|path, _| path != gone && !path.starts_with(&inner));
    }

    #[track_caller]
    pub fn entry(&self, path: &str) -> &Entry {
        self.tree.get(path).unwrap_or_else(|| panic!("no `{path}` in {:?}", self.layers))
    }

    /// A file's text.
    #[track_caller]
    pub fn text(&self, path: &str) -> String {
        match &self.entry(path).kind {
            Kind::File(bytes) => String::from_utf8_lossy(bytes).into_owned(),
            other => panic!("`{path}` is {other:?}"),
        }
    }

    pub fn has(&self, path: &str) -> bool {
        self.tree.contains_key(path)
    }

    /// The paths of the layers that this build added: all but the base's one.
    pub fn added(&self) -> Vec<String> {
        self.layers[1..].concat()
    }

    pub fn layer_digests(&self) -> Vec<String> {
        self.manifest.layers().iter().map(|layer| layer.digest().to_string()).collect()
    }
}

fn read_entry(entry: &mut tar::Entry<'_, &[u8]>) -> Entry {
    use tar::EntryType;
    let header = entry.header().clone();
    let link = entry.link_name().expect("a link").map(|link| link.display().to_string()).unwrap_or_default();
    let kind = match header.entry_type() {
        EntryType::Directory => Kind::Folder,
        EntryType::Symlink => Kind::Symlink(link),
        EntryType::Link => Kind::Hardlink(link),
        EntryType::Char | EntryType::Block => Kind::Device,
        EntryType::Fifo => Kind::Pipe,
        _ => {
            let mut bytes = Vec::new();
            entry.read_to_end(&mut bytes).expect("the archive is whole");
            Kind::File(bytes)
        }
    };
    Entry {
        kind,
        mode: header.mode().expect("a mode"),
        owner: (header.uid().expect("an owner"), header.gid().expect("a group")),
        mtime: header.mtime().expect("a time"),
    }
}

fn uncompressed(bytes: &[u8]) -> Vec<u8> {
    if bytes.starts_with(&[0x28, 0xb5, 0x2f, 0xfd]) {
        return zstd::decode_all(bytes).expect("it is zstd");
    }
    if !bytes.starts_with(&[0x1f, 0x8b]) {
        return bytes.to_vec();
    }
    let mut tar = Vec::new();
    MultiGzDecoder::new(bytes).read_to_end(&mut tar).expect("it is gzip");
    tar
}
