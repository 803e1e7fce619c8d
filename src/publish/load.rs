//! Loads an image into a Docker Engine, as `docker load` does.
//!
//! The archive comes from the caller; this knows how to reach an engine and how it answers.

use std::time::Duration;

use bollard::query_parameters::ImportImageOptionsBuilder;
use bollard::{API_DEFAULT_VERSION, Docker};
use futures_util::StreamExt as _;
use tokio::io::AsyncRead;
use tokio_util::io::ReaderStream;

use crate::diag::{Kind, Problem};

/// Where an engine listens, as DOCKER_HOST writes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EngineAddress(String);

/// What an engine said about an archive.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Loaded {
    /// Names, or ids of images without one, in the engine's order.
    pub images: Vec<String>,
}

/// Why an image could not be loaded.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LoadError {
    #[error("cannot load into an engine at `{address}`: {reason}")]
    Unsupported { address: String, reason: String },
    #[error("no Docker Engine answers at `{address}`: {cause}")]
    NoEngine { address: String, cause: String },
    #[error("the Docker Engine at `{address}` does not load the image: {cause}")]
    Refused { address: String, cause: String },
}

#[cfg(unix)]
const DEFAULT_ADDRESS: &str = "unix:///var/run/docker.sock";
#[cfg(windows)]
const DEFAULT_ADDRESS: &str = "npipe:////./pipe/docker_engine";

/// For the question whether anybody is there.
const GREETING_SECONDS: u64 = 10;
/// The engine unpacks the image before it answers.
const LOADING: Duration = Duration::from_secs(3600);
const CHUNK: usize = 256 * 1024;
/// An engine that talks more than this is not listened to any further.
const MOST_IMAGES: usize = 1000;

impl EngineAddress {
    /// From the value of DOCKER_HOST, if it is set.
    pub fn new(docker_host: Option<&str>) -> Result<Self, LoadError> {
        let address = docker_host.filter(|host| !host.is_empty()).unwrap_or(DEFAULT_ADDRESS);
        let unsupported =
            |reason: &str| LoadError::Unsupported { address: address.into(), reason: reason.into() };
        match address.split_once("://").map(|(scheme, _)| scheme) {
            Some("unix") if cfg!(unix) => Ok(Self(address.to_string())),
            Some("npipe") if cfg!(windows) => Ok(Self(address.to_string())),
            Some("tcp" | "http") => Ok(Self(address.to_string())),
            Some("ssh" | "https") => Err(unsupported("only sockets and plain tcp are supported")),
            _ => Err(unsupported("not an address of the form `unix://PATH` or `tcp://HOST:PORT`")),
        }
    }

    async fn connect(&self) -> Result<Docker, LoadError> {
        let Self(address) = self;
        let docker = match address.split_once("://").map(|(scheme, _)| scheme) {
            Some("tcp" | "http") => Docker::connect_with_http(address, GREETING_SECONDS, API_DEFAULT_VERSION),
            _ => Docker::connect_with_local(address, GREETING_SECONDS, API_DEFAULT_VERSION),
        };
        let docker = docker.map_err(|error| self.absent(&error))?;
        // The greeting also settles on a version of the API that the engine knows.
        let docker = docker.negotiate_version().await.map_err(|error| self.absent(&error))?;
        Ok(docker.with_timeout(LOADING))
    }

    fn absent(&self, error: &bollard::errors::Error) -> LoadError {
        LoadError::NoEngine { address: self.0.clone(), cause: innermost(error) }
    }
}

/// Streams an archive in the format of `docker save` into the engine.
pub async fn load_archive(
    address: &EngineAddress,
    archive: impl AsyncRead + Send + 'static,
) -> Result<Loaded, LoadError> {
    let docker = address.connect().await?;
    let options = ImportImageOptionsBuilder::new().quiet(true).build();
    let body = bollard::body_try_stream(ReaderStream::with_capacity(archive, CHUNK));
    let mut answers = std::pin::pin!(docker.import_image(options, body, None));
    let mut loaded = Loaded::default();
    while let Some(answer) = answers.next().await {
        let answer = answer
            .map_err(|error| LoadError::Refused { address: address.0.clone(), cause: innermost(&error) })?;
        let lines = answer.stream.iter().flat_map(|text| text.lines());
        loaded.images.extend(lines.filter_map(loaded_image).take(MOST_IMAGES - loaded.images.len()));
    }
    Ok(loaded)
}

/// The image in a line such as `Loaded image: app:1`.
fn loaded_image(line: &str) -> Option<String> {
    let image = line.strip_prefix("Loaded image: ").or_else(|| line.strip_prefix("Loaded image ID: "))?;
    Some(image.trim().chars().filter(|c| !c.is_control()).collect())
}

fn innermost(error: &bollard::errors::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}

impl LoadError {
    pub fn problem(&self) -> Problem {
        let message = self.to_string();
        match self {
            Self::Unsupported { .. } => Problem::new(Kind::Host, "load::unsupported", message)
                .help("set DOCKER_HOST to a socket, or write an archive with `--output type=docker,dest=image.tar`"),
            Self::NoEngine { .. } => Problem::new(Kind::Host, "load::no-engine", message)
                .help("start the engine, set DOCKER_HOST, or write an archive with `--output type=docker,dest=image.tar`"),
            Self::Refused { .. } => Problem::new(Kind::Remote, "load::refused", message),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_those_of_docker_host() {
        for (host, expected) in [
            (Some("unix:///run/user/1000/docker.sock"), true),
            (Some("tcp://127.0.0.1:2375"), true),
            (Some(""), true),
            (None, true),
            (Some("ssh://me@builder"), false),
            (Some("/var/run/docker.sock"), false),
            (Some("fd://"), false),
        ] {
            assert_eq!(EngineAddress::new(host).is_ok(), expected, "{host:?}");
        }
    }

    #[test]
    fn only_lines_about_images_count() {
        for (line, expected) in [
            ("Loaded image: app:1", Some("app:1")),
            ("Loaded image ID: sha256:12", Some("sha256:12")),
            ("Loading layer", None),
        ] {
            assert_eq!(loaded_image(line).as_deref(), expected);
        }
    }
}
