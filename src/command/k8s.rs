//! `mab k8s`: whether images have what a cluster's nodes need, and digests in manifests.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;

use futures_util::{StreamExt as _, stream};

use super::Failure;
use super::fix::{self, FixedFile};
use super::session::{self, SessionOptions};
use crate::base::{Platform, Reference};
use crate::diag::{Kind, Problem, Source};
use crate::engine::blocking;
use crate::facts::Facts;
use crate::k8s::{self, ImageUse, Needed, Node, Placement, Workload};
use crate::pattern::Glob;
use crate::plan::BaseSource;

/// No honest manifest or list of nodes is larger.
const LARGEST_FILE: u64 = 64 << 20;
/// How many images are asked about at one time.
const AT_ONCE: usize = 8;

/// Where the nodes are told of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NodeSource {
    File(PathBuf),
    /// `kubectl get nodes`, perhaps in a context of its own.
    Kubectl {
        context: Option<String>,
    },
    /// Only what manifests themselves ask for counts.
    Nowhere,
}

#[derive(Clone, Debug)]
pub struct CheckOptions {
    /// Names of images; paths of manifests are taken as such.
    pub images: Vec<String>,
    /// Files, folders, or `-`.
    pub manifests: Vec<PathBuf>,
    pub nodes: NodeSource,
    pub session: SessionOptions,
}

/// An image, and whether it has what is needed of it.
#[derive(Clone, Debug)]
pub struct Checked {
    pub image: String,
    /// Who runs it; nobody where it was named on the command line.
    pub workload: Option<String>,
    pub offered: Vec<Platform>,
    pub needed: Vec<Needed>,
    /// What is missing, or why nothing is known.
    pub problems: Vec<Problem>,
}

/// An image where it is asked for.
struct Asked {
    image: ImageUse,
    workload: Option<String>,
    needed: Vec<Needed>,
}

/// Compares what images have with what nodes and pods need.
pub async fn check(options: &CheckOptions, facts: &Facts) -> Result<Vec<Checked>, Failure> {
    let (files, images): (Vec<&String>, Vec<&String>) =
        options.images.iter().partition(|name| is_manifest(name, &facts.directories.current));
    let manifests: Vec<PathBuf> =
        options.manifests.iter().cloned().chain(files.into_iter().map(PathBuf::from)).collect();
    if manifests.is_empty() && options.nodes == NodeSource::Nowhere {
        let problem =
            Problem::input("k8s::nothing-needed", "without nodes nothing is needed of these images");
        return Err(vec![problem.help("name manifests, or leave out `--without-nodes`")]);
    }
    let is_stdin = |path: &&PathBuf| path.as_os_str() == "-";
    let nodes_file = match &options.nodes {
        NodeSource::File(path) => Some(path),
        _ => None,
    };
    if manifests.iter().chain(nodes_file).filter(is_stdin).count() > 1 {
        return Err(vec![
            Problem::input("k8s::stdin", "standard input is named twice")
                .help("write one of the two to a file"),
        ]);
    }
    let nodes = nodes(&options.nodes, facts).await?;
    let mut asked = Vec::new();
    for name in images {
        let image = ImageUse {
            name: name.clone(),
            place: crate::diag::Place::new(&Source::new("IMAGE", name.clone()), 0..name.len()),
        };
        // Without a manifest nothing is known but that it may run on any node without a taint.
        asked.push(Asked { image, workload: None, needed: Placement::default().on(&nodes) });
    }
    for (_, source) in read_manifests(&manifests, facts)? {
        for workload in k8s::workloads(&source)? {
            let Workload { name, images, placement } = workload;
            let needed = match options.nodes {
                NodeSource::Nowhere => placement.named(),
                _ => placement.on(&nodes),
            };
            asked.extend(images.into_iter().map(|image| Asked {
                image,
                workload: Some(name.clone()),
                needed: needed.clone(),
            }));
        }
    }
    let bases = session::bases(&options.session, facts).map_err(|problem| vec![*problem])?;
    let names: BTreeSet<&str> = asked.iter().map(|asked| asked.image.name.as_str()).collect();
    let offers = stream::iter(names).map(|name| {
        let bases = &bases;
        async move { (name.to_string(), offered(name, bases).await) }
    });
    let offers: BTreeMap<String, Result<Vec<Platform>, Problem>> = offers.buffered(AT_ONCE).collect().await;
    Ok(asked.iter().map(|asked| judge(asked, &offers[&asked.image.name])).collect())
}

