//! What to say about a key: known, not in this version yet, another tool's word, or a slip.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use super::schema;
use super::user::schema as user;
use crate::diag::{Problem, nearest};

/// A table of the file with its own set of keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Section {
    Root,
    Project,
    Lint,
    Var,
    Validate,
    Group,
    Matrix,
    Target,
    Append,
    GroupAppend,
    On,
    Secret,
    Ssh,
    /// Of the build file and the user's own, as the following.
    Builder,
    Worker,
    Tls,
    /// Of the user's own file, as the following.
    User,
    UserStore,
    UserUi,
    UserRegistry,
    Include,
    TagEntry,
    AnnotationEntry,
    PlatformEntry,
    Resources,
    Verify,
    Test,
    Expect,
    ExpectedFile,
    ExpectedConfig,
    Service,
}

impl Section {
    /// The keys that there are.
    pub fn known(self) -> Vec<String> {
        static KNOWN: Mutex<BTreeMap<u8, Vec<String>>> = Mutex::new(BTreeMap::new());
        let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
        known.entry(self as u8).or_insert_with(|| self.of_schema()).clone()
    }

    fn of_schema(self) -> Vec<String> {
        match self {
            Self::Root => schema::keys_of::<schema::BuildFile>(),
            Self::Project => schema::keys_of::<schema::Project>(),
            Self::Lint => schema::keys_of::<schema::Lint>(),
            Self::Var => schema::keys_of::<schema::Var>(),
            Self::Validate => schema::keys_of::<schema::Validation>(),
            Self::Group => schema::keys_of::<schema::Group>(),
            Self::Matrix => schema::keys_of::<schema::Matrix>(),
            Self::Target => schema::keys_of::<schema::Target>(),
            Self::Append => schema::keys_of::<schema::Append>(),
            Self::GroupAppend => schema::keys_of::<schema::GroupAppend>(),
            Self::On => schema::keys_of::<schema::On>(),
            Self::Secret => schema::keys_of::<schema::SecretTable>(),
            Self::Ssh => schema::keys_of::<schema::SshTable>(),
            Self::User => schema::keys_of::<user::UserFile>(),
            Self::UserStore => schema::keys_of::<user::Store>(),
            Self::UserUi => schema::keys_of::<user::Ui>(),
            Self::UserRegistry => schema::keys_of::<user::Registry>(),
            Self::Builder => schema::keys_of::<schema::Builder>(),
            Self::Worker => schema::keys_of::<schema::Worker>(),
            Self::Tls => schema::keys_of::<schema::Tls>(),
            Self::Include => schema::keys_of::<schema::IncludeTable>(),
            Self::TagEntry => schema::keys_of::<schema::TagTable>(),
            Self::AnnotationEntry => schema::keys_of::<schema::AnnotationTable>(),
            Self::PlatformEntry => schema::keys_of::<schema::PlatformTable>(),
            Self::Resources => schema::keys_of::<schema::Resources>(),
            Self::Verify => schema::keys_of::<schema::VerifyTable>(),
            Self::Test => schema::keys_of::<schema::Test>(),
            Self::Expect => schema::keys_of::<schema::Expect>(),
            Self::ExpectedFile => schema::keys_of::<schema::ExpectedFileTable>(),
            Self::ExpectedConfig => schema::keys_of::<schema::ExpectedConfig>(),
            Self::Service => schema::keys_of::<schema::Service>(),
        }
    }

