//! Selected targets expanded to nodes and edges; every problem of the whole selection at once.
//!
//! Per platform: resolve ▶ build ▶ verify, then per target a merge, then one publish for the run.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::path::PathBuf;
use std::sync::Arc;

use rayon::prelude::*;

use super::conflicts::Claims;
use super::cycles;
use super::graph::Plan;
use super::node::{
    BaseSource, BuildNode, MergeNode, Node, PublishNode, PublishTarget, ResolveNode, TestNode, VerifyNode,
};
use super::select::Selection;
use super::unsupported;
use crate::base::{NodeId, Platform, Reference};
use crate::diag::{Kind, Located, Place, Problem};
use crate::dockerfile::Dockerfile;
use crate::model::{
    Annotation, Context, Delivery, Entitlement, ExportOptions, LayerCompression, Output, Target, Variant,
    Verify, VerifyLevel,
};
use crate::steps::{self, BaseRequest};

/// The parsed Dockerfile of every variant, by target and platform.
#[derive(Clone, Debug, Default)]
pub struct Dockerfiles(HashMap<String, Vec<(Platform, Arc<Dockerfile>)>>);

impl Dockerfiles {
    pub fn new() -> Self {
        Self::default()
    }

    pub fn insert(&mut self, target: &str, platform: &Platform, dockerfile: Arc<Dockerfile>) {
        match self.0.get_mut(target) {
            Some(known) => known.push((platform.clone(), dockerfile)),
            None => {
                self.0.insert(target.to_string(), vec![(platform.clone(), dockerfile)]);
            }
        }
    }

    fn get(&self, target: &str, platform: &Platform) -> Option<&Arc<Dockerfile>> {
        let found = self.0.get(target)?.iter().find(|(known, _)| known == platform);
        found.map(|(_, dockerfile)| dockerfile)
    }

    /// Whether the target's Dockerfile could be read for any of its platforms.
    fn has(&self, target: &str) -> bool {
        self.0.contains_key(target)
    }
}

/// Nodes that build, by target and platform.
#[derive(Default)]
struct Builds<'a>(HashMap<&'a str, Vec<(&'a Platform, NodeId)>>);

impl<'a> Builds<'a> {
    fn insert(&mut self, target: &'a str, platform: &'a Platform, node: NodeId) {
        self.0.entry(target).or_default().push((platform, node));
    }

    fn get(&self, target: &str, platform: &Platform) -> Option<NodeId> {
        let found = self.0.get(target)?.iter().find(|(known, _)| *known == platform);
        found.map(|(_, node)| *node)
    }

    fn nodes(&self) -> Vec<NodeId> {
        self.0.values().flatten().map(|(_, node)| *node).collect()
    }
}

/// What the command line adds to the file.
#[derive(Clone, Debug)]
pub struct Request {
    pub push: bool,
    pub load: bool,
    /// Replaces the outputs of every requested target.
    pub outputs: Option<Vec<Output>>,
    pub no_cache: bool,
    pub pull: bool,
    /// Tests that passed are run again.
    pub tests_again: bool,
    /// `--allow`: what builds may do beyond the sandbox.
    pub allowed: BTreeSet<Entitlement>,
    /// Tags that nothing moves, and caches, may be shared, as bake lets them be.
    pub is_lenient: bool,
    /// Workers of a builder build, which may have labels.
    pub has_workers: bool,
    /// The platform builds run on.
    pub build_platform: Platform,
    /// Messages name paths below it without it.
    pub directory: PathBuf,
}

/// The graph of `selection`.
pub fn compile(
    selection: &Selection<'_>,
    request: &Request,
    dockerfiles: &Dockerfiles,
) -> Result<Plan, Vec<Problem>> {
    let mut compiler = Compiler {
        request,
        dockerfiles,
        requested: selection.requested.iter().map(|target| target.name.as_str()).collect(),
        targets: selection.all().map(|target| (target.name.as_str(), target)).collect(),
        plan: Plan::default(),
        builds: Builds::default(),
        merges: BTreeMap::new(),
        resolves: BTreeMap::new(),
        claims: Claims::default(),
        problems: Vec::new(),
    };
    compiler.problems.extend(unsupported::problems(selection, request.has_workers));
    let made = selection.requested.iter().filter_map(|target| target.tagging.as_ref());
    let bad = made.flat_map(|tagging| &tagging.problems).filter(|problem| problem.is_error());
    compiler.problems.extend(bad.cloned());
    for target in selection.all() {
        let export = compiler.form(target);
        compiler.add_builds(target, &export);
    }
    for target in selection.all() {
        if !request.is_lenient {
            target.cache.to.iter().for_each(|cache| compiler.claims.cache(&target.name, cache));
        }
        let (outputs, export) = (compiler.requested_outputs(target), compiler.form(target));
        compiler.add_merge(target, export, outputs);
    }
    let mut bases = compiler.bases();
    for target in selection.all() {
        compiler.connect(target, &mut bases);
    }
    compiler.add_publish(selection);
    compiler.finish()
}

/// The images that each build node starts from, or what is wrong with its Dockerfile.
type Bases = HashMap<NodeId, Result<Vec<BaseRequest>, Vec<Problem>>>;

struct Compiler<'a> {
    request: &'a Request,
    dockerfiles: &'a Dockerfiles,
    requested: HashSet<&'a str>,
    targets: HashMap<&'a str, &'a Target>,
    plan: Plan,
    builds: Builds<'a>,
    merges: BTreeMap<&'a str, NodeId>,
    resolves: BTreeMap<BaseSource, NodeId>,
    claims: Claims,
    problems: Vec<Problem>,
}

