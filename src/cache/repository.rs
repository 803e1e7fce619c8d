//! A cache in a repository of a registry, by nothing but the distribution protocol.
//!
//! An entry is a manifest under the tag `mab-<kind>-<key hex>`. Its config is the entry's document, which small
//! ones also carry in the descriptor itself, so that one request reads them; its layers are the blobs, so that
//! the registry's garbage collection keeps what the entry needs. Needs neither referrers nor deletion, and
//! leaves all other tags of the repository alone.

use std::fs::File;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures_util::FutureExt as _;
use serde_json::Value;

use super::backend::{Answer, Backend, BlobUpload, Progress, unnamed};
use super::entry::{Document, EntryKind};
use super::{CacheError, Patience};
use crate::base::{Digest, Reference};
use crate::oci::{Descriptor, Manifest, media_type};
use crate::registry::{Registry, RegistryError, RegistryOptions};

pub struct Repository {
    clients: RegistryClients,
    /// Without a tag.
    name: Reference,
}

/// Two clients, so that a question does not wait behind blobs.
#[derive(Clone)]
pub struct RegistryClients {
    questions: Registry,
    transfers: Registry,
}

/// How many questions a registry is asked at once.
pub const MOST_QUESTIONS: usize = 16;
/// Documents up to this size are in the manifest as well. Registries take manifests of 4 MiB.
const LARGEST_INLINE: usize = 256 * 1024;

impl RegistryClients {
    /// Clients that know what `registry` knows, and give up sooner.
    pub fn new(registry: &Registry, patience: &Patience, insecure: Option<&str>) -> Self {
        let with = |change: &dyn Fn(&mut RegistryOptions)| {
            registry.adjusted(|options| {
                options.connect_timeout = patience.connect;
                options.retries = patience.retries.clone();
                options.insecure.extend(insecure.map(str::to_string));
                change(options);
            })
        };
        let questions = with(&|options| {
            options.stall = patience.lookup;
            options.concurrency = MOST_QUESTIONS;
            // `place` asks again itself, and tells a cache that hangs from one that says when to return.
            options.retries.attempts = 1;
        });
        Self { questions, transfers: with(&|options| options.stall = patience.stall) }
    }
}

impl Repository {
    pub fn new(clients: RegistryClients, repository: &Reference) -> Self {
        Self { clients, name: repository.without_tag() }
    }

    fn tag(&self, kind: EntryKind, key: &Digest) -> Result<Reference, CacheError> {
        let tag = self.name.with_tag(&format!("mab-{}-{}", kind.name(), key.hex()));
        tag.map_err(|cause| CacheError::Protocol { detail: cause.to_string() })
    }

    async fn document(&self, kind: EntryKind, key: &Digest) -> Result<Option<Vec<u8>>, CacheError> {
        let tag = self.tag(kind, key)?;
        let resolved = match self.clients.questions.resolve(&tag).await {
            Err(RegistryError::NotFound { .. }) => return Ok(None),
            resolved => resolved?,
        };
        let unusable = |cause: String| CacheError::Entry { kind: kind.name(), key: key.short(), cause };
        let manifest = Manifest::parse(&resolved.bytes).map_err(|cause| unusable(cause.to_string()))?;
        let config = &manifest.config;
        if config.media_type != document_type(kind) || config.size > kind.largest() {
            return Err(unusable("its manifest is not one of an entry".into()));
        }
        match inline_data(config) {
            Some(bytes) => Ok(Some(bytes)),
            None => Ok(Some(self.clients.questions.blob_bytes(&self.name, config, kind.largest()).await?)),
        }
    }

    async fn put(&self, document: &Document) -> Result<(), CacheError> {
        let mut config = Descriptor::of(&document_type(document.kind), &document.bytes);
        let open = || unnamed(&document.bytes);
        self.clients.questions.push_blob(&self.name, &config, &open, &[], &|_, _| {}).await?;
        let layers = match document.blobs.is_empty() {
            // Image-spec asks for one layer at least.
            true => vec![config.clone()],
            false => document.blobs.clone(),
        };
        if document.bytes.len() <= LARGEST_INLINE {
            config.extra.insert("data".to_string(), Value::String(STANDARD.encode(&document.bytes)));
        }
        let mut manifest = Manifest::new(config, layers);
        manifest.artifact_type = Some(document_type(document.kind));
        let tag = self.tag(document.kind, &document.key)?;
        let bytes = manifest.to_bytes();
        self.clients.questions.push_manifest(&tag, media_type::OCI_MANIFEST, &bytes).await?;
        Ok(())
    }
}

fn document_type(kind: EntryKind) -> String {
    format!("application/vnd.mab.cache.{}.v1+json", kind.name())
}

/// What the descriptor carries, if it is what it describes.
fn inline_data(config: &Descriptor) -> Option<Vec<u8>> {
    let bytes = STANDARD.decode(config.extra.get("data")?.as_str()?).ok()?;
    (Digest::of(&bytes) == config.digest && bytes.len() as u64 == config.size).then_some(bytes)
}

impl Backend for Repository {
    fn entry<'a>(&'a self, kind: EntryKind, key: &'a Digest) -> Answer<'a, Option<Vec<u8>>> {
        self.document(kind, key).boxed()
    }

    fn has_entry<'a>(&'a self, kind: EntryKind, key: &'a Digest) -> Answer<'a, bool> {
        async move { Ok(self.clients.questions.head(&self.tag(kind, key)?).await?.is_some()) }.boxed()
    }

    fn read_blob<'a>(
        &'a self,
        blob: &'a Descriptor,
        to: &'a File,
        progress: Progress<'a>,
    ) -> Answer<'a, bool> {
        let read = async move {
            let mut to = to;
            match self.clients.transfers.pull_blob(&self.name, blob, &mut to, progress).await {
                Ok(()) => Ok(true),
                Err(RegistryError::NotFound { .. }) => Ok(false),
                Err(error) => Err(error.into()),
            }
        };
        read.boxed()
    }

    fn has_blob<'a>(&'a self, blob: &'a Descriptor) -> Answer<'a, bool> {
        async move { Ok(self.clients.questions.has_blob(&self.name, blob.digest).await?) }.boxed()
    }

    fn write_blob<'a>(&'a self, upload: BlobUpload<'a>) -> Answer<'a, ()> {
        let write = async move {
            let BlobUpload { blob, open, mount_from, progress } = upload;
            let near = mount_from.iter().filter(|from| from.registry() == self.name.registry());
            // The client knows repositories by their names in the registry.
            let near: Vec<String> = near.map(|from| from.repository().to_string()).collect();
            self.clients.transfers.push_blob(&self.name, blob, &|| open(), &near, progress).await?;
            Ok(())
        };
        write.boxed()
    }

    fn write_entry<'a>(&'a self, document: &'a Document) -> Answer<'a, ()> {
        self.put(document).boxed()
    }

    fn repository(&self) -> Option<&Reference> {
        Some(&self.name)
    }
}
