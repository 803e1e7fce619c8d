//! Remembers, for one credential at one registry, the challenge and the tokens bought.
//!
//! One token is bought at a time, so that eight uploads that start together buy one and share it.

use std::collections::BTreeMap;
use std::fmt;

use reqwest::header::HeaderValue;
use tokio::sync::{Mutex, OnceCell};

use super::challenge::Challenge;
use super::credentials::{Credential, Credentials, Found};
use super::token::{self, Token, TokenRequest};
use crate::registry::error::RegistryError;
use crate::registry::host::Host;
use crate::registry::transport::Transport;

/// What an exchange needs to be allowed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scope {
    pub repository: String,
    pub access: Access,
}

/// What is to be done in a repository; each includes those before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    Pull,
    Push,
    Delete,
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let actions = match self.access {
            Access::Pull => "pull",
            Access::Push => "pull,push",
            Access::Delete => "pull,push,delete",
        };
        write!(f, "repository:{}:{actions}", self.repository)
    }
}

pub struct Authenticator {
    host: Host,
    /// One of the repositories that share the credential.
    repository: String,
    credentials: Credentials,
    found: OnceCell<Found>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    challenge: Option<Challenge>,
    /// By the scopes they were bought for.
    tokens: BTreeMap<String, Token>,
}

impl Authenticator {
    pub fn new(host: Host, repository: String, credentials: Credentials) -> Self {
        Self { host, repository, credentials, found: OnceCell::new(), state: Mutex::default() }
    }

    /// `Authorization` as far as earlier challenges tell; `None` before the first one.
    pub async fn known(
        &self,
        transport: &Transport,
        scopes: &[Scope],
    ) -> Result<Option<HeaderValue>, RegistryError> {
        let mut state = self.state.lock().await;
        match state.challenge.clone() {
            Some(challenge) => self.grant(transport, &mut state, &challenge, scopes).await,
            None => Ok(None),
        }
    }

    /// `Authorization` after the registry answered 401 to a request with the header `refused`; `None` when there is
    /// nothing else to show.
    pub async fn answer(
        &self,
        transport: &Transport,
        challenge: Challenge,
        scopes: &[Scope],
        refused: Option<&HeaderValue>,
    ) -> Result<Option<HeaderValue>, RegistryError> {
        let mut state = self.state.lock().await;
        let key = token_key(scopes);
        // Somebody else may have renewed the token since the refused request was sent.
        let is_refused = |token: &Token| token.header().as_ref() == refused;
        if state.tokens.get(&key).is_some_and(is_refused) {
            state.tokens.remove(&key);
        }
        state.challenge = Some(challenge.clone());
        let granted = self.grant(transport, &mut state, &challenge, scopes).await?;
        Ok(granted.filter(|header| Some(header) != refused))
    }

    async fn grant(
        &self,
        transport: &Transport,
        state: &mut State,
        challenge: &Challenge,
        scopes: &[Scope],
    ) -> Result<Option<HeaderValue>, RegistryError> {
        let credential = &self.found().await.credential;
        match (challenge, credential) {
            (Challenge::Basic, Credential::Basic { username, password }) => {
                Ok(token::basic(username, password))
            }
            (Challenge::Basic, Credential::IdentityToken { username, token }) => {
                Ok(token::basic(username, token))
            }
            (Challenge::Basic, _) => Ok(None),
            (Challenge::Bearer { .. }, Credential::RegistryToken(token)) => Ok(token::bearer(token)),
            (Challenge::Bearer { realm, service, scope }, _) => {
                let key = token_key(scopes);
                if let Some(token) = state.tokens.get(&key).filter(|token| token.is_fresh()) {
                    return Ok(token.header());
                }
                let wanted = wanted_scopes(scopes, scope.as_deref());
                let service = service.as_deref();
                let request = TokenRequest { host: &self.host, realm, service, scopes: &wanted, credential };
                let bought =
                    token::fetch(transport, &request).await.map_err(|error| self.explained(error))?;
                let header = bought.header();
                state.tokens.insert(key, bought);
                Ok(header)
            }
        }
    }

    async fn found(&self) -> &Found {
        self.found.get_or_init(|| self.credentials.find(&self.host, &self.repository)).await
    }

    pub fn is_anonymous(&self) -> bool {
        self.found.get().is_none_or(|found| found.credential == Credential::Anonymous)
    }

    /// Adds to a refusal whose credentials were shown, and what kept others from being found.
    pub fn explained(&self, error: RegistryError) -> RegistryError {
        match (error, self.found.get()) {
            (RegistryError::Unauthorized { host, what, detail, anonymous }, Some(found)) => {
                let shown = found.source.iter().filter(|_| !anonymous);
                let notes: Vec<String> = shown
                    .map(|source| format!("they are those of {source}"))
                    .chain(found.obstacles.iter().cloned())
                    .collect();
                let detail = match (notes.is_empty(), detail.is_empty()) {
                    (true, _) => detail,
                    (false, true) => notes.join("; "),
                    (false, false) => format!("{detail} ({})", notes.join("; ")),
                };
                RegistryError::Unauthorized { host, what, detail, anonymous }
            }
            (other, _) => other,
        }
    }
}

fn token_key(scopes: &[Scope]) -> String {
    scopes.iter().map(Scope::to_string).collect::<Vec<_>>().join(" ")
}

/// The exchange's own scopes, then those the registry asks for besides.
fn wanted_scopes(scopes: &[Scope], asked: Option<&str>) -> Vec<String> {
    let mut wanted: Vec<String> = scopes.iter().map(Scope::to_string).collect();
    for scope in asked.unwrap_or_default().split_whitespace() {
        if !wanted.iter().any(|known| known == scope) {
            wanted.push(scope.to_string());
        }
    }
    wanted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scopes_asked_for_are_added_once() {
        let own = [
            Scope { repository: "a/b".into(), access: Access::Push },
            Scope { repository: "base".into(), access: Access::Pull },
        ];
        let wanted = wanted_scopes(&own, Some("repository:a/b:pull,push registry:catalog:*"));
        assert_eq!(wanted, ["repository:a/b:pull,push", "repository:base:pull", "registry:catalog:*"]);
    }
}
