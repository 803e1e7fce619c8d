//! What a test expects against what came of it. Pure.

use regex::RegexBuilder;

use crate::config::size_text;
use crate::engine::embedded::found_files::{FoundFile, ImageFiles};
use crate::engine::embedded::sandbox::{ExitStatus, RunExit};
use crate::model::{Expectation, ExpectedFile};
use crate::oci::Manifest;
use crate::pattern::Ignore;

/// How many paths that should not be there are named.
const NAMED_PATHS: usize = 5;

/// What the command left.
pub struct Said<'a> {
    pub exit: &'a RunExit,
    pub stdout: &'a str,
    pub stderr: &'a str,
}

/// What is wrong with a command's end and its output; nothing, where it is as expected.
pub fn command(expect: &Expectation, said: &Said<'_>) -> Vec<String> {
    let mut wrong = Vec::new();
    let expected = expect.exit.unwrap_or(0);
    let ended = match said.exit.status {
        ExitStatus::Exited(code) if code == expected => None,
        ExitStatus::Exited(code) => Some(format!("it ended with exit code {code} instead of {expected}")),
        ExitStatus::Signaled(signal) => Some(format!("it was killed by signal {signal}")),
    };
    wrong.extend(ended.map(|text| match said.exit.memory_kills {
        0 => text,
        _ => format!("{text}; memory ran out"),
    }));
    for (name, pattern, text) in
        [("standard output", &expect.stdout, said.stdout), ("standard error", &expect.stderr, said.stderr)]
    {
        if let Some(pattern) = pattern.as_ref().filter(|pattern| !matches(pattern, text)) {
            wrong.push(format!("nothing in {name} matches `{pattern}`"));
        }
    }
    wrong
}

/// Whether a part of the text matches; `^` and `$` are those of lines.
pub fn matches(pattern: &str, text: &str) -> bool {
    let built = RegexBuilder::new(pattern).multi_line(true).size_limit(1 << 20).build();
    built.expect("the build file's patterns compile").is_match(text)
}

/// What is wrong with files that must be there.
pub fn files(
    expected: &[ExpectedFile],
    found: &[Option<FoundFile>],
    owner: impl Fn(&str) -> Result<(u32, u32), String>,
) -> Vec<String> {
    let mut wrong = Vec::new();
    for (expected, found) in expected.iter().zip(found) {
        let path = &expected.path;
        let Some(found) = found else {
            wrong.push(format!("`{path}` is not there"));
            continue;
        };
        if let Some(mode) = expected.mode.filter(|mode| *mode != found.mode) {
            wrong.push(format!("`{path}` has mode {:04o} instead of {mode:04o}", found.mode));
        }
        let Some(spec) = &expected.owner else { continue };
        match owner(spec) {
            Ok((uid, gid)) if (uid, gid) == (found.uid, found.gid) => {}
            Ok((uid, gid)) => wrong.push(format!(
                "`{path}` belongs to {}:{} instead of `{spec}`, which is {uid}:{gid}",
                found.uid, found.gid
            )),
            Err(error) => wrong.push(format!("`{path}` cannot belong to `{spec}`: {error}")),
        }
    }
    wrong
}

/// What is there and should not be.
pub fn absent(patterns: &[String], files: &ImageFiles) -> Vec<String> {
    if patterns.is_empty() {
        return Vec::new();
    }
    let lines = patterns.iter().map(|pattern| pattern.as_bytes());
    let ignore = Ignore::from_patterns(lines).expect("the build file's patterns are checked");
    let mut found = files.paths().filter(|path| ignore.matches(path.trim_start_matches('/').as_bytes()));
    let named: Vec<String> = found.by_ref().take(NAMED_PATHS).map(|path| format!("`{path}`")).collect();
    let more = found.count();
    match (named.is_empty(), more) {
        (true, _) => Vec::new(),
        (false, 0) => vec![format!("{} must not be there", named.join(", "))],
        (false, more) => vec![format!("{} and {more} more must not be there", named.join(", "))],
    }
}

/// What is too large, by what is transferred of it.
pub fn sizes(expect: &Expectation, manifest: &Manifest) -> Vec<String> {
    let mut wrong = Vec::new();
    let total = manifest.content_size();
    if let Some(most) = expect.max_size.filter(|most| total > *most) {
        wrong.push(format!("the image has {} where at most {} may be", size_text(total), size_text(most)));
    }
    let Some(most) = expect.max_layer_size else { return wrong };
    for (number, layer) in manifest.layers.iter().enumerate().filter(|(_, layer)| layer.size > most) {
        wrong.push(format!(
            "layer {} has {} where at most {} may be",
            number + 1,
            size_text(layer.size),
            size_text(most)
        ));
    }
    wrong
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_command_is_judged_by_its_end_and_its_output() {
        let check = |expect: Expectation, status: ExitStatus, expected: &[&str]| {
            let none = Duration::ZERO;
            let exit = RunExit {
                status,
                elapsed: none,
                user_time: none,
                system_time: none,
                peak_memory: 0,
                memory_kills: 0,
            };
            let said = Said { exit: &exit, stdout: "one\ntwo\n", stderr: "" };
            assert_eq!(command(&expect, &said), expected);
        };
        let pattern = |text: &str| Some(text.to_string());
        check(Expectation::default(), ExitStatus::Exited(0), &[]);
        check(Expectation { stdout: pattern("^two$"), ..Expectation::default() }, ExitStatus::Exited(0), &[]);
        check(Expectation { exit: Some(3), ..Expectation::default() }, ExitStatus::Exited(3), &[]);
        let wrong = ["it ended with exit code 1 instead of 0", "nothing in standard error matches `x`"];
        check(Expectation { stderr: pattern("x"), ..Expectation::default() }, ExitStatus::Exited(1), &wrong);
        check(Expectation::default(), ExitStatus::Signaled(9), &["it was killed by signal 9"]);
    }

    #[test]
    fn files_are_judged_by_mode_and_owner() {
        let file = |mode, owner: Option<&str>| ExpectedFile {
            path: "/a".into(),
            mode,
            owner: owner.map(str::to_string),
        };
        let check = |expected: ExpectedFile, found: Option<FoundFile>, wrong: &[&str]| {
            let owner = |spec: &str| if spec == "app" { Ok((1, 2)) } else { Err("nobody".to_string()) };
            assert_eq!(files(&[expected], &[found], owner), wrong);
        };
        let found = Some(FoundFile { mode: 0o644, uid: 1, gid: 0 });
        check(file(None, None), found.clone(), &[]);
        check(file(None, None), None, &["`/a` is not there"]);
        check(file(Some(0o755), None), found.clone(), &["`/a` has mode 0644 instead of 0755"]);
        check(
            file(None, Some("app")),
            found.clone(),
            &["`/a` belongs to 1:0 instead of `app`, which is 1:2"],
        );
        check(file(None, Some("x")), found, &["`/a` cannot belong to `x`: nobody"]);
    }
}
