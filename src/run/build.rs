//! The build node: lower, key, look up, and only on a miss build.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::pin::pin;
use std::sync::Arc;

use super::ahead::Ahead;
use super::epoch::NodeEpoch;
use super::worker::PlanWorker;
use crate::base::payload::{ImageSummary, Outcome};
use crate::base::{Digest, NodeId, Parts, PinnedSource, Platform, StepId};
use crate::context::{Context, Contexts, Ignoring, Wanted};
use crate::diag::{Kind, Located, Problem};
use crate::engine::base::{Base, LOST_BLOB, MISSING_BLOB, Origin};
use crate::engine::buildkit::needs;
use crate::engine::forwarded::Forwarded;
use crate::engine::selection::{Selections, context_name, remembered_digests, selection_digests};
use crate::engine::{BuildJob, BuildOutcome, Engine, JobEvents, Recipe, SEMANTICS, blocking};
use crate::event::Event;
use crate::model;
use crate::oci::{ImageConfig, Manifest};
use crate::plan::{BuildNode, Node, NodeKeyInputs, base_source, node_key};
use crate::publish::export::{ExportedImage, preferred_compression};
use crate::publish::merge::read_manifest;
use crate::source::SourceAuth;
use crate::steps::{BaseImage, BaseImages, BaseRequest, LowerError, Lowered, Op, Setting, Step, lower};
use crate::store::Store;

/// What build nodes of a run share.
pub struct Builder {
    pub(super) contexts: Arc<Contexts>,
    pub(super) selections: Arc<Selections>,
}

impl Builder {
    pub fn new(store: Store) -> Self {
        Self { contexts: Arc::new(Contexts::new(Some(store))), selections: Arc::default() }
    }
}

/// A build node as far as it is known before anything is built.
pub(super) struct Prepared {
    pub key: Digest,
    pub parts: Parts,
    /// What asks for it to be built anyway.
    pub is_forced: Option<String>,
    pub lowered: Arc<Lowered>,
    recipe: Arc<Recipe>,
    bases: Bases,
    pub contexts: BTreeMap<Option<String>, Arc<Context>>,
    pub sources: BTreeMap<StepId, Digest>,
    pinned: Vec<PinnedSource>,
    auth: SourceAuth,
    epoch: Option<i64>,
    emulators: BTreeMap<String, String>,
    forwarded: Forwarded,
}

type Bases = BTreeMap<(String, Platform), Base>;

impl<E: Engine> PlanWorker<E> {
    pub(super) async fn build(&self, id: NodeId, node: &BuildNode) -> Result<Outcome, Box<Problem>> {
        let turn = self.turns.acquire().await;
        let found = match self.found_ahead(id) {
            Some(found) => found,
            None => {
                let prepared = self.prepare(node).await?;
                let known = self.known([&prepared])?.pop().flatten();
                Ahead { prepared, known, exported: None, is_noted: false }
            }
        };
        let Ahead { prepared, known, exported, is_noted } = found;
        let known = match known {
            Some((image, _)) if !self.can_be_had(id, node, &image).await? => None,
            known => known,
        };
        let exported = exported.filter(|_| known.is_some());
        let shared = match (&known, &prepared.is_forced) {
            (None, None) => self.shared(id, node, &prepared).await?,
            _ => None,
        };
        if self.tools.explains {
            let explanation = match (&known, &shared) {
                (Some((_, made)), _) => self.hit("this store".to_string(), *made),
                (None, Some(shared)) => self.hit(shared.place(), shared.made),
                (None, None) => self.miss(node, &prepared).await?,
            };
            self.tools.events.emit(Event::Explained { node: id, explanation });
        }
        self.set_key(node, prepared.key);
        let is_news = self.is_news(node, &prepared)?;
        let known = known.map(|(image, _)| image).or(shared.map(|shared| shared.image));
        if let Some(image) = known.filter(|_| !is_news) {
            if !is_noted {
                self.note(node, &prepared);
            }
            self.offer(node, &prepared.key, &image)?;
            let exported = match exported {
                Some(exported) => exported,
                None => self.export(&image, &node.export).await?,
            };
            return Ok(self.image_done(id, node, &prepared.lowered, image, exported, false));
        }
        if node.variant.emulate == model::Emulate::Warn && !prepared.emulators.is_empty() {
            let problem = Arc::new(emulation_warning(prepared.emulators.keys()));
            self.tools.events.emit(Event::Notice { node: None, problem });
        }
        drop(turn);
        self.check_access_of(&node.target).await?;
        let runs = prepared.lowered.steps.iter().any(|step| matches!(step.op, Op::Run(_)));
        let (prepared, image) = if runs {
            self.check_access().await?;
            self.make(id, node, prepared).await?
        } else {
            // Files are soon copied: nobody else is waited for.
            self.make_unless_refused(id, node, prepared).await?
        };
        self.set_key(node, prepared.key);
        let _turn = self.turns.acquire().await;
        let exported = self.export(&image, &node.export).await?;
        self.send_early(&node.target, &exported.manifest)?;
        self.look_at_other_tags_here();
        self.record(node, &prepared, &image)?;
        self.offer(node, &prepared.key, &image)?;
        self.note(node, &prepared);
        Ok(self.image_done(id, node, &prepared.lowered, image, exported, true))
    }

