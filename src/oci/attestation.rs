//! Statements about an image, as BuildKit keeps them: a manifest of in-toto documents, which stands in the image's index
//! for no platform and says there which image it is about.

use serde_json::{Value, json};

use super::{Descriptor, Manifest, PlatformDescription};
use crate::base::Digest;

/// The annotation that tells what an entry of an index is to another one.
pub const REFERENCE_TYPE: &str = "vnd.docker.reference.type";
pub const ATTESTATION: &str = "attestation-manifest";
/// The digest of the entry that another one is about.
pub const REFERENCE_DIGEST: &str = "vnd.docker.reference.digest";
const ARTIFACT: &str = "application/vnd.docker.attestation.manifest.v1+json";
const EMPTY_TYPE: &str = "application/vnd.oci.empty.v1+json";
/// The content of what has no config.
pub const EMPTY: &[u8] = b"{}";

/// The manifest of the statements about an image.
pub fn attestation(image: &Descriptor, statements: &[Descriptor]) -> Manifest {
    let mut manifest = Manifest::new(Descriptor::of(EMPTY_TYPE, EMPTY), statements.to_vec());
    manifest.artifact_type = Some(ARTIFACT.to_string());
    let subject = json!({ "mediaType": image.media_type, "digest": image.digest, "size": image.size });
    manifest.extra.insert("subject".to_string(), subject);
    manifest
}

/// How that manifest stands in the image's index.
pub fn attestation_entry(written: Descriptor, image: &Digest) -> Descriptor {
    let unknown = Value::from("unknown");
    let platform = json!({ "architecture": unknown, "os": unknown });
    let mut entry = written;
    entry.annotations.insert(REFERENCE_DIGEST.to_string(), image.to_string());
    entry.annotations.insert(REFERENCE_TYPE.to_string(), ATTESTATION.to_string());
    entry.platform = serde_json::from_value::<PlatformDescription>(platform).ok();
    entry
}
