//! Whether the image starts: its entrypoint, and what that needs.

use super::allowed::Allowed;
use super::finding::{Code, Finding, shown};
use super::image::{Image, is_executable};
use super::links::{self, Started};
use crate::layer::NodeRef;
use crate::scan::{Found, Script};

/// What a container of the image runs first.
struct Start<'i> {
    /// `ENTRYPOINT` or `CMD`
    keyword: &'static str,
    program: &'i str,
    /// The form without brackets, which a shell runs.
    is_shell_form: bool,
}

pub(super) fn findings(image: &Image<'_>, allowed: &Allowed) -> Vec<Finding> {
    let Some(start) = start(image) else { return Vec::new() };
    let found = program(image, &start, allowed);
    let mut found: Vec<Finding> =
        found.into_iter().map(|finding| Finding { is_error: true, ..finding }).collect();
    if found.is_empty() {
        found.extend(out_of_reach(image, &start, allowed));
    }
    found
}

/// What a loader may still be told of when the image runs is no error.
fn out_of_reach(image: &Image<'_>, start: &Start<'_>, allowed: &Allowed) -> Vec<Finding> {
    let found = find(image, start.program).filter(|(path, _)| !allowed.has(path));
    let program = found.and_then(|(path, node)| started(image, start, path, node));
    program.map(|program| links::out_of_reach(image, &program)).unwrap_or_default()
}

/// The program, where it is one for this platform: one for another processor is told of as such.
fn started<'i>(image: &'i Image<'_>, start: &Start<'_>, path: Vec<u8>, node: NodeRef) -> Option<Started<'i>> {
    let Some(Found::Elf(elf)) = image.found(node) else { return None };
    let subject = format!("the {} `{}`", start.keyword, start.program);
    let is_ours = elf.machine.architecture() == Some(&image.platform.architecture);
    is_ours.then(|| Started { path, elf, layer: image.layer_of(node), subject })
}

fn start<'i>(image: &'i Image<'_>) -> Option<Start<'i>> {
    let given = |words: &'i Option<Vec<String>>| words.as_deref().filter(|words| !words.is_empty());
    let config = &image.config.config;
    let (keyword, words) = match (given(&config.entrypoint), given(&config.cmd)) {
        (Some(words), _) => ("entrypoint", words),
        (None, Some(words)) => ("command", words),
        (None, None) => return None,
    };
    let shell = config.shell.as_deref().unwrap_or(&[]);
    let is_shell_form = match shell {
        [] => words.starts_with(&["/bin/sh".to_string(), "-c".to_string()]),
        shell => words.starts_with(shell),
    };
    Some(Start { keyword, program: words.first()?, is_shell_form })
}

fn program(image: &Image<'_>, start: &Start<'_>, allowed: &Allowed) -> Vec<Finding> {
    let Start { keyword, program, .. } = start;
    let Some((path, node)) = find(image, program) else {
        return missing(image, start, allowed).into_iter().collect();
    };
    if allowed.has(&path) {
        return Vec::new();
    }
    let (layer, entry) = (image.layer_of(node), image.tree().entry(node));
    let place = shown(&path);
    let error = |code, message: String| Finding::error(code, message).in_layer(layer).of_file(place.clone());
    if !is_executable(entry) {
        let message = format!("the {keyword} `{program}` is not executable: its mode is {:04o}", entry.mode);
        let help = "copy it with `COPY --chmod=0755`, or make it executable where it comes from";
        return vec![error(Code::NotExecutable, message).help(help)];
    }
    match image.found(node) {
        Some(Found::Script(script)) => interpreter(image, script)
            .map(|missing| {
                let message = format!("the {keyword} `{program}` is a script for {}", missing.text);
                error(Code::NoInterpreter, message).help(missing.help)
            })
            .into_iter()
            .collect(),
        Some(Found::Elf(_)) => {
            let program = started(image, start, path, node);
            program.map(|program| links::of_program(image, &program)).unwrap_or_default()
        }
        Some(Found::MachO) => {
            let message = format!("the {keyword} `{program}` is a program for macOS");
            vec![
                error(Code::NotAProgram, message).help("build it in a stage of the Dockerfile, or for linux"),
            ]
        }
        Some(Found::Pe) => {
            let message = format!("the {keyword} `{program}` is a program for Windows");
            vec![
                error(Code::NotAProgram, message).help("build it in a stage of the Dockerfile, or for linux"),
            ]
        }
        Some(Found::Archive(_)) | None
            if layer.is_some_and(|layer| layer >= image.first) && image.is_looked_at(node) =>
        {
            let message =
                format!("the {keyword} `{program}` is no program, and no script that names its interpreter");
            vec![error(Code::NotAProgram, message).help("begin the file with a line such as `#!/bin/sh`")]
        }
        Some(Found::Archive(_)) | None => Vec::new(),
    }
}

