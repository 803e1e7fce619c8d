//! The name of an image, which says where it lies.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use super::error::ImageError;
use crate::base::{Digest, Reference};

/// Where an image lies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ImageName {
    /// `ghcr.io/shop/api:1.4`, also after `docker://`.
    Registry(Reference),
    /// `oci-layout://FOLDER[:TAG][@DIGEST]`
    Layout(PathBuf, FilePick),
    /// `oci-archive://FILE[:TAG][@DIGEST]`: a layout in a tar.
    OciArchive(PathBuf, FilePick),
    /// `docker-archive://FILE[:NAME]`, what `docker save` writes and `docker load` reads.
    DockerArchive(PathBuf, FilePick),
    /// A path that begins with `./`, `../` or `/`: what is there says what it is.
    Path(PathBuf, FilePick),
    /// `engine://NAME`: an image of the Docker Engine that `docker` would speak to.
    Engine(String),
    /// `store://DIGEST`: a manifest or index of mab's own store.
    Store(Digest),
}

/// Which of several images in a file or folder.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FilePick {
    pub tag: Option<String>,
    pub digest: Option<Digest>,
}

impl FromStr for ImageName {
    type Err = ImageError;

    fn from_str(text: &str) -> Result<Self, ImageError> {
        let wrong = |reason: String| ImageError::Name { text: text.to_string(), reason };
        let Some((scheme, rest)) = text.split_once("://") else {
            if is_path(text) {
                let (path, pick) = picked(text, true).map_err(wrong)?;
                return Ok(Self::Path(path, pick));
            }
            return text
                .parse()
                .map(Self::Registry)
                .map_err(|error: crate::base::reference::ParseReferenceError| wrong(error.reason));
        };
        if rest.is_empty() {
            return Err(wrong(format!("nothing stands after `{scheme}://`")));
        }
        let file = |is_folder| picked(rest, is_folder).map_err(wrong);
        match scheme {
            "docker" => rest
                .parse()
                .map(Self::Registry)
                .map_err(|error: crate::base::reference::ParseReferenceError| wrong(error.reason)),
            "oci-layout" => file(true).map(|(path, pick)| Self::Layout(path, pick)),
            "oci-archive" => file(false).map(|(path, pick)| Self::OciArchive(path, pick)),
            "docker-archive" => file(false).map(|(path, pick)| Self::DockerArchive(path, pick)),
            "engine" => Ok(Self::Engine(rest.to_string())),
            "store" => rest
                .parse()
                .map(Self::Store)
                .map_err(|error: crate::base::digest::ParseDigestError| wrong(error.to_string())),
            other => Err(wrong(format!("nobody knows `{other}://`"))),
        }
    }
}

fn is_path(text: &str) -> bool {
    matches!(text, "." | "..") || ["./", "../", "/"].iter().any(|start| text.starts_with(start))
}

/// A path, and what follows it. A colon begins a tag: of a folder, whose tags have no slash, after the last slash; of an
/// archive, which may hold whole names, the first one.
fn picked(text: &str, is_folder: bool) -> Result<(PathBuf, FilePick), String> {
    let (rest, digest) = match text.rsplit_once('@').filter(|(_, digest)| digest.starts_with("sha256:")) {
        Some((rest, digest)) => (rest, Some(digest.parse::<Digest>().map_err(|error| error.to_string())?)),
        None => (text, None),
    };
    let from = if is_folder { rest.rfind('/').map_or(0, |slash| slash + 1) } else { 0 };
    let (path, tag) = match rest[from..].find(':') {
        Some(colon) => (&rest[..from + colon], Some(&rest[from + colon + 1..])),
        None => (rest, None),
    };
    if path.is_empty() || tag.is_some_and(str::is_empty) {
        return Err("a path, or what follows its colon, is missing".to_string());
    }
    Ok((PathBuf::from(path), FilePick { tag: tag.map(str::to_string), digest }))
}