    /// Builds the node's image; if that takes its time, a refusal of another target's repository cuts it off. What is
    /// refused later is told by the publication.
    async fn make_unless_refused(
        &self,
        id: NodeId,
        node: &BuildNode,
        prepared: Prepared,
    ) -> Result<(Prepared, BuildOutcome), Box<Problem>> {
        let mut making = pin!(self.make(id, node, prepared));
        tokio::select! {
            made = &mut making => made,
            checked = self.check_access_in_turn() => {
                checked?;
                making.await
            }
        }
    }

    /// Builds the node's image. What a cache promised and does not give is built, too.
    async fn make(
        &self,
        id: NodeId,
        node: &BuildNode,
        prepared: Prepared,
    ) -> Result<(Prepared, BuildOutcome), Box<Problem>> {
        self.bring_left_bases(id).await?;
        let job = self.job(id, node, &prepared)?;
        let writes = job.caches.without_reading();
        let built = match self.tools.engine.build(job).await {
            Ok(image) => self.secure(id, node, &image).await.map(|()| image),
            Err(problem) => Err(problem),
        };
        let lost = match built {
            Ok(image) => return Ok((prepared, image)),
            Err(problem) if is_loss(&problem) => problem,
            Err(problem) => return Err(problem),
        };
        self.tell_of_loss(id, &lost);
        self.make_bases(id, node).await?;
        let prepared = self.prepare(node).await?;
        let job = BuildJob { caches: writes, ..self.job(id, node, &prepared)? };
        let image = self.tools.engine.build(job).await?;
        Ok((prepared, image))
    }

    /// Builds again what a node stands on, where only a cache has that.
    async fn make_bases(&self, id: NodeId, node: &BuildNode) -> Result<(), Box<Problem>> {
        for base in self.plan.dependencies(id) {
            let Node::Build(base_node) = self.plan.node(base) else { continue };
            let image = self.image(&base_node.target, &base_node.platform);
            let Some(image) = image.filter(|image| !self.blobs.are_here(&image.manifest)) else { continue };
            if self.blobs.bring_image(&image.manifest, &self.job_events(base)).await.is_ok() {
                continue;
            }
            Box::pin(self.make_bases(base, base_node)).await?;
            let prepared = self.prepare(base_node).await?;
            let job = self.job(base, base_node, &prepared)?;
            let job = BuildJob { caches: job.caches.without_reading(), ..job };
            let image = self.tools.engine.build(job).await?;
            self.record(base_node, &prepared, &image)?;
            let exported = self.export(&image, &base_node.export).await?;
            self.set_image(base_node, image, exported, prepared.lowered, true);
        }
        debug_assert!(matches!(self.plan.node(id), Node::Build(same) if same.target == node.target));
        Ok(())
    }

