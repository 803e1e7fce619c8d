//! Whether the images of one target do the same on every platform.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::allowed::Allowed;
use super::finding::{Code, Finding};
use super::image::{Image, is_executable};
use super::names;
use super::own_files::OwnFiles;
use crate::base::{Digest, Platform};
use crate::layer::{EntryKind, Origin};
use crate::model::Verify;
use crate::oci::ImageConfig;

/// What should not depend on the platform, but for the names of architectures.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Surface {
    /// By what it is called: `user`, `env HOME`, `port 80/tcp`.
    settings: BTreeMap<String, String>,
    /// What the layers of the target itself put into the folders of `PATH`; nothing where that is not known.
    commands: Option<BTreeSet<String>>,
    /// The other files that they have; nothing where they cannot be compared.
    files: Option<OwnFiles>,
    /// What the target's layers make of the files of users and groups.
    accounts: BTreeMap<String, Digest>,
}

/// So many commands are compared, and so many told of.
const MOST_COMMANDS: usize = 4096;
const MOST_TOLD: usize = 5;

impl Surface {
    pub fn new(image: &Image<'_>, rules: &Verify) -> Self {
        let allowed = Allowed::new(&rules.allow);
        Self {
            settings: settings(image.config),
            commands: commands(image),
            files: OwnFiles::of(image, &allowed),
            accounts: accounts(image),
        }
    }

    /// The files in one text, which is not written down with the rest.
    pub fn paths(&self) -> Option<&str> {
        self.files.as_ref().map(OwnFiles::text)
    }

    /// For a surface that was read back and is to be compared with one that has other files. Without the text that cannot
    /// be done.
    pub fn set_paths(&mut self, paths: Option<String>) {
        self.files = self.files.take().zip(paths).map(|(files, paths)| files.with_text(paths));
    }

    /// Whether the names of files say that nothing differs.
    pub fn has_files_like(&self, other: &Self) -> bool {
        match (&self.files, &other.files) {
            (Some(one), Some(other)) => one.is_like(other),
            _ => true,
        }
    }
}

fn settings(config: &ImageConfig) -> BTreeMap<String, String> {
    let config = &config.config;
    let list = |words: &Option<Vec<String>>| words.as_deref().unwrap_or(&[]).join(" ");
    let mut settings = BTreeMap::from([
        ("the user".to_string(), config.user.clone()),
        ("the entrypoint".to_string(), list(&config.entrypoint)),
        ("the command".to_string(), list(&config.cmd)),
        ("the working directory".to_string(), config.working_dir.clone()),
        ("the stop signal".to_string(), config.stop_signal.clone().unwrap_or_default()),
    ]);
    settings.extend(
        config.exposed_ports.keys().map(|port| (format!("the port `{port}`"), "exposed".to_string())),
    );
    settings.extend(
        config.volumes.keys().map(|volume| (format!("the volume `{volume}`"), "declared".to_string())),
    );
    for variable in &config.env {
        let (name, value) = variable.split_once('=').unwrap_or((variable, ""));
        settings.insert(format!("the variable `{name}`"), value.to_string());
    }
    settings.retain(|_, value| !value.is_empty());
    settings
}

fn accounts(image: &Image<'_>) -> BTreeMap<String, Digest> {
    let digest = |path: &str| {
        let Origin { layer, position } = image.tree().origin(image.tree().get(path.as_bytes())?)?;
        let index = image.layers.get(layer as usize)?.as_ref().filter(|_| layer as usize >= image.first)?;
        index.entries.get(position as usize)?.content
    };
    let found = ["etc/passwd", "etc/group"].map(|path| Some((format!("/{path}"), digest(path)?)));
    found.into_iter().flatten().collect()
}

