//! One registry as the client knows it: how to reach it, who the client is to it, how much goes on at once.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use reqwest::{Method, StatusCode, Url};
use tokio::sync::{Semaphore, SemaphorePermit};

use super::auth::{Access, Authenticator, Credentials, Scope};
use super::error::RegistryError;
use super::host::Host;
use super::staging::Staging;
use super::transport::{Body, Request, Response, Transport};
use super::uploads::BegunUploads;

pub struct Endpoint {
    host: Host,
    base: Url,
    transport: Arc<Transport>,
    credentials: Credentials,
    running: Semaphore,
    /// By the namespace that shares a credential.
    authenticators: Mutex<BTreeMap<String, Arc<Authenticator>>>,
    /// Begun before what they carry is known.
    pub(super) uploads: BegunUploads,
    staging: Staging,
}

/// A repository of a registry, and the credential that is used for it.
#[derive(Clone)]
pub struct Repository {
    endpoint: Arc<Endpoint>,
    name: String,
    authenticator: Arc<Authenticator>,
}

/// One request to a repository.
pub struct Call<'a> {
    pub method: Method,
    pub url: Url,
    pub headers: Vec<(HeaderName, String)>,
    pub scopes: Vec<Scope>,
    pub body: Body<'a>,
    /// What is asked for, for messages.
    pub what: &'a str,
}

impl Endpoint {
    /// Finds out how the host is spoken to: with TLS, or, only where that is allowed, without.
    pub async fn connect(
        host: Host,
        transport: Arc<Transport>,
        credentials: Credentials,
    ) -> Result<Self, RegistryError> {
        let secure = base_url(&host, "https")?;
        let base =
            if transport.may_be_plain(&host) { probe(&host, &transport, secure).await? } else { secure };
        let running = Semaphore::new(transport.options().concurrency.max(1));
        Ok(Self {
            host,
            base,
            transport,
            credentials,
            running,
            authenticators: Mutex::default(),
            uploads: BegunUploads::default(),
            staging: Staging::default(),
        })
    }

    pub fn repository(self: &Arc<Self>, name: &str) -> Repository {
        let namespace = self.credentials.namespace(&self.host, name);
        let mut known = self.authenticators.lock().unwrap_or_else(PoisonError::into_inner);
        let authenticator = known.entry(namespace).or_insert_with(|| {
            Arc::new(Authenticator::new(self.host.clone(), name.to_string(), self.credentials.clone()))
        });
        let authenticator = Arc::clone(authenticator);
        Repository { endpoint: Arc::clone(self), name: name.to_string(), authenticator }
    }
}

fn base_url(host: &Host, scheme: &str) -> Result<Url, RegistryError> {
    Url::parse(&format!("{scheme}://{}/v2/", host.address())).map_err(|cause| RegistryError::Unreachable {
        host: host.name().to_string(),
        cause: format!("not the name of a host: {cause}"),
    })
}

/// As Docker does it: TLS first, then, where nothing speaks it, without.
async fn probe(host: &Host, transport: &Transport, secure: Url) -> Result<Url, RegistryError> {
    let ask = |url: Url| {
        let (method, headers) = (Method::GET, HeaderMap::new());
        transport.send(host, Request { method, url, headers, authorization: None, body: Body::Empty })
    };
    match ask(secure.clone()).await {
        Ok(_) => Ok(secure),
        Err(RegistryError::Plain { .. }) => base_url(host, "http"),
        Err(RegistryError::Unreachable { .. } | RegistryError::Broken { .. }) => {
            let plain = base_url(host, "http")?;
            ask(plain.clone()).await.map(|_| plain)
        }
        Err(error) => Err(error),
    }
}

impl Repository {
    /// Uploads that wait for blobs.
    pub fn uploads(&self) -> &BegunUploads {
        &self.endpoint.uploads
    }