/// Whether what stands where an image may is a path: no image is called so, or something is there.
fn is_manifest(name: &str, current: &Path) -> bool {
    let is_path = name == "-" || ["./", "../", "/"].iter().any(|start| name.starts_with(start));
    let is_file = || [".yaml", ".yml", ".json"].iter().any(|end| name.ends_with(end));
    is_path || (is_file() || name.ends_with('/')) && current.join(name).exists()
}

async fn offered(name: &str, bases: &crate::run::Bases) -> Result<Vec<Platform>, Problem> {
    let reference: Reference =
        name.parse().map_err(|error: crate::base::reference::ParseReferenceError| {
            Problem::input("k8s::image", format!("`{name}` is not the name of an image: {error}"))
        })?;
    let survey = bases.survey(&BaseSource::Registry(reference), &[]).await.map_err(|problem| *problem)?;
    Ok(survey.index.unwrap_or_else(|| survey.configs.into_keys().collect()))
}

fn judge(asked: &Asked, offer: &Result<Vec<Platform>, Problem>) -> Checked {
    let (image, needed) = (&asked.image, asked.needed.clone());
    let placed = |problem: Problem, label: &str| match &asked.workload {
        Some(workload) => problem.at(image.place.clone(), format!("{label} of {workload}")),
        None => problem,
    };
    let (offered, problems) = match offer {
        Err(problem) => (Vec::new(), vec![placed(problem.clone(), "an image")]),
        Ok(offered) => {
            // A node does not say its variant, so that any fits.
            let has = |one: &&Needed| {
                offered
                    .iter()
                    .any(|has| (&has.os, &has.architecture) == (&one.platform.os, &one.platform.architecture))
            };
            let lacking = needed.iter().filter(|one| !has(one));
            let problems = lacking.map(|one| {
                let names: Vec<String> = offered.iter().map(ToString::to_string).collect();
                let message = format!("`{}` is not there for {}: {}", image.name, one.platform, one.because);
                let help = format!(
                    "it is there for {}; build {} too, or keep the pod away with a nodeSelector",
                    names.join(", "),
                    one.platform
                );
                placed(Problem::input("k8s::platform", message).help(help), "an image")
            });
            (offered.clone(), problems.collect())
        }
    };
    Checked { image: image.name.clone(), workload: asked.workload.clone(), offered, needed, problems }
}

async fn nodes(source: &NodeSource, facts: &Facts) -> Result<Vec<Node>, Failure> {
    let (name, json) = match source {
        NodeSource::Nowhere => return Ok(Vec::new()),
        NodeSource::File(path) => {
            let (name, bytes) = read(path, facts)?;
            (format!("`{name}`"), bytes)
        }
        NodeSource::Kubectl { context } => {
            let context = context.clone();
            let asked =
                blocking(move || kubectl(context.as_deref())).await.map_err(|problem| vec![*problem])?;
            ("what `kubectl get nodes` says".to_string(), asked)
        }
    };
    Node::parse(&name, &json).map_err(|problem| vec![*problem])
}

fn kubectl(context: Option<&str>) -> Result<Vec<u8>, Box<Problem>> {
    let failed = |why: String| {
        let problem =
            Problem::new(Kind::Remote, "k8s::kubectl", format!("`kubectl get nodes` failed: {why}"));
        Box::new(problem.help("name a file with `--nodes`, or leave nodes out with `--without-nodes`"))
    };
    let mut command = Command::new("kubectl");
    command.args(["get", "nodes", "-o", "json", "--request-timeout=20s"]).stdin(Stdio::null());
    command.args(context.map(|context| format!("--context={context}")));
    let output = command.output().map_err(|error| failed(error.to_string()))?;
    match output.status.success() {
        true => Ok(output.stdout),
        false => Err(failed(
            String::from_utf8_lossy(&output.stderr).trim().lines().last().unwrap_or_default().to_string(),
        )),
    }
}

