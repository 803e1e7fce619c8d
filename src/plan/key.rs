//! The key of a build node: named parts over results, never over recipes of what it builds on.
//!
//! Not in the key: where a result goes, what the target is called, comments, unreachable stages and
//! unread arguments (lowering drops them), file times, the values of secrets.

use std::collections::BTreeMap;

use crate::base::{Digest, Parts, StepId};
use crate::model::Attestation;
use crate::steps::{Lowered, lowered_parts};

/// What decides a build node's result.
pub struct NodeKeyInputs<'a> {
    pub engine: &'a str,
    /// What engines make of the same steps, by version.
    pub semantics: u32,
    /// What the engine cannot do here, such as more than one id.
    pub degraded: &'a [&'a str],
    /// Covers the manifest digests of bases.
    pub lowered: &'a Lowered,
    /// What each COPY or ADD reaches in its context.
    pub sources: &'a BTreeMap<StepId, Digest>,
    pub epoch: Option<i64>,
    /// The emulator of each platform whose commands do not run natively.
    pub emulators: &'a BTreeMap<String, String>,
    /// Which of the secrets and agents that commands ask for there are. Never what they are.
    pub forwarded: Parts,
    /// What is stated about the result.
    pub attestations: &'a [Attestation],
}

pub fn node_key(inputs: &NodeKeyInputs<'_>) -> Parts {
    let mut parts = Parts::new();
    parts.text("engine", format!("{} {}", inputs.engine, inputs.semantics));
    for limit in inputs.degraded {
        parts.text(format!("degraded {limit}"), "");
    }
    parts.parts("build", lowered_parts(inputs.lowered));
    let mut sources = Parts::new();
    for (step, digest) in inputs.sources {
        sources.digest_of(step.to_string(), *digest);
    }
    parts.parts("sources", sources);
    let mut emulators = Parts::new();
    for (platform, emulator) in inputs.emulators {
        emulators.text(platform, emulator);
    }
    parts.parts("emulators", emulators);
    parts.parts("forwarded", inputs.forwarded.clone());
    for attestation in inputs.attestations {
        parts.text(format!("attestation {}", attestation.kind.name()), attestation.words());
    }
    if let Some(epoch) = inputs.epoch {
        parts.text("epoch", epoch.to_string());
    }
    parts
}
