//! The border for build files that others wrote: what one of a pull request may reach outside of its own folder is
//! decided by whoever starts the build, with `--allow` or `MAB_ALLOW`.
//!
//! A developer's own file is not stopped: the border stands where CI builds a pull request, where the file comes
//! from standard input, and where `MAB_BORDER=on` says so. Inside of it are files below the root, with symlinks
//! followed. All that is missing comes in one problem, before anything is read or built.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};

use super::ProjectOptions;
use crate::config::{Entry, Files, import};
use crate::diag::{Located, Place, Problem};
use crate::facts::{CiEvent, Facts};
use crate::model::{
    Context, Dest, Dockerfile, Entitlement, Output, Project, SecretSource, SshSource, Target,
};
use crate::pattern::Glob;

/// One `--allow`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Grant {
    Entitlement(Entitlement),
    /// The agent of `SSH_AUTH_SOCK`.
    Ssh,
    /// An environment variable; `*` stands for any letters.
    Env(String),
    /// Below this path, or everywhere.
    Read(PathBuf),
    Write(PathBuf),
    ReadAndWrite(PathBuf),
    /// What bake asks for and nobody needs here: images that are pushed or loaded.
    Image,
}

impl Grant {
    pub fn parse(text: &str) -> Result<Self, String> {
        if let Some(entitlement) = Entitlement::parse(text) {
            return Ok(Self::Entitlement(entitlement));
        }
        let (key, value) = text.split_once('=').unwrap_or((text, ""));
        // As in bake, `*` is everything.
        let path = || PathBuf::from(if value == "*" { "/" } else { value });
        match (key, value.is_empty()) {
            ("ssh", true) => Ok(Self::Ssh),
            ("env", false) => Ok(Self::Env(value.to_string())),
            ("fs.read", false) => Ok(Self::Read(path())),
            ("fs.write", false) => Ok(Self::Write(path())),
            ("fs", false) => Ok(Self::ReadAndWrite(path())),
            ("image" | "image.push" | "image.load", false) => Ok(Self::Image),
            ("device", _) => {
                Err("steps get no devices here, and `RUN --device` is not supported".to_string())
            }
            ("buildx.local.delete", true) => {
                Err("an output of type `local` deletes nothing here, and has no `mode=delete`".to_string())
            }
            _ => Err("there are `network.host`, `security.insecure`, `ssh`, `env=NAME`, `fs.read=PATH`, \
                      `fs.write=PATH` and `fs=PATH`; nothing else needs to be allowed"
                .to_string()),
        }
    }
}

/// The grants of the command line and of `MAB_ALLOW`.
pub fn all(given: &[Grant], facts: &Facts) -> Result<Vec<Grant>, Box<Problem>> {
    let text = facts.environment.get("MAB_ALLOW").map_or("", String::as_str);
    let mut grants = given.to_vec();
    for one in text.split(',').map(str::trim).filter(|one| !one.is_empty()) {
        grants.push(Grant::parse(one).map_err(|message| {
            Box::new(Problem::input("grants::bad-value", format!("`MAB_ALLOW` has `{one}`")).help(message))
        })?);
    }
    Ok(grants)
}

/// What is granted to steps.
pub fn entitlements(given: &[Grant], facts: &Facts) -> Result<BTreeSet<Entitlement>, Box<Problem>> {
    let granted = all(given, facts)?.into_iter().filter_map(|grant| match grant {
        Grant::Entitlement(entitlement) => Some(entitlement),
        Grant::Ssh
        | Grant::Env(_)
        | Grant::Read(_)
        | Grant::Write(_)
        | Grant::ReadAndWrite(_)
        | Grant::Image => None,
    });
    Ok(granted.collect())
}

/// Whether the file is one that others wrote.
fn stands(facts: &Facts, is_from_stdin: bool) -> bool {
    match facts.environment.get("MAB_BORDER").map(String::as_str) {
        Some("on" | "1" | "true") => true,
        Some("off" | "0" | "false") => false,
        _ => is_from_stdin || facts.ci.as_ref().is_some_and(|ci| ci.event == CiEvent::PullRequest),
    }
}

/// Whether what `options` names is bounded.
pub fn bounds(options: &ProjectOptions, facts: &Facts) -> bool {
    let is_from_stdin = options.files.iter().any(|file| file.as_os_str() == "-");
    stands(facts, is_from_stdin || options.remote.is_some())
}

/// The disk as build files in `root` see it: where the border stands, other files that they bring along are in there,
/// or granted.
pub struct Bounded<'d> {
    disk: &'d (dyn Files + Sync),
    /// None where there is no border.
    inside: Option<Vec<PathBuf>>,
}

