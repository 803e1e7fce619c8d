//! Images by the names people give them: targets, references, layouts, archives, digests of the store.

use std::path::{Path, PathBuf};

use super::{clean, image_archive};
use crate::base::{Digest, Platform, Reference};
use crate::config::is_tag;
use crate::diag::Problem;
use crate::engine::base::Base;
use crate::plan::BaseSource;
use crate::run::Bases;
use crate::store::Store;

/// What a name means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ImageName {
    /// A target of the build file.
    Target(String),
    Registry(Reference),
    Layout {
        path: PathBuf,
        tag: Option<String>,
        digest: Option<Digest>,
    },
    /// A tar of an OCI layout, or as `docker save` writes it.
    Archive {
        path: PathBuf,
        tag: Option<String>,
    },
    /// An image that is in the store.
    Stored(Digest),
}

/// An image that was found.
pub struct Image {
    /// As it was asked for.
    pub name: String,
    source: BaseSource,
    bases: Bases,
    /// Those it is there for.
    pub platforms: Vec<Platform>,
    /// What an archive was unpacked to, as long as it is needed.
    _unpacked: Option<tempfile::TempDir>,
}

impl ImageName {
    /// Reads a name. `target:`, `docker-image://`, `oci-layout://` and `oci-archive://` say what is meant; without one a
    /// digest is the store's, what begins with `.` or `/` a layout or an archive, what `is_target` knows a target, and
    /// the rest a reference.
    pub fn parse(text: &str, folder: &Path, is_target: impl Fn(&str) -> bool) -> Result<Self, Problem> {
        if let Some(name) = text.strip_prefix("target:") {
            return Ok(Self::Target(name.to_string()));
        }
        if let Some(name) = text.strip_prefix("docker-image://") {
            return reference(name);
        }
        if let Some(path) = text.strip_prefix("oci-layout://") {
            return layout(path, folder);
        }
        if let Some(path) = text.strip_prefix("oci-archive://") {
            return archive(path, folder);
        }
        if let Ok(digest) = text.parse::<Digest>() {
            return Ok(Self::Stored(digest));
        }
        if text.starts_with(['.', '/']) {
            let (path, _) = split_tag(text);
            let is_file = folder.join(text).is_file() || folder.join(path).is_file();
            return if is_file { archive(text, folder) } else { layout(text, folder) };
        }
        if is_target(text) {
            return Ok(Self::Target(text.to_string()));
        }
        reference(text)
    }
}

fn reference(text: &str) -> Result<ImageName, Problem> {
    let parsed = text.parse().map(ImageName::Registry);
    parsed.map_err(|error: crate::base::reference::ParseReferenceError| {
        Problem::input("image::name", error.to_string())
            .help("a file or folder begins with `./` or `/`; a target is one of the build file here")
    })
}

fn layout(text: &str, folder: &Path) -> Result<ImageName, Problem> {
    let (rest, digest) = match text.rsplit_once('@') {
        Some((rest, digest)) => {
            let digest = digest.parse().map_err(|error: crate::base::digest::ParseDigestError| {
                Problem::input("image::name", error.to_string())
            })?;
            (rest, Some(digest))
        }
        None => (text, None),
    };
    let (path, tag) = split_tag(rest);
    Ok(ImageName::Layout { path: clean(&folder.join(path)), tag, digest })
}

fn archive(text: &str, folder: &Path) -> Result<ImageName, Problem> {
    let whole = clean(&folder.join(text));
    if whole.is_file() {
        return Ok(ImageName::Archive { path: whole, tag: None });
    }
    let (path, tag) = split_tag(text);
    Ok(ImageName::Archive { path: clean(&folder.join(path)), tag })
}

/// `PATH[:TAG]`
fn split_tag(text: &str) -> (&str, Option<String>) {
    match text.rsplit_once(':') {
        Some((path, tag)) if is_tag(tag) => (path, Some(tag.to_string())),
        _ => (text, None),
    }
}

impl Image {
    /// Finds out which platforms it is there for. A target has to be built before: it is the image of a digest then.
    pub async fn open(
        name: &ImageName,
        shown: &str,
        store: &Store,
        bases: Bases,
    ) -> Result<Self, Box<Problem>> {
        let mut unpacked = None;
        let source = match name {
            ImageName::Target(_) => unreachable!("a target's image is known by its digest"),
            ImageName::Registry(reference) => BaseSource::Registry(reference.clone()),
            ImageName::Layout { path, tag, digest } => {
                BaseSource::OciLayout { path: path.clone(), tag: tag.clone(), digest: *digest }
            }
            ImageName::Archive { path, tag } => {
                let folder = image_archive::unpack(path, store)?;
                let path = folder.path().to_path_buf();
                unpacked = Some(folder);
                BaseSource::OciLayout { path, tag: tag.clone(), digest: None }
            }
            // The store is a layout itself.
            ImageName::Stored(digest) if store.blobs().contains(digest) => {
                BaseSource::OciLayout { path: store.path().to_path_buf(), tag: None, digest: Some(*digest) }
            }
            ImageName::Stored(digest) => {
                let problem =
                    Problem::input("image::not-in-store", format!("the store has no image `{digest}`"));
                return Err(Box::new(problem.help(
                    "name the target, which is built where it must be, or a reference with this digest: `NAME@sha256:…`",
                )));
            }
        };
        let platforms = bases.platforms(&source).await?;
        Ok(Self { name: shown.to_string(), source, bases, platforms, _unpacked: unpacked })
    }

    /// The image of one platform.
    pub async fn of(&self, platform: &Platform) -> Result<Base, Box<Problem>> {
        let base = self.bases.base(&self.source, platform, None).await.map_err(|mut problem| {
            if problem.code == "base::platform" {
                problem.message = format!("`{}` has no image for `{platform}`", self.name);
                let found: Vec<String> = self.platforms.iter().map(ToString::to_string).collect();
                problem.help = Some(format!("it has: {}", found.join(", ")));
            }
            problem
        })?;
        Ok(Base { name: self.name.clone(), ..base })
    }

    /// The platform that is meant where none is named: the host's, or the only one there is.
    pub fn usual_platform(&self, host: &Platform) -> Platform {
        match &self.platforms[..] {
            [only] => only.clone(),
            _ => host.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_says_where_the_image_is() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("a.tar"), "").unwrap();
        let check = |text: &str, expected: ImageName| {
            assert_eq!(ImageName::parse(text, folder.path(), |name| name == "api"), Ok(expected), "{text}");
        };
        let path = |name: &str| folder.path().join(name);
        let layout = |name: &str, tag: Option<&str>| ImageName::Layout {
            path: path(name),
            tag: tag.map(str::to_string),
            digest: None,
        };
        let archive =
            |tag: Option<&str>| ImageName::Archive { path: path("a.tar"), tag: tag.map(str::to_string) };
        check("api", ImageName::Target("api".into()));
        check("target:web", ImageName::Target("web".into()));
        check("alpine:3", ImageName::Registry("alpine:3".parse().unwrap()));
        check("docker-image://api", ImageName::Registry("api".parse().unwrap()));
        check("./images", layout("images", None));
        check("./images:v1", layout("images", Some("v1")));
        check("oci-layout://images", layout("images", None));
        check("oci-archive://a.tar", archive(None));
        check("oci-archive://a.tar:v1", archive(Some("v1")));
        let digest = Digest::of(b"x");
        check(&digest.to_string(), ImageName::Stored(digest));
    }
}