/// The file that a runtime starts, and its path as far as it is written.
fn find(image: &Image<'_>, program: &str) -> Option<(Vec<u8>, NodeRef)> {
    candidates(image, program).into_iter().find_map(|path| {
        let node = image.file(&path)?;
        Some((image.tree().path(node).to_vec(), node))
    })
}

fn candidates(image: &Image<'_>, program: &str) -> Vec<Vec<u8>> {
    if program.starts_with('/') {
        return vec![program.as_bytes().to_vec()];
    }
    if program.contains('/') {
        return vec![format!("{}/{program}", image.config.config.working_dir).into_bytes()];
    }
    image.search_path().iter().map(|folder| format!("{folder}/{program}").into_bytes()).collect()
}

fn missing(image: &Image<'_>, start: &Start<'_>, allowed: &Allowed) -> Option<Finding> {
    let Start { keyword, program, is_shell_form } = *start;
    let candidates = candidates(image, program);
    let is_mounted = |path: &Vec<u8>| {
        let path = String::from_utf8_lossy(path).into_owned();
        image.config.config.volumes.keys().any(|volume| {
            path.strip_prefix(volume.trim_end_matches('/')).is_some_and(|rest| rest.starts_with('/'))
        })
    };
    let is_allowed = |path: &Vec<u8>| allowed.has(path.strip_prefix(b"/").unwrap_or(path));
    if candidates.iter().any(|path| is_mounted(path) || is_allowed(path)) {
        return None;
    }
    let place = match program.contains('/') {
        true => "is not in the image",
        false => "is in none of the folders of `PATH`",
    };
    let message = format!("the {keyword} `{program}` {place}");
    let help = match is_shell_form {
        true => {
            "an image without a shell needs the form with brackets: `ENTRYPOINT [\"/program\", \"argument\"]`"
        }
        false => {
            "copy it there, or correct its path; what is mounted there later can be listed in `verify.allow`"
        }
    };
    Some(Finding::error(Code::NotFound, message).help(help))
}

/// What is missing to run a script.
pub(super) struct MissingInterpreter {
    pub text: String,
    pub help: &'static str,
}

pub(super) fn interpreter(image: &Image<'_>, script: &Script) -> Option<MissingInterpreter> {
    let interpreter = script.interpreter.as_str();
    let install = "install it, or write the script for what the image has";
    if !image.has(interpreter) {
        let from_windows = interpreter.ends_with('\r');
        let help = match from_windows {
            true => "its lines end as on Windows: convert them, or say `* text eol=lf` in `.gitattributes`",
            false => install,
        };
        return Some(MissingInterpreter {
            text: format!("`{}`, which the image does not have", interpreter.escape_debug()),
            help,
        });
    }
    let searched = script.searched()?;
    let is_there = candidates(image, searched).iter().any(|path| image.file(path).is_some());
    (!is_there).then(|| MissingInterpreter {
        text: format!("`{}`, which is in none of the folders of `PATH`", searched.escape_debug()),
        help: if searched.ends_with('\r') {
            "its lines end as on Windows: convert them, or say `* text eol=lf` in `.gitattributes`"
        } else {
            install
        },
    })
}
