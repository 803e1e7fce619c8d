//! `mab check --fix`: the edits that findings carry, made until none is left, then written all at once.
//!
//! Passes work on texts in memory, so that edits which lie over each other come one after the other, and what is
//! written has been checked. Files are replaced whole; one that is outside of the project, or that has changed
//! meanwhile, is left alone.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use super::check::{self, CheckOptions, Checked};
use super::overlay::Overlay;
use super::{Failure, clean};
use crate::config::import;
use crate::diag::{Edit, Kind, Problem};
use crate::facts::Facts;

/// More passes mean that edits undo each other.
const MOST_PASSES: usize = 16;

/// What came of it: the check after all edits, and the files they change.
#[derive(Debug)]
pub struct Fixed {
    pub checked: Checked,
    pub files: Vec<FixedFile>,
}

/// One file before and after.
#[derive(Debug)]
pub struct FixedFile {
    /// As messages call it.
    pub name: String,
    pub before: String,
    pub after: String,
    pub edits: usize,
}

/// Checks, edits, checks again. Nothing is written when `is_dry_run`.
pub async fn fix(options: &CheckOptions, is_dry_run: bool, facts: &mut Facts) -> Result<Fixed, Failure> {
    let mut options = options.clone();
    let mut fixed: BTreeMap<PathBuf, FixedFile> = BTreeMap::new();
    let roots = check::roots(&options, facts);
    for _ in 0..MOST_PASSES {
        let checked = check::check(&options, facts).await?;
        let edits = edits(&checked, &roots);
        let made =
            edits.into_iter().map(|(path, edits)| pass(&mut fixed, &mut options.overlay, path, &edits));
        if made.sum::<usize>() == 0 {
            break;
        }
    }
    let checked = check::check(&options, facts).await?;
    if !is_dry_run {
        let written = fixed.iter().map(|(path, file)| replace(path, file));
        let problems: Vec<Problem> = written.filter_map(Result::err).collect();
        if !problems.is_empty() {
            return Err(problems);
        }
    }
    Ok(Fixed { checked, files: fixed.into_values().collect() })
}

/// The edits of each file that may be edited: a real one, below one of `roots`.
fn edits(checked: &Checked, roots: &[PathBuf]) -> BTreeMap<PathBuf, Vec<Edit>> {
    let findings = checked.report.findings.iter().filter_map(|found| found.finding.edit.clone());
    let problems = checked.report.problems.iter().chain(&checked.warnings).filter_map(Problem::edit);
    let mut edits: BTreeMap<PathBuf, Vec<Edit>> = BTreeMap::new();
    for edit in findings.chain(problems) {
        let places = roots.iter().filter_map(|root| {
            let path = clean(&root.join(&edit.place.source.name)).canonicalize().ok()?;
            roots.iter().any(|root| path.starts_with(root)).then_some(path)
        });
        if let Some(path) = places.into_iter().next() {
            edits.entry(path).or_default().push(edit);
        }
    }
    edits
}

/// Makes those edits of one file that do not touch each other; gives their number.
fn pass(
    fixed: &mut BTreeMap<PathBuf, FixedFile>,
    overlay: &mut Overlay,
    path: PathBuf,
    edits: &[Edit],
) -> usize {
    let Some(text) = overlay.text(&path) else { return 0 };
    // What was checked is another text than this: an inline Dockerfile, or a file that changed meanwhile.
    let edits: Vec<&Edit> = edits.iter().filter(|edit| edit.place.source.text == text).collect();
    let (after, made) = applied(&text, &edits, |text| is_sound(&path, text));
    if made > 0 {
        let name = edits.first().map(|edit| edit.place.source.name.clone()).unwrap_or_default();
        let file = fixed.entry(path.clone());
        let file = file.or_insert_with(|| FixedFile { name, before: text, after: String::new(), edits: 0 });
        file.after.clone_from(&after);
        file.edits += made;
        overlay.insert(path, after);
    }
    made
}

/// The text with the edits, the first of those that lie over each other; not those that `is_sound` refuses.
fn applied(text: &str, edits: &[&Edit], is_sound: impl Fn(&str) -> bool) -> (String, usize) {
    let chosen: BTreeSet<(usize, usize, &str)> = edits
        .iter()
        .map(|edit| (edit.place.span.start, edit.place.span.end, edit.replacement.as_str()))
        .collect();
    let (mut end, mut apart) = (0, Vec::new());
    for edit in chosen.into_iter().filter(|(start, end, with)| text.get(*start..*end) != Some(*with)) {
        if edit.0 >= end || apart.is_empty() {
            end = edit.1.max(edit.0 + 1);
            apart.push(edit);
        }
    }
    let (mut after, mut made) = (text.to_string(), 0);
    for (start, end, replacement) in apart.into_iter().rev() {
        let mut edited = after.clone();
        edited.replace_range(start..end, replacement);
        if is_sound(&edited) {
            after = edited;
            made += 1;
        }
    }
    (after, made)
}

/// A key that is put right may be there already, and twice it is worse than misspelt.
fn is_sound(path: &Path, text: &str) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy().to_lowercase();
    match path.extension().and_then(|extension| extension.to_str()) {
        Some("toml") => toml::de::DeTable::parse(text).is_ok(),
        Some("hcl" | "json" | "yaml" | "yml") => import::can_be_parsed(&name, text),
        _ => true,
    }
}

pub(super) fn replace(path: &Path, file: &FixedFile) -> Result<(), Problem> {
    let written = || -> io::Result<()> {
        if std::fs::read_to_string(path)? != file.before {
            return Err(io::Error::other("it changed while it was checked"));
        }
        let folder = path.parent().unwrap_or(Path::new("/"));
        let mut temporary = tempfile::NamedTempFile::new_in(folder)?;
        temporary.write_all(file.after.as_bytes())?;
        temporary.as_file().set_permissions(std::fs::metadata(path)?.permissions())?;
        temporary.as_file().sync_all()?;
        temporary.persist(path).map_err(|error| error.error)?;
        Ok(())
    };
    written().map_err(|error| {
        Problem::new(Kind::Host, "check::write", format!("cannot write `{}`: {error}", file.name))
    })
}

impl FixedFile {
    /// In the unified format.
    pub fn diff(&self) -> String {
        let diff = similar::TextDiff::from_lines(&self.before, &self.after);
        diff.unified_diff().header(&format!("a/{}", self.name), &format!("b/{}", self.name)).to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diag::{Place, Source};

    fn check(text: &str, edits: &[(usize, usize, &str)], expected: (&str, usize)) {
        let source = Source::new("f", text);
        let edits: Vec<Edit> = edits
            .iter()
            .map(|(start, end, with)| Edit {
                place: Place::new(&source, *start..*end),
                replacement: with.to_string(),
            })
            .collect();
        let edits: Vec<&Edit> = edits.iter().collect();
        let (after, made) = applied(text, &edits, |text| !text.contains("bad"));
        assert_eq!((after.as_str(), made), expected);
    }

    #[test]
    fn edits_that_lie_over_each_other_wait() {
        check("abcdef", &[(0, 1, "x"), (5, 6, "y")], ("xbcdey", 2));
        check("abcdef", &[(0, 3, "x"), (2, 4, "y")], ("xdef", 1));
        check("abcdef", &[(0, 3, "x"), (0, 3, "x")], ("xdef", 1));
        check("abcdef", &[(0, 0, "x"), (0, 1, "y")], ("xabcdef", 1));
        check("abcdef", &[(0, 1, "a")], ("abcdef", 0));
        check("abcdef", &[(0, 1, "bad"), (5, 6, "y")], ("abcdey", 1));
    }
}
