//! Identity as named parts: one list, two readers. [`Parts::digest`] is the key, [`Parts::diff`] the
//! explanation, so the two cannot drift apart.
//!
//! Canonical encoding of a list, which is hashed: for every part in order the length of its name as
//! eight bytes little-endian, the name, one byte for the kind of value (0 text, 1 digest, 2 parts),
//! then for text the length and the bytes, for a digest its 32 bytes, for parts the number of them
//! and their encoding. Names are unique within a list; their order is part of the encoding.

use serde::{Deserialize, Serialize};

use super::digest::{Digest, Hasher};

/// An ordered list of named values that together are an identity.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Parts(Vec<(String, Part)>);

/// One value of an identity.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Part {
    Text(String),
    Digest(Digest),
    Parts(Parts),
}

/// How one named part differs between two identities. `None` means that the side has no such part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// The path of names that leads to the part, outermost first.
    pub path: Vec<String>,
    pub old: Option<Part>,
    pub new: Option<Part>,
}

impl Parts {
    pub fn new() -> Self {
        Self::default()
    }

    pub fn text(&mut self, name: impl Into<String>, value: impl Into<String>) -> &mut Self {
        self.push(name.into(), Part::Text(value.into()))
    }

    pub fn digest_of(&mut self, name: impl Into<String>, value: Digest) -> &mut Self {
        self.push(name.into(), Part::Digest(value))
    }

    pub fn parts(&mut self, name: impl Into<String>, value: Parts) -> &mut Self {
        self.push(name.into(), Part::Parts(value))
    }

    fn push(&mut self, name: String, part: Part) -> &mut Self {
        debug_assert!(self.get(&name).is_none(), "part `{name}` is named twice");
        self.0.push((name, part));
        self
    }

    pub fn get(&self, name: &str) -> Option<&Part> {
        self.0.iter().find(|(existing, _)| existing == name).map(|(_, part)| part)
    }

    pub fn iter(&self) -> impl Iterator<Item = (&str, &Part)> {
        self.0.iter().map(|(name, part)| (name.as_str(), part))
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The key: the hash of the canonical encoding.
    pub fn digest(&self) -> Digest {
        let mut hasher = Hasher::new();
        self.encode(&mut hasher);
        hasher.finish()
    }

    fn encode(&self, hasher: &mut Hasher) {
        for (name, part) in &self.0 {
            encode_bytes(hasher, name.as_bytes());
            match part {
                Part::Text(text) => {
                    hasher.update(&[0]);
                    encode_bytes(hasher, text.as_bytes());
                }
                Part::Digest(digest) => {
                    hasher.update(&[1]);
                    hasher.update(digest.as_bytes());
                }
                Part::Parts(parts) => {
                    hasher.update(&[2]);
                    hasher.update(&(parts.0.len() as u64).to_le_bytes());
                    parts.encode(hasher);
                }
            }
        }
    }

    /// The explanation: every innermost part that differs, in the order of the new list, removed ones last.
    pub fn diff(old: &Parts, new: &Parts) -> Vec<Difference> {
        let mut differences = Vec::new();
        collect_differences(old, new, &mut Vec::new(), &mut differences);
        differences
    }
}

fn encode_bytes(hasher: &mut Hasher, bytes: &[u8]) {
    hasher.update(&(bytes.len() as u64).to_le_bytes());
    hasher.update(bytes);
}

fn collect_differences(old: &Parts, new: &Parts, path: &mut Vec<String>, found: &mut Vec<Difference>) {
    for (name, part) in new.iter() {
        path.push(name.to_string());
        match (old.get(name), part) {
            (Some(before), after) if before == after => {}
            (Some(Part::Parts(before)), Part::Parts(after)) => {
                collect_differences(before, after, path, found)
            }
            (before, after) => {
                found.push(Difference { path: path.clone(), old: before.cloned(), new: Some(after.clone()) });
            }
        }
        path.pop();
    }
    for (name, part) in old.iter().filter(|(name, _)| new.get(name).is_none()) {
        path.push(name.to_string());
        found.push(Difference { path: path.clone(), old: Some(part.clone()), new: None });
        path.pop();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(pairs: &[(&str, &str)]) -> Parts {
        let mut parts = Parts::new();
        for (name, value) in pairs {
            parts.text(*name, *value);
        }
        parts
    }

    #[test]
    fn borders_between_parts_are_part_of_the_key() {
        assert_ne!(parts(&[("a", "bc")]).digest(), parts(&[("ab", "c")]).digest());
        assert_ne!(parts(&[("a", "b"), ("c", "d")]).digest(), parts(&[("c", "d"), ("a", "b")]).digest());
        let mut nested = Parts::new();
        nested.parts("x", parts(&[("a", "b")]));
        assert_ne!(nested.digest(), parts(&[("x", ""), ("a", "b")]).digest());
    }

    #[test]
    fn diff_names_exactly_what_changed() {
        let mut old = parts(&[("engine", "embedded 1"), ("gone", "x")]);
        old.parts("args", parts(&[("GO", "1.23"), ("OS", "linux")]));
        let mut new = parts(&[("engine", "embedded 1")]);
        new.parts("args", parts(&[("GO", "1.24"), ("OS", "linux")]));
        let paths: Vec<String> = Parts::diff(&old, &new).iter().map(|d| d.path.join("/")).collect();
        assert_eq!(paths, ["args/GO", "gone"]);
        assert!(Parts::diff(&old, &old).is_empty());
    }
}
