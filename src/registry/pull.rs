//! Blobs from a registry, resumed where a connection broke.

use std::fs::File;
use std::io::{self, Seek as _, Write};

use reqwest::Method;
use reqwest::StatusCode;
use reqwest::header::RANGE;

use super::client::{Progress, Registry};
use super::endpoint::{Call, Repository};
use super::error::RegistryError;
use super::transport::{Body, Response, local};
use crate::base::{Hasher, Reference};
use crate::http::Attempts;
use crate::oci::Descriptor;

/// How many tries a blob gets in all, as a multiple of those without progress: a flaky line finishes, a registry
/// that sends a byte per connection does not keep a build busy for ever.
pub(super) const PATIENCE_FOR_A_BLOB: u32 = 8;

/// Where a blob is written, from the start again when what came was not it.
pub trait BlobSink: Write + Send {
    fn restart(&mut self) -> io::Result<()>;
}

impl BlobSink for File {
    fn restart(&mut self) -> io::Result<()> {
        (&*self).restart()
    }
}

impl BlobSink for &File {
    fn restart(&mut self) -> io::Result<()> {
        self.set_len(0)?;
        self.rewind()
    }
}

impl BlobSink for Vec<u8> {
    fn restart(&mut self) -> io::Result<()> {
        self.clear();
        Ok(())
    }
}

impl Registry {
    /// Writes a blob, and succeeds only if what was written has the descriptor's size and digest; until then the
    /// caller must not use it.
    ///
    /// Mirrors are asked first; what one of them has begun, the next source goes on with. Bytes that turn out
    /// to be others are dropped, and the next source begins anew.
    pub async fn pull_blob(
        &self,
        repository: &Reference,
        blob: &Descriptor,
        to: &mut impl BlobSink,
        progress: Progress<'_>,
    ) -> Result<(), RegistryError> {
        let mut begun = (0, Hasher::new());
        let mut sources = self.sources(repository);
        let own = sources.pop().unwrap_or_else(|| repository.clone());
        for mirror in &sources {
            let what = format!("blob {} of `{}`", blob.digest, mirror.name());
            let Ok(repository) = self.repository(mirror).await else { continue };
            let _permit = repository.permit().await;
            let mut pull = Pull { repository: &repository, blob, what, done: begun.0, hasher: begun.1 };
            let ended = pull.attempt(to, progress).await;
            begun = match (ended, pull.done) {
                (Ok(()), _) if pull.is_whole() => return Ok(()),
                // Too much, or something else.
                (Ok(()) | Err(RegistryError::SizeMismatch { .. }), _) => {
                    to.restart().map_err(|cause| local(&pull.what, &cause))?;
                    (0, Hasher::new())
                }
                (Err(_), done) => (done, pull.hasher),
            };
        }
        let is_mixed = begun.0 > 0;
        match self.pull_own(&own, blob, begun, to, progress).await {
            Err(RegistryError::DigestMismatch { what, .. }) if is_mixed => {
                to.restart().map_err(|cause| local(&what, &cause))?;
                self.pull_own(&own, blob, (0, Hasher::new()), to, progress).await
            }
            ended => ended,
        }
    }

    /// From the registry itself, with as much patience as a blob gets.
    async fn pull_own(
        &self,
        repository: &Reference,
        blob: &Descriptor,
        (done, hasher): (u64, Hasher),
        to: &mut impl BlobSink,
        progress: Progress<'_>,
    ) -> Result<(), RegistryError> {
        let what = format!("blob {} of `{}`", blob.digest, repository.name());
        let repository = self.repository(repository).await?;
        let _permit = repository.permit().await;
        let mut pull = Pull { repository: &repository, blob, what, done, hasher };
        let mut attempts = Attempts::new(self.retries());
        let mut left = attempts.patience(PATIENCE_FOR_A_BLOB);
        loop {
            let before = pull.done;
            let Err(error) = pull.attempt(to, progress).await else { break };
            left = left.saturating_sub(1);
            if left == 0 {
                return Err(error);
            }
            if pull.done > before {
                attempts.reset();
            }
            attempts.after(error).await?;
        }
        pull.verified()
    }

