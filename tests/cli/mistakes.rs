//! Mistakes that people make in build files, each with what they are told: `tests/corpus/mistakes`, a file for each.
//!
//! A case has its files one after the other, each below `=== NAME`, and last what `mab check` says, below `=== said`.
//! Beside them are `Dockerfile`, which copies `app.txt`, and that, if the case has none. `MAB_BLESS=1` writes what is
//! said anew.

use std::fs;
use std::path::{Path, PathBuf};

use crate::support::{Project, Ran, repository};

const HEADING: &str = "=== ";
const SAID: &str = "said";

fn cases(kind: &str) -> Vec<PathBuf> {
    let folder = repository().join("tests/corpus/mistakes").join(kind);
    let entries = fs::read_dir(&folder).expect("the corpus is part of the repository");
    let mut cases: Vec<PathBuf> =
        entries.map(|entry| entry.expect("the corpus is readable").path()).collect();
    cases.sort();
    cases
}

/// The sections of a case, by heading.
fn sections(text: &str) -> Vec<(String, String)> {
    let mut sections: Vec<(String, String)> = Vec::new();
    for line in text.split_inclusive('\n') {
        match (line.strip_prefix(HEADING), sections.last_mut()) {
            (Some(name), _) => sections.push((name.trim_end().to_string(), String::new())),
            (None, Some((_, body))) => body.push_str(line),
            (None, None) => panic!("`{line}` stands before every heading"),
        }
    }
    sections
}

fn answer(files: &[(String, String)]) -> String {
    let project = Project::new().file("Dockerfile", "FROM scratch\nCOPY app.txt /\n").file("app.txt", "x");
    files.iter().for_each(|(name, text)| project.write(name, text));
    let run = |arguments: &[&str]| project.mab(arguments).with_env("COLUMNS", "100").run();
    let said = |ran: &Ran| {
        let folder = format!("{}/", project.path("").canonicalize().expect("it is there").display());
        format!("{}{}exit {}\n", ran.stderr, ran.stdout, ran.code.unwrap_or(-1)).replace(&folder, "")
    };
    let checked = run(&["check", "--offline"]);
    let printed = run(&["bake", "--print"]);
    // Nobody has to build to learn what is wrong.
    match (checked.code, printed.code) {
        (Some(0), Some(2)) => format!("{}\n$ mab bake --print\n{}", said(&checked), said(&printed)),
        _ => said(&checked),
    }
}

fn check(path: &Path) -> Result<(), String> {
    let text = fs::read_to_string(path).expect("the corpus is readable");
    let mut files = sections(&text);
    files.retain(|(name, _)| name != SAID);
    let said = answer(&files);
    let body: String = files.iter().map(|(name, text)| format!("{HEADING}{name}\n{text}")).collect();
    let actual = format!("{body}{HEADING}{SAID}\n{said}");
    if std::env::var_os("MAB_BLESS").is_some() {
        fs::write(path, &actual).expect("the repository is writable");
        return Ok(());
    }
    if actual == text { Ok(()) } else { Err(format!("{}\n{actual}", path.display())) }
}

fn check_all(kind: &str, at_least: usize) {
    let cases = cases(kind);
    assert!(cases.len() >= at_least, "{kind} has {} cases", cases.len());
    let wrong: Vec<String> = cases.iter().filter_map(|case| check(case).err()).collect();
    assert!(
        wrong.is_empty(),
        "{}\n{} answers differ; MAB_BLESS=1 accepts them",
        wrong.join("\n"),
        wrong.len()
    );
}

#[test]
fn mistakes_in_our_own_files() {
    check_all("toml", 30);
}

#[test]
fn mistakes_in_bake_files() {
    check_all("hcl", 30);
}

#[test]
fn mistakes_in_bake_files_of_json() {
    check_all("json", 10);
}

#[test]
fn mistakes_in_compose_files() {
    check_all("yaml", 30);
}
