//! The user's own file, `$XDG_CONFIG_HOME/mab/config.toml`: which registries are reached how, where the store is and
//! how much it may hold, which builders there are, how a run is shown.
//!
//! Says nothing about what is built. Weaker than flags and environment variables, stronger than what is built in.

pub mod schema;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::builder::{self, path};
use super::keys::Section;
use super::read::read_word;
use super::size;
use super::syntax;
use super::table::{Reader, Role, Value};
use super::text::File;
use crate::diag::{Problem, Source};
use crate::model::Builder;

/// The name of the file below the user's configuration directory.
pub const FILE_NAME: &str = "mab/config.toml";

/// Everything the file may say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserConfig {
    pub store: Option<PathBuf>,
    /// Bytes that a prune leaves at most.
    pub budget: Option<u64>,
    /// How long a prune keeps what nobody uses.
    pub keep: Option<Duration>,
    /// Bakes prune to that.
    pub prunes_by_itself: bool,
    /// By host.
    pub registries: BTreeMap<String, RegistrySettings>,
    pub builders: BTreeMap<String, Builder>,
    /// `auto`, `tty`, `plain`, `json` or `quiet`.
    pub progress: Option<String>,
    pub color: Option<Color>,
}

impl Default for UserConfig {
    fn default() -> Self {
        Self {
            store: None,
            budget: None,
            keep: None,
            prunes_by_itself: true,
            registries: BTreeMap::new(),
            builders: BTreeMap::new(),
            progress: None,
            color: None,
        }
    }
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RegistrySettings {
    /// Hosts, perhaps with a folder, that are asked first when something is pulled.
    pub mirrors: Vec<String>,
    /// A file of certificates that are trusted besides the system's, for this registry alone.
    pub ca: Option<PathBuf>,
    /// It may be spoken to without TLS.
    pub insecure: bool,
    /// It collects manifests without a tag.
    pub staging_tags: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Color {
    Auto,
    Never,
}

const PROGRESS: &[(&str, &str)] =
    &[("auto", "auto"), ("tty", "tty"), ("plain", "plain"), ("json", "json"), ("quiet", "quiet")];
const COLORS: &[(&str, Color)] = &[("auto", Color::Auto), ("never", Color::Never)];

/// Reads the file's text; paths in it are relative to its directory. All problems come at once.
pub fn read(name: &str, text: &str, directory: PathBuf) -> Result<UserConfig, Vec<Problem>> {
    let file = Arc::new(File { source: Source::new(name, text), directory, is_literal: false });
    let document = syntax::parse(&file)?;
    let mut problems = Vec::new();
    let mut reader = Reader { file: file.clone(), problems: &mut problems, uses_git: Default::default() };
    let mut config = UserConfig::default();
    for (key, value) in document.get_ref() {
        match key.get_ref().as_ref() {
            "store" => read_store(&mut reader, value, &mut config),
            "ui" => read_ui(&mut reader, value, &mut config),
            "registry" => config.registries = named(&mut reader, "registry", value, read_registry),
            "builder" => config.builders = builder::read_all(&mut reader, value).into_iter().collect(),
            _ => reader.unknown_key(Section::User, key),
        }
    }
    if problems.is_empty() { Ok(config) } else { Err(problems) }
}

fn named<T>(
    reader: &mut Reader<'_>,
    key: &str,
    value: &Value<'_>,
    read_one: impl Fn(&mut Reader<'_>, &Value<'_>) -> T,
) -> BTreeMap<String, T> {
    let members = reader.table(key, value).into_iter().flatten();
    members.map(|(name, value)| (name.get_ref().to_string(), read_one(reader, value))).collect()
}

fn read_store(reader: &mut Reader<'_>, value: &Value<'_>, config: &mut UserConfig) {
    for (key, value) in reader.table("store", value).into_iter().flatten() {
        match key.get_ref().as_ref() {
            "path" => config.store = path(reader, "path", value),
            "budget" => {
                config.budget = read_text(reader, "budget", value, "a size such as `50GB`", size::parse);
            }
            "keep" => config.keep = read_text(reader, "keep", value, "a time such as `14d`", duration),
            "auto-prune" => {
                config.prunes_by_itself = reader.boolean("auto-prune", value).unwrap_or(true);
            }
            _ => reader.unknown_key(Section::UserStore, key),
        }
    }
}

fn read_ui(reader: &mut Reader<'_>, value: &Value<'_>, config: &mut UserConfig) {
    for (key, value) in reader.table("ui", value).into_iter().flatten() {
        match key.get_ref().as_ref() {
            "progress" => {
                config.progress = read_word(reader, "progress", value, PROGRESS).map(str::to_string);
            }
            "color" => config.color = read_word(reader, "color", value, COLORS),
            _ => reader.unknown_key(Section::UserUi, key),
        }
    }
}

fn read_registry(reader: &mut Reader<'_>, value: &Value<'_>) -> RegistrySettings {
    let mut registry = RegistrySettings::default();
    for (key, value) in reader.table("registry", value).into_iter().flatten() {
        match key.get_ref().as_ref() {
            "mirrors" => registry.mirrors = plain_texts(reader, "mirrors", value),
            "ca" => registry.ca = path(reader, "ca", value),
            "insecure" => registry.insecure = reader.boolean("insecure", value).unwrap_or(false),
            "staging-tags" => {
                registry.staging_tags = reader.boolean("staging-tags", value).unwrap_or(false);
            }
            _ => reader.unknown_key(Section::UserRegistry, key),
        }
    }
    registry
}

fn plain_texts(reader: &mut Reader<'_>, key: &str, value: &Value<'_>) -> Vec<String> {
    let texts = reader.texts(key, value, Role::Plain).unwrap_or_default();
    texts.into_iter().map(|text| text.value).collect()
}

fn read_text<T>(
    reader: &mut Reader<'_>,
    key: &str,
    value: &Value<'_>,
    wanted: &str,
    parse: impl Fn(&str) -> Option<T>,
) -> Option<T> {
    let found = parse(reader.string(key, value)?);
    if found.is_none() {
        let place = reader.place(value.span());
        let problem = Problem::input("config::bad-value", format!("`{key}` is not {wanted}"));
        reader.report(problem.at(place, format!("not {wanted}")));
    }
    found
}

/// `90m`, `12h`, `14d`, `2w`
fn duration(text: &str) -> Option<Duration> {
    let digits = text.find(|c: char| !c.is_ascii_digit())?;
    let seconds = match &text[digits..] {
        "m" => 60,
        "h" => 60 * 60,
        "d" => 24 * 60 * 60,
        "w" => 7 * 24 * 60 * 60,
        _ => return None,
    };
    text[..digits].parse::<u64>().ok()?.checked_mul(seconds).map(Duration::from_secs)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diag::render;

    fn read_here(text: &str) -> Result<UserConfig, Vec<Problem>> {
        read("config.toml", text, PathBuf::from("/home/a/.config/mab"))
    }

    #[test]
    fn everything_is_read() {
        let config = read_here(
            r#"
            [store]
            path = "../store"
            budget = "50GB"
            keep = "2w"
            auto-prune = false

            [ui]
            progress = "plain"
            color = "never"

            [registry."docker.io"]
            mirrors = ["mirror.example.com/hub"]

            [registry."registry.local:5000"]
            ca = "ca.pem"
            insecure = true
            staging-tags = true

            [builder.farm]
            workers = [
              { endpoint = "tcp://10.0.0.7:1234", platforms = ["linux/arm64"], labels = { disk = "fast" }, tls = { ca = "ca.pem" } },
            ]
            "#,
        )
        .unwrap();
        assert_eq!(config.store, Some(PathBuf::from("/home/a/.config/store")));
        assert_eq!((config.budget, config.keep), (Some(50 << 30), Some(Duration::from_secs(14 * 86400))));
        assert!(!config.prunes_by_itself);
        assert_eq!((config.progress.as_deref(), config.color), (Some("plain"), Some(Color::Never)));
        assert_eq!(config.registries["docker.io"].mirrors, ["mirror.example.com/hub"]);
        let local = &config.registries["registry.local:5000"];
        assert!(local.insecure && local.staging_tags);
        assert!(local.ca == Some(PathBuf::from("/home/a/.config/mab/ca.pem")));
        let [worker] = config.builders["farm"].workers.as_slice() else { panic!("one worker") };
        assert_eq!(
            (worker.endpoint.as_str(), worker.labels["disk"].as_str()),
            ("tcp://10.0.0.7:1234", "fast")
        );
        assert_eq!(read_here("").unwrap(), UserConfig::default());
    }

    #[test]
    fn all_problems_come_at_once() {
        let text = "\
[store]
budget = \"much\"
keep = \"14\"
[ui]
progres = \"plain\"
color = \"always\"
[registry.\"docker.io\"]
mirror = []
[builder.farm]
workers = [{ platforms = [\"linux/nothing at all\"] }]
[stores]
";
        let problems = read_here(text).unwrap_err();
        let said: Vec<String> = problems.iter().map(|problem| render(problem, false, 100)).collect();
        let said = said.join("\n");
        for expected in [
            "`budget` is not a size such as `50GB`",
            "`keep` is not a time such as `14d`",
            "did you mean `progress`?",
            "`color` cannot be `always`",
            "did you mean `mirrors`?",
            "a worker needs an `endpoint`",
            "did you mean `store`?",
        ] {
            assert!(said.contains(expected), "{expected}\n{said}");
        }
        assert_eq!(problems.len(), 8, "{said}");
    }

    #[test]
    fn times_have_units() {
        for (text, expected) in [
            ("90m", Some(5400)),
            ("1h", Some(3600)),
            ("2w", Some(1_209_600)),
            ("14", None),
            ("d", None),
            ("", None),
        ] {
            assert_eq!(duration(text), expected.map(Duration::from_secs), "{text}");
        }
    }
}
