//! The rules of `lint` against texts: the examples of their own documentation, cases with the findings expected of
//! us, and cases that BuildKit was asked about as well.
//!
//! A case is a file of `tests/corpus/lint`: the Dockerfile, then further files below lines `--- NAME`. Below
//! `--- findings` stand our findings, one `LINE RULE` each; below `--- buildkit`, what BuildKit's own check says of the
//! Dockerfile, recorded, with the first line of each instruction. `MAB_BLESS=1` writes both anew, the second one only where
//! `MAB_TEST_BUILDKIT` names a running buildkitd.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use mab::base::Platform;
use mab::config::{self, Entry, Files, Overrides};
use mab::context::IgnoreFile;
use mab::diag::Source;
use mab::dockerfile::Dockerfile;
use mab::facts::Facts;
use mab::lint::{self, Choice, KnownBase, KnownBases, Offer, RULES, Report, Unit};
use mab::lock::Lock;
use mab::oci::ImageConfig;
use proptest::prelude::*;

/// A text taken apart at its `--- NAME` lines; the Dockerfile is what comes first.
struct Case {
    files: BTreeMap<String, String>,
}

impl Case {
    fn parse(text: &str) -> Self {
        let mut files = BTreeMap::new();
        let mut name = "Dockerfile".to_string();
        for line in text.split_inclusive('\n') {
            match line.strip_prefix("--- ") {
                Some(next) => {
                    name = next.trim_end().to_string();
                    files.entry(name.clone()).or_insert_with(String::new);
                }
                None => files.entry(name.clone()).or_insert_with(String::new).push_str(line),
            }
        }
        Self { files }
    }

    fn file(&self, name: &str) -> Option<&str> {
        self.files.get(name).map(String::as_str)
    }

    fn dockerfile(&self) -> &str {
        self.file("Dockerfile").unwrap_or_default()
    }

    fn check(&self) -> Report {
        let text = self.file("multiarch.toml").map_or_else(
            || "[target.app]\nplatforms = [\"linux/amd64\", \"linux/arm64\"]\n".to_string(),
            str::to_string,
        );
        let loaded = config::load(Path::new("/project/multiarch.toml"), &Memory(text));
        let (project, _) = config::resolve(&loaded, &Facts::for_test(), &Overrides::default())
            .expect("the build file is valid");
        let source = Source::new("Dockerfile", self.dockerfile());
        let dockerfile = match Dockerfile::parse(&source) {
            Ok(dockerfile) => dockerfile,
            Err(problems) => panic!("{}\n{problems:?}", self.dockerfile()),
        };
        let ignore = self.file(".dockerignore").map(|text| IgnoreFile {
            path: PathBuf::from("/project/.dockerignore"),
            text: text.as_bytes().to_vec(),
        });
        let lock = self
            .file("multiarch.lock")
            .map(|text| Lock::parse(&Source::new("multiarch.lock", text)).expect("the lock is valid"));
        let units: Vec<Unit<'_>> = project
            .targets
            .values()
            .map(|target| Unit {
                target: &target.name,
                dockerfile: &dockerfile,
                variants: target.variants.iter().map(AsRef::as_ref).collect(),
                ignore: ignore.as_ref(),
                lock: lock.as_ref(),
            })
            .collect();
        lint::check(&units, &Platform::linux("amd64"), &bases(), &Choice::default())
    }
}

/// One build file that is nowhere.
struct Memory(String);

impl Files for Memory {
    fn read(&self, _: &Path) -> io::Result<String> {
        Ok(self.0.clone())
    }

    fn list(&self, _: &Path) -> io::Result<Vec<Entry>> {
        Ok(Vec::new())
    }
}