    /// Everything that the key of a node covers, and the key.
    pub(super) async fn prepare(&self, node: &BuildNode) -> Result<Prepared, Box<Problem>> {
        let auth = self.source_auth(node);
        let NodeEpoch { seconds: epoch, args } = self.epoch(node, &auth).await?;
        self.tell_of_timestamps(node, epoch);
        let setting = Setting::new(&node.dockerfile, &node.variant, &self.tools.build_platform)
            .with_labels(&node.labels);
        let setting = Setting { args: &args, ..setting };
        let (lowered, bases) = self.lower(node, &setting).await?;
        let labels = node.variant.worker_labels.iter().map(|(key, label)| (key.clone(), label.value.clone()));
        let recipe = Recipe::new(node.dockerfile.clone(), &setting, node.variant.emulate)
            .with_demands(
                labels.collect(),
                needs(&node.dockerfile, &node.variant, &node.caches, &node.attestations),
            )
            .with_attestations(node.attestations.clone());
        let recipe = Arc::new(recipe);
        let pinned = self.pinned(&lowered, &auth).await?;
        let contexts = self.contexts(node, &lowered, &auth).await?;
        let sources = self.selected(&lowered, &contexts, &pinned).await?;
        let info = self.tools.engine.info();
        let emulators = self.tools.engine.emulators(&lowered);
        if node.variant.emulate == model::Emulate::Deny && !emulators.is_empty() {
            return Err(Box::new(emulation_denied(node, emulators.keys())));
        }
        let forwarded = Forwarded::new(&node.variant, self.tools.environment.clone());
        let parts = node_key(&NodeKeyInputs {
            engine: info.kind,
            semantics: SEMANTICS,
            degraded: &info.degraded,
            lowered: &lowered,
            sources: &sources,
            epoch,
            emulators: &emulators,
            forwarded: forwarded.presence_in(&lowered),
            attestations: &node.attestations,
        });
        let key = parts.digest();
        let is_forced = forced(node, &lowered);
        Ok(Prepared {
            key,
            parts,
            is_forced,
            lowered,
            recipe,
            bases,
            contexts,
            sources,
            pinned,
            auth,
            epoch,
            emulators,
            forwarded,
        })
    }

    fn job(&self, id: NodeId, node: &BuildNode, prepared: &Prepared) -> Result<BuildJob, Box<Problem>> {
        let bases = prepared.lowered.bases.iter();
        let bases = bases.map(|base| prepared.bases[&(base.name.clone(), base.platform.clone())].clone());
        Ok(BuildJob {
            target: node.target.clone(),
            platform: node.platform.clone(),
            bases: bases.collect(),
            steps: prepared.lowered.clone(),
            recipe: prepared.recipe.clone(),
            contexts: prepared.contexts.clone(),
            selected: prepared.sources.clone(),
            sources: prepared.pinned.clone(),
            auth: prepared.auth.clone(),
            epoch: prepared.epoch,
            compression: preferred_compression(&node.export),
            now: self.tools.now,
            no_cache: node.variant.no_cache,
            no_cache_stages: node.variant.no_cache_filter.clone(),
            caches: self.access(node)?,
            step_caches: Arc::new(self.step_caches(node)),
            destination: self.destination(id, node),
            forwarded: prepared.forwarded.clone(),
            last_layer: self.sending_early(&node.target),
            events: self.job_events(id),
        })
    }

    pub(super) fn job_events(&self, node: NodeId) -> JobEvents {
        JobEvents { node, sink: self.tools.events.clone() }
    }

    /// Keeps the image for whoever needs it, and tells of it in the form in which it is wanted.
    fn image_done(
        &self,
        id: NodeId,
        node: &BuildNode,
        lowered: &Arc<Lowered>,
        image: BuildOutcome,
        exported: ExportedImage,
        is_made: bool,
    ) -> Outcome {
        let summary = ImageSummary {
            platform: node.platform.clone(),
            manifest: exported.manifest.digest,
            size: exported.size,
            layers: exported.layers,
        };
        self.tools.events.emit(Event::Image { node: id, summary });
        // A worker that had all the steps was asked all the same, and sent an image.
        let is_sent = image.worker.as_ref().is_some_and(|worker| worker.endpoint.is_some());
        let is_reused = image.counts.built == 0 && !is_sent;
        self.set_image(node, image, exported, lowered.clone(), is_made);
        if is_reused { Outcome::Reused } else { Outcome::Built }
    }

