//! A build file from elsewhere: `mab bake URL [URL] TARGET…`. Fetched as a folder of the store, in which its files
//! and contexts are; what begins with `cwd://`, and what is written, is in the folder of whoever asks.
//!
//! It is a file that others wrote: nothing is read through links that lead out of it, and the border stands.

use std::collections::BTreeMap;
use std::fmt;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use super::build_files::{self, BuildFiles, OwnFile};
use super::project::{ChangedOption, ProjectOptions};
use super::session::{Session, SessionOptions};
use super::{Failure, clean};
use crate::base::percent::redacted;
use crate::base::{GitReference, HttpUrl, RemoteSource};
use crate::config::import::{self, DEFAULT_FILES, ImportFile};
use crate::config::{self, Disk, Entry, Files};
use crate::context::read_in_root;
use crate::diag::Problem;
use crate::facts::Facts;
use crate::model::{Context, Dest, Output, Project, SecretSource};
use crate::source::{ContextFiles, SourceAuth};
use crate::store::Store;

/// A larger file is no build file.
const LARGEST_FILE: u64 = 8 << 20;

/// Where a build file from elsewhere was put.
#[derive(Clone)]
pub struct RemoteDefinition {
    /// The URL, without credentials.
    name: String,
    folder: PathBuf,
    /// Where the URL is that of a file: it alone, with no context around it.
    file: Option<PathBuf>,
    /// `BAKE_CMD_CONTEXT`
    command_context: String,
    /// Its folders stay as long as it is open.
    _store: Store,
}

impl fmt::Debug for RemoteDefinition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RemoteDefinition({})", self.name)
    }
}

/// What a word means that is where files are, and no name of a target.
fn source(text: &str) -> Option<Result<RemoteSource, String>> {
    match GitReference::parse(text) {
        Some(git) => Some(git.map(RemoteSource::Git).map_err(|error| error.to_string())),
        None if HttpUrl::is_meant_by(text) => Some(
            HttpUrl::parse(text)
                .map(|url| RemoteSource::Http { url, checksum: None })
                .map_err(|error| error.to_string()),
        ),
        None => None,
    }
}

/// Whether the first name is where the build file is.
pub fn is_wanted(options: &ProjectOptions) -> bool {
    options.names.first().is_some_and(|name| source(name).is_some())
}

/// Fetches the build file that the first name stands for, and takes it from the names.
pub async fn settle(
    options: &mut ProjectOptions,
    session: &SessionOptions,
    facts: &Facts,
) -> Result<(), Failure> {
    let Some(found) = options.names.first().and_then(|name| source(name)) else { return Ok(()) };
    let name = redacted(&options.names.remove(0));
    let source = found
        .map_err(|error| vec![Problem::input("remote::url", format!("`{name}` is no such URL: {error}"))])?;
    if options.changed != ChangedOption::All {
        let message = format!("`--changed` compares files here, and the build file is `{name}`");
        return Err(vec![Problem::input("remote::changed", message).help("clone it, and run mab there")]);
    }
    let is_context = |name: &String| name.starts_with("cwd://") || self::source(name).is_some();
    let command_context = match options.names.first().is_some_and(is_context) {
        true => options.names.remove(0),
        false => "cwd://".to_string(),
    };
    let mut facts = facts.clone();
    agent(&mut facts)?;
    let auth = authorization(&facts);
    let one = |problem: Box<Problem>| vec![*problem];
    let sources = Session::new(session).sources(&facts).map_err(one)?;
    let context = Context::Remote { source, text: name.clone() };
    let fetched = sources.context(&context, &auth).await.map_err(|error| vec![error.problem()])?;
    let Some(ContextFiles { root: folder, dockerfile: file, .. }) = fetched else { return Ok(()) };
    options.remote =
        Some(RemoteDefinition { name, folder, file, command_context, _store: sources.store().clone() });
    Ok(())
}

/// Bake's own variables for who asks.
fn authorization(facts: &Facts) -> SourceAuth {
    let names = ["GIT_AUTH_TOKEN", "GIT_AUTH_HEADER"].map(|id| (id, format!("BUILDX_BAKE_{id}")));
    let given = names.into_iter().filter(|(_, name)| facts.environment.contains_key(name));
    let secrets: BTreeMap<String, SecretSource> =
        given.map(|(id, name)| (id.to_string(), SecretSource::Env(name))).collect();
    SourceAuth::new(secrets.iter(), &facts.environment)
}

/// `BUILDX_BAKE_GIT_SSH`: `default`, or the socket of another agent.
fn agent(facts: &mut Facts) -> Result<(), Failure> {
    let Some(text) = facts.environment.get("BUILDX_BAKE_GIT_SSH").filter(|text| !text.is_empty()) else {
        return Ok(());
    };
    let socket = text.split_once('=').map_or("", |(_, path)| path).to_string();
    if socket.is_empty() {
        return Ok(());
    }
    use std::os::unix::fs::FileTypeExt as _;
    if !std::fs::metadata(&socket).is_ok_and(|found| found.file_type().is_socket()) {
        let message = format!("BUILDX_BAKE_GIT_SSH names `{socket}`, which is no socket of an SSH agent");
        let help = "load the key into an agent (`ssh-add`), and write `default`";
        return Err(vec![Problem::input("remote::ssh", message).help(help)]);
    }
    facts.environment.insert("SSH_AUTH_SOCK".to_string(), socket);
    Ok(())
}

impl RemoteDefinition {
    /// The folder that relative contexts are in; a file alone has none.
    pub fn root(&self) -> Option<&Path> {
        self.file.is_none().then_some(&*self.folder)
    }

    pub fn command_context(&self) -> &str {
        &self.command_context
    }

