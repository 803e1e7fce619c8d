//! The corpus of build files: what valid ones resolve to and what invalid ones are told, to the letter.
//!
//! A case is a folder with `multiarch.toml` and what it includes. `flags.txt` may hold lines such as
//! `--var NAME=VALUE`, `--platform P`, `--set …`, `target NAME`, `env NAME=VALUE` and `no-git`. `MAB_BLESS=1` writes the expected
//! files anew.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use mab::config::{self, Disk, Entry, Files, Overrides};
use mab::diag::{Problem, render};
use mab::facts::{CiFacts, Facts, GitFacts};
use mab::model::Project;
use mab::report::bake_json::{bake_json, document};

fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn cases(kind: &str) -> Vec<PathBuf> {
    let directory = repository().join("tests/corpus/config").join(kind);
    let mut cases: Vec<PathBuf> = fs::read_dir(&directory)
        .expect("the corpus is part of the repository")
        .map(|entry| entry.expect("the corpus is readable").path())
        .filter(|path| path.is_dir())
        .collect();
    cases.sort();
    assert!(!cases.is_empty(), "{} has no cases", directory.display());
    cases
}

fn resolve(case: &Path) -> Result<(Project, Vec<Problem>), Vec<Problem>> {
    let mut facts = Facts::for_test();
    let mut overrides = Overrides::default();
    let mut git = Some(GitFacts::for_test());
    for line in fs::read_to_string(case.join("flags.txt")).unwrap_or_default().lines() {
        let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
        let pair = || {
            rest.split_once('=')
                .map(|(name, value)| (name.to_string(), value.to_string()))
                .expect("NAME=VALUE")
        };
        match word {
            "--var" => overrides.vars.extend([pair()]),
            "--platform" => overrides.platforms.push(rest.parse().expect("a platform or a set")),
            "--set" => overrides.sets.push(rest.to_string()),
            "target" => overrides.names.push(rest.to_string()),
            "env" => facts.environment.extend([pair()]),
            "no-git" => git = None,
            "tag" => git.iter_mut().for_each(|git| git.tags.push(rest.to_string())),
            "detached" => git.iter_mut().for_each(|git| git.branch = None),
            _ => panic!("{}: `{line}` is not a flag", case.display()),
        }
    }
    facts.ci = CiFacts::detect(&facts.environment, None);
    let loaded = config::load(&case.join("multiarch.toml"), &Disk);
    if config::needs_git(&loaded, &overrides, facts.ci.as_ref()).is_some() {
        facts.git = git;
    }
    config::resolve(&loaded, &facts, &overrides)
}

fn rendered(problems: &[Problem]) -> String {
    problems.iter().map(|problem| render(problem, false, 100)).collect::<Vec<_>>().join("\n")
}

/// Compares with the file, or writes it when asked to.
fn check_file(path: &Path, actual: &str, wrong: &mut Vec<String>) {
    if std::env::var_os("MAB_BLESS").is_some() {
        fs::write(path, actual).expect("the repository is writable");
    }
    let expected = fs::read_to_string(path).unwrap_or_default();
    if expected != actual {
        wrong.push(format!("{}\n--- expected\n{expected}\n--- actual\n{actual}", path.display()));
    }
}

fn finish(wrong: &[String]) {
    assert!(wrong.is_empty(), "{}\n{} cases differ; MAB_BLESS=1 accepts them", wrong.join("\n"), wrong.len());
}

#[test]
fn valid_files_resolve() {
    let mut wrong = Vec::new();
    for case in cases("valid") {
        match resolve(&case) {
            Ok((project, warnings)) => {
                let mut actual = serde_json::to_string_pretty(&bake_json(&project)).unwrap();
                actual.push('\n');
                check_file(&case.join("expected.json"), &actual, &mut wrong);
                let path = case.join("warnings.txt");
                if !warnings.is_empty() || path.exists() {
                    check_file(&path, &rendered(&warnings), &mut wrong);
                }
            }
            Err(problems) => wrong.push(format!("{}\n{}", case.display(), rendered(&problems))),
        }
    }
    finish(&wrong);
}

/// What `mab bake --print` writes is the same project when it is read.
#[test]
fn printed_files_are_read_back() {
    for case in cases("valid") {
        let (mut project, _) = resolve(&case).unwrap();
        // Texts that HCL takes for templates.
        if let Some(target) = project.targets.values_mut().next() {
            target.labels.insert("${a}".to_string(), "$${b} %{c} {{ d }}".to_string());
        }
        let print = |project: &Project| {
            let names: Vec<&str> = project.targets.keys().map(String::as_str).collect();
            format!("{:#}", document(project, &names, &[]))
        };
        let printed = print(&project);
        assert!(config::is_resolved(&printed), "{}", case.display());
        let loaded = config::load_resolved("x.json", &printed, &project.root);
        match config::resolve(&loaded, &Facts::for_test(), &Overrides::default()) {
            Ok((again, _)) => assert_eq!(print(&again), printed, "{}", case.display()),
            Err(problems) => panic!("{}\n{}", case.display(), rendered(&problems)),
        }
    }
}

#[test]
fn invalid_files_are_told_what_is_wrong() {
    let mut wrong = Vec::new();
    for case in cases("invalid") {
        match resolve(&case) {
            Ok(_) => wrong.push(format!("{} is valid", case.display())),
            Err(problems) => {
                let actual = rendered(&problems);
                assert!(!actual.contains(env!("CARGO_MANIFEST_DIR")), "{} has machine paths", case.display());
                check_file(&case.join("expected.txt"), &actual, &mut wrong);
            }
        }
    }
    finish(&wrong);
}

#[test]
fn two_runs_give_the_same_bytes() {
    for case in cases("valid") {
        let run = || serde_json::to_string(&bake_json(&resolve(&case).unwrap().0)).unwrap();
        assert_eq!(run(), run(), "{}", case.display());
    }
}

#[test]
fn the_schema_is_fresh() {
    let mut wrong = Vec::new();
    check_file(&repository().join("schema/multiarch.schema.json"), &config::schema::json(), &mut wrong);
    check_file(&repository().join("schema/config.schema.json"), &config::user::schema::json(), &mut wrong);
    finish(&wrong);
}

/// A file that is nowhere and includes nothing.
struct Text<'a>(&'a str);

impl Files for Text<'_> {
    fn read(&self, _path: &Path) -> io::Result<String> {
        Ok(self.0.to_string())
    }

    fn list(&self, _directory: &Path) -> io::Result<Vec<Entry>> {
        Ok(Vec::new())
    }
}

fn survive(text: &str) {
    let loaded = config::load(Path::new("/project/multiarch.toml"), &Text(text));
    if let Err(problems) = config::resolve(&loaded, &Facts::for_test(), &Overrides::default()) {
        assert!(!problems.is_empty(), "refused without a problem:\n{text}");
        rendered(&problems[..1]);
    }
}

#[test]
fn damaged_files_are_survived() {
    for case in cases("valid").iter().chain(&cases("invalid")) {
        let text = fs::read_to_string(case.join("multiarch.toml")).expect("every case has a file");
        let borders: Vec<usize> = text.char_indices().map(|(at, _)| at).take(2000).collect();
        for at in borders.iter().step_by(11) {
            survive(&text[..*at]);
            survive(&text[*at..]);
            let rest = text[*at..].chars().skip(3).collect::<String>();
            survive(&format!("{}{rest}", &text[..*at]));
        }
    }
}
