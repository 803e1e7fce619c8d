//! Credentials kept for later, and forgotten: in Docker's config file, or by the helper that the file names.
//!
//! What else stands in the file stays as it is. It is replaced whole, for its owner's eyes only; one writer at a time.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustix::fs::{FlockOperation, flock};
use serde_json::{Map, Value, json};

use super::credentials::{self, Credential, CredentialPlaces};
use super::docker_config::{DockerConfig, is_entry_of};
use super::helper::{self, TOKEN_USER};
use crate::registry::error::RegistryError;
use crate::registry::host::Host;

/// Where a credential is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Keeping {
    /// As it is, but for base64.
    File(PathBuf),
    /// A helper's name, without `docker-credential-`.
    Helper(String),
}

impl CredentialPlaces {
    /// Keeps a credential for a registry, in the place of what was kept before.
    pub async fn keep(&self, registry: &str, credential: &Credential) -> Result<Keeping, RegistryError> {
        let host = Host::of(registry);
        let path = self.writable()?;
        if let Some(name) = config(&path)?.helper(&host).map(str::to_string) {
            let (username, secret) = match credential {
                Credential::Basic { username, password } => (username.as_str(), password),
                Credential::IdentityToken { token, .. } => (TOKEN_USER, token),
                Credential::Anonymous | Credential::RegistryToken(_) => {
                    return Err(refused(&path, "helpers keep passwords and identity tokens only"));
                }
            };
            let secret = secret.expose_str().ok_or_else(|| refused(&path, "the password is no text"))?;
            let input = json!({ "ServerURL": host.credential_key(), "Username": username, "Secret": secret });
            let kept = helper::tell(&name, "store", &input.to_string(), self.path.as_deref()).await;
            kept.map_err(|cause| refused(&path, &cause))?;
            // As Docker does, so that the registries that are logged in to are known.
            edit(&path, |auths| replace(auths, &host, json!({})))?;
            return Ok(Keeping::Helper(name));
        }
        let entry = entry(credential).ok_or_else(|| refused(&path, "there is nothing to keep"))?;
        edit(&path, |auths| replace(auths, &host, entry))?;
        Ok(Keeping::File(path))
    }

    /// Forgets what is kept for a registry, and tells where that was.
    pub async fn forget(&self, registry: &str) -> Result<Vec<Keeping>, RegistryError> {
        let host = Host::of(registry);
        let path = self.writable()?;
        let config = config(&path)?;
        let mut gone = Vec::new();
        if let Some(name) = config.helper(&host) {
            let known = helper::ask(name, host.credential_key(), self.path.as_deref()).await;
            if known.map_err(|cause| refused(&path, &cause))?.is_some() {
                let erased = helper::tell(name, "erase", host.credential_key(), self.path.as_deref()).await;
                erased.map_err(|cause| refused(&path, &cause))?;
                gone.push(Keeping::Helper(name.to_string()));
            }
        }
        if config.has_entry(&host) {
            let is_kept_there = config.stored(&host, "").is_some();
            edit(&path, |auths| auths.retain(|key, _| !is_entry_of(key, &host)))?;
            gone.extend(is_kept_there.then_some(Keeping::File(path)));
        }
        Ok(gone)
    }

    /// Docker's own file: what it writes there, every tool reads.
    fn writable(&self) -> Result<PathBuf, RegistryError> {
        let folder = self.docker_config.clone().or_else(|| Some(self.home.as_ref()?.join(".docker")));
        let folder = folder.ok_or_else(|| RegistryError::Credentials {
            place: "HOME".to_string(),
            cause: "it is not set, so there is no place to keep credentials".to_string(),
        })?;
        let path = folder.join("config.json");
        // Where it is a link, it is the file that is replaced.
        Ok(fs::canonicalize(&path).unwrap_or(path))
    }
}

fn refused(path: &Path, cause: &str) -> RegistryError {
    RegistryError::Credentials { place: path.display().to_string(), cause: cause.to_string() }
}

fn config(path: &Path) -> Result<DockerConfig, RegistryError> {
    match credentials::read(path)? {
        Some(bytes) => credentials::parse(&path.display().to_string(), &bytes),
        None => Ok(DockerConfig::default()),
    }
}

