//! Blobs to a registry: not at all if they are there, by mounting if a neighbour has them, else streamed.

use std::fs::File;
use std::io;

use futures_util::future::BoxFuture;
use reqwest::header::HeaderName;
use reqwest::{Method, StatusCode, Url};

use super::auth::{Access, Scope};
use super::client::{Progress, Registry};
use super::endpoint::{Call, Repository};
use super::error::RegistryError;
use super::pull::PATIENCE_FOR_A_BLOB;
use super::transport::{Body, Response};
use super::upload::Upload;
use super::uploads::begin;
use crate::base::{Digest, Reference};
use crate::http::{Attempts, Transient as _, retrying};
use crate::oci::Descriptor;

/// Opens a blob's bytes from the start, once for every try. Asked only for what has to be sent, so it may take
/// its time to get them.
pub trait OpenBlob: Send + Sync {
    fn open(&self) -> BoxFuture<'_, io::Result<File>>;
}

impl<F: Fn() -> io::Result<File> + Send + Sync> OpenBlob for F {
    fn open(&self) -> BoxFuture<'_, io::Result<File>> {
        Box::pin(async { self() })
    }
}

/// How a blob came to be in a repository.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pushed {
    AlreadyThere,
    Mounted,
    Uploaded,
}

impl Registry {
    pub async fn has_blob(&self, repository: &Reference, digest: Digest) -> Result<bool, RegistryError> {
        let repository = self.repository(repository).await?;
        let _permit = repository.permit().await;
        let scope = repository.scope(false);
        retrying(self.retries(), || has_blob_once(&repository, digest, &scope)).await
    }

    /// Brings a blob into a repository. `mount_from` names repositories of the same registry that may have it, the
    /// likeliest first.
    pub async fn push_blob(
        &self,
        repository: &Reference,
        blob: &Descriptor,
        open: &dyn OpenBlob,
        mount_from: &[String],
        progress: Progress<'_>,
    ) -> Result<Pushed, RegistryError> {
        let what = format!("blob {} in `{}`", blob.digest, repository.name());
        let repository = self.repository(repository).await?;
        let _permit = repository.permit().await;
        let push = Push { repository: &repository, blob, open, mount_from, progress, what };
        push.try_until_done(Attempts::new(self.retries())).await
    }

    /// Sends a small blob that is most likely not there: asking first would take longer.
    pub async fn send_blob(
        &self,
        repository: &Reference,
        blob: &Descriptor,
        open: &dyn OpenBlob,
        progress: Progress<'_>,
    ) -> Result<Pushed, RegistryError> {
        let what = format!("blob {} in `{}`", blob.digest, repository.name());
        let repository = self.repository(repository).await?;
        let _permit = repository.permit().await;
        let push = Push { repository: &repository, blob, open, mount_from: &[], progress, what };
        let mut attempts = Attempts::new(self.retries());
        match push.send(None, &mut None).await {
            Ok(pushed) => return Ok(pushed),
            Err(error) => attempts.after(error).await?,
        }
        push.try_until_done(attempts).await
    }

    /// Takes a blob from a repository of the same registry that has it; whether the registry did so.
    pub async fn mount_blob(
        &self,
        repository: &Reference,
        blob: &Descriptor,
        from: &str,
    ) -> Result<bool, RegistryError> {
        let what = format!("blob {} in `{}`", blob.digest, repository.name());
        let repository = self.repository(repository).await?;
        let _permit = repository.permit().await;
        let nothing = || Err(io::ErrorKind::NotFound.into());
        let mount_from = &[from.to_string()];
        let push =
            Push { repository: &repository, blob, open: &nothing, mount_from, progress: &|_, _| {}, what };
        let placed = retrying(self.retries(), || push.mount()).await?;
        push.drop_begun(&placed).await;
        Ok(matches!(placed, Placed::Yes(_)))
    }

    /// Whether a repository has a blob, or takes it from one of `mount_from`, without anything being sent.
    pub async fn place_blob(
        &self,
        repository: &Reference,
        blob: &Descriptor,
        mount_from: &[String],
    ) -> Result<bool, RegistryError> {
        let what = format!("blob {} in `{}`", blob.digest, repository.name());
        let repository = self.repository(repository).await?;
        let _permit = repository.permit().await;
        let nothing = || Err(io::ErrorKind::NotFound.into());
        let push =
            Push { repository: &repository, blob, open: &nothing, mount_from, progress: &|_, _| {}, what };
        let placed = retrying(self.retries(), || push.place()).await?;
        push.drop_begun(&placed).await;
        Ok(matches!(placed, Placed::Yes(_)))
    }
}

pub(super) fn call(method: Method, url: Url, scopes: Vec<Scope>, what: &str) -> Call<'_> {
    let headers: Vec<(HeaderName, String)> = Vec::new();
    Call { method, url, headers, scopes, body: Body::Empty, what }
}

