//! One case of the corpus, read from its folder. It knows neither `mab` nor BuildKit.
//!
//! ```text
//! tests/corpus/dockerfile/THEME/CASE/
//!   Dockerfile       what is built; absent when the context or `case.toml` brings it
//!   case.toml        options, all of them optional
//!   context          the main context, as context.rs describes it
//!   context.NAME     a further named context
//!   pages            what a web server has for it, as a context; `{web}` in the Dockerfile is where
//!   repository       what a git repository has at its tag `v1`, as a context; `{git}` is where
//!   image.txt        BuildKit's answer, recorded
//!   image.mab.txt    ours, where `differs` says why it is another one
//!   error.txt        for what must fail: our exit code and message
//! ```

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::support::repository;

/// How a case is built.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Options {
    pub dockerfile: Option<String>,
    pub stage: Option<String>,
    platforms: Option<Vec<String>>,
    #[serde(default)]
    pub args: BTreeMap<String, String>,
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    #[serde(default)]
    pub secrets: BTreeMap<String, String>,
    /// There is an SSH agent; it has nothing to say.
    #[serde(default)]
    pub ssh: bool,
    #[serde(default)]
    pub entitlements: Vec<String>,
    /// Named contexts that are the images of other cases of the same theme.
    #[serde(default)]
    pub images: BTreeMap<String, String>,
    /// No image may come out.
    #[serde(default)]
    pub fails: bool,
    /// Why our image is not BuildKit's.
    pub differs: Option<String>,
    /// Why BuildKit's answer is not asked for again: what it says depends on more than the case.
    pub recorded_only: Option<String>,
}

pub struct Case {
    pub folder: PathBuf,
    pub theme: String,
    /// `THEME-CASE`, also the target's name.
    pub name: String,
    pub options: Options,
    runs: bool,
}

/// Every case of the corpus, or those whose name holds `MAB_CASE`.
pub fn all() -> Vec<Case> {
    let wanted = std::env::var("MAB_CASE").unwrap_or_default();
    let mut cases = Vec::new();
    for theme in folders(&repository().join("tests/corpus/dockerfile")) {
        cases.extend(folders(&theme).iter().map(|folder| Case::read(&theme, folder)));
    }
    let images: Vec<String> = cases
        .iter()
        .filter(|case| case.name.contains(&wanted))
        .flat_map(|case| case.options.images.values().map(|image| format!("{}-{image}", case.theme)))
        .collect();
    cases.retain(|case| case.name.contains(&wanted) || images.contains(&case.name));
    assert!(!cases.is_empty(), "no case is named like `{wanted}`");
    cases
}

fn folders(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).expect("the corpus is part of the repository");
    let mut folders: Vec<PathBuf> = entries
        .map(|entry| entry.expect("the corpus is readable").path())
        .filter(|path| path.is_dir())
        .collect();
    folders.sort();
    folders
}

fn last(path: &Path) -> String {
    path.file_name().and_then(|name| name.to_str()).expect("cases have plain names").to_string()
}

impl Case {
    fn read(theme: &Path, folder: &Path) -> Self {
        let theme = last(theme);
        let name = format!("{theme}-{}", last(folder));
        let text = fs::read_to_string(folder.join("case.toml")).unwrap_or_default();
        let options = toml::from_str(&text).unwrap_or_else(|error| panic!("{name}: {error}"));
        let dockerfile = fs::read_to_string(folder.join("Dockerfile")).unwrap_or_default();
        let is_run = |line: &str| {
            let line = line.trim_start().to_ascii_lowercase();
            line.starts_with("run ") || line.starts_with("onbuild run ")
        };
        Self { folder: folder.to_path_buf(), theme, name, options, runs: dockerfile.lines().any(is_run) }
    }

    /// What is said, or else: for another architecture as well when something runs.
    pub fn platforms(&self) -> Vec<String> {
        let platforms: &[&str] = if self.runs { &["linux/amd64", "linux/arm64"] } else { &["linux/amd64"] };
        let default = || platforms.iter().map(ToString::to_string).collect();
        self.options.platforms.clone().unwrap_or_else(default)
    }

    /// Whether programs of its platforms run during the build.
    pub fn runs(&self) -> bool {
        self.runs
    }

    pub fn dockerfile(&self) -> &str {
        self.options.dockerfile.as_deref().unwrap_or("Dockerfile")
    }

    /// The descriptions of further contexts, by name.
    pub fn named_contexts(&self) -> BTreeMap<String, PathBuf> {
        let entries = fs::read_dir(&self.folder).expect("the corpus is readable").flatten();
        let named = entries.filter_map(|entry| {
            let name = entry.file_name().into_string().ok()?;
            Some((name.strip_prefix("context.")?.to_string(), entry.path()))
        });
        named.collect()
    }

    pub fn file(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// A file's text; empty when it is not there.
    pub fn text(&self, name: &str) -> String {
        fs::read_to_string(self.file(name)).unwrap_or_default()
    }

    pub fn image_names(&self) -> Vec<(String, String)> {
        let full = |(name, image): (&String, &String)| (name.clone(), format!("{}-{image}", self.theme));
        self.options.images.iter().map(full).collect()
    }

    /// A time that no other case has, nor this one in another round, with room for a hundred seconds.
    pub fn time(&self, round: &str) -> i64 {
        let hash = self.name.bytes().chain(round.bytes()).fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
        1_000_000_000 + (hash % 3_000_000) as i64 * 100
    }
}
