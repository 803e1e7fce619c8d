//! Why an image cannot be read.

use crate::diag::{Kind, Problem};
use crate::docker::EngineError;
use crate::registry::RegistryError;
use crate::store::StoreError;

#[derive(Debug, thiserror::Error)]
pub enum ImageError {
    #[error("`{text}` names no image: {reason}")]
    Name { text: String, reason: String },
    #[error(transparent)]
    Registry(#[from] RegistryError),
    #[error(transparent)]
    Engine(#[from] EngineError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("cannot read `{place}`: {cause}")]
    Unreadable { place: String, cause: String },
    #[error("`{place}` does not exist")]
    NotThere {
        place: String,
        /// What is called almost so in the same folder.
        near: Option<String>,
    },
    #[error("`{place}` is no archive of images: {cause}")]
    NoArchive { place: String, cause: String },
    #[error("`{place}` is neither an OCI layout nor an archive of images")]
    NoImages { place: String },
    #[error("`{place}` holds no image `{wanted}`")]
    NotHeld { place: String, wanted: String, held: Vec<String> },
    #[error("{what} in `{place}` cannot be used: {cause}")]
    Document { place: String, what: String, cause: String },
    #[error("`{place}` consists of more manifests than an image has")]
    TooMany { place: String },
    #[error("`{place}` has no image for `{platform}`")]
    NoPlatform { place: String, platform: String, has: Vec<String> },
    #[error("`{place}` holds images for several platforms")]
    SeveralPlatforms { place: String, has: Vec<String> },
}

impl ImageError {
    pub fn problem(&self) -> Problem {
        let problem = |kind, code| Problem::new(kind, code, self.to_string());
        let input = |code| problem(Kind::Input, code);
        match self {
            Self::Name { .. } => input("image::bad-name").help(
                "write a registry's name (`ghcr.io/shop/api:1.4`), `oci-layout://FOLDER[:TAG]`, \
                 `oci-archive://FILE[:TAG]`, `docker-archive://FILE`, `engine://NAME`, `store://DIGEST`, or a path that \
                 begins with `./` or `/`",
            ),
            Self::Registry(error) => error.problem(),
            Self::Engine(error) => error.problem(),
            Self::Store(error) => error.problem(),
            Self::Unreadable { .. } => problem(Kind::Input, "image::unreadable"),
            Self::NotThere { near, .. } => {
                let problem = input("image::not-there");
                match near {
                    Some(near) => problem.help(format!("did you mean `{near}`?")),
                    None => problem,
                }
            }
            Self::NoArchive { .. } => input("image::no-archive").help(
                "`mab bake -o type=oci,dest=FILE`, `mab copy IMAGE FILE.tar` and `docker save -o FILE` write one",
            ),
            Self::NoImages { .. } => input("image::no-images").help(
                "a folder needs `index.json` and `blobs`, an archive these or `manifest.json`, as `mab bake -o \
                 type=oci,dest=FILE`, `docker save` and `skopeo copy` write them",
            ),
            Self::NotHeld { held, .. } if held.is_empty() => {
                input("image::not-held").help("it holds nothing with a name: say `@sha256:…`")
            }
            Self::NotHeld { held, .. } => {
                input("image::not-held").help(format!("it holds {}", held.join(", ")))
            }
            Self::Document { .. } => problem(Kind::Input, "image::document")
                .help("the content was changed, or cut off, since it was written; make it again"),
            Self::TooMany { .. } => input("image::too-many"),
            Self::NoPlatform { has, .. } => {
                input("image::no-platform").help(format!("it has {}", has.join(", ")))
            }
            Self::SeveralPlatforms { has, .. } => input("image::several-platforms")
                .help(format!("say which with `--platform`: {}", has.join(", "))),
        }
    }

    /// Whether something is not there, rather than out of reach or damaged.
    pub fn is_absence(&self) -> bool {
        matches!(self, Self::Registry(RegistryError::NotFound { .. }) | Self::NotHeld { .. })
    }
}