impl ImageName {
    /// The reference, of those that a registry has.
    pub fn reference(&self) -> Option<&Reference> {
        match self {
            Self::Registry(reference) => Some(reference),
            _ => None,
        }
    }

    /// The same image lies there, but perhaps for its tag.
    pub fn is_beside(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Registry(one), Self::Registry(other)) => one.name() == other.name(),
            (one, other) => one.path().is_some() && one.path() == other.path(),
        }
    }

    pub fn path(&self) -> Option<&Path> {
        match self {
            Self::Layout(path, _)
            | Self::OciArchive(path, _)
            | Self::DockerArchive(path, _)
            | Self::Path(path, _) => Some(path),
            Self::Registry(_) | Self::Engine(_) | Self::Store(_) => None,
        }
    }
}

impl fmt::Display for ImageName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let file = |f: &mut fmt::Formatter<'_>, scheme: &str, path: &Path, pick: &FilePick| {
            write!(f, "{scheme}{}", path.display())?;
            if let Some(tag) = &pick.tag {
                write!(f, ":{tag}")?;
            }
            pick.digest.map_or(Ok(()), |digest| write!(f, "@{digest}"))
        };
        match self {
            Self::Registry(reference) => f.write_str(&reference.familiar()),
            Self::Layout(path, pick) => file(f, "oci-layout://", path, pick),
            Self::OciArchive(path, pick) => file(f, "oci-archive://", path, pick),
            Self::DockerArchive(path, pick) => file(f, "docker-archive://", path, pick),
            Self::Path(path, pick) => file(f, "", path, pick),
            Self::Engine(name) => write!(f, "engine://{name}"),
            Self::Store(digest) => write!(f, "store://{digest}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_say_where_an_image_lies() {
        let digest = Digest::of("x");
        for (text, expected) in [
            ("alpine", "registry alpine:latest".to_string()),
            ("docker://ghcr.io/a/b:1", "registry ghcr.io/a/b:1".into()),
            ("oci-layout://out", "layout out".into()),
            ("oci-layout:///tmp/out:1.4", "layout /tmp/out tag 1.4".into()),
            ("oci-archive://a.tar:1", "archive a.tar tag 1".into()),
            ("docker-archive://a.tar:shop/api:1", "docker a.tar tag shop/api:1".into()),
            ("./out", "path ./out".into()),
            ("/a:b/out", "path /a:b/out".into()),
            ("engine://shop/api:1", "engine shop/api:1".into()),
            ("oci://x", "nobody knows `oci://`".into()),
            ("oci-layout://", "nothing stands after `oci-layout://`".into()),
            ("./out:", "a path, or what follows its colon, is missing".into()),
        ] {
            assert_eq!(told(text), expected, "{text}");
        }
        assert_eq!(told(&format!("./out:1@{digest}")), format!("path ./out tag 1 digest {digest}"));
        assert_eq!(told(&format!("store://{digest}")), format!("store {digest}"));
    }

    fn told(text: &str) -> String {
        let file = |kind: &str, path: PathBuf, pick: FilePick| {
            let tag = pick.tag.map(|tag| format!(" tag {tag}")).unwrap_or_default();
            let digest = pick.digest.map(|digest| format!(" digest {digest}")).unwrap_or_default();
            format!("{kind} {}{tag}{digest}", path.display())
        };
        match text.parse::<ImageName>() {
            Ok(ImageName::Registry(reference)) => format!("registry {}", reference.familiar()),
            Ok(ImageName::Layout(path, pick)) => file("layout", path, pick),
            Ok(ImageName::OciArchive(path, pick)) => file("archive", path, pick),
            Ok(ImageName::DockerArchive(path, pick)) => file("docker", path, pick),
            Ok(ImageName::Path(path, pick)) => file("path", path, pick),
            Ok(ImageName::Engine(name)) => format!("engine {name}"),
            Ok(ImageName::Store(digest)) => format!("store {digest}"),
            Err(ImageError::Name { reason, .. }) => reason,
            Err(error) => error.to_string(),
        }
    }
}