impl<'a> Compiler<'a> {
    fn add_builds(&mut self, target: &'a Target, export: &ExportOptions) {
        if target.variants.is_empty() {
            self.problems.push(no_platform(target));
        }
        self.check_entitlements(target);
        for variant in &target.variants {
            let platform = &variant.platform.value;
            // A file that could not be read or parsed was reported by whoever did it.
            let Some(dockerfile) = self.dockerfiles.get(&target.name, platform) else { continue };
            let labels = target.labels.iter().map(|(key, value)| (key.clone(), value.clone())).collect();
            let attestations = target.attestations.iter().map(|attestation| &attestation.value);
            let enabled = attestations.filter(|attestation| !attestation.is_disabled);
            let node = BuildNode {
                target: target.name.clone(),
                platform: platform.clone(),
                variant: self.as_requested(variant),
                dockerfile: dockerfile.clone(),
                labels,
                needs: target.needs.clone(),
                export: export.clone(),
                caches: target.cache.clone(),
                images: target.images.iter().map(|image| image.value.clone()).collect(),
                attestations: enabled.cloned().collect(),
            };
            let node = self.plan.add(Node::Build(Box::new(node)));
            self.builds.insert(&target.name, platform, node);
        }
    }

    fn as_requested(&self, variant: &Arc<Variant>) -> Arc<Variant> {
        let mut variant = variant.clone();
        if (self.request.no_cache && !variant.no_cache) || (self.request.pull && !variant.pull) {
            let changed = Arc::make_mut(&mut variant);
            changed.no_cache |= self.request.no_cache;
            changed.pull |= self.request.pull;
        }
        variant
    }

    /// A file can ask for more than a sandbox; only who starts the build can allow it.
    fn check_entitlements(&mut self, target: &Target) {
        let asked = target.variants.iter().flat_map(|variant| &variant.entitlements);
        let mut refused = BTreeSet::new();
        for entitlement in asked.filter(|asked| !self.request.allowed.contains(&asked.value)) {
            if !refused.insert(entitlement.value) {
                continue;
            }
            let name = entitlement.value;
            let message = format!("target `{}` asks for `{name}`, which is not allowed", target.name);
            let problem = Problem::input("plan::not-allowed", message)
                .help(format!("if you trust its Dockerfile, bake with `--allow {name}`"));
            self.problems.push(match entitlement.place.as_ref().or(target.place.as_ref()) {
                Some(place) => problem.at(place.clone(), "asked for here"),
                None => problem,
            });
        }
    }

    fn add_merge(&mut self, target: &'a Target, export: ExportOptions, outputs: Vec<Output>) {
        let platforms: Vec<Platform> =
            target.variants.iter().map(|variant| variant.platform.value.clone()).collect();
        let node = self.plan.add(Node::Merge(MergeNode {
            target: target.name.clone(),
            annotations: target.annotations.clone(),
            names: target.tags.iter().map(|tag| tag.value.clone()).collect(),
            export,
            outputs,
            platforms,
        }));
        for variant in &target.variants {
            if let Some(build) = self.builds.get(&target.name, &variant.platform.value) {
                let judged = self.add_verify(target, variant, build).unwrap_or(build);
                let tested = self.add_test(target, variant, judged);
                self.plan.depend(node, tested.unwrap_or(judged));
            }
        }
        self.merges.insert(&target.name, node);
    }