impl<'d> Bounded<'d> {
    pub fn new(
        disk: &'d (dyn Files + Sync),
        root: &Path,
        options: &ProjectOptions,
        facts: &Facts,
    ) -> Result<Self, Box<Problem>> {
        if !bounds(options, facts) {
            return Ok(Self { disk, inside: None });
        }
        let granted = all(&options.grants, facts)?.into_iter().filter_map(|grant| match grant {
            Grant::Read(below) | Grant::ReadAndWrite(below) => Some(facts.directories.current.join(below)),
            Grant::Entitlement(_) | Grant::Ssh | Grant::Env(_) | Grant::Write(_) | Grant::Image => None,
        });
        let inside = std::iter::once(root.to_path_buf()).chain(granted).map(|path| real(&path)).collect();
        Ok(Self { disk, inside: Some(inside) })
    }

    fn check(&self, path: &Path) -> io::Result<()> {
        let path = real(path);
        match &self.inside {
            Some(inside) if !inside.iter().any(|below| path.starts_with(below)) => {
                let flag = format!("--allow fs.read={}", path.display());
                let message = format!(
                    "the build file is not from here, and this is out of its folder; if you trust it, add `{flag}`"
                );
                Err(io::Error::new(io::ErrorKind::PermissionDenied, message))
            }
            _ => Ok(()),
        }
    }
}

impl Files for Bounded<'_> {
    fn read(&self, path: &Path) -> io::Result<String> {
        self.check(path)?;
        self.disk.read(path)
    }

    fn list(&self, directory: &Path) -> io::Result<Vec<Entry>> {
        self.check(directory)?;
        self.disk.list(directory)
    }
}

/// What the targets ask for beyond the border that nobody has granted.
pub fn check(
    project: &Project,
    targets: &[&Target],
    options: &ProjectOptions,
    facts: &Facts,
) -> Result<(), Box<Problem>> {
    check_reach(&project.root, &project.environment, targets, options, facts)
}

/// The same of files that are no project. `environment` is what they have taken from there.
pub fn check_reach(
    root: &Path,
    environment: &BTreeMap<String, Option<Place>>,
    targets: &[&Target],
    options: &ProjectOptions,
    facts: &Facts,
) -> Result<(), Box<Problem>> {
    let grants = all(&options.grants, facts)?;
    if !bounds(options, facts) {
        return Ok(());
    }
    // As in bake, a file from elsewhere has the folder that it is baked in.
    let here = options.remote.is_some().then(|| real(&facts.directories.current));
    let mut border = Border { root: real(root), here, grants: &grants, facts, missing: BTreeMap::new() };
    for (name, place) in environment {
        border.environment(name, place.as_ref());
    }
    targets.iter().for_each(|target| border.target(target));
    border.verdict()
}

struct Border<'a> {
    root: PathBuf,
    /// Of a file from elsewhere: where it is baked.
    here: Option<PathBuf>,
    grants: &'a [Grant],
    facts: &'a Facts,
    /// Flags, each with what it is for and where that stands.
    missing: BTreeMap<String, (String, Option<Place>)>,
}

