//! Images of a registry as the source of a push: documents are fetched at once, layers when somebody must have them
//! sent. Most are mounted or there already.

use std::fs::File;
use std::io::{self, Write as _};
use std::path::PathBuf;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use tempfile::TempDir;

use super::{BlobSource, PushSource};
use crate::base::{Digest, Reference};
use crate::oci::{Descriptor, Index, media_type};
use crate::registry::{Registry, RegistryError};

/// An index of indexes is rare, more is an attack.
const DEEPEST: usize = 4;
const MOST_DOCUMENTS: usize = 1_000;

pub struct Elsewhere {
    registry: Registry,
    repository: Reference,
    folder: TempDir,
    documents: usize,
}

impl Elsewhere {
    pub fn new(registry: Registry, repository: &Reference) -> Result<Self, RegistryError> {
        let folder = tempfile::tempdir().map_err(|error| local(&error))?;
        Ok(Self { registry, repository: repository.without_tag(), folder, documents: 0 })
    }

    /// Fetches what an image consists of, but for layers and configs.
    pub async fn fetch(&mut self, image: &Reference) -> Result<Descriptor, RegistryError> {
        self.fetch_deep(image.clone(), DEEPEST).await
    }

    fn fetch_deep(
        &mut self,
        image: Reference,
        depth: usize,
    ) -> BoxFuture<'_, Result<Descriptor, RegistryError>> {
        async move {
            let too_much = |what: String| RegistryError::Local {
                what,
                cause: "it has more manifests than an image has".to_string(),
            };
            self.documents += 1;
            if self.documents > MOST_DOCUMENTS {
                return Err(too_much(format!("`{image}`")));
            }
            let resolved = self.registry.resolve(&image).await?;
            let path = self.path(&resolved.descriptor.digest);
            File::create(path).and_then(|mut file| file.write_all(&resolved.bytes)).map_err(|e| local(&e))?;
            if media_type::is_index(&resolved.descriptor.media_type)
                && let Ok(index) = Index::parse(&resolved.bytes)
            {
                let deeper = depth.checked_sub(1).ok_or_else(|| too_much(format!("`{image}`")))?;
                for child in &index.manifests {
                    let child = self.repository.with_digest(child.digest);
                    self.fetch_deep(child, deeper).await?;
                }
            }
            Ok(resolved.descriptor)
        }
        .boxed()
    }

    fn path(&self, digest: &Digest) -> PathBuf {
        self.folder.path().join(digest.hex())
    }
}

fn local(error: &io::Error) -> RegistryError {
    RegistryError::Local { what: "a temporary file".to_string(), cause: error.to_string() }
}

impl BlobSource for Elsewhere {
    fn open(&self, digest: &Digest) -> io::Result<File> {
        File::open(self.path(digest))
    }
}

impl PushSource for Elsewhere {
    fn bring<'a>(&'a self, blob: &'a Descriptor) -> BoxFuture<'a, io::Result<()>> {
        async {
            let path = self.path(&blob.digest);
            if path.exists() {
                return Ok(());
            }
            let mut partial = tempfile::NamedTempFile::new_in(self.folder.path())?;
            let file = partial.as_file_mut();
            let pulled = self.registry.pull_blob(&self.repository, blob, file, &|_, _| {}).await;
            pulled.map_err(|error| io::Error::other(error.to_string()))?;
            partial.persist(path).map(drop).map_err(|error| error.error)
        }
        .boxed()
    }

    fn repositories_with(&self, _: &Digest) -> Vec<Reference> {
        vec![self.repository.clone()]
    }
}
