//! Media types of image documents and layers.

use serde::Deserialize;
use serde::de::IgnoredAny;

pub const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
pub const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
pub const OCI_CONFIG: &str = "application/vnd.oci.image.config.v1+json";
pub const OCI_LAYER: &str = "application/vnd.oci.image.layer.v1.tar";
pub const OCI_LAYER_GZIP: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
pub const OCI_LAYER_ZSTD: &str = "application/vnd.oci.image.layer.v1.tar+zstd";
pub const DOCKER_INDEX: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
pub const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
pub const DOCKER_CONFIG: &str = "application/vnd.docker.container.image.v1+json";
pub const DOCKER_LAYER_GZIP: &str = "application/vnd.docker.image.rootfs.diff.tar.gzip";
/// Docker's image specification has no such type; containerd and BuildKit write it all the same.
pub const DOCKER_LAYER_ZSTD: &str = "application/vnd.docker.image.rootfs.diff.tar.zstd";
pub const DOCKER_LAYER: &str = "application/vnd.docker.image.rootfs.diff.tar";

/// Everything a manifest request may be answered with.
pub const MANIFESTS: [&str; 4] = [OCI_INDEX, OCI_MANIFEST, DOCKER_INDEX, DOCKER_MANIFEST];

/// The one of [`MANIFESTS`] that is written so.
pub fn known_manifest(written: &str) -> Option<&'static str> {
    MANIFESTS.into_iter().find(|known| known.eq_ignore_ascii_case(written))
}

/// What a document says it is, for where nobody else does.
pub fn of_document(bytes: &[u8]) -> Option<&'static str> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Document {
        #[serde(default)]
        media_type: Option<String>,
        #[serde(default)]
        manifests: Option<IgnoredAny>,
        #[serde(default)]
        layers: Option<IgnoredAny>,
    }
    let document: Document = serde_json::from_slice(bytes).ok()?;
    match document {
        Document { media_type: Some(media_type), .. } => known_manifest(&media_type),
        Document { manifests: Some(_), layers: None, .. } => Some(OCI_INDEX),
        Document { layers: Some(_), manifests: None, .. } => Some(OCI_MANIFEST),
        _ => None,
    }
}

pub fn is_index(media_type: &str) -> bool {
    matches!(media_type, OCI_INDEX | DOCKER_INDEX)
}

pub fn is_manifest(media_type: &str) -> bool {
    matches!(media_type, OCI_MANIFEST | DOCKER_MANIFEST)
}

/// Docker's name for an OCI type, for outputs that ask for Docker's.
pub fn to_docker(media_type: &str) -> &str {
    match media_type {
        OCI_INDEX => DOCKER_INDEX,
        OCI_MANIFEST => DOCKER_MANIFEST,
        OCI_CONFIG => DOCKER_CONFIG,
        OCI_LAYER => DOCKER_LAYER,
        OCI_LAYER_GZIP => DOCKER_LAYER_GZIP,
        OCI_LAYER_ZSTD => DOCKER_LAYER_ZSTD,
        other => other,
    }
}

/// The OCI name for a Docker type.
pub fn to_oci(media_type: &str) -> &str {
    match media_type {
        DOCKER_INDEX => OCI_INDEX,
        DOCKER_MANIFEST => OCI_MANIFEST,
        DOCKER_CONFIG => OCI_CONFIG,
        DOCKER_LAYER => OCI_LAYER,
        DOCKER_LAYER_GZIP => OCI_LAYER_GZIP,
        DOCKER_LAYER_ZSTD => OCI_LAYER_ZSTD,
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_of_documents() {
        for (text, expected) in [
            (r#"{"mediaType":"application/vnd.oci.image.index.v1+json"}"#, Some(OCI_INDEX)),
            (r#"{"schemaVersion":2,"manifests":[]}"#, Some(OCI_INDEX)),
            (r#"{"schemaVersion":2,"layers":[]}"#, Some(OCI_MANIFEST)),
            (r#"{"layers":[],"manifests":[]}"#, None),
            (r#"{"mediaType":"text/html"}"#, None),
            ("<html>", None),
        ] {
            assert_eq!(of_document(text.as_bytes()), expected, "{text}");
        }
    }
}