async fn has_blob_once(
    repository: &Repository,
    digest: Digest,
    scope: &Scope,
) -> Result<bool, RegistryError> {
    let url = repository.url(&format!("blobs/{digest}"))?;
    let what = format!("blob {digest} of `{}`", repository.name());
    match repository.send(call(Method::HEAD, url, vec![scope.clone()], &what)).await {
        Ok(_) => Ok(true),
        Err(RegistryError::NotFound { .. }) => Ok(false),
        Err(error) => Err(error),
    }
}

/// A blob on its way.
pub(super) struct Push<'a> {
    pub(super) repository: &'a Repository,
    pub(super) blob: &'a Descriptor,
    pub(super) open: &'a dyn OpenBlob,
    mount_from: &'a [String],
    pub(super) progress: Progress<'a>,
    pub(super) what: String,
}

impl Push<'_> {
    async fn try_until_done(&self, mut attempts: Attempts<'_>) -> Result<Pushed, RegistryError> {
        let mut upload = None;
        let mut left = attempts.patience(PATIENCE_FOR_A_BLOB);
        loop {
            let before = upload.as_ref().map_or(0, Upload::done);
            let error = match self.attempt(&mut upload).await {
                Ok(pushed) => return Ok(pushed),
                Err(error) => error,
            };
            left = left.saturating_sub(1);
            if left == 0 {
                return Err(error);
            }
            if upload.as_ref().is_some_and(|upload| upload.done() > before) {
                attempts.reset();
            }
            attempts.after(error).await?;
        }
    }

    /// Goes on with an upload that broke, where the registry kept what came. Else it asks first every time: an upload
    /// whose answer was lost did arrive.
    async fn attempt(&self, upload: &mut Option<Upload>) -> Result<Pushed, RegistryError> {
        if let Some(broken) = upload
            && broken.look(self).await?
        {
            match broken.go_on(self).await {
                Err(error) if error.is_transient() => return Err(error),
                // What it kept is of no use.
                Err(_) => *upload = None,
                Ok(()) => return Ok(self.uploaded()),
            }
        }
        match self.place().await? {
            Placed::Yes(how) => Ok(how),
            Placed::No(begun) => self.send(begun, upload).await,
        }
    }

    async fn send(&self, begun: Option<Url>, upload: &mut Option<Upload>) -> Result<Pushed, RegistryError> {
        let begun = match begun {
            None => self.repository.uploads().take(self.repository.name()).await,
            begun => begun,
        };
        let location = match begun {
            Some(location) => location,
            None => begin(self.repository, &self.what).await?,
        };
        upload.insert(Upload::new(location)).put(self).await?;
        Ok(self.uploaded())
    }

    fn uploaded(&self) -> Pushed {
        (self.progress)(self.blob.size, self.blob.size);
        Pushed::Uploaded
    }

    /// Everything that sends no bytes.
    async fn place(&self) -> Result<Placed, RegistryError> {
        let scope = self.repository.scope(true);
        if has_blob_once(self.repository, self.blob.digest, &scope).await? {
            return Ok(Placed::Yes(Pushed::AlreadyThere));
        }
        self.mount().await
    }

    /// Tries the neighbours. One that does not have the blob costs nothing: the answer begins an upload.
    async fn mount(&self) -> Result<Placed, RegistryError> {
        let mut begun = None;
        for from in self.mount_from.iter().filter(|from| *from != self.repository.name()) {
            let mut url = self.repository.url("blobs/uploads/")?;
            url.query_pairs_mut()
                .append_pair("mount", &self.blob.digest.to_string())
                .append_pair("from", from);
            let source = Scope { repository: from.clone(), access: Access::Pull };
            let asked = call(Method::POST, url, vec![self.repository.scope(true), source], &self.what);
            match self.repository.send(asked).await {
                Ok(response) if response.status() == StatusCode::CREATED => {
                    return Ok(Placed::Yes(Pushed::Mounted));
                }
                Ok(response) => begun = self.repository.location(&response).ok(),
                Err(error) if error.is_transient() => return Err(error),
                // Not allowed to read there, or mounting is not supported: the plain upload decides.
                Err(_) => {}
            }
        }
        Ok(Placed::No(begun))
    }

    /// A refusal to mount began an upload that nobody goes on with.
    async fn drop_begun(&self, placed: &Placed) {
        if let Placed::No(Some(begun)) = placed {
            let scopes = vec![self.repository.scope(true)];
            let _ = self.repository.send(call(Method::DELETE, begun.clone(), scopes, &self.what)).await;
        }
    }

    pub(super) fn confirmed(&self, response: &Response) -> Result<(), RegistryError> {
        let told = response.header("docker-content-digest").and_then(|text| text.parse::<Digest>().ok());
        match told {
            Some(actual) if actual != self.blob.digest => Err(RegistryError::DigestMismatch {
                what: self.what.clone(),
                expected: self.blob.digest,
                actual,
            }),
            _ if response.status().is_success() => Ok(()),
            _ => Err(self
                .repository
                .protocol(format!("an upload is answered with status {}", response.status()))),
        }
    }
}

enum Placed {
    Yes(Pushed),
    /// With the upload that was begun instead, if one was.
    No(Option<Url>),
}
