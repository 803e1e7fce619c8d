//! The Dockerfiles of a plan, from wherever their contexts are: each is read once, however many targets and
//! platforms use it.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rayon::prelude::*;

use super::overlay::Overlay;
use super::session::Session;
use crate::base::RemoteSource;
use crate::context::read_in_root;
use crate::diag::{Located, Problem, Source, nearest};
use crate::dockerfile::Dockerfile;
use crate::facts::Facts;
use crate::model::{self, Context, Variant};
use crate::source::{ContextFiles, SourceAuth, SourceError};

pub(super) struct DockerfileReader<'a> {
    facts: &'a Facts,
    session: &'a Session<'a>,
    known: BTreeMap<(PathBuf, PathBuf), Option<Arc<Dockerfile>>>,
    /// Files that were read and parsed before they are asked for.
    ahead: HashMap<PathBuf, io::Result<Parsed>>,
    inline: usize,
    is_offline: bool,
    overlay: Option<&'a Overlay>,
}

/// What was found wrong, and odd, on the way.
pub(super) struct Found<'a> {
    pub problems: &'a mut Vec<Problem>,
    pub warnings: &'a mut Vec<Problem>,
}

fn not_fetched(source: &RemoteSource) -> Box<Problem> {
    let message = format!("the Dockerfile in `{source}` is not looked at: `--offline` fetches nothing");
    Box::new(Problem::input("check::offline", message).help("leave out `--offline`, or check a copy on disk"))
}

/// A file to be read.
struct Wanted {
    /// It does not lead out of here.
    root: PathBuf,
    path: PathBuf,
    /// For messages.
    name: String,
}

impl<'a> DockerfileReader<'a> {
    pub fn new(facts: &'a Facts, session: &'a Session<'a>) -> Self {
        let (known, ahead) = (BTreeMap::new(), HashMap::new());
        Self { facts, session, known, ahead, inline: 0, is_offline: false, overlay: None }
    }

    /// Fetches nothing, if so.
    pub fn offline(self, is_offline: bool) -> Self {
        Self { is_offline, ..self }
    }

    /// With texts that stand in for files of this machine.
    pub fn with(self, overlay: &'a Overlay) -> Self {
        Self { overlay: Some(overlay), ..self }
    }

