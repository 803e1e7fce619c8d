//! Why tests run: what differs from when they passed last.

use super::Bench;
use crate::base::Parts;
use crate::base::explanation::{Change, Explanation, Nearest, Part, Reason};
use crate::model::Test;
use crate::store::{KeyKind, Store, StoreError};

/// Of tests that have not passed with these keys.
pub(super) fn explanation(
    bench: &Bench<'_>,
    store: &Store,
    waiting: &[(usize, &Test, Parts)],
) -> Result<Explanation, StoreError> {
    let (mut reasons, mut nearest) = (Vec::new(), Nearest::None);
    for (_, test, parts) in waiting {
        let earlier = store.keys().latest(KeyKind::Node, &bench.subject(test))?;
        let Some(earlier) = earlier.and_then(|record| record.parts()) else {
            reasons.push(Reason::new(Part::Text, format!("test `{}`", test.name), Change::Added));
            continue;
        };
        nearest = Nearest::Own;
        let changed = Parts::diff(&earlier, parts);
        if changed.is_empty() {
            reasons.push(Reason::new(Part::NoCache, format!("test `{}`", test.name), Change::Added));
        }
        for difference in changed {
            let name = match difference.path.first().map(String::as_str) {
                Some("image") => "the image".to_string(),
                Some("test") => "what mab makes of tests".to_string(),
                Some("emulator") => "the emulator".to_string(),
                Some(mount) if mount.starts_with("mount ") => {
                    format!("what test `{}` sees at `{}`", test.name, mount.trim_start_matches("mount "))
                }
                _ => format!("test `{}`", test.name),
            };
            let reason = Reason::new(Part::Text, name, Change::Changed(None));
            if !reasons.contains(&reason) {
                reasons.push(reason);
            }
        }
    }
    Ok(Explanation::Miss { nearest, reasons })
}
