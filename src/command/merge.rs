//! `mab merge`: the parts that other machines made, joined and published as one release.

use std::path::PathBuf;
use std::sync::Arc;

use tokio::sync::watch;

use super::Failure;
use super::bake::{self, BakeOptions, Baked};
use super::parts::{self, Told};
use super::project::{self, Planned};
use super::release;
use super::session::Session;
use crate::diag::Problem;
use crate::engine::base::Origin;
use crate::engine::{BuildOutcome, blocking};
use crate::event::{Event, EventSink, RunEnd};
use crate::facts::{Checkout, Facts};
use crate::model::Call;
use crate::oci::Manifest;
use crate::plan;
use crate::publish::part::{self, Aspect, Joined, Own, PartFolder, PartImage};
use crate::run::{Limits, PlanWorker, RunResult, SaidOnce, SuppliedImage, Tools, run};
use crate::store::Store;

#[derive(Clone, Debug)]
pub struct MergeOptions {
    pub bake: BakeOptions,
    /// Parts, or folders with parts in them.
    pub parts: Vec<PathBuf>,
    /// `--allow-different`
    pub allowed: Vec<Aspect>,
}

/// Merges. Problems from before anything was written are the error; those of the run are told as events.
pub async fn merge(
    options: &MergeOptions,
    facts: &mut Facts,
    events: Arc<dyn EventSink>,
    cancel: watch::Receiver<bool>,
) -> Result<Baked, Failure> {
    let events: Arc<dyn EventSink> = Arc::new(SaidOnce::new(events));
    let MergeOptions { bake, .. } = options;
    let session = Session::new(&bake.session);
    let planning = project::plan(&bake.project, &bake.request, Some(Call::Build), facts, &session);
    let planned = bake::unless_cancelled(&cancel, planning).await?;
    let checkout = Checkout::new(facts, planned.project.default_branch.as_deref());
    let targets = planned.requested.iter().map(|name| &planned.project.targets[name]);
    let mut unmet = planned.project.unmet.clone();
    unmet.extend(plan::unmet(targets, &checkout));
    if !unmet.is_empty() {
        return Err(unmet);
    }
    let told = parts::told(&bake.project, &bake.request, &bake.session, &planned, facts).await?;
    let folders = read(options, facts).await?;
    let Joined { images, warnings } = part::join(&folders, &own(&planned, told, &options.allowed))?;
    let Planned { plan, project, requested, .. } = &planned;
    let plan = Arc::new(plan.of_merge(requested));
    bake::expect_no_push(&plan, &bake.session)?;
    let tools = session.open(facts, events.clone()).map_err(|problem| vec![*problem])?;
    let tools = Tools { publication: bake::about(&bake.publishing, &tools.publication, facts), ..tools };
    for problem in planned.warnings.iter().chain(&warnings) {
        events.emit(Event::Notice { node: None, problem: Arc::new(problem.clone()) });
    }
    let store = tools.store.clone();
    let worker = Arc::new(PlanWorker::new(plan.clone(), tools));
    for (folder, image) in images {
        supply(&worker, &store, folder, image).map_err(|problem| vec![*problem])?;
    }
    worker.look_at_tags();
    worker.look_at_tags_here();
    let limits = Limits { jobs: bake.session.jobs, keep_going: bake.keep_going };
    let RunResult { end, failures } = run(&plan, worker.clone(), limits, events, cancel).await;
    worker.save().await.map_err(|problem| vec![*problem])?;
    if end == RunEnd::Succeeded
        && let Some(path) = &bake.metadata
    {
        bake::save_metadata(&facts.directories.current.join(path), requested, project, &worker)?;
    }
    let rehearsed = worker.rehearsed().map(release::moves_text);
    Ok(Baked { end: Some(end), failures, rehearsed, ..Baked::default() })
}

fn own(planned: &Planned, told: Told, allowed: &[Aspect]) -> Own {
    let wanted = planned.requested.iter().flat_map(|name| {
        let variants = &planned.project.targets[name].variants;
        variants.iter().map(|variant| (name.clone(), variant.platform.value.clone()))
    });
    Own {
        version: env!("CARGO_PKG_VERSION").to_string(),
        commit: told.commit,
        lock: told.lock,
        variables: told.variables,
        plans: told.plans,
        wanted: wanted.collect(),
        allowed: allowed.to_vec(),
    }
}

/// Every part, or all that is wrong with any of them.
async fn read(options: &MergeOptions, facts: &Facts) -> Result<Vec<PartFolder>, Failure> {
    let (paths, current) = (options.parts.clone(), facts.directories.current.clone());
    blocking(move || {
        let (mut folders, mut problems) = (Vec::new(), Vec::new());
        for path in paths {
            match part::find(&current.join(&path), &path.display().to_string()) {
                Ok(found) => folders.extend(found),
                Err(problem) => problems.push(*problem),
            }
        }
        let mut parts = Vec::new();
        for (path, shown) in folders {
            match part::read(path, shown) {
                Ok(part) => parts.push(part),
                Err(problem) => problems.push(*problem),
            }
        }
        if problems.is_empty() { Ok(parts) } else { Err(problems) }
    })
    .await
}

/// Puts an image's documents into the store, and tells the run where its layers are.
fn supply(
    worker: &PlanWorker<super::engines::Engines>,
    store: &Store,
    folder: &PartFolder,
    image: &PartImage,
) -> Result<(), Box<Problem>> {
    let changed = |what: String| {
        let message = format!("`{}` {what}", folder.shown);
        Box::new(Problem::input("part::bad", message).help("make the part again; no tag was moved"))
    };
    for document in folder.documents(image).map_err(changed)? {
        store.blobs().put_bytes(&document).map_err(|error| Box::new(error.problem()))?;
    }
    let here = Origin::OciLayout(folder.path.clone());
    let layers = match image.repositories.first() {
        Some(repository) => Origin::Registry(repository.clone()),
        None => here.clone(),
    };
    worker.supply(SuppliedImage {
        target: image.target.clone(),
        platform: image.platform.clone(),
        image: outcome(store, image)?,
        forms: image.forms.clone(),
        layers,
        statements: here,
    })
}

fn outcome(store: &Store, image: &PartImage) -> Result<BuildOutcome, Box<Problem>> {
    let Manifest { config, .. } = crate::publish::merge::read_manifest(store, &image.manifest)?;
    let compressions = image.compressions.iter().map(|text| text.as_ref().and_then(|text| text.parse().ok()));
    Ok(BuildOutcome {
        manifest: image.manifest.clone().with_platform(&image.platform),
        config: config.digest,
        compressions: compressions.collect(),
        attestations: image.attestations.clone(),
        repository: None,
        counts: Default::default(),
        worker: None,
    })
}
