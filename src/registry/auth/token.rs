//! Buys access tokens from the token server a registry names.
//!
//! Follows "Token Authentication Specification" (GET, with Basic credentials or none) and "Oauth2 Token
//! Authentication" (POST with a refresh token) of the distribution project.

use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderValue};
use reqwest::{Method, Url};
use serde::Deserialize;

use super::credentials::Credential;
use crate::base::Secret;
use crate::registry::error::RegistryError;
use crate::registry::host::Host;
use crate::registry::transport::{Body, Request, Transport};

/// An access token and until when it is worth showing.
#[derive(Clone)]
pub struct Token {
    value: Secret,
    stale_at: Instant,
}

/// What a registry's challenge and an exchange together ask for.
pub struct TokenRequest<'a> {
    pub host: &'a Host,
    pub realm: &'a str,
    pub service: Option<&'a str>,
    pub scopes: &'a [String],
    pub credential: &'a Credential,
}

#[derive(Deserialize)]
struct Answer {
    #[serde(default)]
    token: Option<String>,
    #[serde(default)]
    access_token: Option<String>,
    #[serde(default)]
    expires_in: Option<u64>,
}

const LARGEST_ANSWER: u64 = 1024 * 1024;
/// What the specification says of tokens that name no life time.
const DEFAULT_LIFE: u64 = 60;
const CLIENT_ID: &str = "mab";

impl Token {
    pub fn is_fresh(&self) -> bool {
        Instant::now() < self.stale_at
    }

    pub fn header(&self) -> Option<HeaderValue> {
        bearer(&self.value)
    }
}

/// `Authorization` with a bearer token; `None` if the token cannot stand in a header.
pub fn bearer(token: &Secret) -> Option<HeaderValue> {
    sensitive([b"Bearer ", token.expose()].concat())
}

/// `Authorization` with name and password.
pub fn basic(username: &str, password: &Secret) -> Option<HeaderValue> {
    let pair = [username.as_bytes(), b":", password.expose()].concat();
    sensitive(format!("Basic {}", STANDARD.encode(pair)).into_bytes())
}

fn sensitive(bytes: Vec<u8>) -> Option<HeaderValue> {
    let mut value = HeaderValue::from_bytes(&bytes).ok()?;
    value.set_sensitive(true);
    Some(value)
}

/// Gets a token. Trying again is left to the exchange that needs it.
pub async fn fetch(transport: &Transport, request: &TokenRequest<'_>) -> Result<Token, RegistryError> {
    let realm = &Url::parse(request.realm).map_err(|cause| RegistryError::Protocol {
        host: request.host.name().to_string(),
        detail: format!("its token server's address is not a URL: {cause}"),
    })?;
    let Credential::IdentityToken { username, token } = request.credential else {
        let authorization = match request.credential {
            Credential::Basic { username, password } => basic(username, password),
            _ => None,
        };
        return get(transport, request, realm, authorization).await;
    };
    match post(transport, request, realm, token).await {
        // Token servers without OAuth2 take the identity token as a password.
        Err(RegistryError::Refused { status: 404 | 405, .. }) => {
            get(transport, request, realm, basic(username, token)).await
        }
        answer => answer,
    }
}

async fn get(
    transport: &Transport,
    request: &TokenRequest<'_>,
    realm: &Url,
    authorization: Option<HeaderValue>,
) -> Result<Token, RegistryError> {
    let mut url = realm.clone();
    {
        let mut query = url.query_pairs_mut();
        query.extend_pairs(request.service.map(|service| ("service", service)));
        query.extend_pairs(request.scopes.iter().map(|scope| ("scope", scope)));
    }
    let sent =
        Request { method: Method::GET, url, headers: HeaderMap::new(), authorization, body: Body::Empty };
    receive(transport, request, sent).await
}

async fn post(
    transport: &Transport,
    request: &TokenRequest<'_>,
    realm: &Url,
    token: &Secret,
) -> Result<Token, RegistryError> {
    let mut form = realm.clone();
    form.set_query(None);
    form.query_pairs_mut()
        .append_pair("grant_type", "refresh_token")
        .extend_pairs(request.service.map(|service| ("service", service)))
        .append_pair("client_id", CLIENT_ID)
        .append_pair("scope", &request.scopes.join(" "))
        .append_pair("refresh_token", token.expose_str().unwrap_or_default());
    let body = Bytes::from(form.query().unwrap_or_default().to_string());
    let content_type = HeaderValue::from_static("application/x-www-form-urlencoded");
    let sent = Request {
        method: Method::POST,
        url: realm.clone(),
        headers: HeaderMap::from_iter([(CONTENT_TYPE, content_type)]),
        authorization: None,
        body: Body::Secret(body),
    };
    receive(transport, request, sent).await
}

async fn receive(
    transport: &Transport,
    request: &TokenRequest<'_>,
    sent: Request<'_>,
) -> Result<Token, RegistryError> {
    let what = format!("a token for {}", request.scopes.join(" "));
    let anonymous = *request.credential == Credential::Anonymous;
    // The life of a token begins before it arrives.
    let asked_at = Instant::now();
    let response = transport.send(request.host, sent).await?.judged(&what, anonymous).await?;
    let bytes = response.bytes(LARGEST_ANSWER, &what).await?;
    let protocol = |detail: &str| RegistryError::Protocol {
        host: request.host.name().to_string(),
        detail: format!("its token server {detail}"),
    };
    // What serde_json says about the answer could show the token.
    let answer: Answer = serde_json::from_slice(&bytes).map_err(|_| protocol("answered without a token"))?;
    let value = answer.token.into_iter().chain(answer.access_token).find(|token| !token.is_empty());
    let value = Secret::new(value.ok_or_else(|| protocol("answered without a token"))?);
    bearer(&value).ok_or_else(|| protocol("answered with a token that cannot be sent"))?;
    let life = Duration::from_secs(answer.expires_in.unwrap_or(DEFAULT_LIFE).clamp(1, 24 * 3600));
    Ok(Token { value, stale_at: asked_at + life - (life / 4).min(Duration::from_secs(10)) })
}
