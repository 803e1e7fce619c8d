//! A Dockerfile that names the images which were found, for frontends that cannot be told of them otherwise.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::diag::{Kind, Place, Problem};
use crate::dockerfile::Dockerfile;
use crate::steps::{Lowered, Op};

/// The text with `names`, in the order of `steps.bases`, where the bases stand.
pub(super) fn with_bases(
    dockerfile: &Dockerfile,
    steps: &Lowered,
    names: &[String],
) -> Result<String, Box<Problem>> {
    let mut replaced: BTreeMap<usize, (usize, &str)> = BTreeMap::new();
    for step in &steps.steps {
        let Op::Base(base) = step.op else { continue };
        let written = &steps.bases[base].name;
        let span = step.place.as_ref().and_then(|place| part(dockerfile, place, written));
        let Some(span) = span else { return Err(unnamed(written, step.place.as_ref())) };
        replaced.insert(span.start, (span.end, &names[base]));
    }
    let (mut text, mut end) = (String::new(), 0);
    let source = &dockerfile.source.text;
    for (start, (stop, name)) in replaced {
        text.push_str(&source[end..start]);
        text.push_str(name);
        end = stop;
    }
    text.push_str(&source[end..]);
    Ok(text)
}

/// Where the name of an image is written: as the word of a FROM, as the value of `--from`, or in a mount.
fn part(dockerfile: &Dockerfile, place: &Place, written: &str) -> Option<std::ops::Range<usize>> {
    if !Arc::ptr_eq(&place.source, &dockerfile.source) {
        return None;
    }
    let froms = dockerfile.stages.iter().filter_map(|stage| stage.from.image.place.as_ref());
    let text = dockerfile.source.text.get(place.span.clone())?;
    if froms.clone().any(|from| from.span == place.span) || text == written {
        return Some(place.span.clone());
    }
    let key = format!("from={written}");
    let found = text.match_indices(&key).map(|(at, _)| at).find(|at| {
        let rest = &text[at + key.len()..];
        rest.is_empty() || rest.starts_with([',', ' ', '\t', '"', '\\', '\n', '\r'])
    })?;
    let start = place.span.start + found + "from=".len();
    Some(start..start + written.len())
}

fn unnamed(written: &str, place: Option<&Place>) -> Box<Problem> {
    let message = format!(
        "a Docker Engine with the classic store cannot be told which image `{written}` is where nothing says so in the Dockerfile"
    );
    let problem = Problem::new(Kind::Host, "buildkit::classic", message)
        .help("leave `--builder` out: the embedded engine can; or name it in a FROM");
    Box::new(match place {
        Some(place) => problem.at(place.clone(), "needed here"),
        None => problem,
    })
}
