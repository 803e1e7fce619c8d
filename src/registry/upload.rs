//! A blob's bytes on their way into an upload: in one request, and, when that broke, what is missing in another
//! (distribution-spec 1.1, "Pushing a blob in chunks").

use reqwest::header::{CONTENT_RANGE, CONTENT_TYPE, HeaderName};
use reqwest::{Method, StatusCode, Url};

use super::endpoint::Call;
use super::error::RegistryError;
use super::push::{Push, call};
use super::transport::{Body, Response};

const BYTES: &str = "application/octet-stream";

/// Where the bytes go, and how many of them the registry has.
pub struct Upload {
    location: Url,
    done: u64,
}

impl Upload {
    pub fn new(location: Url) -> Self {
        Self { location, done: 0 }
    }

    pub fn done(&self) -> u64 {
        self.done
    }

    /// POST then PUT, the upload every registry knows.
    pub async fn put(&self, push: &Push<'_>) -> Result<(), RegistryError> {
        let body = if push.blob.size == 0 { Body::Empty } else { rest(push, 0) };
        self.end(push, body).await
    }

    /// Asks what came; whether it can be gone on from there. Some registries forget what broke.
    pub async fn look(&mut self, push: &Push<'_>) -> Result<bool, RegistryError> {
        let scopes = vec![push.repository.scope(true)];
        let asked = call(Method::GET, self.location.clone(), scopes, &push.what);
        let response = match push.repository.send(asked).await {
            Ok(response) => response,
            Err(RegistryError::Broken { .. } | RegistryError::Unreachable { .. }) => return Ok(false),
            Err(RegistryError::NotFound { .. } | RegistryError::Refused { .. }) => return Ok(false),
            Err(error) => return Err(error),
        };
        self.moved(push, &response);
        self.done = response.header("range").and_then(received).unwrap_or(0);
        Ok(self.done > 0 && self.done <= push.blob.size)
    }

    /// Sends what is missing.
    pub async fn go_on(&mut self, push: &Push<'_>) -> Result<(), RegistryError> {
        if self.done < push.blob.size {
            let span = format!("{}-{}", self.done, push.blob.size - 1);
            let patch = Call {
                method: Method::PATCH,
                url: self.location.clone(),
                headers: headers(Some((CONTENT_RANGE, span))),
                scopes: vec![push.repository.scope(true)],
                body: rest(push, self.done),
                what: &push.what,
            };
            let response = push.repository.send(patch).await?;
            if response.status() != StatusCode::ACCEPTED && response.status() != StatusCode::NO_CONTENT {
                let detail = format!("a part of an upload is answered with status {}", response.status());
                return Err(push.repository.protocol(detail));
            }
            self.moved(push, &response);
            self.done = push.blob.size;
        }
        self.end(push, Body::Empty).await
    }

    async fn end(&self, push: &Push<'_>, body: Body<'_>) -> Result<(), RegistryError> {
        let mut url = self.location.clone();
        url.query_pairs_mut().append_pair("digest", &push.blob.digest.to_string());
        let scopes = vec![push.repository.scope(true)];
        let put = Call { method: Method::PUT, url, headers: headers(None), scopes, body, what: &push.what };
        push.confirmed(&push.repository.send(put).await.map_err(lost_upload)?)
    }

    fn moved(&mut self, push: &Push<'_>, response: &Response) {
        if let Ok(location) = push.repository.location(response) {
            self.location = location;
        }
    }
}

fn headers(span: Option<(HeaderName, String)>) -> Vec<(HeaderName, String)> {
    [(CONTENT_TYPE, BYTES.to_string())].into_iter().chain(span).collect()
}

fn rest<'a>(push: &Push<'a>, skip: u64) -> Body<'a> {
    Body::Blob { open: push.open, size: push.blob.size, skip, progress: push.progress }
}

/// How many bytes `0-1023` are. `0-0` is said of one byte and of none, and counts as none.
fn received(range: &str) -> Option<u64> {
    let (begin, end) = range.trim().trim_start_matches("bytes=").split_once('-')?;
    let end: u64 = end.parse().ok()?;
    (begin == "0" && end > 0).then(|| end.checked_add(1)).flatten()
}

/// A registry that forgot the upload, as those behind a load balancer do, is asked for a new one.
fn lost_upload(error: RegistryError) -> RegistryError {
    match error {
        RegistryError::Refused { host, status, code, detail, .. }
            if status == 416 || matches!(code.as_str(), "BLOB_UPLOAD_UNKNOWN" | "BLOB_UPLOAD_INVALID") =>
        {
            RegistryError::Unavailable { host, status, detail, retry_after: None }
        }
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_came_is_told_as_a_range() {
        for (range, expected) in [
            ("0-1023", Some(1024)),
            ("bytes=0-9", Some(10)),
            ("0-0", None),
            ("5-9", None),
            ("0-18446744073709551615", None),
            ("much", None),
        ] {
            assert_eq!(received(range), expected, "{range}");
        }
    }
}