    /// Stands between the build and the merge, unless the file says that nothing is verified.
    fn add_verify(&mut self, target: &Target, variant: &Variant, build: NodeId) -> Option<NodeId> {
        let rules = variant.verify.as_ref().map_or_else(Verify::default, |verify| verify.value.clone());
        if rules.level == VerifyLevel::Off {
            return None;
        }
        let node = self.plan.add(Node::Verify(VerifyNode {
            target: target.name.clone(),
            platform: variant.platform.value.clone(),
            rules,
            starts: self.requested.contains(target.name.as_str()),
        }));
        self.plan.depend(node, build);
        Some(node)
    }

    /// What is expected of one platform's image, tried once it is built.
    fn add_test(&mut self, target: &Target, variant: &Variant, judged: NodeId) -> Option<NodeId> {
        if variant.tests.is_empty() {
            return None;
        }
        let test = self.plan.add(Node::Test(TestNode {
            target: target.name.clone(),
            platform: variant.platform.value.clone(),
            tests: variant.tests.clone(),
            is_fresh: self.request.no_cache || self.request.tests_again,
        }));
        self.plan.depend(test, judged);
        Some(test)
    }

    /// Nothing is written of a target that others only build on.
    fn requested_outputs(&self, target: &Target) -> Vec<Output> {
        match self.requested.contains(target.name.as_str()) {
            true => self.outputs(target).into_iter().map(|output| output.value).collect(),
            false => Vec::new(),
        }
    }

    /// The form a target's image is first wanted in. Its layers may go into others' images.
    fn form(&self, target: &Target) -> ExportOptions {
        match self.requested.contains(target.name.as_str()) {
            true => first_form(&self.requested_outputs(target)),
            false => ExportOptions::default(),
        }
    }

    /// What is written of a requested target: the command line's outputs, else its own; `push` and `load` add to
    /// them as bake's flags do.
    fn outputs(&self, target: &Target) -> Vec<Located<Output>> {
        // Not even what a group delivers.
        if self.request.outputs.as_ref().is_some_and(Vec::is_empty) {
            return Vec::new();
        }
        let mut outputs: Vec<Located<Output>> = match &self.request.outputs {
            Some(outputs) => outputs.iter().cloned().map(Located::unplaced).collect(),
            None => target.outputs.clone(),
        };
        target.delivery.apply(&mut outputs);
        let flag = |is_given: bool| is_given.then_some(true);
        Delivery { push: flag(self.request.push), load: flag(self.request.load) }.apply(&mut outputs);
        outputs
    }

    /// Edges: contexts that are targets, `needs`, and base images.
    fn connect(&mut self, target: &Target, bases: &mut Bases) {
        for variant in &target.variants {
            let Some(node) = self.builds.get(&target.name, &variant.platform.value) else { continue };
            for context in std::iter::once(&variant.context).chain(variant.contexts.values()) {
                self.connect_context(node, variant, context);
            }
            for need in &target.needs {
                if let Some(merge) = self.merges.get(need.value.as_str()) {
                    self.plan.depend(node, *merge);
                }
            }
            match bases.remove(&node) {
                Some(Ok(requests)) => self.connect_bases(node, variant, requests),
                Some(Err(problems)) => self.problems.extend(problems),
                None => {}
            }
        }
    }

    /// A target that is a context comes first wherever it is built for the same platform, even if only a
    /// trigger of a base image will turn out to use it.
    fn connect_context(&mut self, node: NodeId, variant: &Variant, context: &Located<Context>) {
        let Context::Target(name) = &context.value else { return };
        if let Some(build) = self.builds.get(name, &variant.platform.value) {
            self.plan.depend(node, build);
        }
    }

    /// A target that a FROM or `--from` uses, for the platform of the stage that uses it.
    fn connect_target(&mut self, node: NodeId, variant: &Variant, request: &BaseRequest) {
        let Some(Located { value: Context::Target(name), place }) = variant.contexts.get(&request.name)
        else {
            return;
        };
        let platform = &request.platform;
        match self.builds.get(name, platform) {
            Some(build) => self.plan.depend(node, build),
            // A target whose Dockerfile is broken has been reported already.
            None if self.dockerfiles.has(name) => {
                let problem =
                    platform_mismatch(name, self.targets.get(name.as_str()), platform, place.as_ref());
                self.problems.push(problem);
            }
            None => {}
        }
    }

