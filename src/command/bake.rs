//! `mab bake`: build, merge, write, publish.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::Permissions;
use std::future::Future;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::sync::watch;

use super::Failure;
use super::advice;
use super::changed::Changed;
use super::check::{self, Checked};
use super::emulation;
use super::engines::Engines;
use super::outline;
use super::parts::{self, PartOptions, WrittenPart};
use super::project::{self, Planned, ProjectOptions};
use super::prune::{self, PrunedStore};
use super::release;
use super::session::{self, Session, SessionOptions};
use crate::base::{Digest, Platform};
use crate::diag::{Kind, Problem};
use crate::event::{Event, EventSink, RunEnd};
use crate::facts::{Checkout, Facts};
use crate::lock::{FILE_NAME, ImagePin, Pins, image_name};
use crate::model::{Call, Context, Project, Target};
use crate::plan::{self, BaseSource, BuildNode, Node, Plan, Request, ResolveNode};
use crate::publish::about::About;
use crate::publish::merge::Merged;
use crate::report::metadata::{self, TargetResult};
use crate::report::test_results::TestResult;
use crate::run::{Limits, PlanWorker, RunResult, SaidOnce, Tools, run};
use crate::steps::Lowered;
use crate::store::Notice;

#[derive(Clone, Debug)]
pub struct BakeOptions {
    pub project: ProjectOptions,
    pub session: SessionOptions,
    pub request: Request,
    /// `--call`, `--check`; the targets' own when it is not given.
    pub call: Option<Call>,
    pub keep_going: bool,
    /// `--explain`
    pub explains: bool,
    /// `--metadata-file`
    pub metadata: Option<PathBuf>,
    pub publishing: Publishing,
    /// Every byte of the images is wanted in the store, though nothing is written.
    pub keeps_images: bool,
    pub part: Option<PartOptions>,
}

/// What pushing may do.
#[derive(Clone, Copy, Debug, Default)]
pub struct Publishing {
    /// `--allow-fewer-platforms`
    pub allows_fewer_platforms: bool,
    /// `--allow-older-release`
    pub allows_older: bool,
    /// `--dry-run`
    pub is_rehearsal: bool,
}

/// How a bake ended.
#[derive(Debug, Default)]
pub struct Baked {
    /// What targets that are checked came to. When that failed nothing was built.
    pub checked: Option<Checked>,
    /// What Dockerfiles ask for, of targets of which that is wanted.
    pub described: Option<String>,
    /// How many warnings BuildKit's rules have for what was built.
    pub advice: usize,
    /// How the run ended, if there was anything to build.
    pub end: Option<RunEnd>,
    /// What failed, told already as events.
    pub failures: Vec<Arc<Problem>>,
    /// What `--changed` found.
    pub changed: Option<Changed>,
    /// What was removed from the store afterwards, where the user's configuration bounds it.
    pub pruned: Option<PrunedStore>,
    /// Where tags would move, of a run that only tells.
    pub rehearsed: Option<String>,
    /// The images of targets that were asked for, where all of their bytes are wanted.
    pub images: Vec<BakedImage>,
    /// What came of tests.
    pub tests: Vec<TestResult>,
    /// The steps of the images, those of their bases' triggers among them.
    pub lowered: BTreeMap<(String, Platform), Arc<Lowered>>,
    /// The part that was written, of a run that makes one.
    pub part: Option<WrittenPart>,
    /// What is told at the end: what of the store had to be repaired, and what emulation cost.
    pub afterwards: Vec<Problem>,
}

/// One platform's image, in the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BakedImage {
    pub target: String,
    pub platform: Platform,
    pub manifest: Digest,
}