fn commands(image: &Image<'_>) -> Option<BTreeSet<String>> {
    let judged = || image.layers.iter().skip(image.first);
    if judged().any(Option::is_none) {
        return None;
    }
    let mut commands = BTreeSet::new();
    let folders: Vec<&str> = image.search_path().iter().map(|folder| folder.trim_matches('/')).collect();
    for folder in folders {
        let Some(folder) = image.tree().get(folder.as_bytes()) else { continue };
        for node in image.tree().children(folder) {
            let entry = image.tree().entry(node);
            let is_command = match entry.kind {
                EntryKind::File { .. } => is_executable(entry),
                EntryKind::Symlink { .. } => true,
                _ => false,
            };
            let is_own = image.layer_of(node).is_some_and(|layer| layer >= image.first);
            let is_setarch = || names::is_architecture(&String::from_utf8_lossy(image.tree().name(node)));
            if is_command && is_own && !is_setarch() && commands.len() < MOST_COMMANDS {
                let path = String::from_utf8_lossy(image.tree().path(node)).into_owned();
                commands.insert(format!("/{path}"));
            }
        }
    }
    Some(commands)
}

/// What differs between the images of one target, the first of them being what the others are held to.
pub fn differences(images: &[(&Platform, &Surface)]) -> Vec<Finding> {
    let Some(((first, known), others)) = images.split_first() else { return Vec::new() };
    let mut findings = Vec::new();
    for (platform, surface) in others {
        let names: BTreeSet<&String> = known.settings.keys().chain(surface.settings.keys()).collect();
        for name in names {
            let (one, other) = (known.settings.get(name), surface.settings.get(name));
            let same = |value: Option<&String>, platform: &Platform| {
                value.map(|value| names::neutral(value, &platform.architecture))
            };
            if same(one, first) != same(other, platform) {
                let value = |value: Option<&String>| {
                    value.map_or("nothing".to_string(), |value| format!("`{}`", value.escape_debug()))
                };
                let message =
                    format!("{name} is {} for {first}, but {} for {platform}", value(one), value(other));
                findings.push(Finding::warning(Code::Differs, message).help(HELP));
            }
        }
        for (path, one) in &known.accounts {
            if surface.accounts.get(path).is_some_and(|other| other != one) {
                let message = format!("`{path}` is another one for {first} than for {platform}");
                findings.push(Finding::warning(Code::Differs, message).help(HELP));
            }
        }
        if let (Some(one), Some(other)) = (&known.commands, &surface.commands) {
            findings.extend(lacking((first, one), (platform, other)));
            findings.extend(lacking((platform, other), (first, one)));
        }
        if let (Some(one), Some(other)) = (&known.files, &surface.files) {
            let (here, there) = (first.architecture.as_str(), platform.architecture.as_str());
            let told = |paths: Vec<String>, of: &Surface| {
                let is_command = |path: &String| of.commands.as_ref().is_some_and(|all| all.contains(path));
                paths.into_iter().filter(|path| !is_command(path)).collect::<Vec<_>>()
            };
            let only = told(one.lacking_in(here, other, there), known);
            findings.extend(only_for(&only, first, platform));
            let only = told(other.lacking_in(there, one, here), surface);
            findings.extend(only_for(&only, platform, first));
        }
    }
    findings
}

const HELP: &str = "what depends on `TARGETARCH` or on a condition in a RUN may have gone another way; `verify = \"off\"` hides this";

fn lacking(
    (with, has): (&Platform, &BTreeSet<String>),
    (without, lacks): (&Platform, &BTreeSet<String>),
) -> Option<Finding> {
    let same = |path: &str, platform: &Platform| names::neutral(path, &platform.architecture);
    let lacks: BTreeSet<String> = lacks.iter().map(|path| same(path, without)).collect();
    let missing: Vec<String> =
        has.iter().filter(|path| !lacks.contains(&same(path, with))).cloned().collect();
    only_for(&missing, with, without)
}

fn only_for(missing: &[String], with: &Platform, without: &Platform) -> Option<Finding> {
    let told: Vec<String> = missing.iter().take(MOST_TOLD).map(|path| format!("`{path}`")).collect();
    let more = missing.len() - told.len();
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    let message = format!("{}{more} is there for {with}, but not for {without}", told.join(", "));
    (!missing.is_empty()).then(|| Finding::warning(Code::Differs, message).help(HELP))
}
