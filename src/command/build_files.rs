//! Which files a run is about: our own, or those of other tools, which are looked for and read here.

use std::io::Read as _;
use std::path::{Path, PathBuf};

use super::Failure;
use super::grants::Bounded;
use super::project::ProjectOptions;
use crate::config::import::{self, DEFAULT_FILES, ImportFile, Imported, Request};
use crate::config::{self, Disk, Files};
use crate::diag::{Kind, Problem};
use crate::facts::Facts;

/// Standard input larger than this is no build file.
const LARGEST_INPUT: u64 = 8 << 20;

/// Our own format.
pub enum OwnFile {
    Toml(PathBuf),
    /// What `mab bake --print` wrote.
    Resolved(ImportFile),
}

impl OwnFile {
    pub fn load(&self, disk: &dyn Files, facts: &Facts) -> config::Loaded {
        match self {
            Self::Toml(path) => config::load(path, disk),
            Self::Resolved(file) => config::load_resolved(&file.name, &file.text, &facts.directories.current),
        }
    }

    /// What files that it names are relative to.
    pub fn folder(&self, facts: &Facts) -> PathBuf {
        match self {
            Self::Toml(path) => path.parent().unwrap_or(Path::new("/")).to_path_buf(),
            Self::Resolved(_) => facts.directories.current.clone(),
        }
    }
}

pub enum BuildFiles {
    /// multiarch.toml
    Own(OwnFile),
    /// Bake's and Compose's, in the order in which they are read.
    Foreign(Vec<ImportFile>),
}

/// The files that were named; else multiarch.toml here or above; else what bake looks for.
pub fn find(options: &ProjectOptions, facts: &Facts) -> Result<BuildFiles, Failure> {
    if let Some(remote) = &options.remote {
        return remote.files(options, facts);
    }
    let current = &facts.directories.current;
    if !options.files.is_empty() {
        return named(&options.files, current);
    }
    if let Some(own) = config::find(current) {
        return Ok(BuildFiles::Own(OwnFile::Toml(own)));
    }
    let found = foreign_names(facts);
    if found.is_empty() {
        let message = format!("there is no `{}` in `{}` or above it", config::FILE_NAME, current.display());
        let help = "go to the project's folder, or name the file with `--file`; docker-bake and Compose \
                    files are found in the current folder";
        return Err(vec![Problem::input("config::missing-file", message).help(help)]);
    }
    Ok(BuildFiles::Foreign(read_all(&found, current)?))
}

/// Whether there is a build file where none is named.
pub fn is_any(facts: &Facts) -> bool {
    config::find(&facts.directories.current).is_some() || !foreign_names(facts).is_empty()
}

/// The names of the files that bake would read here.
pub fn foreign_names(facts: &Facts) -> Vec<String> {
    let from_environment = environment_files(facts);
    if !from_environment.is_empty() {
        return from_environment;
    }
    let is_here = |name: &&str| facts.directories.current.join(name).is_file();
    DEFAULT_FILES.into_iter().filter(is_here).map(str::to_string).collect()
}

fn named(files: &[PathBuf], current: &Path) -> Result<BuildFiles, Failure> {
    let names: Vec<String> = files.iter().map(|file| file.display().to_string()).collect();
    let is_own = |name: &String| !import::is_foreign(name) || current.join(name).is_dir();
    match (names.iter().find(|name| is_own(name)), names.len()) {
        (None, _) => {
            let mut files = read_all(&names, current)?;
            let Some(resolved) = files.iter().position(|file| config::is_resolved(&file.text)) else {
                return Ok(BuildFiles::Foreign(files));
            };
            match files.len() {
                1 => Ok(BuildFiles::Own(OwnFile::Resolved(files.remove(0)))),
                count => {
                    let name = &files[resolved].name;
                    let message = format!("`{name}` is read alone, but {count} files are given");
                    let help = "it is a resolved multiarch.toml; name it alone, and change it with `--set`";
                    Err(vec![Problem::input("config::files", message).help(help)])
                }
            }
        }
        (Some(own), 1) => own_file(own, current),
        (Some(own), _) => {
            let message = format!("`{own}` is read alone, but {} files are given", names.len());
            let help = "`include` brings further files into multiarch.toml; only bake and Compose files \
                        are merged";
            Err(vec![Problem::input("config::files", message).help(help)])
        }
    }
}

