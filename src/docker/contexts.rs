//! Contexts as the docker command line keeps them, below its configuration's folder:
//!
//! ```text
//! config.json                                 "currentContext"
//! contexts/meta/SHA256-OF-NAME/meta.json      "Endpoints": { "docker": { "Host": … } }
//! contexts/tls/SHA256-OF-NAME/docker/*.pem    ca, cert, key
//! ```

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::EngineError;
use crate::base::Digest;
use crate::model::Tls;

/// The context that stands for DOCKER_HOST or the usual socket.
pub(super) const DEFAULT: &str = "default";

#[derive(Deserialize)]
struct Configuration {
    #[serde(default, rename = "currentContext")]
    current: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Meta {
    #[serde(default)]
    endpoints: BTreeMap<String, EndpointMeta>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct EndpointMeta {
    #[serde(default)]
    host: String,
}

/// The context that is used when nobody names one. Whoever has no readable configuration has chosen none.
pub(super) fn current(folder: &Path) -> Option<String> {
    let text = fs::read(folder.join("config.json")).ok()?;
    let configuration: Configuration = serde_json::from_slice(&text).ok()?;
    Some(configuration.current).filter(|name| !name.is_empty())
}

/// Where the Engine of a context is, and how it is spoken to.
pub(super) fn read(folder: &Path, name: &str) -> Result<(String, Option<Tls>), EngineError> {
    let id = Digest::of(name.as_bytes()).hex();
    let path = folder.join("contexts/meta").join(&id).join("meta.json");
    let bad = |path: PathBuf, cause: String| EngineError::Context { name: name.to_string(), path, cause };
    let text = fs::read(&path).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => EngineError::NoContext { name: name.to_string() },
        _ => bad(path.clone(), error.to_string()),
    })?;
    let mut meta: Meta =
        serde_json::from_slice(&text).map_err(|error| bad(path.clone(), error.to_string()))?;
    let endpoint = meta.endpoints.remove("docker").filter(|endpoint| !endpoint.host.is_empty());
    let endpoint = endpoint.ok_or_else(|| bad(path, "it names no Docker Engine".to_string()))?;
    Ok((endpoint.host, tls_of(&folder.join("contexts/tls").join(&id).join("docker"))))
}

/// The keys and certificates in a folder, if there are any.
pub(super) fn tls_of(folder: &Path) -> Option<Tls> {
    let file = |name: &str| Some(folder.join(name)).filter(|path| path.is_file());
    let tls = Tls { ca: file("ca.pem"), cert: file("cert.pem"), key: file("key.pem") };
    (tls != Tls::default()).then_some(tls)
}