    /// Lowers the node, asking for base images until nothing more is missing.
    async fn lower(
        &self,
        node: &BuildNode,
        setting: &Setting<'_>,
    ) -> Result<(Arc<Lowered>, Bases), Box<Problem>> {
        let (mut known, mut bases) = (BaseImages::new(), Bases::new());
        loop {
            match lower(setting, &known) {
                Ok(lowered) => return Ok((Arc::new(lowered), bases)),
                Err(LowerError::Problems(problems)) => return Err(joined(problems)),
                Err(LowerError::Missing(requests)) => {
                    for request in requests {
                        let base = self.base(node, &request).await?;
                        let key = (request.name, request.platform);
                        known.insert(key.clone(), BaseImage::new(base.manifest, base.config.clone()));
                        bases.insert(key, base);
                    }
                }
            }
        }
    }

    async fn base(&self, node: &BuildNode, request: &BaseRequest) -> Result<Base, Box<Problem>> {
        if let Some(source) = base_source(request, &node.variant)? {
            let base = self.bases.base(&source, &request.platform, Some(&request.place)).await?;
            self.blobs.note(&base);
            return Ok(base);
        }
        let context = node.variant.contexts.get(&request.name);
        let Some(Located { value: model::Context::Target(target), .. }) = context else {
            return Err(Box::new(Problem::new(
                Kind::Bug,
                "run::base",
                format!("`{}` is no base", request.name),
            )));
        };
        let Some(image) = self.image(target, &request.platform) else {
            return Err(Box::new(
                Problem::input(
                    "plan::platform-mismatch",
                    format!("target `{target}` is not built for `{}`", request.platform),
                )
                .at(request.place.clone(), "needed here")
                .help(format!("add `{}` to the platforms of `{target}`", request.platform)),
            ));
        };
        self.target_base(target, &image)
    }

    /// Another target's image as a base.
    fn target_base(&self, target: &str, image: &BuildOutcome) -> Result<Base, Box<Problem>> {
        let manifest = read_manifest(&self.tools.store, &image.manifest)?;
        let config = self.config(&manifest)?;
        Ok(Base {
            name: target.to_string(),
            // The config tells all that the manifest does, whatever compresses the layers.
            manifest: image.config,
            config: Arc::new(config),
            layers: manifest.layers,
            compressions: image.compressions.clone(),
            origin: Origin::Store,
        })
    }

    pub(super) fn config(&self, manifest: &Manifest) -> Result<ImageConfig, Box<Problem>> {
        const LARGEST_CONFIG: u64 = 4 << 20;
        let bytes = self.tools.store.blobs().read(&manifest.config.digest, LARGEST_CONFIG);
        bytes.ok().and_then(|bytes| ImageConfig::parse(&bytes).ok()).ok_or_else(|| {
            Box::new(
                Problem::new(
                    Kind::Host,
                    MISSING_BLOB,
                    format!("the store has lost {}", manifest.config.digest),
                )
                .help("run again: what is missing is built again"),
            )
        })
    }

    /// The walks of the contexts that the steps read.
    async fn contexts(
        &self,
        node: &BuildNode,
        lowered: &Lowered,
        auth: &SourceAuth,
    ) -> Result<BTreeMap<Option<String>, Arc<Context>>, Box<Problem>> {
        let mut contexts = BTreeMap::new();
        for step in &lowered.steps {
            let Op::Copy(copy) = &step.op else { continue };
            let Some(name) = context_name(copy) else { continue };
            if contexts.contains_key(&name) {
                continue;
            }
            let declared = match &name {
                None => &node.variant.context,
                Some(name) => &node.variant.contexts[name],
            };
            let (root, has_rules) = match &declared.value {
                model::Context::Directory(root) => (root.clone(), true),
                // BuildKit applies `.dockerignore` to directories alone.
                _ => match self.context_files(declared, auth).await? {
                    Some(files) => (files.root, false),
                    None => return Err(not_a_directory(declared, &step.place)),
                },
            };
            let wanted = wanted(node, name.as_deref(), root, has_rules);
            let walk = match self.builder.contexts.walked(&wanted) {
                Some(walked) => walked,
                None => {
                    let contexts = self.builder.contexts.clone();
                    blocking(move || contexts.get(&wanted)).await
                }
            };
            let context = walk.map_err(|error| {
                let problem = error.problem();
                Box::new(match &declared.place {
                    Some(place) if problem.labels.is_empty() => problem.at(place.clone(), "this context"),
                    _ => problem,
                })
            })?;
            contexts.insert(name, context);
        }
        Ok(contexts)
    }