fn entry(credential: &Credential) -> Option<Value> {
    let pair =
        |username: &str, password: &[u8]| STANDARD.encode([username.as_bytes(), b":", password].concat());
    match credential {
        Credential::Basic { username, password } => {
            Some(json!({ "auth": pair(username, password.expose()) }))
        }
        Credential::IdentityToken { username, token } => {
            Some(json!({ "auth": pair(username, b""), "identitytoken": token.expose_str()? }))
        }
        Credential::RegistryToken(token) => Some(json!({ "registrytoken": token.expose_str()? })),
        Credential::Anonymous => None,
    }
}

fn replace(auths: &mut Map<String, Value>, host: &Host, entry: Value) {
    auths.retain(|key, _| !is_entry_of(key, host));
    auths.insert(host.credential_key().to_string(), entry);
}

/// Changes `auths` of the file, which need not be there yet.
fn edit(path: &Path, change: impl FnOnce(&mut Map<String, Value>)) -> Result<(), RegistryError> {
    let failed = |cause: io::Error| refused(path, &cause.to_string());
    let folder = path.parent().expect("a file stands in a folder");
    fs::DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(failed)?;
    let lock = File::open(folder).map_err(failed)?;
    flock(&lock, FlockOperation::LockExclusive).map_err(|cause| failed(cause.into()))?;
    let bytes = credentials::read(path)?.filter(|bytes| !bytes.iter().all(u8::is_ascii_whitespace));
    let mut document: Value = match bytes {
        // The position alone: messages could quote a secret.
        Some(bytes) => serde_json::from_slice(&bytes)
            .map_err(|error| refused(path, &format!("not JSON (line {})", error.line())))?,
        None => json!({}),
    };
    let auths = document.as_object_mut().map(|object| object.entry("auths").or_insert_with(|| json!({})));
    let auths = auths.and_then(Value::as_object_mut).ok_or_else(|| refused(path, "`auths` is no object"))?;
    change(auths);
    // Made readable for its owner alone, as temporary files are.
    let mut file = tempfile::NamedTempFile::new_in(folder).map_err(failed)?;
    let text = serde_json::to_string_pretty(&document).expect("what was JSON is JSON");
    file.write_all(text.as_bytes()).and_then(|()| file.write_all(b"\n")).map_err(failed)?;
    file.as_file().sync_all().map_err(failed)?;
    file.persist(path).map(drop).map_err(|error| failed(error.error))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;
    use crate::base::Secret;

    #[tokio::test]
    async fn what_else_stands_in_the_file_stays() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config.json");
        let places = CredentialPlaces { docker_config: Some(folder.path().into()), ..Default::default() };
        let basic = Credential::Basic { username: "u".into(), password: Secret::new("p") };
        fs::write(
            &path,
            r#"{"proxies":{"a":1},"auths":{"https://ghcr.io/v1/":{"auth":"old"},"quay.io":{}}}"#,
        )
        .unwrap();
        assert_eq!(places.keep("ghcr.io", &basic).await.unwrap(), Keeping::File(path.clone()));
        let written: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        assert_eq!(written, json!({"proxies":{"a":1},"auths":{"quay.io":{},"ghcr.io":{"auth":"dTpw"}}}));
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let token = Credential::IdentityToken { username: "u".into(), token: Secret::new("t") };
        places.keep("docker.io", &token).await.unwrap();
        let hub = &serde_json::from_slice::<Value>(&fs::read(&path).unwrap()).unwrap()["auths"];
        assert_eq!(hub["https://index.docker.io/v1/"], json!({"auth":"dTo=","identitytoken":"t"}));
        assert_eq!(places.forget("ghcr.io").await.unwrap(), [Keeping::File(path.clone())]);
        assert_eq!(places.forget("ghcr.io").await.unwrap(), []);
        fs::write(&path, r#"{"auths": hunter2"#).unwrap();
        let message = places.keep("ghcr.io", &basic).await.unwrap_err().to_string();
        assert!(!message.contains("hunter2"), "{message}");
        assert_eq!(fs::read(&path).unwrap(), br#"{"auths": hunter2"#);
    }
}
