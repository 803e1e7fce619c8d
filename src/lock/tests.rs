//! Locks as text and back, and what they say.

use super::*;
use crate::base::HttpUrl;
use crate::diag::{Problem, Source};

fn digest(text: &str) -> Digest {
    Digest::of(text)
}

fn source(url: &str) -> RemoteSource {
    match GitReference::parse(url) {
        Some(git) => RemoteSource::Git(git.unwrap()),
        None => RemoteSource::Http { url: HttpUrl::parse(url).unwrap(), checksum: None },
    }
}

fn commit(letter: char) -> String {
    letter.to_string().repeat(40)
}

fn pinned(url: &str, letter: char) -> PinnedSource {
    match source(url) {
        RemoteSource::Git(git) => {
            let (commit, reference) = (commit(letter), "refs/heads/main".to_string());
            PinnedSource::Git(PinnedCommit { git, object: commit.clone(), commit, reference })
        }
        RemoteSource::Http { url, .. } => PinnedSource::Http { url, digest: digest(&letter.to_string()) },
    }
}

fn locked(text: &str) -> LockedManifest {
    LockedManifest { manifest: digest(text), config: digest(&format!("{text} config")) }
}

fn example() -> Lock {
    let mut lock = Lock::default();
    for platform in ["linux/arm64", "linux/amd64", "linux/arm/v6"] {
        let reference: Reference = "docker.io/library/alpine:3.20".parse().unwrap();
        lock.add_image(image_name(&reference), digest("index"), platform.parse().unwrap(), locked(platform));
    }
    for url in ["https://user:word@host/tools.git#main:sub", "https://host/a \"b\".tar"] {
        lock.add_source(&source(url), &pinned(url, 'a'));
    }
    lock
}

fn parse(text: &str) -> Result<Lock, Vec<String>> {
    Lock::parse(&Source::new(FILE_NAME, text)).map_err(|problems| {
        let shown = |problem: Problem| {
            let line = problem.labels.first().map_or(0, |label| label.place.line());
            format!("{line}: {}", problem.message)
        };
        problems.into_iter().map(shown).collect()
    })
}

#[test]
fn the_text_is_sorted_and_comes_back() {
    let lock = example();
    let text = lock.to_string();
    let lines: Vec<&str> = text.lines().filter(|line| !line.starts_with('#') && !line.is_empty()).collect();
    let shown: Vec<String> = lines.iter().map(|line| line.chars().take(44).collect()).collect();
    assert_eq!(
        shown,
        [
            "version = 1",
            "[image.\"alpine:3.20\"]",
            "digest = \"sha256:1bc04b5291c26a46d918139138b",
            "\"linux/amd64\" = { manifest = \"sha256:baf0239",
            "\"linux/arm/v6\" = { manifest = \"sha256:b8bcef",
            "\"linux/arm64\" = { manifest = \"sha256:b3e3ab5",
            "[git.\"https://xxxxx:xxxxx@host/tools.git#mai",
            "commit = \"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
            "reference = \"refs/heads/main\"",
            "[http.\"https://host/a \\\"b\\\".tar\"]",
            "digest = \"sha256:ca978112ca1bbdcafac231b39a2",
        ]
    );
    assert_eq!(parse(&text).unwrap(), lock);
    assert_eq!(parse(&text).unwrap().to_string(), text);
}

#[test]
fn what_a_lock_does_not_say_is_wrong() {
    let check = |text: &str, expected: &[&str]| {
        assert_eq!(parse(text).unwrap_err(), expected, "{text}");
    };
    check("", &["1: the lock has no `version`"]);
    check("version = 2\n", &["1: a lock of another version"]);
    check("version = 1\n[tool]\n", &["2: `tool` is not known in a lock"]);
    check("version = 1\n[image.a]\n", &["2: `a` has no `digest`"]);
    check("version = 1\n[image]\na = 1\n", &["3: `a` is no table"]);
    let digest = digest("");
    check(
        &format!("version = 1\n[image.a]\ndigest = \"{digest}\"\n\"linux/amd64\" = {{ manifest = \"x\" }}\n"),
        &["4: `x` is no value for `manifest`", "4: `linux/amd64` has no `config`"],
    );
    let commit = commit('a');
    check(
        &format!("version = 1\n[git.a]\ncommit = \"{commit}\"\nreference = \"--upload-pack=x\"\n"),
        &["4: `--upload-pack=x` is no value for `reference`"],
    );
    check("version = 1\n[http.a]\ndigest = \"sha256:\"\n", &["3: `sha256:` is no value for `digest`"]);
    assert!(parse("version = 1\n<<<<<<< ours\n").unwrap_err()[0].starts_with("2: "));
    check(&"a=".repeat(1 << 20), &["1: `multiarch.lock` has more than 1500000 tokens"]);
}

