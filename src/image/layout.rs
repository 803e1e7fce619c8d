//! Images in an OCI layout (image-spec, "Image Layout"), be it a folder, an archive, or mab's store.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use super::archive::Archive;
use super::docker_archive;
use super::error::ImageError;
use super::name::FilePick;
use super::verified::Verified;
use super::{Document, LARGEST_DOCUMENT};
use crate::base::{Digest, Reference};
use crate::diag::nearest;
use crate::oci::{Descriptor, Index, Manifest, media_type};
use crate::store::Store;

/// What an entry of a layout is called: a tag, or a whole name.
pub const REF_NAME: &str = "org.opencontainers.image.ref.name";
pub const IMAGE_NAME: &str = "io.containerd.image.name";
/// How many entries of a layout are looked at for what refers to an image.
const MOST_LOOKED_AT: usize = 1_000;

/// What a layout consists of.
pub struct Layout {
    /// What users call it.
    place: String,
    files: Files,
    /// What it names.
    pub index: Index,
    /// What lies there under another name than its digest, or was made of what does.
    others: BTreeMap<Digest, Other>,
}

enum Files {
    Folder(PathBuf),
    Archive(Archive),
    Store(Store),
}

/// A blob that a layout has no file for.
pub enum Other {
    Bytes(Vec<u8>),
    /// A member of the archive.
    Member(String),
}

impl Layout {
    pub fn folder(path: &Path, place: &str) -> Result<Self, ImageError> {
        let unreadable = |cause: &dyn std::fmt::Display| ImageError::Unreadable {
            place: place.to_string(),
            cause: cause.to_string(),
        };
        if !path.exists() {
            return Err(not_there(path, place));
        }
        if !path.is_dir() {
            return Err(unreadable(&"it is no folder"));
        }
        let no_images = || ImageError::NoImages { place: place.to_string() };
        let file = match File::open(path.join("index.json")) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(no_images()),
            file => file.map_err(|error| unreadable(&error))?,
        };
        let index = index_of(file, place)?;
        Ok(Self {
            place: place.to_string(),
            files: Files::Folder(path.to_path_buf()),
            index,
            others: BTreeMap::new(),
        })
    }

    /// Of the archive in a file.
    pub fn archive_file(path: &Path, place: &str) -> Result<Self, ImageError> {
        let file = File::open(path).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => not_there(path, place),
            _ => ImageError::Unreadable { place: place.to_string(), cause: error.to_string() },
        })?;
        let archive = Archive::of(file)
            .map_err(|error| ImageError::NoArchive { place: place.to_string(), cause: error.to_string() })?;
        Self::archive(archive, place)
    }

    /// Of an archive that is a layout, or what `docker save` wrote before it was one.
    pub fn archive(archive: Archive, place: &str) -> Result<Self, ImageError> {
        let unreadable =
            |error: io::Error| ImageError::Unreadable { place: place.to_string(), cause: error.to_string() };
        let (index, others) = if archive.has("index.json") && archive.has("oci-layout") {
            (index_of(archive.member("index.json").map_err(unreadable)?, place)?, BTreeMap::new())
        } else if archive.has("manifest.json") {
            docker_archive::read(&archive, place)?
        } else {
            return Err(ImageError::NoImages { place: place.to_string() });
        };
        Ok(Self { place: place.to_string(), files: Files::Archive(archive), index, others })
    }

    pub fn store(store: Store) -> Self {
        Self {
            place: "the store".to_string(),
            files: Files::Store(store),
            index: Index::new(Vec::new()),
            others: BTreeMap::new(),
        }
    }

    /// The image that is picked; without anything, the only one, or the one called `latest`.
    pub fn root(&self, pick: &FilePick) -> Result<Document, ImageError> {
        if let Some(digest) = pick.digest {
            return self.document_of_digest(digest);
        }
        let wanted = pick.tag.as_deref().unwrap_or("latest");
        let mut digests: Vec<Digest> = self.index.manifests.iter().map(|entry| entry.digest).collect();
        digests.dedup();
        let chosen = match (&pick.tag, &digests[..]) {
            (None, [_]) => self.index.manifests.first(),
            _ => self.index.manifests.iter().find(|entry| is_called(entry, wanted)),
        };
        match chosen {
            Some(entry) => self.document(entry),
            None => Err(ImageError::NotHeld {
                place: self.place.clone(),
                wanted: wanted.to_string(),
                held: self.tags(),
            }),
        }
    }

    /// What images are called there.
    pub fn tags(&self) -> Vec<String> {
        let name = |entry: &Descriptor| {
            entry.annotations.get(REF_NAME).or_else(|| entry.annotations.get(IMAGE_NAME)).cloned()
        };
        self.index.manifests.iter().filter_map(name).collect()
    }

    pub fn document(&self, descriptor: &Descriptor) -> Result<Document, ImageError> {
        let bytes = self.bytes(descriptor, LARGEST_DOCUMENT)?;
        let media_type = &descriptor.media_type;
        Ok(Document { descriptor: Descriptor::new(media_type, descriptor.digest, bytes.len() as u64), bytes })
    }

    fn document_of_digest(&self, digest: Digest) -> Result<Document, ImageError> {
        let missing = || ImageError::NotHeld {
            place: self.place.clone(),
            wanted: digest.to_string(),
            held: self.tags(),
        };
        let size = self.size(&digest).ok_or_else(missing)?;
        let bytes = self.bytes(&Descriptor::new("", digest, size), LARGEST_DOCUMENT)?;
        let media_type = media_type::of_document(&bytes).ok_or_else(|| ImageError::Document {
            place: self.place.clone(),
            what: digest.to_string(),
            cause: "it is neither an image manifest nor an index".to_string(),
        })?;
        Ok(Document { descriptor: Descriptor::new(media_type, digest, size), bytes })
    }

    pub fn bytes(&self, blob: &Descriptor, limit: u64) -> Result<Vec<u8>, ImageError> {
        let failed = |cause: String| ImageError::Document {
            place: self.place.clone(),
            what: blob.digest.to_string(),
            cause,
        };
        if blob.size > limit {
            return Err(failed(format!("it is larger than {limit} bytes")));
        }
        let mut bytes = Vec::new();
        match self.open(blob) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Err(ImageError::NotHeld {
                place: self.place.clone(),
                wanted: blob.digest.to_string(),
                held: self.tags(),
            }),
            opened => opened
                .and_then(|mut reader| reader.read_to_end(&mut bytes))
                .map(|_| bytes)
                .map_err(|error| failed(error.to_string())),
        }
    }

    /// A blob as it is read; the end of other bytes than the digest's is an error.
    pub fn open(&self, blob: &Descriptor) -> io::Result<Box<dyn Read + Send>> {
        Ok(Box::new(Verified::new(self.open_unchecked(&blob.digest)?, blob)))
    }

    /// A blob for those who hold its bytes against a digest themselves.
    pub fn open_unchecked(&self, digest: &Digest) -> io::Result<Box<dyn Read + Send>> {
        let path = blob_path(digest);
        Ok(match (self.others.get(digest), &self.files) {
            (Some(Other::Bytes(bytes)), _) => Box::new(io::Cursor::new(bytes.clone())),
            (Some(Other::Member(name)), Files::Archive(archive)) => Box::new(archive.member(name)?),
            (_, Files::Archive(archive)) => Box::new(archive.member(&path)?),
            (_, Files::Folder(folder)) => Box::new(File::open(folder.join(path))?),
            (_, Files::Store(store)) => Box::new(store.blobs().open(digest)?),
        })
    }

    /// Where a blob is a whole file: nobody has checked its bytes.
    pub fn whole_file(&self, digest: &Digest) -> Option<io::Result<File>> {
        match &self.files {
            Files::Folder(folder) => Some(File::open(folder.join(blob_path(digest)))),
            Files::Store(store) => Some(store.blobs().open(digest)),
            Files::Archive(_) => None,
        }
    }

    pub fn size(&self, digest: &Digest) -> Option<u64> {
        let path = blob_path(digest);
        match (self.others.get(digest), &self.files) {
            (Some(Other::Bytes(bytes)), _) => Some(bytes.len() as u64),
            (Some(Other::Member(name)), Files::Archive(archive)) => archive.size(name),
            (_, Files::Archive(archive)) => archive.size(&path),
            (_, Files::Folder(folder)) => std::fs::metadata(folder.join(path)).ok().map(|file| file.len()),
            (_, Files::Store(store)) => store.blobs().size(digest).ok(),
        }
    }

    /// What the layout names that says it is about a manifest.
    pub fn referrers(&self, subject: &Digest) -> Result<Vec<Descriptor>, ImageError> {
        let mut found = Vec::new();
        for entry in self.index.manifests.iter().take(MOST_LOOKED_AT) {
            if !media_type::is_manifest(&entry.media_type) {
                continue;
            }
            let bytes = self.bytes(entry, LARGEST_DOCUMENT)?;
            let Ok(manifest) = Manifest::parse(&bytes) else { continue };
            if manifest.subject().is_some_and(|named| named.digest == *subject) {
                let mut descriptor = Descriptor::new(&entry.media_type, entry.digest, entry.size);
                descriptor.artifact_type =
                    Some(manifest.artifact_type.clone().unwrap_or(manifest.config.media_type.clone()));
                descriptor.annotations = manifest.annotations;
                found.push(descriptor);
            }
        }
        Ok(found)
    }
}