/// What was read, and where it is written back: nowhere, when it came from standard input.
type ManifestFile = (Option<PathBuf>, Arc<Source>);

/// The files of these paths, a folder's in the order of their names, each once.
fn read_manifests(paths: &[PathBuf], facts: &Facts) -> Result<Vec<ManifestFile>, Failure> {
    let mut files: Vec<PathBuf> = Vec::new();
    for path in paths {
        let full = facts.directories.current.join(path);
        let found = match path.as_os_str() != "-" && full.is_dir() {
            true => manifests_in(path, &full)?,
            false => vec![path.clone()],
        };
        found.into_iter().for_each(|file| {
            if !files.contains(&file) {
                files.push(file)
            }
        });
    }
    let mut sources = Vec::new();
    for path in files {
        let (name, bytes) = read(&path, facts)?;
        let text = String::from_utf8(bytes)
            .map_err(|_| vec![Problem::input("k8s::syntax", format!("`{name}` is not UTF-8 text"))])?;
        // Through links: what they lead to is rewritten.
        let full = (path.as_os_str() != "-").then(|| facts.directories.current.join(&path));
        let full = full.map(|full| full.canonicalize().unwrap_or(full));
        sources.push((full, Source::new(name, text)));
    }
    Ok(sources)
}

fn manifests_in(path: &Path, full: &Path) -> Result<Vec<PathBuf>, Failure> {
    let entries =
        fs::read_dir(full).map_err(|error| vec![unreadable(&path.display().to_string(), &error)])?;
    let is_manifest =
        |path: &PathBuf| path.extension().is_some_and(|end| end == "yaml" || end == "yml" || end == "json");
    let mut files: Vec<PathBuf> =
        entries.flatten().map(|entry| path.join(entry.file_name())).filter(is_manifest).collect();
    files.sort();
    Ok(files)
}

fn read(path: &Path, facts: &Facts) -> Result<(String, Vec<u8>), Failure> {
    let name =
        if path.as_os_str() == "-" { "standard input".to_string() } else { path.display().to_string() };
    let bytes = match path.as_os_str() == "-" {
        true => limited(io::stdin().lock()),
        false => File::open(facts.directories.current.join(path)).and_then(limited),
    };
    let bytes = bytes.map_err(|error| vec![unreadable(&name, &error)])?;
    Ok((name, bytes))
}

fn limited(from: impl Read) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    from.take(LARGEST_FILE + 1).read_to_end(&mut bytes)?;
    match bytes.len() as u64 > LARGEST_FILE {
        true => Err(io::Error::other(format!("it is larger than {} MB", LARGEST_FILE >> 20))),
        false => Ok(bytes),
    }
}

fn unreadable(name: &str, error: &io::Error) -> Problem {
    Problem::input("k8s::unreadable", format!("cannot read `{name}`: {error}"))
}

#[derive(Clone, Debug)]
pub struct PinOptions {
    /// Files, folders, or `-`.
    pub manifests: Vec<PathBuf>,
    /// Only images whose names, without tag, match one of these; all if there are none.
    pub only: Vec<String>,
    /// Says what would change, and writes nothing.
    pub is_dry_run: bool,
    pub session: SessionOptions,
}

/// A manifest after it was pinned.
pub struct PinnedFile {
    pub file: FixedFile,
    /// It came from standard input, and goes to standard output.
    pub is_stdin: bool,
    /// Line, and what stood and stands there.
    pub images: Vec<(usize, String, String)>,
}