#[test]
fn sources_are_pinned_whatever_of_them_is_taken() {
    let lock = example();
    let found = |url: &str| lock.source(&source(url)).is_some();
    assert!(found("https://user:word@host/tools.git#main"));
    assert!(found("https://user:word@host/tools.git#main:other"));
    assert!(!found("https://user:word@host/tools.git#dev"));
    assert!(!found("https://host/other"));
    let named = |url: &str| source_name(&source(url));
    assert_eq!(named(&format!("https://host/tools.git#{}", commit('b'))), None);
    let url = HttpUrl::parse("https://host/x").unwrap();
    assert_eq!(source_name(&RemoteSource::Http { url, checksum: Some(digest("")) }), None);
}

#[test]
fn strict_pins_refuse_what_is_not_there() {
    let image = |name: &str, platform: &str, rule| {
        let pins = Pins::new(example(), rule);
        let found = pins.image(&name.parse().unwrap(), &platform.parse().unwrap());
        found.map(|pin| matches!(pin, ImagePin::Manifest { .. })).map_err(|error| error.to_string())
    };
    assert_eq!(image("alpine:3.20", "linux/amd64", Rule::Strict), Ok(true));
    assert_eq!(image("alpine:3.20", "linux/s390x", Rule::Open), Ok(false));
    assert_eq!(
        image("alpine:3.20", "linux/s390x", Rule::Strict),
        Err("`alpine:3.20` is in `multiarch.lock` without `linux/s390x`".into())
    );
    assert_eq!(image("debian", "linux/amd64", Rule::Open), Ok(false));
    assert_eq!(
        image("debian", "linux/amd64", Rule::Strict),
        Err("`debian:latest` is not in `multiarch.lock`".into())
    );
    let url = "https://user:word@host/tools.git?checksum=bb#main";
    let refused = Pins::new(example(), Rule::Open).source(&source(url)).unwrap_err();
    assert!(matches!(refused, Unlocked::Checksum { .. }), "{refused}");
}

#[test]
fn another_index_forgets_the_platforms_of_the_first() {
    let mut lock = example();
    lock.add_image("alpine:3.20".into(), digest("index"), Platform::linux("s390x"), locked("s390x"));
    assert_eq!(lock.images["alpine:3.20"].platforms.len(), 4);
    lock.add_image("alpine:3.20".into(), digest("other"), Platform::linux("s390x"), locked("s390x"));
    assert_eq!(lock.images["alpine:3.20"].platforms.len(), 1);
}

#[test]
fn names_on_the_command_line_are_generous() {
    let mut lock = example();
    lock.add_image("host:5000/team/app:1".into(), digest("a"), Platform::linux("amd64"), locked("a"));
    let meant = |wanted: &str| -> Vec<String> {
        names_like(&lock, wanted).into_iter().map(|(_, name)| name.to_string()).collect()
    };
    assert_eq!(meant("alpine"), ["alpine:3.20"]);
    assert_eq!(meant("alpine:3.20"), ["alpine:3.20"]);
    assert_eq!(meant("host:5000/team/app"), ["host:5000/team/app:1"]);
    assert_eq!(meant("host:*"), ["host:5000/team/app:1"]);
    assert_eq!(meant("*tools.git*"), ["https://xxxxx:xxxxx@host/tools.git#main"]);
    assert_eq!(meant("debian"), [""; 0]);
}

#[test]
fn changes_are_told_by_name() {
    let (old, mut new) = (example(), example());
    new.images.get_mut("alpine:3.20").unwrap().digest = digest("other");
    new.files.clear();
    new.add_source(&source("https://host/new"), &pinned("https://host/new", 'b'));
    let told: Vec<String> = changes(&old, &new).iter().map(ToString::to_string).collect();
    assert_eq!(
        told,
        [
            "changed  alpine:3.20  sha256:1bc04b5291c2 (linux/amd64, linux/arm/v6, linux/arm64) → \
             sha256:d9298a10d1b0 (linux/amd64, linux/arm/v6, linux/arm64)",
            "added    https://host/new  sha256:3e23e8160039",
            "removed  https://host/a \"b\".tar",
        ]
    );
    assert!(changes(&old, &old).is_empty());
}
