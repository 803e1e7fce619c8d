//! A cache mount as OCI artifact (image-spec 1.1, "Guidelines for Artifact Usage"): a manifest with one layer,
//! whose annotations say which cache it is.
//!
//! Nothing in it depends on when or where it was written, so equal content has an equal digest.

use jiff::Timestamp;

use crate::base::{Digest, Platform};
use crate::engine::embedded::{Beginning, CacheIdentity};
use crate::layer::FinishedLayer;
use crate::oci::{Descriptor, Manifest, media_type};

pub const EMPTY_TYPE: &str = "application/vnd.oci.empty.v1+json";
pub const EMPTY: &[u8] = b"{}";

const ARTIFACT_TYPE: &str = "application/vnd.mab.cache-mount.v1";
const ID: &str = "vnd.mab.cache.id";
const PLATFORM: &str = "vnd.mab.cache.platform";
const BEGINNING: &str = "vnd.mab.cache.beginning";
/// Of the newest file.
const CREATED: &str = "org.opencontainers.image.created";
const REF_NAME: &str = "org.opencontainers.image.ref.name";

/// The manifest of a cache with this content.
pub fn manifest(identity: &CacheIdentity, layer: &FinishedLayer) -> Manifest {
    let config = Descriptor::of(EMPTY_TYPE, EMPTY);
    let blob = Descriptor::new(layer.media_type, layer.digest, layer.size);
    let mut manifest = Manifest::new(config, vec![blob]);
    manifest.artifact_type = Some(ARTIFACT_TYPE.to_string());
    let newest = layer.index.entries.iter().map(|indexed| indexed.entry.mtime).max().unwrap_or_default();
    let created = Timestamp::from_second(newest).unwrap_or(Timestamp::UNIX_EPOCH);
    let annotations = [
        (ID, identity.id.clone()),
        (PLATFORM, identity.platform.to_string()),
        (BEGINNING, identity.beginning.to_string()),
        (CREATED, created.to_string()),
    ];
    manifest.annotations.extend(annotations.map(|(name, text)| (name.to_string(), text)));
    manifest
}

/// What names a manifest in the layout's index.
pub fn entry(identity: &CacheIdentity, manifest: &Manifest) -> Descriptor {
    let mut entry =
        Descriptor::of(media_type::OCI_MANIFEST, &manifest.to_bytes()).with_platform(&identity.platform);
    entry.artifact_type = manifest.artifact_type.clone();
    entry.annotations.insert(REF_NAME.to_string(), tag(identity));
    entry
}

/// A tag that is the cache's own: what people recognise, and a part of a digest.
fn tag(identity: &CacheIdentity) -> String {
    let Platform { os, architecture, variant, .. } = &identity.platform;
    let words = [&identity.id, os, architecture].into_iter().chain(variant);
    let plain: Vec<String> = words.map(|word| slug(word)).filter(|word| !word.is_empty()).collect();
    let whole = format!("{}\n{}\n{}", identity.id, identity.platform, identity.beginning);
    format!("{}-{}", plain.join("-"), Digest::of(whole).short())
}

fn slug(word: &str) -> String {
    const LONGEST: usize = 64;
    let plain = |character: char| if character.is_ascii_alphanumeric() { character } else { '-' };
    let word: String = word.chars().map(plain).take(LONGEST).collect();
    word.trim_matches('-').to_string()
}

/// Which cache a manifest is of: `None` for a manifest of something else.
pub fn identity(manifest: &Manifest) -> Option<Result<CacheIdentity, String>> {
    let is_ours = manifest.artifact_type.as_deref() == Some(ARTIFACT_TYPE);
    is_ours.then(|| annotated(manifest))
}

fn annotated(manifest: &Manifest) -> Result<CacheIdentity, String> {
    let text = |name: &str| {
        let text = manifest.annotations.get(name);
        text.cloned().ok_or_else(|| format!("it has no annotation `{name}`"))
    };
    let id = text(ID)?;
    if id.is_empty() || id.contains(char::is_control) {
        return Err(format!("its annotation `{ID}` is no id"));
    }
    let platform: Platform = text(PLATFORM)?.parse().map_err(said)?;
    let beginning: Beginning = text(BEGINNING)?.parse().map_err(said)?;
    Ok(CacheIdentity { id, platform, beginning })
}

fn said(error: impl std::error::Error) -> String {
    error.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layer::Index;

    fn cache(id: &str, platform: &str) -> CacheIdentity {
        CacheIdentity {
            id: id.to_string(),
            platform: platform.parse().unwrap(),
            beginning: Beginning::Empty("755 0:0".to_string()),
        }
    }

    #[test]
    fn tags_are_such_that_registries_take_them() {
        let check = |id: &str, platform: &str, expected: &str| {
            let tag = tag(&cache(id, platform));
            let (words, digest) = tag.rsplit_once('-').unwrap();
            assert_eq!((words, digest.len(), tag.len() <= 128), (expected, 12, true), "{id}");
        };
        check("go", "linux/amd64", "go-linux-amd64");
        check("/root/.cache/go build", "linux/arm/v7", "root--cache-go-build-linux-arm-v7");
        check("/", "linux/amd64", "linux-amd64");
        check(&"x".repeat(500), "linux/amd64", &format!("{}-linux-amd64", "x".repeat(64)));
        assert_ne!(tag(&cache("/a", "linux/amd64")), tag(&cache("a", "linux/amd64")));
    }

    #[test]
    fn a_manifest_says_which_cache_it_is_of() {
        let layer = FinishedLayer {
            diff_id: Digest::of("tar"),
            digest: Digest::of("blob"),
            size: 4,
            uncompressed_size: 3,
            media_type: media_type::OCI_LAYER_ZSTD,
            index: Index { entries: Vec::new(), ..Index::default() },
        };
        let made = manifest(&cache("go", "linux/arm64"), &layer);
        assert_eq!(identity(&made), Some(Ok(cache("go", "linux/arm64"))));
        let mut other = made.clone();
        other.artifact_type = None;
        assert_eq!(identity(&other), None);
        for (name, text) in [(ID, "a\u{1b}[2J"), (ID, ""), (PLATFORM, "plan9"), (BEGINNING, "x")] {
            let mut wrong = made.clone();
            wrong.annotations.insert(name.to_string(), text.to_string());
            assert!(matches!(identity(&wrong), Some(Err(_))), "{name}={text:?}");
        }
    }
}
