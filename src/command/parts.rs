//! Parts of a release: what a run says of itself to other machines, and what it leaves for them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::Failure;
use super::bake::BakeOptions;
use super::engines::Engines;
use super::list;
use super::project::{self, Planned, ProjectOptions};
use super::session::{Session, SessionOptions};
use crate::base::secret::names_a_secret;
use crate::base::{Digest, Parts, Platform, Reference};
use crate::diag::Problem;
use crate::engine::blocking;
use crate::facts::{Facts, GitFacts, GitQuestions};
use crate::layer::Compression;
use crate::model::{ExportOptions, LayerCompression, Project};
use crate::plan::{self, BuildNode, Node, Plan, Request};
use crate::publish::export::{form_name, preferred_compression};
use crate::publish::part::{self, Commit, Part, PartImage};
use crate::run::PlanWorker;
use crate::store::Store;

/// `--part`, `--carry`
#[derive(Clone, Debug)]
pub struct PartOptions {
    /// Where the part is written.
    pub folder: PathBuf,
    /// Layers go along with it, wherever they could be pushed to.
    pub carries: bool,
}

/// A part that was written.
#[derive(Debug)]
pub struct WrittenPart {
    /// As it is told.
    pub path: String,
    /// Of which targets it has the layers, and of which only documents.
    pub carried: BTreeSet<String>,
    pub pushed: BTreeSet<String>,
}

/// What runs on several machines have to say alike.
#[derive(Debug)]
pub(super) struct Told {
    pub commit: Option<Commit>,
    pub lock: Option<Digest>,
    pub variables: BTreeMap<String, String>,
    pub plans: BTreeMap<String, Parts>,
}

/// What this run says. `planned` may be for some of the platforms; what is told is about all.
pub(super) async fn told(
    options: &ProjectOptions,
    request: &Request,
    session: &SessionOptions,
    planned: &Planned,
    facts: &mut Facts,
) -> Result<Told, Failure> {
    let options = ProjectOptions { platforms: Vec::new(), ..options.clone() };
    // The same file and lock as a moment ago, with every platform.
    let whole_session = Session::new(session);
    let whole = project::plan(&options, request, None, facts, &whole_session).await?;
    let plans = plan::definitions(&whole.plan, &whole.project.root);
    let pins = whole_session.pins();
    let lock = (!pins.is_empty()).then(|| Digest::of(pins.lock().to_string()));
    let (variables, _) = list::resolved(&options, facts)?;
    let is_open = |variable: &crate::config::Variable| !variable.is_secret && !names_a_secret(&variable.name);
    let variables = variables.into_iter().filter(is_open);
    let variables = variables.filter_map(|variable| Some((variable.name, variable.value?))).collect();
    Ok(Told { commit: commit(&planned.project, facts), lock, variables, plans })
}

/// The commit of the work tree, or what CI says where there is none.
fn commit(project: &Project, facts: &Facts) -> Option<Commit> {
    let questions = GitQuestions { describe: false, tags: false };
    let read = || GitFacts::read(&project.root, questions).ok().flatten();
    let git = facts.git.clone().or_else(read);
    let of_tree = git.map(|git| Commit { sha: git.sha, dirty: git.dirty });
    let of_ci = || facts.ci.as_ref()?.sha.clone().map(|sha| Commit { sha, dirty: false });
    of_tree.filter(|commit| !commit.sha.is_empty()).or_else(of_ci)
}

/// A part that a run is to make.
pub(super) struct Begun {
    options: PartOptions,
    told: Told,
}

/// What a run says that makes a part.
pub(super) async fn begin(
    options: &BakeOptions,
    planned: &Planned,
    facts: &mut Facts,
) -> Result<Option<Begun>, Failure> {
    let BakeOptions { project, request, session, part, .. } = options;
    let Some(part) = part else { return Ok(None) };
    let told = told(project, request, session, planned, facts).await?;
    Ok(Some(Begun { options: part.clone(), told }))
}

impl Begun {
    /// The plan of this machine.
    pub fn plan(&self, whole: &Plan) -> Arc<Plan> {
        Arc::new(whole.of_part(self.options.carries))
    }

    /// Writes the part of a run that is done.
    pub async fn write(
        self,
        worker: &PlanWorker<Engines>,
        store: &Store,
        (plan, whole): (&Plan, &Plan),
        requested: &[String],
        facts: &Facts,
    ) -> Result<WrittenPart, Failure> {
        let images = images(worker, (plan, whole), requested).await.map_err(|problem| vec![*problem])?;
        let part = part_of(images, self.told, facts);
        let names = |carried: bool| {
            let images = part.images.iter().filter(|image| image.is_carried() == carried);
            images.map(|image| image.target.clone()).collect()
        };
        let (carried, pushed) = (names(true), names(false));
        let (store, folder) = (store.clone(), facts.directories.current.join(&self.options.folder));
        let written = blocking(move || part::write(&store, &part, &folder)).await;
        let path = written.map_err(|error| vec![Problem::from(&error)])?;
        Ok(WrittenPart { path: shown(&path, facts), carried, pushed })
    }
}