    /// Keys of the format that this version cannot honour yet.
    fn later(self) -> &'static [&'static str] {
        match self {
            Self::Root => &["policy"],
            _ => &[],
        }
    }

    /// What somebody probably means who writes the word another format has for it.
    fn advice(self, key: &str) -> Option<&'static str> {
        match (self, key) {
            (Self::Root, "variable") => Some("variables are in `[vars]`, or `[var.NAME]`"),
            (Self::Var, "description") => Some("what a variable is for is its `help`"),
            (Self::Var, "sensitive") => Some("a value that must not be seen is `secret = true`"),
            (Self::Var, "validation") => Some("write `validate = { condition = \"…\", message = \"…\" }`"),
            (Self::Validate, "error_message" | "error-message") => Some("it is `message`"),
            (Self::Matrix, _) => Some("the values are in `axes = { NAME = [\"…\"] }`"),
            (Self::Root, "services") => Some("write one `[target.NAME]` for each service"),
            (Self::Target | Self::On, "target") => Some("the stage to build is `stage`"),
            (Self::On, "append") => Some("no key of an `on` table is a list"),
            (Self::Test, "command" | "cmd") => Some("what a test runs is `run`, or a `script`"),
            (Self::Test, "stdout-matches" | "stderr-matches" | "exit" | "files" | "ports" | "absent") => {
                Some("what a test expects is in `expect = { … }`")
            }
            (Self::Expect, "user" | "entrypoint" | "cmd" | "env" | "labels" | "workdir" | "volumes") => {
                Some("what the image's config must say is in `expect = { config = { … } }`")
            }
            (Self::ExpectedConfig, "command") => Some("it is `cmd`"),
            (Self::Target | Self::Group, "builder") => Some(
                "who builds is chosen with `--builder NAME`; what a worker must offer is in `worker-labels`",
            ),
            (Self::Target, "name") => Some("a target is named by its table: `[target.NAME]`"),
            (Self::Target, "push") => {
                Some("write `output = [\"type=registry\"]`, or `push = true` in a group")
            }
            (Self::Target, "load") => Some("write `output = [\"type=docker\"]`, or `load = true` in a group"),
            (Self::Target, "depends-on" | "depends_on") => Some("targets to wait for are in `needs`"),
            _ => None,
        }
    }

    fn title(self) -> &'static str {
        match self {
            Self::Root => "the build file",
            Self::Project => "`[project]`",
            Self::Lint => "`[lint]`",
            Self::Var => "a variable",
            Self::Validate => "a validation",
            Self::Group => "a group",
            Self::Matrix => "a matrix",
            Self::Target => "a target",
            Self::Append => "`append`",
            Self::GroupAppend => "`append` of a group",
            Self::On => "an `on` table",
            Self::Secret => "a secret",
            Self::Ssh => "an `ssh` table",
            Self::User => "the user's configuration",
            Self::UserStore => "`[store]`",
            Self::UserUi => "`[ui]`",
            Self::UserRegistry => "a registry",
            Self::Builder => "a builder",
            Self::Worker => "a worker",
            Self::Tls => "a `tls` table",
            Self::Include => "an entry of `include`",
            Self::TagEntry => "a tag",
            Self::AnnotationEntry => "an annotation",
            Self::PlatformEntry => "a platform",
            Self::Resources => "`resources`",
            Self::Verify => "`verify`",
            Self::Test => "a test",
            Self::Expect => "`expect`",
            Self::ExpectedFile => "a file that is expected",
            Self::ExpectedConfig => "`expect.config`",
            Self::Service => "`service`",
        }
    }
}

/// The problem of `key`, which the reader of `section` does not know; without its place.
pub fn problem_of(section: Section, key: &str) -> Problem {
    if section.later().contains(&key) {
        return not_yet(&format!("`{key}`"));
    }
    let problem = Problem::input("config::unknown-key", format!("{} has no key `{key}`", section.title()));
    if let Some(advice) = section.advice(key) {
        return problem.help(advice);
    }
    let known = section.known();
    match suggestion(key, known.iter().map(String::as_str)) {
        Some(suggestion) => problem.help(suggestion),
        None => problem.help(format!("the keys are {}", quoted_list(known.iter().map(String::as_str)))),
    }
}

/// Longer ones are no slips.
const LONGEST_KEY: usize = 100;

/// What `key` is a slip for beyond doubt: the same word in snake_case, or the only key that is one slip away.
pub fn sure(section: Section, key: &str) -> Option<String> {
    if section.later().contains(&key) || section.advice(key).is_some() {
        return None;
    }
    if key.len() > LONGEST_KEY {
        return None;
    }
    let known = section.known();
    sure_of(key, known.iter().map(String::as_str)).map(str::to_string)
}

/// The one of `known` that `word` is a slip for beyond doubt.
pub fn sure_of<'a>(word: &str, known: impl Iterator<Item = &'a str> + Clone) -> Option<&'a str> {
    // Tools differ in what stands between words.
    let same = |known: &&str| known.replace('_', "-") == word.replace('_', "-");
    if let Some(same) = known.clone().find(same) {
        return Some(same);
    }
    let mut near = known.filter(|known| known.len() > 2 && strsim::damerau_levenshtein(word, known) == 1);
    let only = near.next()?;
    near.next().is_none().then_some(only)
}

/// The problem of something the format has and this version has not.
pub fn not_yet(what: &str) -> Problem {
    Problem::input("config::not-yet", format!("{what} is not supported by this version of mab yet"))
        .help("take it out, or build with a version that has it; it is never ignored in silence")
}

