//! What an earlier run made of a context, found again as long as the context looks the same.
//!
//! The signature of a context covers all that a walk sees but for owners and the times of directories, which no build
//! reads. Files are in it by their stamps, so equal signatures mean equal contents as soon as every file is settled:
//! see [`Stamp::is_settled_at`]. What is made of a context with a younger file is not kept.
//!
//! There is one record per root, rules and question, which the next answer replaces: the signature, then the answer.
//!
//! [`Stamp::is_settled_at`]: crate::store::Stamp::is_settled_at

use std::time::SystemTime;

use super::entry::ContextEntry;
use super::error::ContextError;
use super::{Context, Known};
use crate::base::{Digest, Hasher, Parts};
use crate::layer::EntryKind;
use crate::store::{KeyKind, NewRecord};

/// Raised when the signature covers something else.
const VERSION: u32 = 1;

/// How a context looked, and whether a change from now on is bound to show.
pub(super) struct Signature {
    digest: Digest,
    is_settled: bool,
}

/// An answer that is to be written down.
pub(super) struct Answer {
    key: Digest,
    digest: Digest,
}

impl Context {
    /// What [`Context::derive`] was told in an earlier run, if the context looks as it did then.
    pub fn derived(&self, question: &Digest) -> Result<Option<Digest>, ContextError> {
        let Some(known) = &self.known else { return Ok(None) };
        let record = known.store.keys().get(KeyKind::Derived, &known.key_of(question))?;
        let value = record.and_then(|record| <[u8; 64]>::try_from(record.value).ok());
        Ok(value.and_then(|value| {
            let (signature, answer) = value.split_first_chunk::<32>()?;
            let is_same = signature == known.signature.digest.as_bytes();
            is_same.then_some(Digest::from_bytes(*answer.first_chunk::<32>()?))
        }))
    }

    /// Remembers what was made of the context: `answer` depends on the question, the context as it was walked, and
    /// nothing else.
    pub fn derive(&self, question: &Digest, answer: Digest) {
        if let Some(known) = self.known.as_ref().filter(|known| known.signature.is_settled) {
            known.learnt().answers.push(Answer { key: known.key_of(question), digest: answer });
        }
    }
}

impl Known {
    fn key_of(&self, question: &Digest) -> Digest {
        let mut parts = Parts::new();
        parts.text("derived", VERSION.to_string());
        parts.digest_of("root", Digest::of(&self.root));
        parts.digest_of("rules", self.rules);
        parts.digest_of("question", *question);
        parts.digest()
    }

    pub(super) fn save_answers(&self, subject: &str, answers: &[Answer]) -> Result<(), ContextError> {
        let value = |answer: &Answer| [*self.signature.digest.as_bytes(), *answer.digest.as_bytes()].concat();
        let values: Vec<Vec<u8>> = answers.iter().map(value).collect();
        let mut records = Vec::with_capacity(answers.len());
        for (Answer { key, .. }, value) in answers.iter().zip(&values) {
            let (kind, parts, blobs) = (KeyKind::Derived, None, &[][..]);
            records.push(NewRecord { kind, key, subject, value, parts, blobs });
        }
        Ok(self.store.keys().put_all(&records)?)
    }
}

impl Signature {
    /// Of what a walk saw that began at `begun`.
    pub fn of(entries: &[ContextEntry], begun: SystemTime) -> Self {
        const CHUNK: usize = 16 << 10;
        let mut hasher = Hasher::new();
        let mut bytes = Vec::with_capacity(2 * CHUNK);
        let mut is_settled = true;
        for entry in entries {
            encode(entry, &mut bytes);
            is_settled &= !entry.is_file() || entry.stamp.is_settled_at(begun);
            if bytes.len() >= CHUNK {
                hasher.update(&bytes);
                bytes.clear();
            }
        }
        hasher.update(&bytes);
        Self { digest: hasher.finish(), is_settled }
    }
}

fn encode(entry: &ContextEntry, bytes: &mut Vec<u8>) {
    let field = |bytes: &mut Vec<u8>, field: &[u8]| {
        bytes.extend((field.len() as u64).to_le_bytes());
        bytes.extend_from_slice(field);
    };
    field(bytes, &entry.path);
    bytes.extend(entry.mode.to_le_bytes());
    match &entry.kind {
        EntryKind::Directory => bytes.push(b'd'),
        kind => {
            bytes.push(if entry.is_file() { b'f' } else { b'o' });
            let stamp = &entry.stamp;
            for number in [stamp.device, stamp.inode, stamp.size] {
                bytes.extend(number.to_le_bytes());
            }
            bytes.extend(stamp.mtime.to_le_bytes());
            bytes.extend(stamp.ctime.to_le_bytes());
            bytes.extend(stamp.mode.to_le_bytes());
            bytes.extend([u8::from(entry.has_more_names), u8::from(entry.is_socket)]);
            match kind {
                EntryKind::File { .. } => {}
                EntryKind::Symlink { target } => field(bytes, target),
                other => field(bytes, format!("{other:?}").as_bytes()),
            }
        }
    }
    field(bytes, entry.capability.as_deref().unwrap_or_default());
}