/// The images of what was asked for, with what else a part says of them.
async fn images(
    worker: &PlanWorker<Engines>,
    (plan, whole): (&Plan, &Plan),
    requested: &[String],
) -> Result<Vec<PartImage>, Box<Problem>> {
    let forms = whole.forms();
    let mut images = Vec::new();
    for (_, node) in plan.nodes() {
        let Node::Build(node) = node else { continue };
        if requested.contains(&node.target) {
            let pushed = pushed(plan, &node.target);
            let forms = forms.get(&node.target).map(Vec::as_slice).unwrap_or_default();
            let mut image = part_image(worker, &node.target, &node.platform, forms, pushed).await?;
            image.passed = passed(plan, node);
            images.push(image);
        }
    }
    Ok(images)
}

/// What judged the image of a build: it would have failed the run.
fn passed(plan: &Plan, build: &BuildNode) -> Vec<String> {
    let judges = plan.nodes().filter_map(|(_, node)| match node {
        Node::Verify(node) if (&node.target, &node.platform) == (&build.target, &build.platform) => {
            Some(vec!["verify".to_string()])
        }
        Node::Test(node) if (&node.target, &node.platform) == (&build.target, &build.platform) => {
            Some(node.tests.iter().map(|test| format!("test {}", test.name)).collect())
        }
        _ => None,
    });
    judges.flatten().collect()
}

fn part_of(images: Vec<PartImage>, told: Told, facts: &Facts) -> Part {
    let targets: BTreeSet<&str> = images.iter().map(|image| image.target.as_str()).collect();
    let plans: BTreeMap<String, Parts> =
        told.plans.into_iter().filter(|(target, _)| targets.contains(target.as_str())).collect();
    Part {
        format: part::FORMAT,
        version: env!("CARGO_PKG_VERSION").to_string(),
        commit: told.commit,
        run: facts.ci.as_ref().and_then(|ci| ci.run_url.clone()),
        lock: told.lock,
        variables: told.variables,
        plan: part::plan_digest(&plans),
        plans,
        images,
    }
}

/// Where a target's images were brought, and in which form.
struct Published {
    repositories: Vec<Reference>,
    forms: Vec<ExportOptions>,
}

fn pushed(plan: &Plan, target: &str) -> Published {
    let mut published = Published { repositories: Vec::new(), forms: Vec::new() };
    for (_, node) in plan.nodes() {
        let Node::Publish(node) = node else { continue };
        for found in node.targets.iter().filter(|found| found.target == target) {
            published.repositories.extend(found.names.iter().cloned());
            published.forms.push(found.options.clone());
        }
    }
    published.repositories.sort();
    published.repositories.dedup();
    published
}

async fn part_image(
    worker: &PlanWorker<Engines>,
    target: &str,
    platform: &Platform,
    forms: &[ExportOptions],
    pushed: Published,
) -> Result<PartImage, Box<Problem>> {
    let image = worker.image(target, platform).expect("a run that succeeded has all images");
    let key = worker.key(target, platform).expect("a node that is done has a key");
    let mut part = PartImage {
        target: target.to_string(),
        platform: platform.clone(),
        key,
        manifest: image.manifest.clone(),
        compressions: image.compressions.iter().map(|known| known.map(|known| known.to_string())).collect(),
        forms: BTreeMap::new(),
        attestations: image.attestations.clone(),
        repositories: pushed.repositories,
        passed: Vec::new(),
    };
    if part.is_carried() {
        worker.bring_layers(target, &image.manifest).await?;
        part.forms = worker.in_forms(&image, forms).await?;
        return Ok(part);
    }
    // What is there is what was pushed.
    part.forms = worker.in_forms(&image, &pushed.forms).await?;
    if let Some(first) = pushed.forms.first() {
        let form = part.forms[&form_name(first)].clone();
        if form.digest != image.manifest.digest {
            part.manifest = form;
            let known = |known: &Option<Compression>| known.and_then(|_| compression(first));
            part.compressions = image.compressions.iter().map(known).collect();
        }
    }
    Ok(part)
}

/// How layers that were put into a form are compressed, where another form can be made of them.
fn compression(form: &ExportOptions) -> Option<String> {
    let is_plain = !matches!(form.compression, LayerCompression::Estargz { .. });
    is_plain.then(|| preferred_compression(form).to_string())
}

/// The path as it is told.
fn shown(path: &Path, facts: &Facts) -> String {
    path.strip_prefix(&facts.directories.current).unwrap_or(path).display().to_string()
}
