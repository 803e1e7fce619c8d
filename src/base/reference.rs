//! Image references: `[registry/]repository[:tag][@digest]`.
//!
//! Names without a registry are Docker Hub's, as the Docker CLI has it: `alpine` is
//! `docker.io/library/alpine:latest`. Follows the grammar of distribution/reference, read by hand: its
//! regular expression takes longer to compile than a whole unchanged bake.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::digest::Digest;

/// The name of an image in a registry.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Reference {
    registry: String,
    repository: String,
    tag: Option<String>,
    digest: Option<Digest>,
}

/// Why a text is not an image reference.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not an image reference: {reason}")]
pub struct ParseReferenceError {
    pub text: String,
    pub reason: String,
}

impl Reference {
    pub fn registry(&self) -> &str {
        &self.registry
    }

    /// The repository without the registry: `library/alpine`.
    pub fn repository(&self) -> &str {
        &self.repository
    }

    pub fn tag(&self) -> Option<&str> {
        self.tag.as_deref()
    }

    pub fn digest(&self) -> Option<Digest> {
        self.digest
    }

    /// The same repository with another tag and no digest.
    pub fn with_tag(&self, tag: &str) -> Result<Self, ParseReferenceError> {
        format!("{}/{}:{tag}", self.registry, self.repository).parse()
    }

    /// The same repository, pinned; the tag is kept for people.
    pub fn with_digest(&self, digest: Digest) -> Self {
        Self { digest: Some(digest), ..self.clone() }
    }

    /// The repository alone.
    pub fn without_tag(&self) -> Self {
        Self { tag: None, digest: None, ..self.clone() }
    }

    /// The repository with its registry: `docker.io/library/alpine`.
    pub fn name(&self) -> String {
        format!("{}/{}", self.registry, self.repository)
    }

    /// The name as people write it: without `docker.io` and `library/`.
    pub fn familiar(&self) -> String {
        let text = self.to_string();
        match text.strip_prefix("docker.io/") {
            Some(rest) => rest.strip_prefix("library/").unwrap_or(rest).to_string(),
            None => text,
        }
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.registry, self.repository)?;
        if let Some(tag) = &self.tag {
            write!(f, ":{tag}")?;
        }
        match &self.digest {
            Some(digest) => write!(f, "@{digest}"),
            None => Ok(()),
        }
    }
}

impl FromStr for Reference {
    type Err = ParseReferenceError;

    /// Parses; a name with neither tag nor digest gets the tag `latest`.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let error = |reason: &str| ParseReferenceError { text: text.to_string(), reason: reason.to_string() };
        let (rest, digest) = match text.split_once('@') {
            Some((rest, digest)) => {
                let digest = digest.parse::<Digest>();
                (rest, Some(digest.map_err(|cause| error(&cause.to_string()))?))
            }
            None => (text, None),
        };
        // A colon after the last slash begins a tag; before it, a port.
        let name_end = rest.rfind('/').map_or(0, |slash| slash + 1);
        let (name, tag) = match rest[name_end..].find(':') {
            Some(colon) => (&rest[..name_end + colon], Some(&rest[name_end + colon + 1..])),
            None => (rest, None),
        };
        if tag.is_some_and(|tag| !is_tag(tag)) {
            return Err(error(
                "a tag is up to 128 letters, digits, `_`, `.` and `-`, and begins with none of the last two",
            ));
        }
        let (registry, path) = split_registry(name);
        if !is_host(registry) {
            return Err(error("the registry is not a host name with an optional port"));
        }
        if path.bytes().any(|byte| byte.is_ascii_uppercase()) {
            return Err(error("repository names are lower case"));
        }
        if !path.split('/').all(is_path_component) {
            return Err(error(
                "a repository is lower-case words of letters and digits, joined by `.`, `_`, `-` and `/`",
            ));
        }
        let repository = match registry {
            DOCKER_HUB if !path.contains('/') => format!("library/{path}"),
            _ => path.to_string(),
        };
        if registry.len() + 1 + repository.len() > LONGEST_NAME {
            return Err(error("a name is at most 255 characters long"));
        }
        let tag = tag.map(str::to_string).or_else(|| digest.is_none().then(|| "latest".to_string()));
        Ok(Self { registry: registry.to_string(), repository, tag, digest })
    }
}

const DOCKER_HUB: &str = "docker.io";
const LONGEST_NAME: usize = 255;
const LONGEST_TAG: usize = 128;

