//! Loads an image into a Docker Engine, as `docker load` does.
//!
//! The archive comes from the caller; this knows how to reach an engine and how it answers.

use std::time::Duration;

use bollard::query_parameters::ImportImageOptionsBuilder;
use futures_util::StreamExt as _;
use tokio::io::AsyncRead;
use tokio_util::io::ReaderStream;

use crate::diag::{Kind, Problem};
use crate::docker::{DockerEngine, EngineAddress, EngineError};

/// What an engine said about an archive.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Loaded {
    /// Names, or ids of images without one, in the engine's order.
    pub images: Vec<String>,
}

/// Why an image could not be loaded.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LoadError {
    #[error("{cause}")]
    NoEngine { cause: EngineError },
    #[error("the Docker Engine at `{address}` does not load the image: {cause}")]
    Refused { address: String, cause: String },
}

/// The engine unpacks the image before it answers.
const LOADING: Duration = Duration::from_secs(3600);
const CHUNK: usize = 256 * 1024;
/// An engine that talks more than this is not listened to any further.
const MOST_IMAGES: usize = 1000;

/// Streams an archive in the format of `docker save` into the engine.
pub async fn load_archive(
    address: &EngineAddress,
    archive: impl AsyncRead + Send + 'static,
) -> Result<Loaded, LoadError> {
    let engine = DockerEngine::connect(address).await?;
    let docker = engine.api(LOADING);
    let options = ImportImageOptionsBuilder::new().quiet(true).build();
    let body = bollard::body_try_stream(ReaderStream::with_capacity(archive, CHUNK));
    let mut answers = std::pin::pin!(docker.import_image(options, body, None));
    let mut loaded = Loaded::default();
    while let Some(answer) = answers.next().await {
        let answer = answer.map_err(|error| match engine.error(&error) {
            EngineError::Refused { address, cause } => LoadError::Refused { address, cause },
            cause => LoadError::NoEngine { cause },
        })?;
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

impl From<EngineError> for LoadError {
    fn from(cause: EngineError) -> Self {
        Self::NoEngine { cause }
    }
}

impl LoadError {
    pub fn problem(&self) -> Problem {
        match self {
            Self::NoEngine { cause } => {
                let problem = cause.problem();
                let first = problem.help.clone().unwrap_or_default();
                Problem { code: "load::no-engine", ..problem }
                    .help(format!("{first}; or write an archive with `--output type=docker,dest=image.tar`"))
            }
            Self::Refused { .. } => Problem::new(Kind::Remote, "load::refused", self.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