    /// A blob in memory, for configs and other small documents.
    pub async fn blob_bytes(
        &self,
        repository: &Reference,
        blob: &Descriptor,
        limit: u64,
    ) -> Result<Vec<u8>, RegistryError> {
        if blob.size > limit {
            let what = format!("blob {} of `{}`", blob.digest, repository.name());
            return Err(RegistryError::TooLarge { what, limit });
        }
        let mut bytes = Vec::new();
        self.pull_blob(repository, blob, &mut bytes, &|_, _| {}).await?;
        Ok(bytes)
    }
}

/// A blob on its way.
struct Pull<'a> {
    repository: &'a Repository,
    blob: &'a Descriptor,
    what: String,
    done: u64,
    hasher: Hasher,
}

impl Pull<'_> {
    /// Gets the rest of the blob.
    async fn attempt(&mut self, to: &mut impl BlobSink, progress: Progress<'_>) -> Result<(), RegistryError> {
        if self.done == self.blob.size && self.done > 0 {
            return Ok(());
        }
        let mut response = self.request().await?;
        let mut known = self.known_bytes(&response)?;
        while let Some(chunk) = response.chunk().await? {
            let skipped = known.min(chunk.len() as u64);
            known -= skipped;
            let chunk = &chunk[skipped as usize..];
            if self.done + chunk.len() as u64 > self.blob.size {
                return Err(self.wrong_size(self.done + chunk.len() as u64));
            }
            to.write_all(chunk).map_err(|cause| local(&self.what, &cause))?;
            self.hasher.update(chunk);
            self.done += chunk.len() as u64;
            progress(self.done, self.blob.size);
        }
        if self.done < self.blob.size {
            let cause = format!("{} ends after {} of {} bytes", self.what, self.done, self.blob.size);
            return Err(RegistryError::Broken { host: self.repository.host().to_string(), cause });
        }
        Ok(())
    }

    async fn request(&self) -> Result<Response, RegistryError> {
        let range = (self.done > 0).then(|| (RANGE, format!("bytes={}-", self.done)));
        let call = Call {
            method: Method::GET,
            url: self.repository.url(&format!("blobs/{}", self.blob.digest))?,
            headers: range.into_iter().collect(),
            scopes: vec![self.repository.scope(false)],
            body: Body::Empty,
            what: &self.what,
        };
        self.repository.send(call).await
    }

    /// How many bytes at the answer's start were received before: none if the range was honoured, all if it was
    /// ignored.
    fn known_bytes(&self, response: &Response) -> Result<u64, RegistryError> {
        if response.status() != StatusCode::PARTIAL_CONTENT {
            return Ok(self.done);
        }
        let begins = response.header("content-range").and_then(range_start);
        match begins {
            Some(begin) if begin <= self.done => Ok(self.done - begin),
            _ => Err(self
                .repository
                .protocol(format!("it answers with another part of {} than asked for", self.what))),
        }
    }

    fn is_whole(&self) -> bool {
        self.hasher.clone().finish() == self.blob.digest
    }

    fn verified(self) -> Result<(), RegistryError> {
        let actual = self.hasher.finish();
        if actual == self.blob.digest {
            return Ok(());
        }
        Err(RegistryError::DigestMismatch { what: self.what, expected: self.blob.digest, actual })
    }

    fn wrong_size(&self, actual: u64) -> RegistryError {
        RegistryError::SizeMismatch { what: self.what.clone(), expected: self.blob.size, actual }
    }
}

/// The first byte of `bytes 5-9/10`.
fn range_start(header: &str) -> Option<u64> {
    header.trim().strip_prefix("bytes")?.trim_start().split('-').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn starts_of_ranges() {
        for (header, expected) in [
            ("bytes 5-9/10", Some(5)),
            ("bytes 0-0/*", Some(0)),
            ("bytes */10", None),
            ("items 5-9/10", None),
        ] {
            assert_eq!(range_start(header), expected, "{header}");
        }
    }
}
