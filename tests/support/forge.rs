//! Layers and layouts that no honest tool writes.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};
use tar::{EntryType, Header};

use super::image::sha256;

/// A tar archive under construction; paths and links are taken as they are.
#[derive(Default)]
pub struct Forge {
    bytes: Vec<u8>,
}

impl Forge {
    pub fn file(self, path: &str, content: &str) -> Self {
        self.entry(EntryType::Regular, path, "", content.as_bytes())
    }

    pub fn folder(self, path: &str) -> Self {
        self.entry(EntryType::Directory, path, "", b"")
    }

    pub fn symlink(self, path: &str, to: &str) -> Self {
        self.entry(EntryType::Symlink, path, to, b"")
    }

    pub fn hardlink(self, path: &str, to: &str) -> Self {
        self.entry(EntryType::Link, path, to, b"")
    }

    pub fn device(mut self, kind: EntryType, path: &str, major: u32, minor: u32) -> Self {
        let mut header = header(kind, path, "", 0);
        header.set_device_major(major).expect("a ustar header");
        header.set_device_minor(minor).expect("a ustar header");
        header.set_cksum();
        self.bytes.extend_from_slice(header.as_bytes());
        self
    }

    /// Extended attributes for the next entry.
    pub fn attributes(self, attributes: &[(&str, &str)]) -> Self {
        let records: String =
            attributes.iter().map(|(name, value)| record(&format!("SCHILY.xattr.{name}"), value)).collect();
        self.entry(EntryType::XHeader, "pax", "", records.as_bytes())
    }

    fn entry(mut self, kind: EntryType, path: &str, link: &str, content: &[u8]) -> Self {
        self.bytes.extend_from_slice(header(kind, path, link, content.len() as u64).as_bytes());
        self.bytes.extend_from_slice(content);
        self.bytes.resize(self.bytes.len().next_multiple_of(512), 0);
        self
    }

    /// The archive, with its end.
    pub fn bytes(mut self) -> Vec<u8> {
        self.bytes.resize(self.bytes.len() + 1024, 0);
        self.bytes
    }

    /// An OCI layout for one platform: the base's image for it with this layer on top.
    pub fn on_top_of(mut self, base: &Path, platform: &str, layout: &Path) {
        self.bytes.resize(self.bytes.len() + 1024, 0);
        super::project::copy_tree(base, layout);
        let read = |digest: &Value| -> Value {
            let hex = digest.as_str().expect("a digest").trim_start_matches("sha256:");
            serde_json::from_slice(&fs::read(base.join("blobs/sha256").join(hex)).expect("a blob"))
                .expect("JSON")
        };
        let top: Value =
            serde_json::from_slice(&fs::read(base.join("index.json")).expect("a layout")).expect("JSON");
        let index = read(&top["manifests"][0]["digest"]);
        let architecture = platform.rsplit_once('/').expect("a platform").1;
        let manifests = index["manifests"].as_array().expect("an index");
        let found = manifests.iter().find(|manifest| manifest["platform"]["architecture"] == architecture);
        let mut manifest = read(&found.expect("the base has the platform")["digest"]);
        let mut config = read(&manifest["config"]["digest"]);
        config["rootfs"]["diff_ids"].as_array_mut().expect("diff ids").push(json!(sha256(&self.bytes)));
        config["history"].as_array_mut().expect("history").push(json!({ "created_by": "forged" }));
        let put = |bytes: &[u8], media_type: &str| {
            let digest = sha256(bytes);
            let path = layout.join("blobs/sha256").join(digest.trim_start_matches("sha256:"));
            fs::write(path, bytes).expect("the layout is writable");
            json!({ "mediaType": format!("application/vnd.oci.image.{media_type}"), "digest": digest, "size": bytes.len() })
        };
        let layer = put(&self.bytes, "layer.v1.tar");
        manifest["layers"].as_array_mut().expect("layers").push(layer);
        manifest["config"] = put(config.to_string().as_bytes(), "config.v1+json");
        let root = put(manifest.to_string().as_bytes(), "manifest.v1+json");
        let index = json!({ "schemaVersion": 2, "manifests": [root] });
        fs::write(layout.join("index.json"), index.to_string()).expect("the layout is writable");
    }
}

fn header(kind: EntryType, path: &str, link: &str, size: u64) -> Header {
    let mut header = Header::new_ustar();
    let fields = header.as_ustar_mut().expect("a ustar header");
    fields.name[..path.len()].copy_from_slice(path.as_bytes());
    fields.linkname[..link.len()].copy_from_slice(link.as_bytes());
    header.set_entry_type(kind);
    header.set_mode(0o755);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header.set_size(size);
    header.set_cksum();
    header
}

/// A PAX record says its own length.
fn record(name: &str, value: &str) -> String {
    let rest = format!(" {name}={value}\n");
    let mut length = rest.len() + 1;
    while length != rest.len() + length.to_string().len() {
        length = rest.len() + length.to_string().len();
    }
    format!("{length}{rest}")
}