impl Border<'_> {
    fn target(&mut self, target: &Target) {
        for variant in &target.variants {
            let context = &variant.context;
            let folder = self.context(context);
            for named in variant.contexts.values() {
                self.context(named);
            }
            if let Dockerfile::File(path) = &variant.dockerfile {
                let folder = folder.unwrap_or_else(|| self.root.clone());
                let whole = folder.join(&path.value);
                // With a context goes what is in it.
                if !real(&whole).starts_with(real(&folder)) {
                    self.file(&whole, false, path.place.as_ref().or(context.place.as_ref()));
                }
            }
            for (id, secret) in &variant.secrets {
                self.secret(id, secret);
            }
            for agent in variant.ssh.values() {
                self.agent(agent);
            }
        }
        for output in &target.outputs {
            self.output(output);
        }
    }

    /// The folder that the context is, if it is one.
    fn context(&mut self, context: &Located<Context>) -> Option<PathBuf> {
        match &context.value {
            Context::Directory(path) => {
                self.file(path, false, context.place.as_ref());
                Some(path.clone())
            }
            Context::OciLayout { path, .. } | Context::Archive(path) => {
                self.file(path, false, context.place.as_ref());
                None
            }
            Context::Image(_) | Context::Target(_) | Context::Remote { .. } | Context::Stdin => None,
        }
    }

    fn secret(&mut self, id: &str, secret: &Located<SecretSource>) {
        let place = secret.place.as_ref();
        match &secret.value {
            // A file that asks through a variable asks all the same.
            SecretSource::Env(name) | SecretSource::Variable { env: Some(name), .. } => {
                self.environment(name, place);
            }
            SecretSource::Variable { env: None, .. } => {}
            SecretSource::File(path) => self.file(path, false, place),
            SecretSource::ById(_) if self.facts.environment.contains_key(id) => self.environment(id, place),
            SecretSource::ById(path) => self.file(path, false, place),
        }
    }

    fn agent(&mut self, agent: &Located<SshSource>) {
        match &agent.value {
            SshSource::Environment if !self.grants.contains(&Grant::Ssh) => {
                self.miss("ssh".to_string(), "uses your SSH agent".to_string(), agent.place.as_ref());
            }
            SshSource::Environment => {}
            SshSource::Paths(paths) => {
                paths.iter().for_each(|path| self.file(path, false, agent.place.as_ref()));
            }
        }
    }

    fn output(&mut self, output: &Located<Output>) {
        let path = match &output.value {
            Output::Oci { dest: Dest::Path(path), .. }
            | Output::Docker { dest: Some(Dest::Path(path)), .. }
            | Output::Tar { dest: Dest::Path(path), .. }
            | Output::Local { dest: path, .. } => path,
            Output::Oci { .. }
            | Output::Docker { .. }
            | Output::Tar { .. }
            | Output::Image { .. }
            | Output::CacheOnly => return,
        };
        self.file(path, true, output.place.as_ref());
    }

    /// A variable that is set; one that is not tells nothing.
    fn environment(&mut self, name: &str, place: Option<&Place>) {
        let is_set = self.facts.environment.contains_key(name);
        let allows = |grant: &Grant| match grant {
            Grant::Env(pattern) => {
                Glob::parse(pattern.as_bytes()).is_ok_and(|glob| glob.matches(name.as_bytes()))
            }
            _ => false,
        };
        if is_set && !name.starts_with("MAB_") && !self.grants.iter().any(allows) {
            self.miss(format!("env={name}"), format!("reads the variable `{name}`"), place);
        }
    }

    fn file(&mut self, path: &Path, is_written: bool, place: Option<&Place>) {
        // Bake's own switch.
        let switch =
            |name: &str| import::is_true(self.facts.environment.get(name).map_or("", String::as_str));
        let is_open = self.here.is_some() && switch("BAKE_ALLOW_REMOTE_FS_ACCESS") == Some(true);
        if switch("BUILDX_BAKE_ENTITLEMENTS_FS") == Some(false) || is_open {
            return;
        }
        let path = real(path);
        let allows = |grant: &Grant| match (grant, is_written) {
            (Grant::Read(below), false) | (Grant::Write(below), true) | (Grant::ReadAndWrite(below), _) => {
                path.starts_with(real(&self.facts.directories.current.join(below)))
            }
            _ => false,
        };
        let is_inside = match &self.here {
            Some(here) => path.starts_with(here) || (!is_written && path.starts_with(&self.root)),
            None => path.starts_with(&self.root),
        };
        if is_inside || self.grants.iter().any(allows) {
            return;
        }
        let (key, verb) = if is_written { ("fs.write", "writes") } else { ("fs.read", "reads") };
        let shown = path.display();
        self.miss(format!("{key}={shown}"), format!("{verb} `{shown}`"), place);
    }

    fn miss(&mut self, flag: String, what: String, place: Option<&Place>) {
        self.missing.entry(flag).or_insert_with(|| (what, place.cloned()));
    }

    fn verdict(self) -> Result<(), Box<Problem>> {
        if self.missing.is_empty() {
            return Ok(());
        }
        let flags: Vec<String> = self.missing.keys().map(|flag| format!("--allow {flag}")).collect();
        let unplaced: Vec<&str> = self
            .missing
            .values()
            .filter(|(_, place)| place.is_none())
            .map(|(what, _)| what.as_str())
            .collect();
        let also = if unplaced.is_empty() { String::new() } else { format!(": it {}", unplaced.join(", ")) };
        let message = format!("the build file is not from here and reaches out of its folder{also}");
        let problem = Problem::input("grants::missing", message).help(format!(
            "if you trust it, add `{}`, or set MAB_ALLOW; MAB_BORDER=off takes every file for your own",
            flags.join(" ")
        ));
        let places = self.missing.into_values().filter_map(|(what, place)| Some((what, place?)));
        Err(Box::new(places.fold(problem, |problem, (what, place)| problem.at(place, what))))
    }
}

/// The path with symlinks followed as far as it exists.
fn real(path: &Path) -> PathBuf {
    let mut rest = Vec::new();
    for ancestor in path.ancestors() {
        if let Ok(found) = ancestor.canonicalize() {
            return rest.iter().rev().fold(found, |path: PathBuf, part| path.join(part));
        }
        rest.extend(ancestor.file_name().map(ToOwned::to_owned));
    }
    path.to_path_buf()
}
