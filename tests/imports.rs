//! Files of other tools: what they resolve to, as `docker buildx bake --print` prints it, and what is said
//! about wrong ones, to the letter.
//!
//! A case is a folder with the files that bake finds by itself, or those that `flags.txt` names: lines such as
//! `-f FILE`, `--set OVERRIDE`, `--var NAME=VALUE`, `env NAME=VALUE` and names of targets. `print.json` is
//! the recorded answer of buildx, `said.txt` what mab says. With buildx on the path its answers are compared
//! again; `MAB_BLESS=1` writes both files anew, `print.json` only from buildx.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use mab::command::import::convert;
use mab::config::import::{self, DEFAULT_FILES, ImportFile, Request};
use mab::config::{self, Disk, Overrides};
use mab::diag::{Problem, render};
use mab::facts::Facts;
use mab::report::bake_json::bake_json;

fn corpus(kind: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus").join(kind)
}

fn cases(kind: &str) -> Vec<PathBuf> {
    let mut cases: Vec<PathBuf> = fs::read_dir(corpus(kind))
        .expect("the corpus is part of the repository")
        .map(|entry| entry.expect("the corpus is readable").path())
        .filter(|path| path.is_dir())
        .collect();
    cases.sort();
    assert!(!cases.is_empty(), "{kind} has no cases");
    cases
}

/// What a case asks for.
#[derive(Default)]
struct Flags {
    files: Vec<String>,
    overrides: Vec<String>,
    vars: Vec<(String, String)>,
    environment: BTreeMap<String, String>,
    names: Vec<String>,
}

impl Flags {
    fn read(case: &Path) -> Self {
        let mut flags = Self::default();
        let text = fs::read_to_string(case.join("flags.txt")).unwrap_or_default();
        for line in text.lines() {
            let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
            let pair = || {
                let (name, value) = rest.split_once('=').expect("NAME=VALUE");
                (name.to_string(), value.to_string())
            };
            match word {
                "-f" => flags.files.push(rest.to_string()),
                "--set" => flags.overrides.push(rest.to_string()),
                "--var" => flags.vars.push(pair()),
                "env" => flags.environment.extend([pair()]),
                name => flags.names.push(name.to_string()),
            }
        }
        flags
    }

    fn files(&self, case: &Path) -> Vec<ImportFile> {
        let found = DEFAULT_FILES.into_iter().filter(|name| case.join(name).exists()).map(str::to_string);
        let of_environment =
            self.environment.get("BUILDX_BAKE_FILE").into_iter().flat_map(|list| list.split(':'));
        let of_environment: Vec<String> = of_environment.map(str::to_string).collect();
        let names = match (self.files.is_empty(), of_environment.is_empty()) {
            (false, _) => self.files.clone(),
            (true, false) => of_environment,
            (true, true) => found.collect(),
        };
        names
            .into_iter()
            .map(|name| ImportFile {
                text: fs::read_to_string(case.join(&name)).expect("the case has its files"),
                name,
            })
            .collect()
    }
}

/// What mab prints, and what it says.
fn answer(case: &Path) -> (Option<String>, Vec<Problem>) {
    let flags = Flags::read(case);
    let mut facts = Facts::for_test();
    facts.directories.current = case.to_path_buf();
    facts.environment.clone_from(&flags.environment);
    let request = Request {
        files: flags.files(case),
        names: flags.names,
        overrides: flags.overrides,
        vars: flags.vars.into_iter().collect(),
        seed: [7; 16],
        ..Request::default()
    };
    let imported = match import::import(&request, &facts, &Disk) {
        Ok(imported) => imported,
        Err(problems) => return (None, problems),
    };
    match imported.print(&facts) {
        Ok(text) => (Some(text), imported.warnings),
        Err(problems) => (None, problems),
    }
}