    /// Reads and parses those that are in directories, on all cores. What is wrong with them is said when they are
    /// asked for.
    pub fn read_ahead<'v>(&mut self, variants: impl Iterator<Item = &'v Arc<Variant>>) {
        if self.overlay.is_some() {
            return;
        }
        let path = |variant: &Variant| match (&variant.dockerfile, &variant.context.value) {
            (model::Dockerfile::File(file), Context::Directory(root)) => Some(root.join(&file.value)),
            _ => None,
        };
        let paths: BTreeSet<PathBuf> = variants.filter_map(|variant| path(variant)).collect();
        let paths: Vec<(String, PathBuf)> =
            paths.into_iter().map(|path| (self.relative(&path), path)).collect();
        let read = |(name, path): (String, PathBuf)| {
            let parsed = read_text(std::fs::File::open(&path));
            let parsed = parsed.map(|text| Dockerfile::parse(&Source::new(name, text)));
            (path, parsed)
        };
        self.ahead = paths.into_par_iter().map(read).collect();
    }

    /// How many Dockerfiles were read.
    pub fn count(&self) -> usize {
        self.known.len() + self.inline
    }

    pub async fn read(&mut self, variant: &Variant, found: &mut Found<'_>) -> Option<Arc<Dockerfile>> {
        let wanted = match &variant.dockerfile {
            model::Dockerfile::Inline(text) => {
                let name = text
                    .place
                    .as_ref()
                    .map_or("inline".to_string(), |place| format!("{place} (dockerfile-inline)"));
                self.inline += 1;
                return parse(&Source::new(name, text.value.clone()), found);
            }
            model::Dockerfile::Stdin => self.on_stdin().await,
            model::Dockerfile::File(file) => match &variant.context.value {
                Context::Directory(root) => return self.on_disk(root, file, variant, found),
                Context::Remote { source, .. } if self.is_offline => Err(not_fetched(source)),
                context => self.elsewhere(context, file, variant).await,
            },
        };
        match wanted {
            Ok(wanted) => self.read_wanted(wanted, variant, found),
            Err(problem) => {
                found.problems.push(match &variant.context.place {
                    Some(place) if problem.labels.is_empty() => problem.at(place.clone(), "this context"),
                    _ => *problem,
                });
                None
            }
        }
    }

    async fn on_stdin(&self) -> Result<Wanted, Box<Problem>> {
        let path = self.session.sources(self.facts)?.stdin_dockerfile().await.map_err(problem)?;
        Ok(file(&path, "standard input".to_string()))
    }

    async fn elsewhere(
        &self,
        context: &Context,
        dockerfile: &Located<PathBuf>,
        variant: &Variant,
    ) -> Result<Wanted, Box<Problem>> {
        let secrets = variant.secrets.iter().map(|(id, source)| (id, &source.value));
        let auth = SourceAuth::new(secrets, &self.facts.environment);
        let files = self.session.sources(self.facts)?.context(context, &auth).await.map_err(problem)?;
        let name = self.context_name(context);
        match files {
            Some(ContextFiles { dockerfile: Some(path), .. }) => Ok(file(&path, name)),
            Some(ContextFiles { root, .. }) => {
                let path = dockerfile.value.clone();
                let name = format!("{name}/{}", path.display());
                Ok(Wanted { root, path, name })
            }
            None => Err(Box::new(
                Problem::input(
                    "dockerfile::context",
                    "the Dockerfile of a context that is no files cannot be read",
                )
                .help("use `dockerfile-inline`, or files as `context`"),
            )),
        }
    }

    fn context_name(&self, context: &Context) -> String {
        match context {
            Context::Remote { text, .. } => text.clone(),
            Context::Archive(path) | Context::Directory(path) => self.relative(path),
            Context::Stdin => "standard input".to_string(),
            Context::Target(name) => name.clone(),
            Context::Image(reference) => reference.familiar(),
            Context::OciLayout { path, .. } => self.relative(path),
        }
    }

    fn relative(&self, path: &Path) -> String {
        path.strip_prefix(&self.facts.directories.current).unwrap_or(path).display().to_string()
    }

    /// Of a directory. Its Dockerfile may be anywhere, and be called `dockerfile`.
    fn on_disk(
        &mut self,
        root: &Path,
        dockerfile: &Located<PathBuf>,
        variant: &Variant,
        found: &mut Found<'_>,
    ) -> Option<Arc<Dockerfile>> {
        let path = root.join(&dockerfile.value);
        let key = (PathBuf::new(), path.clone());
        if let Some(known) = self.known.get(&key) {
            return known.clone();
        }
        let parsed = match self.ahead.remove(&path) {
            Some(parsed) => parsed,
            None => {
                let text = match self.overlay.and_then(|overlay| overlay.get(&path)) {
                    Some(text) => Ok(text.to_string()),
                    None => read_text(std::fs::File::open(&path)),
                };
                text.map(|text| Dockerfile::parse(&Source::new(self.relative(&path), text)))
            }
        };
        let dockerfile = match parsed {
            Ok(parsed) => kept(parsed, found),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                found.problems.push(self.missing(root, dockerfile, &error, variant));
                None
            }
            Err(error) => self.parse_read(Err(error), &self.relative(&path), variant, found),
        };
        self.known.insert(key, dockerfile.clone());
        dockerfile
    }

    /// What is not there, the folder or the file in it, and where it is instead.
    fn missing(
        &self,
        root: &Path,
        dockerfile: &Located<PathBuf>,
        error: &io::Error,
        variant: &Variant,
    ) -> Problem {
        if !root.is_dir() {
            let name = self.relative(root);
            let problem = Problem::input("dockerfile::missing", format!("there is no folder `{name}`"));
            let problem = match &variant.context.place {
                Some(place) => problem.at(place.clone(), "this context"),
                None => problem,
            };
            let near = nearest_entry(root).map(|near| self.relative(&near));
            return problem.help(match near {
                Some(near) => format!("did you mean `{near}`?"),
                None => "`context` is relative to multiarch.toml, and in files of other tools to the current folder".to_string(),
            });
        }
        let path = root.join(&dockerfile.value);
        let problem = unreadable(&self.relative(&path), error, variant);
        // Named as seen from where mab runs, and not from the context.
        let inside = self.facts.directories.current.join(&dockerfile.value);
        if let Some(inside) = inside.strip_prefix(root).ok().filter(|_| inside.is_file()) {
            let inside = inside.display();
            return problem
                .help(format!("`dockerfile` is relative to the target's `context`: write `{inside}`"));
        }
        match nearest_entry(&path).map(|near| self.relative(&near)) {
            Some(near) => problem.help(format!("did you mean `{near}`?")),
            None => problem,
        }
    }

    fn read_wanted(
        &mut self,
        wanted: Wanted,
        variant: &Variant,
        found: &mut Found<'_>,
    ) -> Option<Arc<Dockerfile>> {
        let Wanted { root, path, name } = wanted;
        let key = (root.clone(), path.clone());
        if let Some(known) = self.known.get(&key) {
            return known.clone();
        }
        let text = match read_text(read_in_root(&root, &path)) {
            // BuildKit takes this spelling, too.
            Err(error) if error.kind() == io::ErrorKind::NotFound && path.ends_with("Dockerfile") => {
                let other = read_text(read_in_root(&root, &path.with_file_name("dockerfile")));
                other.map_err(|_| error)
            }
            text => text,
        };
        let dockerfile = self.parse_read(text, &name, variant, found);
        self.known.insert(key, dockerfile.clone());
        dockerfile
    }

    fn parse_read(
        &self,
        text: io::Result<String>,
        name: &str,
        variant: &Variant,
        found: &mut Found<'_>,
    ) -> Option<Arc<Dockerfile>> {
        match text {
            Ok(text) => parse(&Source::new(name.to_string(), text), found),
            Err(error) => {
                found.problems.push(unreadable(name, &error, variant));
                None
            }
        }
    }
}