/// Writes what tags lead to now behind the names of images. Nothing is written unless all of it can be.
pub async fn pin(options: &PinOptions, facts: &Facts) -> Result<Vec<PinnedFile>, Failure> {
    let sources = read_manifests(&options.manifests, facts)?;
    let mut files = Vec::new();
    for (path, source) in sources {
        let workloads = k8s::workloads(&source)?;
        files.push((path, source, workloads));
    }
    let images = files.iter().flat_map(|(_, _, workloads)| workloads).flat_map(|workload| &workload.images);
    let names = pinned_names(images, options, facts).await?;
    let mut pinned = Vec::new();
    for (path, source, workloads) in &files {
        let done = k8s::pin(&source.text, workloads, &names)?;
        let edits = done.images.iter().filter(|(_, old, new)| old != new).count();
        let file =
            FixedFile { name: source.name.clone(), before: source.text.clone(), after: done.text, edits };
        pinned.push((path, PinnedFile { file, is_stdin: path.is_none(), images: done.images }));
    }
    for (path, pinned) in pinned.iter().filter(|(_, pinned)| !options.is_dry_run && pinned.file.edits > 0) {
        if let Some(path) = path {
            fix::replace(path, &pinned.file).map_err(|problem| vec![problem])?;
        }
    }
    Ok(pinned.into_iter().map(|(_, pinned)| pinned).collect())
}

/// What stands for each name once it is pinned; all that cannot be is told at once, each with its place.
async fn pinned_names<'a>(
    images: impl Iterator<Item = &'a ImageUse>,
    options: &PinOptions,
    facts: &Facts,
) -> Result<BTreeMap<String, String>, Failure> {
    let registry = session::registry(facts, options.session.is_offline).map_err(|problem| vec![*problem])?;
    let patterns = options.only.iter().map(|pattern| {
        Glob::parse(pattern.as_bytes()).map_err(|error| {
            vec![Problem::input("k8s::pattern", format!("`{pattern}` is not a pattern: {error}"))]
        })
    });
    let patterns: Vec<Glob> = patterns.collect::<Result<_, _>>()?;
    let mut first: BTreeMap<&str, &ImageUse> = BTreeMap::new();
    for image in images.filter(|image| patterns.is_empty() || is_meant(&image.name, &patterns)) {
        first.entry(&image.name).or_insert(image);
    }
    let asked = stream::iter(first.into_values()).map(|image| {
        let registry = &registry;
        async move {
            let place = |problem: Problem| problem.at(image.place.clone(), "named here");
            match pinned_name(&image.name, registry).await {
                Ok(new) => Ok(new.map(|new| (image.name.clone(), new))),
                Err(problem) => Err(place(problem)),
            }
        }
    });
    let found: Vec<Result<_, Problem>> = asked.buffered(AT_ONCE).collect().await;
    let (mut names, mut problems) = (BTreeMap::new(), Vec::new());
    for one in found {
        match one {
            Ok(pair) => names.extend(pair),
            Err(problem) => problems.push(problem),
        }
    }
    if problems.is_empty() { Ok(names) } else { Err(problems) }
}

fn is_meant(name: &str, patterns: &[Glob]) -> bool {
    let bare = name.parse::<Reference>().map(|reference| reference.without_tag());
    let Ok(bare) = bare else { return false };
    let known = [bare.name(), bare.familiar()];
    patterns.iter().any(|pattern| known.iter().any(|name| pattern.matches(name.as_bytes())))
}

/// The name with the digest that its tag leads to; `None` for one that has a digest and no tag.
async fn pinned_name(name: &str, registry: &crate::registry::Registry) -> Result<Option<String>, Problem> {
    let (written, is_pinned) = match name.split_once('@') {
        Some((written, _)) => (written, true),
        None => (name, false),
    };
    let wrong = |error: crate::base::reference::ParseReferenceError| {
        Problem::input("k8s::image", format!("`{name}` is not the name of an image: {error}"))
    };
    name.parse::<Reference>().map_err(wrong)?;
    let reference = written.parse::<Reference>().map_err(wrong)?;
    let has_tag = written.rsplit('/').next().is_some_and(|last| last.contains(':'));
    if is_pinned && !has_tag {
        return Ok(None);
    }
    let resolved = registry.resolve(&reference).await.map_err(|error| error.problem())?;
    let tag = if has_tag { "" } else { ":latest" };
    Ok(Some(format!("{written}{tag}@{}", resolved.descriptor.digest)))
}
