//! Digests written into a manifest, and nothing else of it changed: not a comment, not the order, not a blank.

use std::collections::BTreeMap;

use super::manifest::{ImageUse, Workload};
use crate::diag::{Place, Problem};

/// A manifest with digests in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pinned {
    pub text: String,
    /// Line, and what stood and stands there; equal where nothing had to change.
    pub images: Vec<(usize, String, String)>,
}

/// Writes `names`, from old to new, where the pods of a file name images. Images that are not among them stay.
pub fn pin(
    text: &str,
    workloads: &[Workload],
    names: &BTreeMap<String, String>,
) -> Result<Pinned, Vec<Problem>> {
    let (mut edits, mut problems): (Vec<(Place, &str, &str)>, _) = (Vec::new(), Vec::new());
    for image in workloads.iter().flat_map(|workload| &workload.images) {
        let Some(new) = names.get(&image.name) else { continue };
        // What merge keys and anchors repeat stands in the text once.
        match written(image) {
            Some(place) if edits.iter().any(|(known, ..)| known.span == place.span) => {}
            Some(place) => edits.push((place, &image.name, new)),
            None => problems.push(unwritable(image)),
        }
    }
    if !problems.is_empty() {
        return Err(problems);
    }
    edits.sort_by_key(|(place, ..)| place.span.start);
    let images =
        edits.iter().map(|(place, old, new)| (place.line(), old.to_string(), new.to_string())).collect();
    let mut pinned = text.to_string();
    for (place, _, new) in edits.iter().rev() {
        pinned.replace_range(place.span.clone(), new);
    }
    Ok(Pinned { text: pinned, images })
}

/// Where the name itself stands, without quotes, an anchor before it or a comment after it; `None` where the text does
/// not show it as it is.
fn written(image: &ImageUse) -> Option<Place> {
    let place = &image.place;
    let raw = place.source.text.get(place.span.clone())?;
    let at = raw.find(&image.name)?;
    let (before, after) = (&raw[..at], &raw[at + image.name.len()..]);
    let quote = before.chars().next_back().filter(|last| matches!(last, '"' | '\''));
    let (before, after) = match quote {
        Some(quote) => (&before[..before.len() - 1], after.strip_prefix(quote)?),
        None => (before, after),
    };
    let is_lead = before.split_whitespace().all(|word| word.starts_with(['&', '!']));
    let is_rest = after.trim_start().is_empty()
        || after.starts_with([' ', '\t']) && after.trim_start().starts_with('#');
    let start = place.span.start + at;
    (is_lead && is_rest).then(|| Place::new(&place.source, start..start + image.name.len()))
}

fn unwritable(image: &ImageUse) -> Problem {
    let message = format!("`{}` is written in a way that cannot be changed in place", image.name);
    Problem::input("k8s::written", message)
        .at(image.place.clone(), "written here")
        .help("write the name on one line, without escapes")
}

#[cfg(test)]
mod tests {
    use super::super::workloads;
    use super::*;
    use crate::diag::Source;

    #[test]
    fn only_names_change() {
        let text = "# front\nkind: Pod   # a pod\nspec:\n  containers:\n  - image:   \"shop/api:1\" # api\n    name: api\n  - {image: 'shop/web:1', name: web}\n  - image: &i other:2\n  - image: *i\n  - image: shop/api:1\n";
        let source = Source::new("m.yaml", text);
        let names = [
            ("shop/api:1", "shop/api:1@sha256:a"),
            ("shop/web:1", "shop/web:1@sha256:b"),
            ("other:2", "other:2@sha256:c"),
        ];
        let names = names.map(|(old, new)| (old.to_string(), new.to_string())).into();
        let pinned = pin(text, &workloads(&source).unwrap(), &names).unwrap();
        let expected = text
            .replace("shop/api:1", "shop/api:1@sha256:a")
            .replace("shop/web:1", "shop/web:1@sha256:b")
            .replace("other:2", "other:2@sha256:c");
        assert_eq!(pinned.text, expected);
        assert_eq!(pinned.images.iter().map(|(line, ..)| *line).collect::<Vec<_>>(), [5, 7, 8, 10]);
    }

    #[test]
    fn names_that_are_not_written_out_are_refused() {
        let text = "kind: Pod\nspec: {containers: [{image: \"shop\\x2fapi:1\"}]}\n";
        let names = [("shop/api:1".to_string(), "x".to_string())].into();
        let problems = pin(text, &workloads(&Source::new("m", text)).unwrap(), &names).unwrap_err();
        assert_eq!(problems[0].code, "k8s::written");
    }
}