    /// What the build nodes start from. Dockerfiles are lowered for it, on all cores.
    fn bases(&self) -> Bases {
        let of_node = |node: NodeId| {
            let Node::Build(build) = self.plan.node(node) else { return None };
            let setting =
                steps::Setting::new(&build.dockerfile, &build.variant, &self.request.build_platform);
            Some((node, steps::base_requests(&setting)))
        };
        self.builds.nodes().into_par_iter().filter_map(of_node).collect()
    }

    fn connect_bases(&mut self, node: NodeId, variant: &Variant, requests: Vec<BaseRequest>) {
        for request in requests {
            match base_source(&request, variant) {
                Ok(Some(source)) => self.connect_base(node, source, request.platform, Some(request.place)),
                Ok(None) => self.connect_target(node, variant, &request),
                Err(problem) => self.problems.push(*problem),
            }
        }
    }

    fn connect_base(&mut self, node: NodeId, source: BaseSource, platform: Platform, place: Option<Place>) {
        let resolve = *self
            .resolves
            .entry(source.clone())
            .or_insert_with(|| self.plan.add(Node::Resolve(ResolveNode::new(source))));
        if let Node::Resolve(resolve) = self.plan.node_mut(resolve) {
            match resolve.wanted.iter().any(|(known, _)| *known == platform) {
                true => resolve.also.extend(place.map(|place| (platform, place))),
                false => resolve.wanted.push((platform, place)),
            }
        }
        self.plan.depend(node, resolve);
    }

    /// One node that pushes, after every merge of the run, so that no tag moves before all are done.
    fn add_publish(&mut self, selection: &Selection<'_>) {
        let mut targets = Vec::new();
        for target in &selection.requested {
            let outputs = self.outputs(target);
            let by_digest = outputs.iter().filter_map(|output| output.value.export_options());
            if !self.request.is_lenient && !by_digest.into_iter().any(|options| options.push_by_digest) {
                self.claim_tags(target, &target.tags);
            }
            for output in outputs {
                self.claims.output(&target.name, &output, &self.request.directory);
                match output.value {
                    Output::Image { names, push: true, options } => {
                        let names = names
                            .into_iter()
                            .map(|name| Located { value: name, place: output.place.clone() });
                        targets.extend(self.publish_target(target, names.collect(), options));
                    }
                    Output::Docker { dest: None, .. } => self.claim_tags(target, &target.tags),
                    Output::Docker { dest: Some(_), .. } => {
                        self.problems.extend(unsupported::archive(target, output.place.as_ref()));
                    }
                    _ => {}
                }
            }
        }
        if targets.is_empty() {
            return;
        }
        let is_release = selection.requested.iter().any(|target| target.delivery.push == Some(true));
        let node = self.plan.add(Node::Publish(PublishNode { targets, is_release }));
        for merge in self.merges.values() {
            self.plan.depend(node, *merge);
        }
    }

    fn claim_tags(&mut self, target: &Target, names: &[Located<Reference>]) {
        for name in names {
            self.claims.tag(&target.name, name);
        }
    }

    fn publish_target(
        &mut self,
        target: &Target,
        names: Vec<Located<Reference>>,
        options: ExportOptions,
    ) -> Option<PublishTarget> {
        let by_digest = options.push_by_digest;
        let names = match (names.is_empty(), by_digest) {
            (false, _) => names,
            (true, true) => target.images.clone(),
            (true, false) => target.tags.clone(),
        };
        if names.is_empty() {
            let problem =
                Problem::input("plan::no-tag", format!("`{}` is to be pushed but has no tag", target.name))
                    .help("give the target `tags`, and `image` in `[project]` if they are bare");
            self.problems.push(match &target.place {
                Some(place) => problem.at(place.clone(), "this target"),
                None => problem,
            });
            return None;
        }
        if !by_digest {
            self.claim_tags(target, &names);
        }
        let value = |name: Located<Reference>| if by_digest { name.value.without_tag() } else { name.value };
        let names = names.into_iter().map(value).collect();
        let said = |key: &str| said_of(target, key);
        let tagging = target.tagging.as_ref();
        Some(PublishTarget {
            target: target.name.clone(),
            names,
            options,
            version: tagging
                .and_then(|tagging| tagging.version.clone())
                .or_else(|| said("org.opencontainers.image.version")),
            revision: said("org.opencontainers.image.revision"),
            historical: tagging.map(|tagging| tagging.historical.clone()).unwrap_or_default(),
            is_unguarded: tagging.is_some_and(|tagging| tagging.is_unguarded),
            asks_registry: tagging.is_some_and(|tagging| tagging.asks_registry),
        })
    }

