//! What can go wrong with a registry, and what its user can do about it.

use std::time::Duration;

use serde::Deserialize;

use crate::base::Digest;
use crate::diag::{Kind, Problem};
use crate::http::Transient;

/// Why an exchange with a registry failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RegistryError {
    #[error("cannot reach `{host}`: {cause}")]
    Unreachable { host: String, cause: String },
    /// The connection stood, and broke or stalled.
    #[error("the connection to `{host}` broke: {cause}")]
    Broken { host: String, cause: String },
    #[error("`{host}` does not let in{} for {what}{}", if *.anonymous { " without credentials" } else { " with these credentials" }, shown(.detail))]
    Unauthorized {
        host: String,
        what: String,
        detail: String,
        /// No credentials were found for the host.
        anonymous: bool,
    },
    #[error("`{host}` denies access to {what}{}", shown(.detail))]
    Denied { host: String, what: String, detail: String },
    #[error("{what} does not exist")]
    NotFound { what: String },
    #[error("`--offline` keeps from asking about `{what}`")]
    Offline { what: String },
    #[error("`{host}` limits the rate of requests{}", .retry_after.map(|after| format!("; it asks to wait {} s", after.as_secs())).unwrap_or_default())]
    RateLimited { host: String, retry_after: Option<Duration> },
    #[error("`{host}` is out of order (status {status}){}", shown(.detail))]
    Unavailable { host: String, status: u16, detail: String, retry_after: Option<Duration> },
    #[error("`{host}` refuses {what} (status {status}){}", shown(.detail))]
    Refused { host: String, what: String, status: u16, code: String, detail: String },
    #[error("`{host}` does not keep to the protocol: {detail}")]
    Protocol { host: String, detail: String },
    #[error("`{host}` does not speak TLS")]
    Plain { host: String },
    #[error("`{host}` shows a certificate that is not accepted: {cause}")]
    Certificate { host: String, cause: String },
    #[error("{what} has the digest {actual}, not {expected}")]
    DigestMismatch { what: String, expected: Digest, actual: Digest },
    #[error("{what} has {actual} bytes, not {expected}")]
    SizeMismatch { what: String, expected: u64, actual: u64 },
    #[error("{what} is larger than {limit} bytes")]
    TooLarge { what: String, limit: u64 },
    #[error("cannot read or write {what}: {cause}")]
    Local { what: String, cause: String },
    #[error("cannot use the credentials in `{place}`: {cause}")]
    Credentials { place: String, cause: String },
}

fn shown(detail: &str) -> String {
    if detail.is_empty() { String::new() } else { format!(": {detail}") }
}

impl Transient for RegistryError {
    fn is_transient(&self) -> bool {
        matches!(
            self,
            Self::Unreachable { .. }
                | Self::Broken { .. }
                | Self::RateLimited { .. }
                | Self::Unavailable { .. }
        )
    }

    fn is_unreachable(&self) -> bool {
        matches!(self, Self::Unreachable { .. })
    }

    fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::RateLimited { retry_after, .. } | Self::Unavailable { retry_after, .. } => *retry_after,
            _ => None,
        }
    }
}

impl RegistryError {
    /// The error as people read it.
    pub fn problem(&self) -> Problem {
        let kind = match self {
            Self::Local { .. } => Kind::Host,
            Self::Credentials { .. } | Self::Offline { .. } => Kind::Input,
            _ => Kind::Remote,
        };
        let problem = Problem::new(kind, self.code(), self.to_string());
        match self.help() {
            Some(help) => problem.help(help),
            None => problem,
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::Unreachable { .. } => "registry::unreachable",
            Self::Broken { .. } => "registry::broken-connection",
            Self::Unauthorized { .. } => "registry::unauthorized",
            Self::Denied { .. } => "registry::denied",
            Self::NotFound { .. } => "registry::not-found",
            Self::Offline { .. } => "registry::offline",
            Self::RateLimited { .. } => "registry::rate-limited",
            Self::Unavailable { .. } => "registry::unavailable",
            Self::Refused { .. } => "registry::refused",
            Self::Protocol { .. } => "registry::protocol",
            Self::Plain { .. } => "registry::plain",
            Self::Certificate { .. } => "registry::certificate",
            Self::DigestMismatch { .. } => "registry::digest-mismatch",
            Self::SizeMismatch { .. } => "registry::size-mismatch",
            Self::TooLarge { .. } => "registry::too-large",
            Self::Local { .. } => "registry::local",
            Self::Credentials { .. } => "registry::credentials",
        }
    }