/// `did you mean …?` with the nearest candidate, and the next one when that is near as well.
pub fn suggestion<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str> + Clone) -> Option<String> {
    // A key from another tool is often ours in snake_case.
    let kebab = word.replace('_', "-");
    if kebab != word && candidates.clone().into_iter().any(|candidate| candidate == kebab) {
        return Some(format!("did you mean `{kebab}`?"));
    }
    // Every other letter is one slip away from a letter.
    if word.chars().count() < 2 {
        return None;
    }
    let first = nearest(word, candidates.clone())?;
    let second = nearest(word, candidates.into_iter().filter(|candidate| *candidate != first));
    Some(match second {
        Some(second) => format!("did you mean `{first}` or `{second}`?"),
        None => format!("did you mean `{first}`?"),
    })
}

/// `a`, `b` and `c`; long lists are cut.
pub fn quoted_list<'a>(words: impl IntoIterator<Item = &'a str>) -> String {
    const MOST: usize = 40;
    let words: Vec<&str> = words.into_iter().collect();
    let mut shown: Vec<String> = words.iter().take(MOST).map(|word| format!("`{word}`")).collect();
    if words.len() > MOST {
        return format!("{} and {} more", shown.join(", "), words.len() - MOST);
    }
    match shown.pop() {
        None => "none".to_string(),
        Some(last) if shown.is_empty() => last,
        Some(last) => format!("{} and {last}", shown.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::path::Path;

    use super::super::files::{Entry, Files};
    use super::super::load::load;
    use super::*;

    struct OneFile(String);

    impl Files for OneFile {
        fn read(&self, _path: &Path) -> io::Result<String> {
            Ok(self.0.clone())
        }

        fn list(&self, _directory: &Path) -> io::Result<Vec<Entry>> {
            Ok(Vec::new())
        }
    }

    /// A date fits no key, so that a key that is known gives a problem of another kind.
    fn codes(header: &str, key: &str) -> Vec<&'static str> {
        let text = format!("{header}\n{key} = 1979-05-27\n");
        let loaded = load(Path::new("/multiarch.toml"), &OneFile(text));
        loaded.problems.iter().map(|problem| problem.code).collect()
    }

    #[test]
    fn the_reader_knows_exactly_the_keys_of_the_schema() {
        for (section, header) in [
            (Section::Root, ""),
            (Section::Project, "[project]"),
            (Section::Var, "[var.x]"),
            (Section::Group, "[group.x]"),
            (Section::Target, "[target.x]"),
            (Section::Append, "[target.x.append]"),
            (Section::GroupAppend, "[group.x.append]"),
            (Section::On, "[target.x.on.\"linux/arm64\"]"),
            (Section::Resources, "[target.x.resources]"),
            (Section::Test, "[target.x.test.t]"),
            (Section::Expect, "[target.x.test.t.expect]"),
            (Section::Service, "[target.x.test.t.service]"),
            (Section::ExpectedFile, "[[target.x.test.t.expect.files]]"),
            (Section::ExpectedConfig, "[target.x.test.t.expect.config]"),
        ] {
            let known = section.known();
            assert!(known.len() > 2, "{section:?}");
            for key in &known {
                assert!(codes(header, key).contains(&"config::wrong-type"), "{section:?} {key}");
            }
            for key in section.later() {
                assert!(codes(header, key).contains(&"config::not-yet"), "{section:?} {key}");
                assert!(!known.iter().any(|known| known == key), "{section:?} {key}");
            }
            assert!(codes(header, "no-such-key").contains(&"config::unknown-key"), "{section:?}");
        }
    }

    #[test]
    fn only_slips_beyond_doubt_are_put_right() {
        for (section, key, expected) in [
            (Section::Target, "no_cache", Some("no-cache")),
            (Section::Target, "platfroms", Some("platforms")),
            (Section::Target, "contex", Some("context")),
            (Section::Target, "contexs", None),
            (Section::Target, "target", None),
            (Section::Target, "volumes", None),
            (Section::Root, "targets", Some("target")),
        ] {
            assert_eq!(sure(section, key).as_deref(), expected, "{key}");
        }
    }

    #[test]
    fn suggestions_show_the_next_best_as_well() {
        let known = ["context", "contexts", "tags", "no-cache"];
        for (word, expected) in [
            ("contex", Some("did you mean `context` or `contexts`?")),
            ("tgas", Some("did you mean `tags`?")),
            ("no_cache", Some("did you mean `no-cache`?")),
            ("volumes", None),
        ] {
            assert_eq!(suggestion(word, known).as_deref(), expected, "{word}");
        }
    }
}
