//! OpenDAL's requests over our connections.

use futures_util::stream;
use opendal::{Buffer, Error, ErrorKind, HttpBody, HttpTransport, HttpTransporter};

use super::CacheError;
use super::web::{Answered, Body, Question, Web};

struct Transport {
    web: Web,
}

pub fn transporter(web: Web) -> HttpTransporter {
    HttpTransporter::new(Transport { web })
}

impl HttpTransport for Transport {
    async fn fetch(&self, request: http::Request<Buffer>) -> opendal::Result<http::Response<HttpBody>> {
        let is_head = request.method() == http::Method::HEAD;
        let (parts, body) = request.into_parts();
        let url = parts.uri.to_string().parse();
        let url = url.map_err(|cause| Error::new(ErrorKind::ConfigInvalid, format!("no URL: {cause}")))?;
        let mut headers = parts.headers;
        // It is computed from the body.
        headers.remove(http::header::CONTENT_LENGTH);
        let question = Question { method: parts.method, url, headers, body: Body::Pieces(body.collect()) };
        let answered = self.web.send(&question).await.map_err(wrapped)?;
        let mut response = http::Response::new(());
        *response.status_mut() = answered.status();
        *response.headers_mut() = answered.response.headers().clone();
        let length = answered.response.content_length().filter(|_| !is_head);
        let (parts, ()) = response.into_parts();
        Ok(http::Response::from_parts(parts, body_of(answered, length)))
    }
}

fn body_of(answered: Answered, length: Option<u64>) -> HttpBody {
    let chunks = stream::try_unfold(answered, |mut answered| async move {
        let chunk = answered.chunk().await.map_err(wrapped)?;
        Ok(chunk.map(|chunk| (Buffer::from(chunk), answered)))
    });
    HttpBody::new(Box::pin(chunks), length)
}

/// Found again by `objects`, whatever a service's client wraps around it.
fn wrapped(error: CacheError) -> Error {
    Error::new(ErrorKind::Unexpected, "the exchange failed").set_source(error)
}