    /// The digests of what the steps read of contexts.
    async fn selected(
        &self,
        lowered: &Arc<Lowered>,
        contexts: &BTreeMap<Option<String>, Arc<Context>>,
        pinned: &[PinnedSource],
    ) -> Result<BTreeMap<StepId, Digest>, Box<Problem>> {
        let selections = self.builder.selections.clone();
        if let Some(known) = remembered_digests(&selections, lowered, contexts, pinned)? {
            return Ok(known);
        }
        let (lowered, contexts, pinned) = (lowered.clone(), contexts.clone(), pinned.to_vec());
        blocking(move || selection_digests(&selections, &lowered, &contexts, &pinned)).await.map_err(Box::new)
    }
}

/// A directory that is a context of a node, the one of that name.
pub(super) fn wanted(node: &BuildNode, name: Option<&str>, root: PathBuf, has_rules: bool) -> Wanted {
    let ignoring = match (&node.variant.dockerfile, name) {
        _ if !has_rules => Ignoring::Nothing,
        (model::Dockerfile::File(file), None) => Ignoring::ByDockerfile(root.join(&file.value)),
        _ => Ignoring::ByRoot,
    };
    Wanted { root, ignoring }
}

/// Whether bytes of an earlier result are gone, from a cache or from the store.
pub(super) fn is_loss(problem: &Problem) -> bool {
    problem.code == LOST_BLOB || problem.code == MISSING_BLOB
}

/// What asks for a node to be built whatever is known of it.
fn forced(node: &BuildNode, lowered: &Lowered) -> Option<String> {
    if node.variant.no_cache {
        return Some("`no-cache`".to_string());
    }
    let filter = &node.variant.no_cache_filter;
    let is_listed = |step: &&Step| filter.iter().any(|stage| stage.eq_ignore_ascii_case(&step.stage));
    let found = lowered.needed().into_iter().map(|id| lowered.step(id)).find(is_listed);
    found.map(|step| format!("`no-cache-filter` of stage `{}`", step.stage))
}

fn emulation_denied<'a>(node: &BuildNode, platforms: impl Iterator<Item = &'a String>) -> Problem {
    let message = format!(
        "`{}` says `emulate = \"deny\"`, and commands for {} would be emulated here",
        node.target,
        list(platforms)
    );
    let problem = Problem::new(Kind::Host, "run::emulation-denied", message).help(
        "bake this platform on a machine of its own, or let its stages run on `--platform=$BUILDPLATFORM`",
    );
    match &node.variant.platform.place {
        Some(place) => problem.at(place.clone(), "this platform"),
        None => problem,
    }
}

fn emulation_warning<'a>(platforms: impl Iterator<Item = &'a String>) -> Problem {
    Problem::warning(
        "run::emulated",
        format!("commands for {} run under emulation, which is slow", list(platforms)),
    )
    .help("say `emulate = \"allow\"` in the target to hear no more of it, or `\"deny\"` to refuse it")
}

fn list<'a>(names: impl Iterator<Item = &'a String>) -> String {
    names.map(String::as_str).collect::<Vec<_>>().join(", ")
}

/// A node fails with one problem; further ones are told in its details.
pub(super) fn joined(problems: Vec<Problem>) -> Box<Problem> {
    let mut problems = problems.into_iter();
    let first = problems.next().expect("a failed lowering names a problem");
    let rest: Vec<String> = problems
        .map(|problem| {
            let place = problem.labels.first().map(|label| format!("{}: ", label.place)).unwrap_or_default();
            format!("{place}{}", problem.message)
        })
        .collect();
    Box::new(if rest.is_empty() { first } else { first.details(rest.join("\n")) })
}

fn not_a_directory(declared: &Located<model::Context>, place: &Option<crate::diag::Place>) -> Box<Problem> {
    let mut problem = Problem::input("build::context", "this COPY reads a context that is not a directory");
    for (place, text) in [(place.clone(), "read here"), (declared.place.clone(), "declared here")] {
        if let Some(place) = place {
            problem = problem.at(place, text);
        }
    }
    Box::new(problem)
}
