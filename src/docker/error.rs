//! What can go wrong on the way to a Docker Engine.

use std::path::PathBuf;

use crate::diag::{Kind, Problem};
use crate::dial::DialError;

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EngineError {
    #[error("`{text}` is no address of a Docker Engine")]
    Address { text: String },
    #[error("there is no docker context `{name}`")]
    NoContext { name: String },
    #[error("cannot read `{}`, of docker context `{name}`: {cause}", path.display())]
    Context { name: String, path: PathBuf, cause: String },
    #[error(transparent)]
    Dial(#[from] DialError),
    #[error("the Docker Engine at `{address}` does not do it: {cause}")]
    Refused { address: String, cause: String },
    #[error("there is no image `{name}` in the Docker Engine at `{address}`")]
    NoImage { address: String, name: String },
    #[error("there is no container `{name}` on the Docker Engine at `{address}`")]
    NoContainer { address: String, name: String },
    #[error("`{program}` does not run in container `{name}` on the Docker Engine at `{address}`: {cause}")]
    NoExec { address: String, name: String, program: String, cause: String },
}

impl EngineError {
    pub fn problem(&self) -> Problem {
        let (kind, code, help) = match self {
            Self::Address { .. } => (
                Kind::Input,
                "docker::address",
                "write `unix:///path/to/docker.sock`, `tcp://HOST:PORT` or `ssh://USER@HOST`",
            ),
            Self::NoContext { .. } => {
                (Kind::Input, "docker::context", "`docker context ls` shows those that there are")
            }
            Self::Context { .. } => {
                (Kind::Input, "docker::context", "`docker context inspect` shows what it should be")
            }
            Self::Dial(error) => return error.problem(),
            Self::Refused { .. } => (Kind::Remote, "docker::refused", "see the log of the Engine"),
            Self::NoImage { .. } => {
                (Kind::Remote, "docker::image", "`docker images` shows those that there are")
            }
            Self::NoContainer { .. } => {
                (Kind::Remote, "docker::container", "`docker ps` shows the containers that run there")
            }
            Self::NoExec { .. } => (
                Kind::Remote,
                "docker::container",
                "start it, from an image with buildkitd and buildctl such as `moby/buildkit`",
            ),
        };
        Problem::new(kind, code, self.to_string()).help(help)
    }
}