/// The images that cases may count on.
fn bases() -> KnownBases {
    let platform = |text: &str| text.parse::<Platform>().expect("a platform");
    let all = ["linux/amd64", "linux/arm64", "linux/arm/v6", "linux/arm/v7"].map(platform).to_vec();
    let mut bases = KnownBases::default();
    for (name, offer) in [
        ("busybox", Offer::Index(all.clone())),
        ("example.com/all:1", Offer::Index(all)),
        ("example.com/no-arm64:1", Offer::Index(["linux/amd64", "linux/s390x"].map(platform).to_vec())),
        ("example.com/armv7:1", Offer::Index(vec![platform("linux/arm/v7")])),
        ("example.com/amd64-only:1", Offer::Image(platform("linux/amd64"))),
    ] {
        let configs = offer.platforms().iter().map(|platform| {
            let mut config = ImageConfig::empty(platform);
            config.config.set_env("PATH", "/bin");
            (platform.clone(), Arc::new(config))
        });
        let configs = configs.collect();
        bases.insert(name.to_string(), KnownBase { offer, configs });
    }
    bases
}

/// `LINE RULE` of every finding.
fn lines(report: &Report) -> String {
    let lines = report.findings.iter().map(|found| {
        let place = found.finding.labels.first().map(|label| &label.place);
        let file = place.map(|place| place.source.name.as_str()).filter(|name| *name != "Dockerfile");
        let file = file.map(|name| format!("{name}:")).unwrap_or_default();
        format!("{file}{} {}\n", place.map_or(0, |place| place.line()), found.rule.name)
    });
    lines.collect()
}