    pub fn staging(&self) -> &Staging {
        &self.endpoint.staging
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    /// The registry's name, for messages.
    pub fn host(&self) -> &str {
        self.endpoint.host.name()
    }

    /// `/v2/<name>/<rest>`.
    pub fn url(&self, rest: &str) -> Result<Url, RegistryError> {
        let url = self.endpoint.base.join(&format!("{}/{rest}", self.name));
        url.map_err(|cause| self.protocol(format!("`{rest}` makes no URL: {cause}")))
    }

    /// `/v2/`, which every registry answers.
    pub fn root(&self) -> Url {
        self.endpoint.base.clone()
    }

    /// Whether the registry wanted to know who is there.
    pub fn was_asked(&self) -> bool {
        !self.authenticator.is_anonymous()
    }

    pub fn scope(&self, push: bool) -> Scope {
        let access = if push { Access::Push } else { Access::Pull };
        Scope { repository: self.name.clone(), access }
    }

    pub fn deletion(&self) -> Scope {
        Scope { repository: self.name.clone(), access: Access::Delete }
    }

    pub fn protocol(&self, detail: impl Into<String>) -> RegistryError {
        RegistryError::Protocol { host: self.host().to_string(), detail: detail.into() }
    }

    /// Where the registry says to go on, made absolute. A registry behind a proxy that ends TLS may write its own
    /// address without TLS; that is put right rather than followed.
    pub fn location(&self, response: &Response) -> Result<Url, RegistryError> {
        let location =
            response.header("location").ok_or_else(|| self.protocol("an upload without a location"))?;
        let mut url = response
            .url()
            .join(location)
            .map_err(|cause| self.protocol(format!("the location of an upload is not a URL: {cause}")))?;
        let base = &self.endpoint.base;
        if base.scheme() == "https" && url.scheme() == "http" && url.host() == base.host() {
            let moved = url.set_scheme("https").and_then(|()| url.set_port(base.port()));
            moved.map_err(|()| self.protocol("the location of an upload has no usable address"))?;
        }
        Ok(url)
    }

    /// Waits until one more exchange with the registry may run.
    pub async fn permit(&self) -> SemaphorePermit<'_> {
        self.endpoint.running.acquire().await.expect("the semaphore is never closed")
    }

    /// Sends a request as whoever the credentials say, answering a challenge once. Statuses of failure are errors.
    pub async fn send(&self, call: Call<'_>) -> Result<Response, RegistryError> {
        let (endpoint, transport) = (&self.endpoint, &self.endpoint.transport);
        let is_own = |url: &Url| url.origin() == endpoint.base.origin();
        let mut authorization = match is_own(&call.url) {
            true => self.authenticator.known(transport, &call.scopes).await?,
            false => None,
        };
        let headers = self.headers(&call)?;
        let response = self.attempt(&call, &headers, authorization.clone()).await?;
        let judge =
            async |response: Response| response.judged(call.what, self.authenticator.is_anonymous()).await;
        let challenge = response.challenge().filter(|_| is_own(response.url()));
        let (StatusCode::UNAUTHORIZED, Some(challenge)) = (response.status(), challenge) else {
            return judge(response).await.map_err(|error| self.authenticator.explained(error));
        };
        // Reading the refusal to its end keeps the connection, and its text if nothing else can be shown.
        let refusal = judge(response).await;
        let refused = authorization.as_ref();
        authorization = self.authenticator.answer(transport, challenge, &call.scopes, refused).await?;
        let judged = match authorization {
            Some(_) => judge(self.attempt(&call, &headers, authorization).await?).await,
            None => refusal,
        };
        judged.map_err(|error| self.authenticator.explained(error))
    }

    async fn attempt(
        &self,
        call: &Call<'_>,
        headers: &HeaderMap,
        authorization: Option<HeaderValue>,
    ) -> Result<Response, RegistryError> {
        let (method, url, body) = (call.method.clone(), call.url.clone(), call.body.clone());
        let request = Request { method, url, headers: headers.clone(), authorization, body };
        self.endpoint.transport.send(&self.endpoint.host, request).await
    }

    fn headers(&self, call: &Call<'_>) -> Result<HeaderMap, RegistryError> {
        let values = call.headers.iter().map(|(name, value)| {
            let value = HeaderValue::from_str(value)
                .map_err(|_| self.protocol(format!("`{name}` cannot be sent")))?;
            Ok((name.clone(), value))
        });
        values.collect()
    }
}
