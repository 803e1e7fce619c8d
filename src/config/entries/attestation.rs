//! Attestations: bake's `type=sbom` and `type=provenance,mode=max`, or a table.

use super::EntryDeclaration;
use crate::config::text::Text;
use crate::diag::{Located, Problem};
use crate::model::{Attestation, AttestationKind};

const PROVENANCE: [&str; 6] = ["mode", "builder-id", "filename", "reproducible", "inline-only", "version"];

/// The attestation with its templates rendered by `render`; `None` when it comes out empty.
pub fn resolve(
    declared: &EntryDeclaration,
    render: impl Fn(&Text) -> Result<String, Problem>,
) -> Result<Option<Located<Attestation>>, Vec<Problem>> {
    let Some(mut fields) = declared.fields("config::bad-attestation", render, |_| None)? else {
        return Ok(None);
    };
    fields.title = "an attestation".to_string();
    let Some(kind) = fields.kind(&AttestationKind::NAMES) else { return Err(fields.problems) };
    fields.title = format!("an attestation of type `{}`", kind.name());
    let is_disabled = fields.boolean("disabled").unwrap_or(false);
    let attributes = match kind {
        // A generator takes parameters that only it knows.
        AttestationKind::Sbom => {
            std::mem::take(&mut fields.rest).into_iter().map(|field| (field.key, field.value)).collect()
        }
        AttestationKind::Provenance => {
            fields.check_word("mode", &["min", "max"]);
            fields.take_known(&PROVENANCE)
        }
    };
    fields.finish(Some(Attestation { kind, is_disabled, attributes }), &PROVENANCE, &[]).map(Some)
}
