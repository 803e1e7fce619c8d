//! An entry: one result under its key, and the document that it travels as.
//!
//! A document says which version, kind and key it is, so that one found under another name, or written by a
//! later mab, is no entry. What the value means is the caller's.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::CacheError;
use crate::base::Digest;
use crate::oci::Descriptor;

/// What sort of result an entry holds. Kinds do not share keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum EntryKind {
    /// A node of the plan.
    Node,
    Step,
    /// The entry index of a layer.
    Index,
    /// What a cache mount held. The only kind whose entries are replaced by newer ones.
    Mount,
}

/// One result under its key, as it travels.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    pub kind: EntryKind,
    pub key: Digest,
    /// The caller's document.
    pub value: serde_json::Value,
    /// All that it needs besides.
    pub blobs: Vec<Descriptor>,
}

/// An entry that was found.
#[derive(Clone, Debug, PartialEq)]
pub struct Found {
    pub entry: Entry,
    /// The cache it came from, for messages.
    pub cache: String,
}

/// An entry as bytes.
#[derive(Clone, Debug)]
pub struct Document {
    pub kind: EntryKind,
    pub key: Digest,
    pub blobs: Vec<Descriptor>,
    pub bytes: Bytes,
}

/// What is written; a change that old readers would misread gets another number.
const VERSION: u64 = 1;

#[derive(Serialize)]
struct Written<'a> {
    mab: u64,
    kind: &'static str,
    key: &'a Digest,
    value: &'a serde_json::Value,
    blobs: &'a [Descriptor],
}

#[derive(Deserialize)]
struct Version {
    mab: u64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Read {
    #[serde(rename = "mab")]
    _version: u64,
    kind: String,
    key: Digest,
    value: serde_json::Value,
    blobs: Vec<Descriptor>,
}

impl EntryKind {
    pub const ALL: [Self; 4] = [Self::Node, Self::Step, Self::Index, Self::Mount];

    pub fn name(self) -> &'static str {
        match self {
            Self::Node => "node",
            Self::Step => "step",
            Self::Index => "index",
            Self::Mount => "mount",
        }
    }

    /// How large a document may be. Values of nodes carry manifests and configs.
    pub fn largest(self) -> u64 {
        match self {
            Self::Node => 8 << 20,
            Self::Step | Self::Index | Self::Mount => 1 << 20,
        }
    }

    /// Whether a newer entry takes the place of an older one.
    pub fn is_replaced(self) -> bool {
        self == Self::Mount
    }
}

impl Entry {
    /// The entry as it is written; an error when it is larger than readers take.
    pub fn document(&self) -> Result<Document, CacheError> {
        let written = Written {
            mab: VERSION,
            kind: self.kind.name(),
            key: &self.key,
            value: &self.value,
            blobs: &self.blobs,
        };
        let bytes = serde_json::to_vec(&written).map_err(|cause| self.unusable(cause.to_string()))?;
        if bytes.len() as u64 > self.kind.largest() {
            return Err(self.unusable(format!("it has more than {} bytes", self.kind.largest())));
        }
        Ok(Document { kind: self.kind, key: self.key, blobs: self.blobs.clone(), bytes: bytes.into() })
    }

    /// The entry of this kind and key. Whoever wrote the bytes is not trusted to have written what was asked for.
    pub fn parse(kind: EntryKind, key: &Digest, bytes: &[u8]) -> Result<Self, CacheError> {
        let unusable = |cause: String| unusable(kind, key, cause);
        if bytes.len() as u64 > kind.largest() {
            return Err(unusable(format!("it has more than {} bytes", kind.largest())));
        }
        let version: Version =
            serde_json::from_slice(bytes).map_err(|_| unusable("it is no document of a cache".into()))?;
        if version.mab != VERSION {
            return Err(unusable(format!("it has version {}, and this mab knows {VERSION}", version.mab)));
        }
        let read: Read = serde_json::from_slice(bytes).map_err(|cause| unusable(cause.to_string()))?;
        if read.kind != kind.name() || read.key != *key {
            return Err(unusable("it is the result of another key".into()));
        }
        Ok(Self { kind, key: *key, value: read.value, blobs: read.blobs })
    }

    fn unusable(&self, cause: String) -> CacheError {
        unusable(self.kind, &self.key, cause)
    }
}

fn unusable(kind: EntryKind, key: &Digest, cause: String) -> CacheError {
    CacheError::Entry { kind: kind.name(), key: key.short(), cause }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry() -> Entry {
        let blob = Descriptor::of("text/plain", b"layer");
        let value = serde_json::json!({"b": [1, null], "a": "x"});
        Entry { kind: EntryKind::Step, key: Digest::of("key"), value, blobs: vec![blob] }
    }

    #[test]
    fn documents_come_back_as_they_were() {
        let document = entry().document().unwrap();
        let text = String::from_utf8(document.bytes.to_vec()).unwrap();
        let (key, blob) = (Digest::of("key"), Digest::of("layer"));
        assert_eq!(
            text,
            format!(
                r#"{{"mab":1,"kind":"step","key":"{key}","value":{{"b":[1,null],"a":"x"}},"blobs":[{{"mediaType":"text/plain","digest":"{blob}","size":5}}]}}"#
            )
        );
        assert_eq!(Entry::parse(EntryKind::Step, &key, text.as_bytes()).unwrap(), entry());
    }

    #[test]
    fn what_is_not_the_entry_is_refused() {
        let key = Digest::of("key");
        let good = String::from_utf8(entry().document().unwrap().bytes.to_vec()).unwrap();
        let check = |text: &str, expected: &str| {
            let error = Entry::parse(EntryKind::Step, &key, text.as_bytes()).unwrap_err().to_string();
            let told = error.split(" at line").next().unwrap();
            assert_eq!(told, format!("the step entry {} cannot be used: {expected}", key.short()));
        };
        check("", "it is no document of a cache");
        check("<html>", "it is no document of a cache");
        check(&good[..good.len() - 1], "it is no document of a cache");
        check(r#"{"mab":2}"#, "it has version 2, and this mab knows 1");
        check(&good.replace("step", "node"), "it is the result of another key");
        let other = Digest::of("other").to_string();
        check(&good.replace(&key.to_string(), &other), "it is the result of another key");
        check(r#"{"mab":1}"#, "missing field `kind`");
        check(
            &good.replace(r#""value""#, r#""more":1,"value""#),
            "unknown field `more`, expected one of `mab`, `kind`, `key`, `value`, `blobs`",
        );
        check(&good.replace(r#"sha256:"#, "md5:"), "digest algorithm `md5` is not supported; only sha256 is");
        check(&" ".repeat((1 << 20) + 1), "it has more than 1048576 bytes");
        let mut large = entry();
        large.value = serde_json::Value::String("x".repeat(1 << 20));
        assert!(large.document().is_err());
    }
}