/// Bakes. Problems from before the run are the error; those of the run are told as events.
pub async fn bake(
    options: &BakeOptions,
    facts: &mut Facts,
    events: Arc<dyn EventSink>,
    cancel: watch::Receiver<bool>,
) -> Result<Baked, Failure> {
    let events: Arc<dyn EventSink> = Arc::new(SaidOnce::new(events));
    let session = Session::new(&options.session);
    session.open_store_ahead(facts);
    // What is elsewhere is fetched for it.
    let planning = project::plan(&options.project, &options.request, options.call, facts, &session);
    let planned = unless_cancelled(&cancel, planning).await?;
    let part = parts::begin(options, &planned, facts).await?;
    let Planned { plan: whole, project, requested, called, warnings, changed } = planned;
    let plan = part.as_ref().map_or_else(|| whole.clone(), |part| part.plan(&whole));
    let call_of = |target: &Target| options.call.unwrap_or(target.call);
    let (to_check, to_describe): (Vec<Target>, Vec<Target>) =
        called.into_iter().partition(|target| call_of(target) == Call::Check);
    let described = match to_describe.is_empty() {
        true => None,
        false => Some(outline::texts(&to_describe, call_of, &session, facts).await?),
    };
    let mut checked = None;
    if !to_check.is_empty() {
        let checking = check::check_targets(&project, &to_check, &session, false, facts);
        let report = unless_cancelled(&cancel, checking).await?;
        let is_over = requested.is_empty() || report.report.fails();
        checked = Some(report);
        if is_over {
            return Ok(Baked { checked, described, changed, ..Baked::default() });
        }
    }
    if requested.is_empty() && (changed.is_some() || described.is_some()) {
        return Ok(Baked { checked, described, changed, ..Baked::default() });
    }
    let checkout = Checkout::new(facts, project.default_branch.as_deref());
    let mut unmet = project.unmet.clone();
    unmet.extend(plan::unmet(requested.iter().map(|name| &project.targets[name]), &checkout));
    if !unmet.is_empty() {
        return Err(unmet);
    }
    let build = session::build_platform(facts);
    advice::refuse(&plan, &project.lint, &build)?;
    expect_no_push(&plan, &options.session)?;
    let tools = session.open(facts, events.clone()).map_err(|problem| vec![*problem])?;
    tools.engine.check(&plan, &requested)?;
    let tools = Tools {
        project: project.root.clone(),
        named_caches: project.caches.clone(),
        explains: options.explains,
        publication: about(&options.publishing, &tools.publication, facts),
        ..tools
    };
    let told = tools.store.notices();
    let unpinned = if options.session.is_locked { None } else { unpinned(&plan, session.pins()) };
    for problem in told.iter().map(Notice::problem).chain(warnings).chain(unpinned) {
        events.emit(Event::Notice { node: None, problem: Arc::new(problem) });
    }
    let (engine, store) = (tools.engine.clone(), tools.store.clone());
    let worker = Arc::new(PlanWorker::new(plan.clone(), tools));
    worker.look_at_tags();
    let preflight = async {
        match (options.session.is_locked, options.keep_going) {
            (true, _) => worker.foresee().await,
            (false, false) => worker.preflight().await,
            // What does not depend on a wrong base is built all the same.
            (false, true) => Vec::new(),
        }
    };
    let looked = async { Ok(tokio::join!(preflight, worker.walk_ahead()).0) };
    let problems = unless_cancelled(&cancel, looked).await?;
    if !problems.is_empty() {
        return Err(problems);
    }
    worker.look_at_tags_here();
    for problem in unless_cancelled(&cancel, ask_workers(&engine, &worker, &plan)).await? {
        events.emit(Event::Notice { node: None, problem: Arc::new(problem) });
    }
    let jobs = engine.nodes_at_once(options.session.jobs);
    let limits = Limits { jobs, keep_going: options.keep_going };
    let RunResult { end, failures } = run(&plan, worker.clone(), limits, events, cancel).await;
    let tests = worker.test_results();
    let images = match options.keeps_images && end == RunEnd::Succeeded {
        true => keep_images(&worker, &requested, &project).await?,
        false => Vec::new(),
    };
    engine.tidy().await;
    worker.save().await.map_err(|problem| vec![*problem])?;
    if end == RunEnd::Succeeded
        && let Some(path) = &options.metadata
    {
        save_metadata(&facts.directories.current.join(path), &requested, &project, &worker)?;
    }
    let part = match part {
        Some(part) if end == RunEnd::Succeeded => {
            Some(part.write(&worker, &store, (&plan, &whole), &requested, facts).await?)
        }
        _ => None,
    };
    let counts = |node: &BuildNode| worker.counts(&node.target, &node.platform);
    let is_built = |node: &BuildNode| counts(node).is_some_and(|counts| counts.built > 0);
    let advice = advice::count(&plan, &project.lint, &build, is_built)?;
    let pruned = match end {
        RunEnd::Succeeded => prune::prune_by_itself(&store, facts).await,
        RunEnd::Failed | RunEnd::Interrupted => None,
    };
    let late = store.notices().into_iter().filter(|notice| !told.contains(notice));
    let afterwards = late.map(|notice| notice.problem()).chain(emulation::advice(&plan, counts)).collect();
    let rehearsed = worker.rehearsed().map(release::moves_text);
    let lowered = worker.all_lowered();
    Ok(Baked {
        checked,
        described,
        advice,
        end: Some(end),
        failures,
        changed,
        pruned,
        rehearsed,
        images,
        tests,
        lowered,
        part,
        afterwards,
    })
}

/// Brings what of the images is elsewhere.
async fn keep_images(
    worker: &PlanWorker<Engines>,
    requested: &[String],
    project: &Project,
) -> Result<Vec<BakedImage>, Failure> {
    let mut images = Vec::new();
    for name in requested {
        for variant in &project.targets[name].variants {
            let platform = &variant.platform.value;
            let kept = worker.keep_image(name, platform).await.map_err(|problem| vec![*problem])?;
            let baked = |manifest| BakedImage { target: name.clone(), platform: platform.clone(), manifest };
            images.extend(kept.map(baked));
        }
    }
    Ok(images)
}

/// Asks a builder's workers, if there is something that one of them will have to build.
async fn ask_workers(
    engine: &Engines,
    worker: &PlanWorker<Engines>,
    plan: &Plan,
) -> Result<Vec<Problem>, Failure> {
    if !engine.must_be_asked() {
        return Ok(Vec::new());
    }
    engine.survey(plan, &worker.unbuilt().await, worker.named_caches()).await
}