    fn finish(mut self) -> Result<Plan, Vec<Problem>> {
        self.problems.extend(self.claims.problems());
        match self.plan.sorted() {
            Ok(sorted) if self.problems.is_empty() => return Ok(sorted),
            Ok(_) => {}
            Err((plan, cycles)) => self.problems.extend(cycles::problems(&plan, &cycles)),
        }
        Err(self.problems)
    }
}

/// What an annotation or a label says of all of a target.
fn said_of(target: &Target, key: &str) -> Option<String> {
    let of_all = |annotation: &&Annotation| annotation.key == key && annotation.platform.is_none();
    let annotated = target.annotations.iter().find(of_all).map(|annotation| annotation.value.clone());
    annotated.or_else(|| target.labels.get(key).cloned())
}

/// A stage for `platform` is to begin with a target that has no image for it.
fn platform_mismatch(
    name: &str,
    linked: Option<&&Target>,
    platform: &Platform,
    place: Option<&Place>,
) -> Problem {
    let message = format!("target `{name}` is not built for `{platform}`");
    let mut problem = Problem::input("plan::platform-mismatch", message)
        .help(format!("add `{platform}` to the platforms of `{name}`, or narrow this target's"));
    if let Some(place) = place {
        problem = problem.at(place.clone(), format!("used here for `{platform}`"));
    }
    let Some(linked) = linked else { return problem };
    let listed: Vec<&Place> =
        linked.variants.iter().filter_map(|variant| variant.platform.place.as_ref()).collect();
    match (&listed[..], &linked.place) {
        ([first, .., last], _)
            if Arc::ptr_eq(&first.source, &last.source) && first.span.start < last.span.end =>
        {
            let all = Place::new(&first.source, first.span.start..last.span.end);
            problem.at(all, format!("`{name}` is built for these"))
        }
        ([only, ..], _) => problem.at((*only).clone(), format!("`{name}` is built for this")),
        ([], Some(place)) => problem.at(place.clone(), "for this machine's platform alone"),
        ([], None) => problem,
    }
}

/// `--platform` left nothing of a target.
fn no_platform(target: &Target) -> Problem {
    let message = format!("target `{}` is for none of the platforms that are asked for", target.name);
    let problem = Problem::input("plan::no-platform", message).help(format!(
        "add one of them to the platforms of `{}`, or name the targets to bake without it",
        target.name
    ));
    match &target.place {
        Some(place) => problem.at(place.clone(), "this target"),
        None => problem,
    }
}

/// What the first output that is an image asks for, but for media types: those are translated last. Where
/// the outputs say that nobody wants an image, compressing it would be for nothing. A target without outputs has
/// the digest that a push gives it later.
fn first_form(outputs: &[Output]) -> ExportOptions {
    match outputs.iter().find_map(Output::export_options) {
        Some(first) => ExportOptions { oci_media_types: true, ..first.clone() },
        None if outputs.is_empty() => ExportOptions::default(),
        None => ExportOptions { compression: LayerCompression::Uncompressed, ..ExportOptions::default() },
    }
}

/// Where a base image comes from; `None` when another target makes it.
pub fn base_source(request: &BaseRequest, variant: &Variant) -> Result<Option<BaseSource>, Box<Problem>> {
    match variant.contexts.get(&request.name).map(|context| &context.value) {
        Some(Context::Image(reference)) => Ok(Some(BaseSource::Registry(reference.clone()))),
        Some(Context::OciLayout { path, tag, digest }) => {
            Ok(Some(BaseSource::OciLayout { path: path.clone(), tag: tag.clone(), digest: *digest }))
        }
        Some(Context::Target(_)) => Ok(None),
        Some(Context::Directory(_) | Context::Remote { .. } | Context::Archive(_) | Context::Stdin) => {
            Err(Box::new(Problem::new(
                Kind::Bug,
                "plan::base-is-files",
                format!("`{}` is files, which are no base to be asked for", request.name),
            )))
        }
        None => match request.name.parse::<Reference>() {
            Ok(reference) => Ok(Some(BaseSource::Registry(reference))),
            Err(error) => Err(Box::new(
                Problem::input("dockerfile::base-name", error.to_string())
                    .at(request.place.clone(), "this base")
                    .help("a base is a stage, a named context or an image such as `alpine:3.20`"),
            )),
        },
    }
}
