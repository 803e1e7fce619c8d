//! The secrets that sources are asked with, by the names that BuildKit gives them. Each goes to one host.

use std::collections::BTreeMap;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::error::SourceError;
use crate::base::Secret;
use crate::model::SecretSource;

/// What a target has to show to hosts. Values are read when they are needed.
#[derive(Clone, Debug, Default)]
pub struct SourceAuth {
    secrets: BTreeMap<String, SecretSource>,
    environment: BTreeMap<String, Secret>,
}

/// More than any token has.
const LARGEST_SECRET: u64 = 64 * 1024;

impl SourceAuth {
    /// Of all secrets, those that are for sources.
    pub fn new<'a>(
        secrets: impl Iterator<Item = (&'a String, &'a SecretSource)>,
        environment: &BTreeMap<String, String>,
    ) -> Self {
        let is_for_sources = |id: &str| id.starts_with("HTTP_AUTH_") || id.starts_with("GIT_AUTH_");
        let secrets: BTreeMap<String, SecretSource> = secrets
            .filter(|(id, _)| is_for_sources(id))
            .map(|(id, source)| (id.clone(), source.clone()))
            .collect();
        let variables = secrets.iter().filter_map(|(id, source)| match source {
            SecretSource::Env(name) => Some(name),
            SecretSource::ById(_) => Some(id),
            SecretSource::File(_) | SecretSource::Variable { .. } => None,
        });
        let environment = variables
            .filter_map(|name| Some((name.clone(), Secret::new(environment.get(name)?.as_bytes()))))
            .collect();
        Self { secrets, environment }
    }

    /// The `Authorization` header for a file on `host`, which is a name without port.
    pub(super) fn for_http(&self, host: &str, what: &str) -> Result<Option<Secret>, SourceError> {
        if let Some(token) = self.value(&format!("HTTP_AUTH_TOKEN_{host}"), what)? {
            return Ok(Some(Secret::new([b"Bearer ", token.expose()].concat())));
        }
        self.value(&format!("HTTP_AUTH_HEADER_{host}"), what)
    }

    /// The `Authorization` header for a repository on `host`, which has its port.
    pub(super) fn for_git(&self, host: &str, what: &str) -> Result<Option<Secret>, SourceError> {
        for suffix in [format!(".{host}"), String::new()] {
            if let Some(header) = self.value(&format!("GIT_AUTH_HEADER{suffix}"), what)? {
                return Ok(Some(header));
            }
            if let Some(token) = self.value(&format!("GIT_AUTH_TOKEN{suffix}"), what)? {
                let pair = [b"x-access-token:", token.expose()].concat();
                return Ok(Some(Secret::new(format!("basic {}", STANDARD.encode(pair)))));
            }
        }
        Ok(None)
    }

    fn value(&self, id: &str, what: &str) -> Result<Option<Secret>, SourceError> {
        let Some(source) = self.secrets.get(id) else { return Ok(None) };
        let found = match source {
            SecretSource::Env(name) => self.environment.get(name).cloned(),
            SecretSource::File(path) => Some(read(path, id, what)?),
            SecretSource::Variable { value, .. } => value.clone(),
            SecretSource::ById(path) => match self.environment.get(id) {
                Some(value) => Some(value.clone()),
                None => Some(read(path, id, what)?),
            },
        };
        Ok(found.map(|value| Secret::new(value.expose().trim_ascii_end())))
    }
}

fn read(path: &Path, id: &str, what: &str) -> Result<Secret, SourceError> {
    let failed = |cause: String| SourceError::Secret { id: id.to_string(), what: what.to_string(), cause };
    let mut bytes = Vec::new();
    let opened = std::fs::File::open(path).and_then(|file| {
        std::io::Read::read_to_end(&mut std::io::Read::take(file, LARGEST_SECRET + 1), &mut bytes)
    });
    opened.map_err(|cause| failed(cause.to_string()))?;
    if bytes.len() as u64 > LARGEST_SECRET {
        return Err(failed(format!("it has more than {LARGEST_SECRET} bytes")));
    }
    Ok(Secret::new(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_for_its_host() {
        let env = |name: &str| SecretSource::Env(name.to_string());
        let secrets: BTreeMap<String, SecretSource> = [
            ("HTTP_AUTH_TOKEN_files.example.com", env("A")),
            ("HTTP_AUTH_HEADER_other.example.com", env("B")),
            ("GIT_AUTH_TOKEN.git.example.com:8443", env("A")),
            ("GIT_AUTH_HEADER", env("B")),
            ("npm", env("A")),
        ]
        .map(|(id, source)| (id.to_string(), source))
        .into();
        let environment = [("A", "token\n"), ("B", "Basic eA==")];
        let environment = environment.map(|(name, value)| (name.to_string(), value.to_string())).into();
        let auth = SourceAuth::new(secrets.iter(), &environment);
        let shown =
            |secret: Option<Secret>| secret.map(|secret| secret.expose_str().unwrap_or_default().to_string());
        for (host, expected) in [
            ("files.example.com", Some("Bearer token")),
            ("other.example.com", Some("Basic eA==")),
            ("example.com", None),
        ] {
            assert_eq!(shown(auth.for_http(host, "x").unwrap()).as_deref(), expected, "{host}");
        }
        for (host, expected) in
            [("git.example.com:8443", "basic eC1hY2Nlc3MtdG9rZW46dG9rZW4="), ("any", "Basic eA==")]
        {
            assert_eq!(shown(auth.for_git(host, "x").unwrap()).as_deref(), Some(expected), "{host}");
        }
        assert!(!format!("{auth:?}").contains("token\\n"));
    }
}