pub(super) fn about(publishing: &Publishing, usual: &About, facts: &Facts) -> About {
    let git = facts.git.as_ref();
    let ci = facts.ci.as_ref();
    // What is built from a dirty tree is not what the commit says.
    let of_git = || git.filter(|git| !git.dirty).map(|git| git.sha.clone());
    About {
        run_url: ci.and_then(|ci| ci.run_url.clone()),
        revision: ci.and_then(|ci| ci.sha.clone()).or_else(of_git),
        checkout: git.map(|git| git.root.clone()),
        allows_fewer_platforms: publishing.allows_fewer_platforms,
        allows_older: publishing.allows_older,
        is_rehearsal: publishing.is_rehearsal,
        ..usual.clone()
    }
}

pub(super) fn expect_no_push(plan: &Plan, options: &SessionOptions) -> Result<(), Failure> {
    let pushes = plan.nodes().any(|(_, node)| matches!(node, Node::Publish(_)));
    if !(options.is_offline && pushes) {
        return Ok(());
    }
    let problem =
        Problem::input("plan::offline", "`--offline` asks no registry, and this bake would push to one");
    Err(vec![problem.help("leave out `--offline`, or write the images elsewhere with `--output`")])
}

/// Images and contexts that a lock which is there does not pin.
fn unpinned(plan: &Plan, pins: &Pins) -> Option<Problem> {
    if pins.is_empty() {
        return None;
    }
    let mut names = BTreeSet::new();
    for (_, node) in plan.nodes() {
        match node {
            Node::Resolve(ResolveNode { source: BaseSource::Registry(reference), wanted, .. }) => {
                let is_pinned =
                    |platform| matches!(pins.image(reference, platform), Ok(ImagePin::Manifest { .. }));
                names.extend(
                    (!wanted.iter().all(|(platform, _)| is_pinned(platform))).then(|| image_name(reference)),
                );
            }
            Node::Build(node) => {
                let contexts = std::iter::once(&node.variant.context).chain(node.variant.contexts.values());
                names.extend(contexts.filter_map(|context| match &context.value {
                    Context::Remote { source, .. } if pins.lacks(source) => Some(source.to_string()),
                    _ => None,
                }));
            }
            Node::Resolve(_) | Node::Verify(_) | Node::Test(_) | Node::Merge(_) | Node::Publish(_) => {}
        }
    }
    if names.is_empty() {
        return None;
    }
    let names: Vec<String> = names.into_iter().map(|name| format!("`{name}`")).collect();
    let message = format!("`{FILE_NAME}` does not pin {}, which is taken as it is now", names.join(", "));
    Some(
        Problem::warning("lock::incomplete", message)
            .help("`mab lock` pins it; `--locked` refuses to go on without"),
    )
}

/// Does not wait for work of before the run when that is not to come any more.
pub(super) async fn unless_cancelled<T>(
    cancel: &watch::Receiver<bool>,
    work: impl Future<Output = Result<T, Failure>>,
) -> Result<T, Failure> {
    let mut cancel = cancel.clone();
    tokio::select! {
        done = work => done,
        Ok(_) = cancel.wait_for(|is_cancelled| *is_cancelled) => {
            Err(vec![Problem::new(Kind::Interrupted, "run::interrupted", "interrupted before anything was built")])
        }
    }
}

pub(super) fn save_metadata(
    path: &Path,
    requested: &[String],
    project: &Project,
    worker: &PlanWorker<Engines>,
) -> Result<(), Failure> {
    let results = requested.iter().filter_map(|name| {
        let target = &project.targets[name];
        let configs = target.variants.iter().filter_map(|variant| {
            let platform = variant.platform.value.clone();
            worker.exported(name, &platform).map(|image| (platform, image.config))
        });
        let platforms = target.variants.iter().map(|variant| &variant.platform.value);
        let workers = platforms.filter_map(|platform| {
            worker.image(name, platform)?.worker.map(|builder| (platform.clone(), builder))
        });
        let names = target.tags.iter().map(|tag| tag.value.familiar()).collect();
        let Merged { root, images, .. } = worker.merged(name)?;
        Some(TargetResult {
            name: name.clone(),
            names,
            root,
            images,
            configs: configs.collect(),
            workers: workers.collect(),
        })
    });
    write_metadata(path, &results.collect::<Vec<_>>())
}

fn write_metadata(path: &Path, results: &[TargetResult]) -> Result<(), Failure> {
    let text = metadata::json(results);
    let folder = path.parent().unwrap_or(Path::new("."));
    // As other files that a build writes: whoever may read the folder may read it.
    let mut builder = tempfile::Builder::new();
    let written =
        builder.permissions(Permissions::from_mode(0o666)).tempfile_in(folder).and_then(|mut file| {
            std::io::Write::write_all(&mut file, text.as_bytes())?;
            file.persist(path).map_err(|error| error.error)
        });
    written.map(drop).map_err(|error| {
        vec![Problem::new(
            Kind::Host,
            "output::metadata",
            format!("cannot write the metadata file `{}`: {error}", path.display()),
        )]
    })
}
