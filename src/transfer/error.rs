//! Why an image does not get where it is to go.

use crate::base::Platform;
use crate::diag::{Kind, Problem};
use crate::image::ImageError;
use crate::publish::load::LoadError;
use crate::publish::output::OutputError;
use crate::registry::RegistryError;

#[derive(Debug, thiserror::Error)]
pub enum TransferError {
    #[error(transparent)]
    Image(#[from] ImageError),
    #[error(transparent)]
    Registry(#[from] RegistryError),
    #[error(transparent)]
    Output(#[from] OutputError),
    #[error(transparent)]
    Load(#[from] LoadError),
    #[error("`{0}` is no name that an image can get in a Docker Engine")]
    NoNameInEngine(String),
    #[error("cannot write to `{0}`")]
    NoDestination(String),
    #[error("`{place}` names {digest}, which is not there")]
    Incomplete { place: String, digest: String },
    #[error("two images claim the platform `{0}`")]
    DuplicatePlatform(Platform),
    #[error("`{0}` says for no platform what it is for")]
    PlatformUnknown(String),
    #[error("`{place}` has nothing for `{wanted}`")]
    NothingThere { place: String, wanted: String, has: Vec<String> },
    #[error("nothing would be left of `{0}`")]
    NothingLeft(String),
    #[error("`{0}` is the image of one platform, and no index")]
    NoIndex(String),
    #[error("`{place}` holds something else now than a moment ago: {found}, not {expected}")]
    Moved { place: String, expected: String, found: String },
    #[error("a Docker manifest list has no annotations")]
    NoAnnotations,
}

impl TransferError {
    pub fn problem(&self) -> Problem {
        let input = |code| Problem::input(code, self.to_string());
        match self {
            Self::Image(error) => error.problem(),
            Self::Registry(error) => error.problem(),
            Self::Output(error) => Problem::from(error),
            Self::NoDestination(_) => input("transfer::no-destination").help(
                "images go to a registry, `oci-layout://FOLDER`, `oci-archive://FILE`, `docker-archive://FILE` or \
                 `engine://NAME`",
            ),
            Self::Load(error) => error.problem(),
            Self::NoNameInEngine(_) => input("transfer::no-name")
                .help("name it with a tag, such as `engine://shop/api:1.4`; an Engine makes ids and digests itself"),
            Self::Incomplete { .. } => input("transfer::incomplete")
                .help("copy what is there with `--platform`; `mab inspect` shows it"),
            Self::DuplicatePlatform(_) => input("index::duplicate-platform")
                .help("take one of them out, or let the later one stand with `--replace`"),
            Self::PlatformUnknown(_) => input("index::no-platform")
                .help("its config names no platform, as those of artifacts do not; it can be copied, not merged"),
            Self::NothingThere { has, .. } => {
                input("index::nothing-there").help(format!("it has {}", has.join(", ")))
            }
            Self::NothingLeft(_) => {
                input("index::nothing-left").help("take the whole tag away with `mab untag`")
            }
            Self::NoIndex(_) => input("index::no-index").help("make one of it with `mab index create`"),
            Self::Moved { .. } => Problem::new(Kind::Remote, "transfer::moved", self.to_string())
                .help("somebody else is at work there; no name was moved, look and run again"),
            Self::NoAnnotations => {
                input("index::no-annotations").help("let it become an OCI index with `--oci`")
            }
        }
    }
}