/// The command that is buildx on this machine, if there is one.
fn buildx() -> Option<Vec<String>> {
    let candidates = [vec!["docker", "buildx"], vec!["buildx"]];
    candidates.into_iter().map(|words| words.into_iter().map(str::to_string).collect::<Vec<_>>()).find(
        |words| {
            let run = Command::new(&words[0]).args(&words[1..]).args(["bake", "--help"]).output();
            run.is_ok_and(|output| String::from_utf8_lossy(&output.stdout).contains("--print"))
        },
    )
}

fn buildx_answer(buildx: &[String], case: &Path) -> Option<String> {
    let flags = Flags::read(case);
    let mut command = Command::new(&buildx[0]);
    command.args(&buildx[1..]).args(["bake", "--print"]).current_dir(case).env_clear();
    let kept = ["PATH", "HOME"].into_iter().filter_map(|name| Some((name, std::env::var_os(name)?)));
    command.envs(kept).envs(&flags.environment);
    command.args(flags.files.iter().flat_map(|file| ["-f", file]));
    command.args(flags.overrides.iter().flat_map(|set| ["--set", set]));
    command
        .args(flags.vars.iter().flat_map(|(name, value)| ["--var".to_string(), format!("{name}={value}")]));
    let output = command.args(&flags.names).output().expect("buildx was there a moment ago");
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Go goes through maps at random, so that some lists of bake have no order.
fn ordered(json: &str) -> serde_json::Value {
    let mut document: serde_json::Value = serde_json::from_str(json).expect("it is JSON");
    let sort = |list: Option<&mut serde_json::Value>| {
        if let Some(serde_json::Value::Array(items)) = list {
            items.sort_by_key(ToString::to_string);
        }
    };
    for group in document["group"].as_object_mut().into_iter().flat_map(|groups| groups.values_mut()) {
        sort(group.get_mut("targets"));
    }
    for target in document["target"].as_object_mut().into_iter().flat_map(|targets| targets.values_mut()) {
        sort(target.get_mut("ulimits"));
    }
    document
}

fn is_blessing() -> bool {
    std::env::var_os("MAB_BLESS").is_some()
}

/// Compares with the file, or writes it when asked to.
fn check_file(path: &Path, actual: &str, wrong: &mut Vec<String>) {
    if is_blessing() {
        match actual {
            "" => drop(fs::remove_file(path)),
            _ => fs::write(path, actual).expect("the repository is writable"),
        }
    }
    let expected = fs::read_to_string(path).unwrap_or_default();
    if expected != actual {
        wrong.push(format!("{}\n--- expected\n{expected}\n--- actual\n{actual}", path.display()));
    }
}

fn check_case(case: &Path, buildx: Option<&[String]>, wrong: &mut Vec<String>) {
    let (printed, said) = answer(case);
    let recorded = case.join("print.json");
    if let Some(buildx) = buildx {
        let theirs = buildx_answer(buildx, case);
        match (&printed, &theirs) {
            (Some(printed), Some(theirs)) if ordered(printed) == ordered(theirs) => {}
            (None, None) => {}
            (printed, theirs) => {
                wrong.push(format!("{}\n--- buildx\n{theirs:?}\n--- mab\n{printed:?}", case.display()));
            }
        }
        if is_blessing() {
            match &theirs {
                Some(theirs) => fs::write(&recorded, theirs).expect("the repository is writable"),
                None => drop(fs::remove_file(&recorded)),
            }
        }
    }
    let expected = fs::read_to_string(&recorded).ok();
    if printed.as_deref().map(ordered) != expected.as_deref().map(ordered) {
        wrong.push(format!("{}\n--- recorded\n{expected:?}\n--- mab\n{printed:?}", case.display()));
    }
    let here = format!("{}/", case.display());
    let said: Vec<String> =
        said.iter().map(|problem| render(problem, false, 100).replace(&here, "")).collect();
    check_file(&case.join("said.txt"), &said.join("\n"), wrong);
}

fn check_all(kind: &str) {
    let buildx = buildx();
    let mut wrong = Vec::new();
    for case in cases(kind) {
        check_case(&case, buildx.as_deref(), &mut wrong);
    }
    assert!(
        wrong.is_empty(),
        "{}\n{} answers differ; MAB_BLESS=1 accepts ours",
        wrong.join("\n"),
        wrong.len()
    );
}

#[test]
fn bake_files_resolve_as_bake_resolves_them() {
    check_all("bake");
}

#[test]
fn compose_files_resolve_as_bake_resolves_them() {
    check_all("compose");
}

/// Each line is an expression and its value as JSON, as buildx answered.
#[test]
fn expressions_have_the_values_that_bake_gives_them() {
    let text = fs::read_to_string(corpus("bake").join("expressions.txt")).expect("the corpus has it");
    let mut wrong = Vec::new();
    for line in text.lines() {
        let (expression, expected) = line.split_once("  ⇒  ").expect("EXPRESSION ⇒ VALUE");
        let file = format!("target \"t\" {{\n  labels = {{ v = jsonencode({expression}) }}\n}}\n");
        let files = vec![ImportFile { name: "docker-bake.hcl".to_string(), text: file }];
        let request = Request { files, names: vec!["t".to_string()], ..Request::default() };
        let facts = Facts::for_test();
        let printed = import::import(&request, &facts, &Disk).and_then(|imported| imported.print(&facts));
        let value = match printed {
            Ok(text) => {
                let document: serde_json::Value = serde_json::from_str(&text).expect("it is JSON");
                let value = document["target"]["t"]["labels"]["v"].as_str().unwrap_or_default().to_string();
                value.replace("$${", "${").replace("%%{", "%{")
            }
            Err(problems) => problems.iter().map(|problem| problem.message.clone()).collect(),
        };
        if value != expected {
            wrong.push(format!("{expression}\n  expected {expected}\n  found    {value}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// What a rewritten file may give otherwise, by case and key, and why.
const OTHERWISE: [(&str, &str, &str); 9] = [
    ("arguments-as-list", "args", "an argument without value comes from the environment of whoever builds"),
    ("dot-env", "tags", "`.env` refers to the environment of whoever builds"),
    ("env-lookup-off", "tags", "a switch of bake's that is not ours"),
    (
        "monorepo",
        "tags",
        "what a function of the file gives is written as it is with the variables' defaults",
    ),
    ("variables-env-lookup-off", "args", "a switch of bake's that is not ours"),
    ("variables-of-nested-types", "args", "`NAME_JSON` is a variable of bake's that is not ours"),
    (
        "variables-of-numbers-and-truths-from-outside",
        "args",
        "what has no equal is written as it is with the variables' defaults",
    ),
    ("variables-of-variables", "args", "a default is a plain value, and does not follow other variables"),
    ("variables-typed", "args", "bake takes `t` and `F` for truth"),
];

/// The case as a multiarch.toml, and what is different about what that resolves to.
fn rewritten(case: &Path) -> Result<Option<(String, Vec<String>)>, String> {
    let flags = Flags::read(case);
    let mut facts = Facts::for_test();
    facts.directories.current = case.to_path_buf();
    facts.environment.clone_from(&flags.environment);
    facts.environment.remove("SOURCE_DATE_EPOCH");
    let request =
        Request { files: flags.files(case), names: flags.names.clone(), seed: [7; 16], ..Request::default() };
    let printed = import::import(&request, &facts, &Disk).and_then(|imported| imported.print(&facts));
    let Ok(printed) = printed else { return Ok(None) };
    let said = |problems: Vec<Problem>| {
        problems.iter().map(|problem| render(problem, false, 100)).collect::<Vec<_>>().join("\n")
    };
    let written = convert(flags.files(case), &facts).map_err(said)?;
    let different = written.warnings.iter().filter(|warning| warning.code == "import::differs");
    let mut different: Vec<String> = different.map(|warning| warning.message.clone()).collect();
    let folder = tempfile::tempdir().expect("there is room");
    // Paths have to be those of the case.
    let file = case.join(format!(".{}.toml", folder.path().file_name().unwrap_or_default().display()));
    fs::write(&file, &written.text).expect("the repository is writable");
    let loaded = config::load(&file, &Disk);
    let _ = fs::remove_file(&file);
    let resolved = config::resolve(&loaded, &facts, &Overrides::default());
    let (project, _) = resolved.map_err(|problems| format!("{}\n{}", written.text, said(problems)))?;
    let theirs: serde_json::Value = serde_json::from_str(&printed).expect("it is JSON");
    compare(&theirs, &bake_json(&project), &written.text, &mut different);
    Ok(Some((written.text, different)))
}

/// Keys that both print in the same way.
const PRINTED_ALIKE: [&str; 7] =
    ["args", "labels", "tags", "target", "dockerfile-inline", "platforms", "context"];

fn compare(theirs: &serde_json::Value, ours: &serde_json::Value, text: &str, different: &mut Vec<String>) {
    for (name, target) in theirs["target"].as_object().into_iter().flatten() {
        let Some(own) = ours["target"].get(name) else {
            let is_explained = text.contains(&format!("`{name}` there"));
            if !is_explained && !name.starts_with('_') {
                different.push(format!("there is no target {name}"));
            }
            continue;
        };
        for key in PRINTED_ALIKE {
            let is_in_comments = text.contains(&format!("# {key} = ")) || text.contains("# not carried over");
            let plain =
                |value: &serde_json::Value| value.to_string().replace("$${", "${").replace("%%{", "%{");
            let theirs =
                target.get(key).map(|value| if key == "tags" { with_latest(value) } else { value.clone() });
            let (theirs, own) = (theirs.as_ref().map(plain), own.get(key).map(plain));
            let is_default = theirs.is_none() && matches!(key, "platforms");
            if theirs != own && !is_in_comments && !is_default {
                different.push(format!("{name}.{key}: {theirs:?} is {own:?}"));
            }
        }
    }
}

/// A tag in full; bake prints it as it is written.
fn with_latest(tags: &serde_json::Value) -> serde_json::Value {
    let full = |tag: &str| match tag.rsplit('/').next().is_some_and(|name| name.contains([':', '@'])) {
        true => tag.to_string(),
        false => format!("{tag}:latest"),
    };
    tags.as_array().into_iter().flatten().filter_map(serde_json::Value::as_str).map(full).collect()
}

/// Cases whose file is read by people: the text is the expectation.
fn check_rewrites(kind: &str) {
    let mut wrong = Vec::new();
    for case in cases(kind) {
        let name = case.file_name().unwrap_or_default().display().to_string();
        match rewritten(&case) {
            Ok(None) => {}
            Ok(Some((text, different))) => {
                let different: Vec<String> = different
                    .into_iter()
                    .filter(|one| !OTHERWISE.iter().any(|(case, key, _)| *case == name && one.contains(key)))
                    .collect();
                if !different.is_empty() {
                    wrong.push(format!("{}\n{}\n--- text\n{text}", case.display(), different.join("\n")));
                }
                let golden = case.join("rewritten.toml");
                if golden.exists() || kind == "import" {
                    check_file(&golden, &text, &mut wrong);
                }
            }
            Err(message) => wrong.push(format!("{} cannot be rewritten:\n{message}", case.display())),
        }
    }
    assert!(wrong.is_empty(), "{}\n{} rewritten files are wrong", wrong.join("\n"), wrong.len());
}

#[test]
fn bake_files_are_rewritten_to_the_same_plan() {
    check_rewrites("bake");
}

#[test]
fn compose_files_are_rewritten_to_the_same_plan() {
    check_rewrites("compose");
}

/// The files that people are meant to like.
#[test]
fn rewritten_files_are_good_to_read() {
    check_rewrites("import");
}