    fn help(&self) -> Option<String> {
        Some(match self {
            Self::Unreachable { host, .. } => {
                format!("check the name `{host}`, the network and HTTPS_PROXY")
            }
            Self::Broken { .. } | Self::Unavailable { .. } => {
                "run again; what was already transferred is not transferred again".to_string()
            }
            Self::Unauthorized { host, anonymous: true, .. } => {
                format!("check the spelling, or run `{}`", login(host))
            }
            Self::Unauthorized { host, .. } => {
                format!("the credentials are wrong or expired; run `{}`", login(host))
            }
            Self::Denied { host, .. } => {
                format!(
                    "ask for access to the repository, or log in as somebody who has it: `{}`",
                    login(host)
                )
            }
            Self::NotFound { .. } => "check the spelling of repository and tag".to_string(),
            Self::Offline { .. } => {
                "run once without `--offline`; `mab lock` pins names, so that nobody needs to be asked about \
                                     them again"
                    .to_string()
            }
            Self::RateLimited { host, .. } if host == "docker.io" => {
                "log in with `mab login`, which has a higher limit, or wait".to_string()
            }
            Self::RateLimited { .. } => "wait, or log in with an account that has a higher limit".to_string(),
            Self::DigestMismatch { .. } | Self::SizeMismatch { .. } => {
                "the content was changed on its way or in the registry; it was not used".to_string()
            }
            Self::Plain { host } => format!(
                "if it is meant to do without, say so in your own settings: `insecure = true` in `[registry.\"{host}\"]`"
            ),
            Self::Certificate { host, .. } => format!(
                "name the authority that made it in your own settings: `ca = \"FILE.pem\"` in `[registry.\"{host}\"]`"
            ),
            Self::Credentials { place, .. } if place == "DOCKER_AUTH_CONFIG" => {
                "correct the variable, or unset it, so that the config file counts".to_string()
            }
            Self::Credentials { .. } => "correct the file, or log in again with `mab login`".to_string(),
            Self::Refused { status: 404, .. } => {
                "some registries want a repository to be created before it is pushed to".to_string()
            }
            Self::Refused { .. } | Self::Protocol { .. } | Self::TooLarge { .. } | Self::Local { .. } => {
                return None;
            }
        })
    }
}

/// `mab login` without a name means Docker Hub.
fn login(host: &str) -> String {
    if host == "docker.io" { "mab login".to_string() } else { format!("mab login {host}") }
}

/// The longest text of a registry's own that is shown.
const SHOWN: usize = 400;

/// The first code and the messages of an error answer (distribution-spec, "Error Codes"); for other bodies
/// their first line, if it is plain text.
pub(super) fn parse_error_body(body: &[u8]) -> (String, String) {
    #[derive(Deserialize)]
    struct Body {
        #[serde(default)]
        errors: Vec<Entry>,
        /// What token servers say, next to or instead of `errors`.
        #[serde(default, alias = "error_description", alias = "details")]
        message: Option<String>,
    }
    #[derive(Deserialize)]
    struct Entry {
        #[serde(default)]
        code: String,
        #[serde(default)]
        message: String,
    }
    let Ok(parsed) = serde_json::from_slice::<Body>(body) else {
        let text = String::from_utf8_lossy(body);
        let line = text.lines().next().unwrap_or_default().trim();
        return (String::new(), if line.starts_with('<') { String::new() } else { printable(line) });
    };
    let code = parsed.errors.first().map(|entry| entry.code.clone()).unwrap_or_default();
    let mut messages: Vec<String> = Vec::new();
    for entry in &parsed.errors {
        let text = if entry.message.is_empty() { &entry.code } else { &entry.message };
        if !text.is_empty() && !messages.contains(text) {
            messages.push(text.clone());
        }
    }
    messages.extend(parsed.message.filter(|_| parsed.errors.is_empty()));
    (code, printable(&messages.join("; ")))
}

/// What a remote wrote, without control characters that would act on a terminal, and not too long.
pub(super) fn printable(text: &str) -> String {
    let mut shown: String = text.chars().filter(|c| !c.is_control()).take(SHOWN).collect();
    if text.chars().nth(SHOWN).is_some() {
        shown.push('…');
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn error_bodies_are_understood_or_shown() {
        for (body, code, detail) in [
            (r#"{"errors":[{"code":"DENIED","message":"no","detail":{"a":1}}]}"#, "DENIED", "no"),
            (r#"{"errors":[{"code":"A","message":"x"},{"code":"B","message":"y"}]}"#, "A", "x; y"),
            (r#"{"errors":[{"code":"TAG_IMMUTABLE"}]}"#, "TAG_IMMUTABLE", "TAG_IMMUTABLE"),
            (r#"{"details":"incorrect username or password"}"#, "", "incorrect username or password"),
            ("<html><body>502</body></html>", "", ""),
            ("try \u{1b}[31mlater\nmore", "", "try [31mlater"),
            ("", "", ""),
        ] {
            assert_eq!(parse_error_body(body.as_bytes()), (code.to_string(), detail.to_string()), "{body}");
        }
        assert_eq!(parse_error_body("x".repeat(5000).as_bytes()).1.chars().count(), SHOWN + 1);
    }

    #[test]
    fn problems_tell_the_next_step() {
        let error = RegistryError::Unauthorized {
            host: "ghcr.io".into(),
            what: "`ghcr.io/a/b:1`".into(),
            detail: "authentication required".into(),
            anonymous: true,
        };
        let problem = error.problem();
        assert_eq!(
            (problem.code, problem.kind, problem.message.as_str()),
            (
                "registry::unauthorized",
                Kind::Remote,
                "`ghcr.io` does not let in without credentials for `ghcr.io/a/b:1`: authentication required"
            )
        );
        assert_eq!(problem.help.as_deref(), Some("check the spelling, or run `mab login ghcr.io`"));
        let error = RegistryError::Credentials { place: "DOCKER_AUTH_CONFIG".into(), cause: "x".into() };
        let help = "correct the variable, or unset it, so that the config file counts";
        assert_eq!(error.problem().help.as_deref(), Some(help));
    }
}
