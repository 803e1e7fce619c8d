//! `COPY` and `ADD`.

use super::flags::{FlagKind, FlagSpec, Flags};
use super::heredoc::Heredoc;
use super::instruction::{ReadResult, one, word_list};
use super::parse::Reader;
use crate::diag::{Located, Problem};

/// `COPY`. Words are not expanded yet; `from` and `exclude` never are.
#[derive(Clone, Debug, PartialEq)]
pub struct CopyFiles {
    pub sources: Vec<String>,
    /// Files written out in the Dockerfile, named after their delimiters.
    pub heredocs: Vec<Heredoc>,
    pub destination: String,
    /// A stage by name or number, an image, or a named context.
    pub from: Option<Located<String>>,
    pub chown: Option<String>,
    pub chmod: Option<String>,
    pub link: bool,
    pub parents: bool,
    pub exclude: Vec<String>,
}

/// `ADD`. Words are not expanded yet; `exclude` never is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AddFiles {
    pub sources: Vec<String>,
    /// Files written out in the Dockerfile, named after their delimiters.
    pub heredocs: Vec<Heredoc>,
    pub destination: String,
    pub chown: Option<String>,
    pub chmod: Option<String>,
    pub link: bool,
    pub checksum: Option<String>,
    /// `None` leaves it to the source and to `BUILDKIT_CONTEXT_KEEP_GIT_DIR`.
    pub keep_git_dir: Option<bool>,
    /// `None`: local archives are unpacked, downloaded ones are not.
    pub unpack: Option<bool>,
    pub exclude: Vec<String>,
}

const COPY_FLAGS: [FlagSpec; 6] = [
    ("from", FlagKind::Text),
    ("chown", FlagKind::Text),
    ("chmod", FlagKind::Text),
    ("link", FlagKind::Switch),
    ("parents", FlagKind::Switch),
    ("exclude", FlagKind::List),
];

const ADD_FLAGS: [FlagSpec; 7] = [
    ("chown", FlagKind::Text),
    ("chmod", FlagKind::Text),
    ("link", FlagKind::Switch),
    ("keep-git-dir", FlagKind::Switch),
    ("checksum", FlagKind::Text),
    ("unpack", FlagKind::Switch),
    ("exclude", FlagKind::List),
];

struct Paths {
    sources: Vec<String>,
    heredocs: Vec<Heredoc>,
    destination: String,
}

pub(super) fn read_copy(reader: &Reader<'_>) -> ReadResult<CopyFiles> {
    let flags = Flags::read(reader, &COPY_FLAGS)?;
    let paths = read_paths(reader)?;
    let from = flags.text_at("from").filter(|(from, _)| !from.is_empty());
    if let Some((from, range)) = from.filter(|(from, _)| has_variable(from)) {
        return Err(one(variable_in_from(reader.problem_at(
            range,
            "dockerfile::variable-in-from",
            format!("`--from={from}` of COPY cannot hold a variable"),
        ))));
    }
    Ok(CopyFiles {
        sources: paths.sources,
        heredocs: paths.heredocs,
        destination: paths.destination,
        from: from.map(|(from, range)| Located::new(from.to_string(), reader.place(range))),
        chown: given(&flags, "chown"),
        chmod: given(&flags, "chmod"),
        link: flags.switch("link").unwrap_or(false),
        parents: flags.switch("parents").unwrap_or(false),
        exclude: flags.list("exclude").map(|(pattern, _)| pattern.to_string()).collect(),
    })
}

pub(super) fn read_add(reader: &Reader<'_>) -> ReadResult<AddFiles> {
    let flags = Flags::read(reader, &ADD_FLAGS)?;
    let paths = read_paths(reader)?;
    Ok(AddFiles {
        sources: paths.sources,
        heredocs: paths.heredocs,
        destination: paths.destination,
        chown: given(&flags, "chown"),
        chmod: given(&flags, "chmod"),
        link: flags.switch("link").unwrap_or(false),
        checksum: given(&flags, "checksum"),
        keep_git_dir: flags.switch("keep-git-dir"),
        unpack: flags.switch("unpack"),
        exclude: flags.list("exclude").map(|(pattern, _)| pattern.to_string()).collect(),
    })
}

/// An empty value is as good as none.
fn given(flags: &Flags, name: &str) -> Option<String> {
    flags.text(name).filter(|value| !value.is_empty()).map(str::to_string)
}

/// A dollar with something behind it.
pub(super) fn has_variable(text: &str) -> bool {
    text.find('$').is_some_and(|at| at + 1 < text.len())
}

pub(super) fn variable_in_from(problem: Problem) -> Problem {
    problem.help("give the image a stage of its own, `FROM image AS name`, and use that name")
}

fn read_paths(reader: &Reader<'_>) -> ReadResult<Paths> {
    let name = &reader.command.name;
    let mut words = word_list(reader)?;
    let destination = match words.pop() {
        Some(destination) if !words.is_empty() => destination,
        _ => {
            let message = format!("{name} needs a source and a destination");
            return Err(one(reader.problem("dockerfile::missing-argument", message)));
        }
    };
    if let Ok(Some(_)) = Heredoc::announced_by(&destination) {
        let message = format!("the destination of {name} cannot be a heredoc");
        return Err(one(reader.problem_at(
            &reader.arguments_range(),
            "dockerfile::heredoc-destination",
            message,
        )));
    }
    let mut paths = Paths { sources: Vec::new(), heredocs: Vec::new(), destination };
    for word in words {
        match Heredoc::announced_by(&word) {
            Ok(Some(announced)) => {
                // Of two heredocs with one name the last counts, as in BuildKit.
                let bodies = reader.line.heredocs.iter().rev();
                let body = bodies.filter(|heredoc| heredoc.name == announced.name).map(|h| h.content.clone());
                let content = body.take(1).collect();
                paths.heredocs.push(Heredoc { content, ..announced });
            }
            _ => paths.sources.push(word),
        }
    }
    Ok(paths)
}