/// A file that a fetched folder holds alone.
fn file(path: &Path, name: String) -> Wanted {
    let root = path.parent().unwrap_or(path).to_path_buf();
    Wanted { root, path: path.file_name().map(PathBuf::from).unwrap_or_default(), name }
}

/// Something beside `path` whose name is nearly the same; above it, when there is not even a folder.
fn nearest_entry(path: &Path) -> Option<PathBuf> {
    let (parent, name) = (path.parent()?, path.file_name()?.to_str()?);
    if !parent.is_dir() {
        return Some(nearest_entry(parent)?.join(name)).filter(|found| found.exists());
    }
    let entries = std::fs::read_dir(parent).ok()?.filter_map(Result::ok);
    let mut names: Vec<String> = entries.filter_map(|entry| entry.file_name().into_string().ok()).collect();
    names.sort();
    nearest(name, names.iter().map(String::as_str)).map(|near| parent.join(near))
}

fn problem(error: SourceError) -> Box<Problem> {
    Box::new(error.problem())
}

/// The largest Dockerfile that is read; BuildKit's frontend has the same bound.
const LARGEST_DOCKERFILE: u64 = 2 << 20;

fn read_text(file: io::Result<std::fs::File>) -> io::Result<String> {
    use std::io::{Error, ErrorKind, Read as _};
    let mut bytes = Vec::new();
    file?.take(LARGEST_DOCKERFILE + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > LARGEST_DOCKERFILE {
        return Err(Error::new(ErrorKind::InvalidData, "it is larger than 2 MiB"));
    }
    String::from_utf8(bytes).map_err(|_| Error::new(ErrorKind::InvalidData, "it is not UTF-8 text"))
}

type Parsed = Result<Dockerfile, Vec<Problem>>;

fn parse(source: &Arc<Source>, found: &mut Found<'_>) -> Option<Arc<Dockerfile>> {
    kept(Dockerfile::parse(source), found)
}

/// The Dockerfile, with what is wrong and odd about it told.
fn kept(parsed: Parsed, found: &mut Found<'_>) -> Option<Arc<Dockerfile>> {
    match parsed {
        Ok(dockerfile) => {
            found.warnings.extend(dockerfile.warnings.iter().cloned());
            Some(Arc::new(dockerfile))
        }
        Err(problems) => {
            found.problems.extend(problems);
            None
        }
    }
}

fn unreadable(name: &str, error: &io::Error, variant: &Variant) -> Problem {
    let problem = Problem::input(
        "dockerfile::missing",
        format!("the Dockerfile `{name}` cannot be read: {error}"),
    )
    .help(
        "`dockerfile` is relative to the target's `context`, which is relative to the file that declares it",
    );
    let named = match &variant.dockerfile {
        model::Dockerfile::File(file) => file.place.as_ref(),
        model::Dockerfile::Inline(_) | model::Dockerfile::Stdin => None,
    };
    match named.or(variant.context.place.as_ref()) {
        Some(place) => problem.at(place.clone(), "declared here"),
        None => problem,
    }
}
