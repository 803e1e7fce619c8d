//! A registry greeted for its own sake: whether it answers, and lets this user in.

use std::time::SystemTime;

use reqwest::Method;

use super::auth::Credential;
use super::client::Registry;
use super::endpoint::Call;
use super::error::RegistryError;
use super::host::Host;
use super::transport::Body;
use crate::base::Reference;

/// What a registry says to somebody who wants nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Greeting {
    /// Whom it was greeted as; nobody where there are no credentials.
    pub user: Option<String>,
    /// It lets in nobody without credentials, and there are none: it answers, at least.
    pub is_closed: bool,
    /// Without TLS.
    pub is_plain: bool,
    /// Its clock.
    pub date: Option<SystemTime>,
}

impl Registry {
    /// Asks the registry of this name, perhaps with the folder of repositories that credentials are for, whether it is
    /// there and what it thinks of them. Tried once.
    pub async fn greet(&self, name: &str) -> Result<Greeting, RegistryError> {
        let what = format!("`{name}`");
        let folder = if name.contains('/') { name.to_string() } else { format!("{name}/any") };
        let reference: Reference = folder.parse().map_err(|_| RegistryError::Unreachable {
            host: name.to_string(),
            cause: "this is not the name of a registry".to_string(),
        })?;
        let repository = self.repository(&reference).await?;
        let host = Host::of(reference.registry());
        let found = self.options().credentials.find(&host, reference.repository()).await;
        let user = user(&found.credential);
        let url = repository.root();
        let is_plain = url.scheme() == "http";
        let call = Call {
            method: Method::GET,
            url,
            headers: Vec::new(),
            scopes: Vec::new(),
            body: Body::Empty,
            what: &what,
        };
        match repository.send(call).await {
            Ok(response) => {
                let date = response.header("date").and_then(date);
                Ok(Greeting { user, is_closed: false, is_plain, date })
            }
            Err(RegistryError::Unauthorized { anonymous: true, .. }) if user.is_none() => {
                Ok(Greeting { user, is_closed: true, is_plain, date: None })
            }
            Err(error) => Err(error),
        }
    }
}

fn user(credential: &Credential) -> Option<String> {
    match credential {
        Credential::Anonymous => None,
        Credential::Basic { username, .. } => Some(username.clone()),
        Credential::IdentityToken { username, .. } if username.is_empty() => Some("a token".to_string()),
        Credential::IdentityToken { username, .. } => Some(username.clone()),
        Credential::RegistryToken(_) => Some("a token".to_string()),
    }
}

/// Of a header: `Sun, 06 Nov 1994 08:49:37 GMT`.
fn date(text: &str) -> Option<SystemTime> {
    jiff::fmt::rfc2822::parse(text).ok().map(|date| date.timestamp().into())
}
