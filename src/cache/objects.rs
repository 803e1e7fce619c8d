//! A cache in an object store, or whatever else holds bytes under paths.
//!
//! ```text
//! <prefix>/mab/v1/<kind>/<key hex>      an entry's document
//! <prefix>/mab/v1/blobs/<digest hex>    a blob
//! ```
//!
//! Nothing is listed, moved or removed: a machine needs no more than the right to read and write objects, and a
//! lifecycle rule cleans up.

use std::error::Error as _;
use std::fs::File;

use futures_util::{FutureExt as _, TryStreamExt as _};
use opendal::{ErrorKind, OperationContext, Operator};

use super::CacheError;
use super::backend::{Answer, Backend, BlobUpload, Progress, Sink};
use super::chunks::Chunks;
use super::entry::{Document, EntryKind};
use super::object_transport::transporter;
use super::web::Web;
use crate::base::Digest;
use crate::http::{Attempts, Retries};
use crate::oci::Descriptor;

pub struct Objects {
    /// Tried once; `place` asks again.
    questions: Operator,
    transfers: Operator,
    retries: Retries,
}

impl Objects {
    /// Over an operator that was not told how to reach anybody.
    pub fn new(operator: Operator, questions: Web, transfers: Web, retries: Retries) -> Self {
        let over = |web: Web| {
            let context = OperationContext::new().with_http_transport(transporter(web));
            operator.clone().with_context(context)
        };
        Self { questions: over(questions), transfers: over(transfers), retries }
    }

    async fn document(&self, kind: EntryKind, key: &Digest) -> Result<Option<Vec<u8>>, CacheError> {
        let read = async {
            let reader = self.questions.reader(&entry_path(kind, key)).await?;
            let mut stream = reader.into_stream(..).await?;
            let mut bytes = Vec::new();
            while let Some(chunk) = stream.try_next().await? {
                for piece in chunk {
                    bytes.extend_from_slice(&piece);
                }
                // One byte more than there may be is enough to refuse it.
                if bytes.len() as u64 > kind.largest() {
                    break;
                }
            }
            Ok(bytes)
        };
        found(read.await)
    }

    async fn size(&self, path: &str) -> Result<Option<u64>, CacheError> {
        found(self.questions.stat(path).await.map(|metadata| metadata.content_length()))
    }

    async fn read(&self, blob: &Descriptor, to: &File, progress: Progress<'_>) -> Result<bool, CacheError> {
        let path = blob_path(&blob.digest);
        let mut sink = Sink::new(blob, to, progress);
        let mut attempts = Attempts::new(&self.retries);
        loop {
            let before = sink.done();
            match self.read_rest(&path, &mut sink).await {
                Ok(None) => return Ok(false),
                Ok(Some(())) => return sink.finish().map(|()| true),
                Err(error @ CacheError::Broken { .. }) => {
                    if sink.done() > before {
                        attempts.reset();
                    }
                    attempts.after(error).await?;
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// What the sink has not yet; none when there is no such object.
    async fn read_rest(&self, path: &str, sink: &mut Sink<'_>) -> Result<Option<()>, CacheError> {
        let open = async {
            let reader = self.transfers.reader(path).await?;
            match sink.done() {
                0 => reader.into_stream(..).await,
                done => reader.into_stream(done..).await,
            }
        };
        let Some(mut stream) = found(open.await)? else { return Ok(None) };
        loop {
            match stream.try_next().await {
                Ok(Some(chunk)) => {
                    for piece in chunk {
                        sink.push(&piece)?;
                    }
                }
                Ok(None) => return Ok(Some(())),
                // Some services look whether there is anything only when it is read.
                Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
                Err(error) => return Err(cache_error(&error)),
            }
        }
    }

    async fn write(&self, upload: BlobUpload<'_>) -> Result<(), CacheError> {
        let BlobUpload { blob, open, progress, .. } = upload;
        let path = blob_path(&blob.digest);
        let file = open().map_err(|cause| CacheError::local(&cause))?;
        let mut chunks = Chunks::new(file, blob.size);
        let failed = |error: opendal::Error| cache_error(&error);
        if blob.size <= chunks.size() as u64 {
            let bytes = chunks.next().await?.unwrap_or_default();
            self.transfers.write(&path, bytes).await.map_err(failed)?;
            progress(blob.size, blob.size);
            return Ok(());
        }
        let mut writer = self.transfers.writer_with(&path).chunk(chunks.size()).await.map_err(failed)?;
        let mut done = 0;
        while let Some(chunk) = chunks.next().await? {
            let length = chunk.len() as u64;
            if let Err(error) = writer.write(chunk).await {
                // Parts that nobody joins cost money until a lifecycle rule finds them; this may fail as well.
                let _ = writer.abort().await;
                return Err(cache_error(&error));
            }
            done += length;
            progress(done, blob.size);
        }
        writer.close().await.map_err(failed)?;
        Ok(())
    }
}

fn entry_path(kind: EntryKind, key: &Digest) -> String {
    format!("mab/v1/{}/{}", kind.name(), key.hex())
}

fn blob_path(digest: &Digest) -> String {
    format!("mab/v1/blobs/{}", digest.hex())
}

fn found<T>(result: Result<T, opendal::Error>) -> Result<Option<T>, CacheError> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(cache_error(&error)),
    }
}

/// What happened to the exchange, if it was that; else what the service's client made of the answer.
fn cache_error(error: &opendal::Error) -> CacheError {
    let mut causes = std::iter::successors(error.source(), |cause| next_cause(*cause));
    if let Some(error) = causes.find_map(|cause| cause.downcast_ref::<CacheError>()) {
        return error.clone();
    }
    match error.kind() {
        ErrorKind::PermissionDenied => {
            CacheError::Status { status: 403, detail: error.message().to_string(), retry_after: None }
        }
        _ if error.is_temporary() => CacheError::Broken { cause: error.message().to_string() },
        _ => CacheError::Protocol { detail: error.message().to_string() },
    }
}

fn next_cause<'a>(
    cause: &'a (dyn std::error::Error + 'static),
) -> Option<&'a (dyn std::error::Error + 'static)> {
    cause.source()
}

impl Backend for Objects {
    fn entry<'a>(&'a self, kind: EntryKind, key: &'a Digest) -> Answer<'a, Option<Vec<u8>>> {
        self.document(kind, key).boxed()
    }

    fn has_entry<'a>(&'a self, kind: EntryKind, key: &'a Digest) -> Answer<'a, bool> {
        async move { Ok(self.size(&entry_path(kind, key)).await?.is_some()) }.boxed()
    }

    fn read_blob<'a>(
        &'a self,
        blob: &'a Descriptor,
        to: &'a File,
        progress: Progress<'a>,
    ) -> Answer<'a, bool> {
        self.read(blob, to, progress).boxed()
    }

    /// One of another size is what a service left that does not write objects as a whole; it does not count.
    fn has_blob<'a>(&'a self, blob: &'a Descriptor) -> Answer<'a, bool> {
        async move { Ok(self.size(&blob_path(&blob.digest)).await? == Some(blob.size)) }.boxed()
    }

    fn write_blob<'a>(&'a self, upload: BlobUpload<'a>) -> Answer<'a, ()> {
        self.write(upload).boxed()
    }

    fn write_entry<'a>(&'a self, document: &'a Document) -> Answer<'a, ()> {
        let path = entry_path(document.kind, &document.key);
        let write = async move {
            let written = self.questions.write(&path, document.bytes.clone()).await;
            written.map(drop).map_err(|error| cache_error(&error))
        };
        write.boxed()
    }
}