fn blob_path(digest: &Digest) -> String {
    format!("blobs/sha256/{}", digest.hex())
}

/// Tags are short or whole names; whole names are compared as references.
fn is_called(entry: &Descriptor, wanted: &str) -> bool {
    let name = |key: &str| entry.annotations.get(key);
    let same = |name: &String| match (name.parse::<Reference>(), wanted.parse::<Reference>()) {
        (Ok(one), Ok(other)) => one == other && wanted.contains(['/', ':']),
        _ => false,
    };
    let is = |key: &str| name(key).is_some_and(|name| name == wanted || same(name));
    is(REF_NAME) || is(IMAGE_NAME)
}

/// A path that leads nowhere, with what is perhaps meant.
fn not_there(path: &Path, place: &str) -> ImageError {
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned());
    let beside = path.parent().and_then(|folder| folder.read_dir().ok()).into_iter().flatten().flatten();
    let mut names: Vec<String> =
        beside.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort_unstable();
    let near = name.and_then(|name| nearest(&name, names.iter().map(String::as_str)).map(str::to_string));
    ImageError::NotThere { place: place.to_string(), near }
}

fn index_of(reader: impl Read, place: &str) -> Result<Index, ImageError> {
    let failed = |cause: String| ImageError::Document {
        place: place.to_string(),
        what: "`index.json`".to_string(),
        cause,
    };
    let mut bytes = Vec::new();
    reader.take(LARGEST_DOCUMENT + 1).read_to_end(&mut bytes).map_err(|error| failed(error.to_string()))?;
    if bytes.len() as u64 > LARGEST_DOCUMENT {
        return Err(failed("it is larger than 4 MiB".to_string()));
    }
    Index::parse(&bytes).map_err(|error| failed(error.to_string()))
}