    /// The files that were named, or that are looked for in its folder.
    pub(super) fn files(&self, options: &ProjectOptions, facts: &Facts) -> Result<BuildFiles, Failure> {
        let mut names: Vec<String> = options.files.iter().map(|file| file.display().to_string()).collect();
        if let Some(file) = &self.file {
            if !import::is_foreign(&file.display().to_string()) {
                let message = format!("`{}` is a multiarch.toml without its folder", self.name);
                let help = "its paths are relative to it: name the repository or an archive instead";
                return Err(vec![Problem::input("remote::own-file", message).help(help)]);
            }
            let text =
                Beneath(&self.folder).read(file).map_err(|error| self.unreadable(&self.name, &error))?;
            let mut files = vec![ImportFile { name: self.name.clone(), text }];
            files.extend(build_files::read_all(&names, &facts.directories.current)?);
            return Ok(BuildFiles::Foreign(files));
        }
        if names.is_empty() {
            names = build_files::environment_files(facts);
        }
        if names.is_empty() {
            let looked_for = [config::FILE_NAME].into_iter().chain(DEFAULT_FILES);
            let found = looked_for.filter(|name| read_in_root(&self.folder, Path::new(name)).is_ok());
            names = found.map(str::to_string).collect();
            if names.first().is_some_and(|name| name == config::FILE_NAME) {
                names.truncate(1);
            }
        }
        if names.is_empty() {
            let message = format!("there is no build file in `{}`", self.name);
            return Err(vec![Problem::input("config::missing-file", message).help("name it with `--file`")]);
        }
        let is_own = |name: &String| !import::is_foreign(name) && !name.starts_with("cwd://");
        match (names.iter().find(|name| is_own(name)), names.len()) {
            (Some(own), 1) => Ok(BuildFiles::Own(OwnFile::Toml(self.path(own)))),
            (Some(own), count) => {
                let message = format!("`{own}` is read alone, but {count} files are given");
                Err(vec![Problem::input("config::files", message).help("name it alone")])
            }
            (None, _) => self.read_all(names, facts).map(BuildFiles::Foreign),
        }
    }

    fn read_all(&self, names: Vec<String>, facts: &Facts) -> Result<Vec<ImportFile>, Failure> {
        let mut files = Vec::new();
        for name in names {
            if name.starts_with("cwd://") {
                files.extend(build_files::read_all(&[name], &facts.directories.current)?);
                continue;
            }
            let text = Beneath(&self.folder).read(&self.path(&name));
            let text = text.map_err(|error| self.unreadable(&name, &error))?;
            files.push(ImportFile { name, text });
        }
        Ok(files)
    }

    fn path(&self, name: &str) -> PathBuf {
        clean(&self.folder.join(name.trim_start_matches('/')))
    }

    fn unreadable(&self, name: &str, error: &io::Error) -> Failure {
        let message = match error.kind() {
            io::ErrorKind::NotFound => format!("there is no file `{name}` in `{}`", self.name),
            _ => format!("cannot read `{name}` of `{}`: {error}", self.name),
        };
        vec![Problem::input("config::missing-file", message).help("`cwd://` in front names a file here")]
    }

    /// What a file of ours writes below its own folder is written below the one of whoever asks.
    pub(super) fn write_here(&self, project: &mut Project, current: &Path) {
        let moved = |path: &mut PathBuf| {
            if let Ok(below) = path.strip_prefix(&self.folder) {
                *path = current.join(below);
            }
        };
        for target in project.targets.values_mut() {
            for output in &mut target.outputs {
                match &mut output.value {
                    Output::Oci { dest: Dest::Path(path), .. }
                    | Output::Docker { dest: Some(Dest::Path(path)), .. }
                    | Output::Tar { dest: Dest::Path(path), .. }
                    | Output::Local { dest: path, .. } => moved(path),
                    Output::Oci { .. }
                    | Output::Docker { .. }
                    | Output::Tar { .. }
                    | Output::Image { .. }
                    | Output::CacheOnly => {}
                }
            }
            for cache in target.cache.to.iter_mut().chain(&mut target.cache.from) {
                cache.value.parameters.values_mut().for_each(|value| self.move_text(value, current));
            }
        }
        for cache in project.caches.values_mut() {
            cache.entry.parameters.values_mut().for_each(|value| self.move_text(value, current));
        }
    }

    fn move_text(&self, value: &mut String, current: &Path) {
        if let Ok(below) = Path::new(value.as_str()).strip_prefix(&self.folder) {
            *value = current.join(below).display().to_string();
        }
    }
}

/// The disk that a build file may ask for more files.
pub(super) fn disk(options: &ProjectOptions) -> Box<dyn Files + Sync + '_> {
    match &options.remote {
        Some(remote) => Box::new(Beneath(&remote.folder)),
        None => Box::new(Disk),
    }
}

/// What is below a folder, as its links would lead if it were all there is.
struct Beneath<'a>(&'a Path);

impl Files for Beneath<'_> {
    fn read(&self, path: &Path) -> io::Result<String> {
        let below = path.strip_prefix(self.0).map_err(|_| io::ErrorKind::NotFound)?;
        let mut bytes = Vec::new();
        read_in_root(self.0, below)?.take(LARGEST_FILE + 1).read_to_end(&mut bytes)?;
        if bytes.len() as u64 > LARGEST_FILE {
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, "the file is larger than 8 MiB"));
        }
        String::from_utf8(bytes)
            .map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "the file is not UTF-8 text"))
    }

    fn list(&self, directory: &Path) -> io::Result<Vec<Entry>> {
        let is_inside = directory.canonicalize()?.starts_with(self.0.canonicalize()?);
        if is_inside { Disk.list(directory) } else { Err(io::ErrorKind::NotFound.into()) }
    }
}