fn own_file(name: &str, current: &Path) -> Result<BuildFiles, Failure> {
    let path = current.join(name);
    let path = if path.is_dir() { path.join(config::FILE_NAME) } else { path };
    if path.is_file() { Ok(BuildFiles::Own(OwnFile::Toml(path))) } else { Err(vec![missing(name)]) }
}

fn missing(name: &str) -> Problem {
    Problem::input("config::missing-file", format!("there is no file `{name}`"))
        .help("check the path given with `--file`")
}

/// The folder of the first file; for standard input, the one mab runs in.
pub fn folder(files: &[ImportFile], facts: &Facts) -> PathBuf {
    let current = &facts.directories.current;
    let named = files.first().filter(|file| file.name != "-").map(|file| current.join(&file.name));
    named.and_then(|path| path.parent().map(Path::to_path_buf)).unwrap_or_else(|| current.clone())
}

/// `BUILDX_BAKE_FILE`, a list of paths.
pub(super) fn environment_files(facts: &Facts) -> Vec<String> {
    let variable = |name: &str| facts.environment.get(name).filter(|text| !text.is_empty());
    let separator = variable("BUILDX_BAKE_PATH_SEPARATOR").map_or(":", String::as_str);
    let files = variable("BUILDX_BAKE_FILE").map_or("", String::as_str).split(separator);
    files.map(str::trim).filter(|name| !name.is_empty()).map(str::to_string).collect()
}

pub fn read_all(names: &[String], current: &Path) -> Result<Vec<ImportFile>, Failure> {
    let (mut files, mut problems) = (Vec::new(), Vec::new());
    for name in names {
        // As in bake: for a file of this machine, when others come from elsewhere.
        let name = name.strip_prefix("cwd://").unwrap_or(name);
        match read(name, current) {
            Ok(text) => files.push(ImportFile { name: name.to_string(), text }),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => problems.push(missing(name)),
            Err(error) => {
                problems.push(Problem::input("config::unreadable", format!("cannot read `{name}`: {error}")))
            }
        }
    }
    if problems.is_empty() { Ok(files) } else { Err(problems) }
}

fn read(name: &str, current: &Path) -> std::io::Result<String> {
    if name != "-" {
        return Disk.read(&current.join(name));
    }
    let mut bytes = Vec::new();
    std::io::stdin().lock().take(LARGEST_INPUT + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > LARGEST_INPUT {
        return Err(std::io::Error::new(std::io::ErrorKind::FileTooLarge, "it is larger than 8 MiB"));
    }
    String::from_utf8(bytes)
        .map_err(|_| std::io::Error::new(std::io::ErrorKind::InvalidData, "it is not UTF-8 text"))
}

/// The same files from somewhere else than where they were found; those that are not there are left out.
pub fn read_again(files: Vec<ImportFile>, disk: &dyn Files, facts: &Facts) -> Vec<ImportFile> {
    let read = |file: ImportFile| match file.name.as_str() {
        // It can be read but once.
        "-" => Some(file),
        name => {
            let text = disk.read(&facts.directories.current.join(name)).ok()?;
            Some(ImportFile { text, ..file })
        }
    };
    files.into_iter().filter_map(read).collect()
}

/// Reads what `options` asks of files of other tools.
pub fn import(
    files: Vec<ImportFile>,
    options: &ProjectOptions,
    facts: &Facts,
    disk: &(dyn Files + Sync),
) -> Result<Imported, Failure> {
    let mut seed = [0; 16];
    getrandom::fill(&mut seed).map_err(|error| {
        vec![Problem::new(Kind::Host, "facts::random", format!("the system gives no random bytes: {error}"))]
    })?;
    let root = options.remote.as_ref().and_then(|remote| remote.root());
    let folder = root.unwrap_or(&facts.directories.current);
    let disk = Bounded::new(disk, folder, options, facts).map_err(|problem| vec![*problem])?;
    let request = Request {
        files,
        names: options.names.clone(),
        overrides: options.overrides.iter().chain(&options.shorthands).cloned().collect(),
        vars: options.vars.clone(),
        seed,
        root: options.remote.as_ref().and_then(|remote| remote.root()).map(Path::to_path_buf),
        command_context: options.remote.as_ref().map(|remote| remote.command_context().to_string()),
    };
    import::import(&request, facts, &disk)
}