/// The first component is a registry when it could not be a repository's on Docker Hub. Docker also takes one
/// in upper case for a registry; here it is the slip it most likely is.
fn split_registry(name: &str) -> (&str, &str) {
    match name.split_once('/') {
        Some(("index.docker.io", path)) => (DOCKER_HUB, path),
        Some((first, path)) if first.contains(['.', ':']) || first == "localhost" => (first, path),
        _ => (DOCKER_HUB, name),
    }
}

/// A host name, an IPv4 address or a bracketed IPv6 address, with an optional port.
fn is_host(text: &str) -> bool {
    let is_port = |port: &str| !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
    if let Some(rest) = text.strip_prefix('[') {
        let Some((address, port)) = rest.split_once(']') else { return false };
        let is_address =
            !address.is_empty() && address.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b':');
        return is_address && (port.is_empty() || port.strip_prefix(':').is_some_and(is_port));
    }
    let (host, port) = text.split_once(':').map_or((text, None), |(host, port)| (host, Some(port)));
    let is_label = |label: &str| {
        !label.is_empty()
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    host.split('.').all(is_label) && port.is_none_or(is_port)
}

/// Letters and digits with `.`, `_`, `__` or any number of `-` between them.
fn is_path_component(component: &str) -> bool {
    let is_word = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let (Some(first), Some(last)) = (component.bytes().next(), component.bytes().last()) else {
        return false;
    };
    if !is_word(first) || !is_word(last) {
        return false;
    }
    let separators = component.split(|character: char| is_word(u8::try_from(character).unwrap_or(0)));
    separators.into_iter().all(|separator| {
        matches!(separator, "" | "." | "_" | "__") || separator.bytes().all(|byte| byte == b'-')
    })
}

fn is_tag(tag: &str) -> bool {
    let is_word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    let begins_well = tag.bytes().next().is_some_and(is_word);
    begins_well && tag.len() <= LONGEST_TAG && tag.bytes().all(|byte| is_word(byte) || b".-".contains(&byte))
}

impl Serialize for Reference {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Reference {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_names_are_docker_hubs() {
        for (text, full, familiar) in [
            ("alpine", "docker.io/library/alpine:latest", "alpine:latest"),
            ("me/app:1", "docker.io/me/app:1", "me/app:1"),
            ("localhost:5000/a/b", "localhost:5000/a/b:latest", "localhost:5000/a/b:latest"),
            ("ghcr.io/x/y:z", "ghcr.io/x/y:z", "ghcr.io/x/y:z"),
        ] {
            let reference: Reference = text.parse().unwrap();
            assert_eq!(
                (reference.to_string(), reference.familiar()),
                (full.to_string(), familiar.to_string())
            );
        }
    }

    #[test]
    fn digests_pin_and_need_no_tag() {
        let pinned: Reference = format!("r.example/a@{}", Digest::of("x")).parse().unwrap();
        assert_eq!((pinned.tag(), pinned.digest()), (None, Some(Digest::of("x"))));
        let tagged: Reference = format!("r.example/a:1@{}", Digest::of("x")).parse().unwrap();
        assert_eq!(tagged.tag(), Some("1"));
    }

    #[test]
    fn malformed_references_are_refused() {
        let long = "a/".repeat(130);
        for text in [
            "",
            "UPPER",
            "a//b",
            "a:b:c",
            "a@sha256:12",
            "a b",
            "r.example/Up:1",
            "-a",
            "a-",
            "a___b",
            "a..b",
            "/a",
            "a/",
            "a:",
            "a:.b",
            "r..example/a",
            "r.example:x/a",
            "[::1/a",
            "a\u{e9}",
            &long,
        ] {
            assert!(text.parse::<Reference>().is_err(), "{text}");
        }
    }

    #[test]
    fn the_grammar_is_that_of_oci_spec() {
        use oci_spec::distribution::Reference as SpecReference;
        for text in [
            "a",
            "a/b",
            "a__b-c--d/e.f:T_1.x-",
            "h:5000/a",
            "h.example/a/b/c:1",
            "localhost/a",
            "127.0.0.1:1/a",
        ] {
            let spec = SpecReference::try_from(text).unwrap();
            let ours: Reference = text.parse().unwrap();
            assert_eq!(
                (ours.registry(), ours.repository(), ours.tag()),
                (spec.registry(), spec.repository(), spec.tag())
            );
        }
        assert_eq!("[::1]:5000/a".parse::<Reference>().unwrap().registry(), "[::1]:5000");
    }
}