#[test]
fn examples_are_what_they_say() {
    let mut wrong = Vec::new();
    for rule in RULES {
        let found = |text: &str| Case::parse(text).check();
        if !found(rule.bad).findings.iter().any(|found| found.rule.name == rule.name) {
            wrong.push(format!("{}: not found in\n{}", rule.name, rule.bad));
        }
        let good = found(rule.good);
        if !good.findings.is_empty() {
            wrong.push(format!("{}: the good example has\n{}{}", rule.name, lines(&good), rule.good));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn names_are_unique_and_texts_are_there() {
    let names: BTreeSet<&str> = RULES.iter().map(|rule| rule.name).collect();
    assert_eq!(names.len(), RULES.len());
    for rule in RULES {
        assert!(!rule.summary.ends_with('.') && rule.why.trim_end().ends_with('.'), "{}", rule.name);
        assert_eq!(
            rule.url.is_some(),
            rule.is_buildkit() && rule.name != "InvalidBaseImagePlatform",
            "{}",
            rule.name
        );
    }
}

#[test]
fn edits_put_it_right() {
    for rule in RULES {
        let case = Case::parse(rule.bad);
        let findings = case.check().findings;
        let own = findings.iter().filter(|found| found.rule.name == rule.name);
        let Some(edit) = own.filter_map(|found| found.finding.edit.clone()).next() else { continue };
        let mut text = case.dockerfile().to_string();
        text.replace_range(edit.place.span.clone(), &edit.replacement);
        let mut files = case.files.clone();
        files.insert("Dockerfile".to_string(), text.clone());
        let left = Case { files }.check();
        let is_left = left.findings.iter().any(|found| found.rule.name == rule.name);
        assert!(!is_left, "{}: {edit:?} leaves\n{text}", rule.name);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn no_text_is_too_odd(lines in prop::collection::vec(line(), 1..12)) {
        let text = format!("FROM --platform=$BUILDPLATFORM busybox AS a\n{}", lines.concat());
        let source = Source::new("Dockerfile", &*text);
        if Dockerfile::parse(&source).is_ok() {
            let report = Case::parse(&text).check();
            lint::to_json(&report);
            lint::sarif(&report, "0");
            report.findings.iter().for_each(|found| { mab::diag::render(&found.problem(), false, 80); });
        }
    }
}

/// An instruction of words that rules look for, in any order.
fn line() -> impl Strategy<Value = String> {
    const KEYWORDS: [&str; 14] = [
        "FROM",
        "from",
        "RUN",
        "COPY",
        "ADD",
        "ARG",
        "ENV",
        "CMD",
        "EXPOSE",
        "WORKDIR",
        "ONBUILD RUN",
        "# check=",
        "HEALTHCHECK CMD",
        "COPY --from=a",
    ];
    const WORDS: [&str; 30] = [
        "$TARGETARCH",
        "${TARGETOS:-x}",
        "ü",
        "'",
        "\"",
        "\\\n",
        "--platform=linux/$TARGETARCH",
        "a",
        "AS",
        "é=ö",
        "https://x/amd64",
        "$(uname -m)",
        "go build",
        "npm ci",
        "--mount=type=cache,target=/target",
        "cargo check",
        "`",
        "80/TCP",
        "1.2.3.4:1:1",
        "/node_modules",
        "KEY=x",
        "<<EOF\nü\nEOF\n",
        "&&",
        "case",
        "(",
        "skip=all",
        "GOARCH=$X",
        "scratch",
        "--checksum=sha256:x",
        "\u{feff}",
    ];
    let words = prop::collection::vec(prop::sample::select(&WORDS[..]), 0..5);
    (prop::sample::select(&KEYWORDS[..]), words)
        .prop_map(|(keyword, words)| format!("{keyword} {}\n", words.join(" ")))
}

fn corpus() -> Vec<(String, PathBuf, String)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus/lint");
    let mut cases: Vec<_> = fs::read_dir(folder)
        .expect("the corpus is part of the repository")
        .map(|entry| entry.expect("the corpus is readable").path())
        .map(|path| {
            let text = fs::read_to_string(&path).expect("cases are texts");
            (path.file_stem().unwrap_or_default().to_string_lossy().into_owned(), path, text)
        })
        .collect();
    cases.sort();
    assert!(cases.len() > 40, "there are {} cases", cases.len());
    cases
}

fn is_blessed() -> bool {
    std::env::var_os("MAB_BLESS").is_some()
}

/// Replaces the text below `--- name`, to the end of the file or the next such line.
fn with_section(text: &str, name: &str, content: &str) -> String {
    let mut sections: Vec<String> = Vec::new();
    for line in text.split_inclusive('\n') {
        if sections.is_empty() || line.starts_with("--- ") {
            sections.push(String::new());
        }
        sections.last_mut().expect("one was pushed").push_str(line);
    }
    let head = format!("--- {name}\n");
    sections.retain(|section| !section.starts_with(&head));
    sections.push(format!("{head}{content}"));
    sections.concat()
}

#[test]
fn cases_are_found() {
    let mut wrong = Vec::new();
    for (name, path, text) in corpus() {
        let case = Case::parse(&text);
        let actual = lines(&case.check());
        if case.file("findings").is_none() {
            continue;
        }
        if is_blessed() {
            let buildkit = case.file("buildkit").map(str::to_string);
            let text = with_section(&text, "findings", &actual);
            let text = buildkit.map_or(text.clone(), |buildkit| with_section(&text, "buildkit", &buildkit));
            fs::write(&path, text).expect("the corpus is writable");
        } else if case.file("findings").unwrap_or_default() != actual {
            let expected = case.file("findings").unwrap_or_default();
            wrong.push(format!("{name}\n--- expected\n{expected}--- actual\n{actual}"));
        }
    }
    assert!(wrong.is_empty(), "{}\nMAB_BLESS=1 accepts them", wrong.join("\n"));
}

/// Ours of BuildKit's rules, each once for the instruction it is in.
fn of_buildkit(case: &Case) -> BTreeSet<(usize, String)> {
    let findings = case.check().findings;
    let ours = findings.iter().filter(|found| found.rule.is_buildkit());
    ours.map(|found| {
        let line = found.finding.labels.first().map_or(0, |label| label.place.line());
        (instruction_line(case.dockerfile(), line), found.rule.name.to_string())
    })
    .collect()
}

/// The line that the instruction around `line` begins on.
fn instruction_line(dockerfile: &str, line: usize) -> usize {
    let source = Source::new("Dockerfile", dockerfile);
    let dockerfile = Dockerfile::parse(&source).expect("the case is valid");
    let stages = dockerfile.stages.iter();
    let places = stages
        .flat_map(|stage| {
            std::iter::once(&stage.from.place).chain(stage.instructions.iter().map(|at| &at.place))
        })
        .chain(dockerfile.global_args.iter().map(|at| &at.place));
    let holding =
        places.filter(|place| place.line() <= line && line <= source.line(place.span.end.max(1) - 1));
    holding.map(|place| place.line()).next().unwrap_or(line)
}

fn recorded(text: &str) -> BTreeSet<(usize, String)> {
    let pairs = text.lines().filter_map(|line| line.split_once(' '));
    pairs.map(|(line, rule)| (line.parse().expect("a line's number"), rule.to_string())).collect()
}

#[test]
fn buildkit_finds_the_same() {
    let address = buildkit();
    let mut wrong = Vec::new();
    let mut compared = 0;
    for (name, path, text) in corpus() {
        let case = Case::parse(&text);
        let Some(record) = case.file("buildkit") else { continue };
        compared += 1;
        if let Some(address) = &address {
            let live = ask_buildkit(address, &case);
            let live: String = live.iter().map(|(line, rule)| format!("{line} {rule}\n")).collect();
            if is_blessed() {
                fs::write(&path, with_section(&text, "buildkit", &live)).expect("the corpus is writable");
                continue;
            }
            if live != record {
                wrong.push(format!("{name}\n--- recorded\n{record}--- live\n{live}"));
            }
        }
        let (theirs, ours) = (recorded(record), of_buildkit(&case));
        if theirs != ours {
            wrong
                .push(format!("{name}\n--- BuildKit\n{theirs:?}\n--- ours\n{ours:?}\n{}", case.dockerfile()));
        }
    }
    assert!(compared > 40, "{compared} cases are recorded");
    assert!(wrong.is_empty(), "{}\n{} cases differ", wrong.join("\n"), wrong.len());
}

/// The first of the daemons that run; none is said aloud.
fn buildkit() -> Option<String> {
    if let Ok(addresses) = std::env::var("MAB_TEST_BUILDKIT") {
        return addresses.split(',').next().map(str::to_string);
    }
    if let Some(path) = std::env::var_os("MAB_TEST_SKIPS") {
        let mut file =
            fs::OpenOptions::new().append(true).create(true).open(path).expect("skips are writable");
        file.write_all(b"what asks a real BuildKit about its rules\n").expect("skips are writable");
    }
    None
}

/// The answer of a running buildkitd, with the first lines of the instructions.
fn ask_buildkit(address: &str, case: &Case) -> BTreeSet<(usize, String)> {
    let folder = tempfile::tempdir().expect("there is a place for files");
    for name in ["Dockerfile", ".dockerignore"] {
        if let Some(text) = case.file(name) {
            fs::write(folder.path().join(name), text).expect("the folder is writable");
        }
    }
    let local = |name: &str| format!("{name}={}", folder.path().display());
    let buildctl = std::env::var_os("MAB_TEST_BUILDCTL").unwrap_or_else(|| "buildctl".into());
    let output = Command::new(buildctl)
        .args(["--addr", address, "build", "--frontend", "dockerfile.v0", "--opt", "requestid=frontend.lint"])
        .args([
            "--opt",
            "platform=linux/amd64",
            "--local",
            &local("context"),
            "--local",
            &local("dockerfile"),
        ])
        .args(["--progress", "quiet"])
        .output()
        .expect("buildctl is there when buildkitd is");
    let text =
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    let is_broken = text.contains("failed to") || text.contains("dockerfile parse error");
    assert!(!is_broken, "{}\n{text}", case.dockerfile());
    let mut found = BTreeSet::new();
    let mut rule = None;
    for line in text.lines() {
        if let Some(warning) = line.strip_prefix("WARNING: ") {
            rule = warning.split(' ').next();
        } else if let (Some(name), Some(number)) = (rule, line.strip_prefix("Dockerfile:")) {
            let line = number.parse().expect("a line's number");
            found.insert((instruction_line(case.dockerfile(), line), name.to_string()));
            rule = None;
        }
    }
    found
}
