//! Selected targets expanded to nodes and edges; every problem of the whole selection at once.
//!
//! Per platform: resolve ▶ build, then per target a merge, then one publish for the run.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::conflicts;
use super::graph::{Cycle, Plan};
use super::node::{BaseSource, BuildNode, MergeNode, Node, PublishNode, PublishTarget, ResolveNode};
use super::select::Selection;
use crate::base::{NodeId, Platform, Reference};
use crate::diag::{Kind, Located, Place, Problem};
use crate::dockerfile::Dockerfile;
use crate::model::{
    Context, Delivery, Entitlement, ExportOptions, LayerCompression, Output, Target, Variant,
};
use crate::steps::{self, BaseRequest};

/// The parsed Dockerfile of every variant, by target and platform.
pub type Dockerfiles = BTreeMap<(String, Platform), Arc<Dockerfile>>;

/// What the command line adds to the file.
#[derive(Clone, Debug)]
pub struct Request {
    pub push: bool,
    pub load: bool,
    /// Replaces the outputs of every requested target.
    pub outputs: Option<Vec<Output>>,
    pub no_cache: bool,
    pub pull: bool,
    /// `--allow`: what builds may do beyond the sandbox.
    pub allowed: BTreeSet<Entitlement>,
    /// The platform builds run on.
    pub build_platform: Platform,
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
        delivery: BTreeMap::new(),
        plan: Plan::default(),
        builds: BTreeMap::new(),
        merges: BTreeMap::new(),
        resolves: BTreeMap::new(),
        problems: Vec::new(),
    };
    compiler.gather_delivery(selection);
    for target in selection.all() {
        let export = compiler.form(selection, target);
        compiler.add_builds(target, &export);
    }
    for target in selection.all() {
        let (outputs, export) =
            (compiler.requested_outputs(selection, target), compiler.form(selection, target));
        compiler.add_merge(target, export, outputs);
    }
    for target in selection.all() {
        compiler.connect(target);
    }
    compiler.add_publish(selection);
    compiler.finish(selection)
}

fn is_requested(selection: &Selection<'_>, target: &Target) -> bool {
    selection.requested.iter().any(|requested| requested.name == target.name)
}

struct Compiler<'a> {
    request: &'a Request,
    dockerfiles: &'a Dockerfiles,
    delivery: BTreeMap<&'a str, Delivery>,
    plan: Plan,
    builds: BTreeMap<(String, Platform), NodeId>,
    merges: BTreeMap<String, NodeId>,
    resolves: BTreeMap<BaseSource, NodeId>,
    problems: Vec<Problem>,
}

impl<'a> Compiler<'a> {
    /// Joins what the requested groups say of each target; two that disagree are a problem.
    fn gather_delivery(&mut self, selection: &'a Selection<'_>) {
        for (target, said) in &selection.delivery {
            let joined = self.delivery.entry(target).or_default();
            let agrees = join(&mut joined.push, &said.push)
                & join(&mut joined.load, &said.load)
                & join(&mut joined.outputs, &said.outputs);
            if !agrees {
                self.problems.push(
                    Problem::input(
                        "plan::delivery-conflict",
                        format!("the groups of this run disagree about the delivery of `{target}`"),
                    )
                    .help(
                        "bake the groups in separate runs, or make their `push`, `load` and `output` equal",
                    ),
                );
            }
        }
    }

    fn add_builds(&mut self, target: &Target, export: &ExportOptions) {
        if target.variants.is_empty() {
            self.problems.push(no_platform(target));
        }
        self.check_entitlements(target);
        for variant in &target.variants {
            let platform = variant.platform.value.clone();
            let key = (target.name.clone(), platform.clone());
            // A file that could not be read or parsed was reported by whoever did it.
            let Some(dockerfile) = self.dockerfiles.get(&key) else { continue };
            let mut variant = variant.clone();
            variant.no_cache |= self.request.no_cache;
            variant.pull |= self.request.pull;
            let labels = target.labels.iter().map(|(key, value)| (key.clone(), value.clone())).collect();
            let node = BuildNode {
                target: target.name.clone(),
                platform,
                variant,
                dockerfile: dockerfile.clone(),
                labels,
                export: export.clone(),
            };
            self.builds.insert(key, self.plan.add(Node::Build(Box::new(node))));
        }
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

    fn add_merge(&mut self, target: &Target, export: ExportOptions, outputs: Vec<Output>) {
        let platforms: Vec<Platform> =
            target.variants.iter().map(|variant| variant.platform.value.clone()).collect();
        let node = self.plan.add(Node::Merge(MergeNode {
            target: target.name.clone(),
            annotations: target.annotations.clone(),
            names: target.tags.iter().map(|tag| tag.value.clone()).collect(),
            export,
            outputs,
            platforms: platforms.clone(),
        }));
        for platform in platforms {
            if let Some(build) = self.builds.get(&(target.name.clone(), platform)) {
                self.plan.depend(node, *build);
            }
        }
        self.merges.insert(target.name.clone(), node);
    }

    /// Nothing is written of a target that others only build on.
    fn requested_outputs(&self, selection: &Selection<'_>, target: &Target) -> Vec<Output> {
        if is_requested(selection, target) { self.outputs(target) } else { Vec::new() }
    }

    /// The form a target's image is first wanted in. Its layers may go into others' images.
    fn form(&self, selection: &Selection<'_>, target: &Target) -> ExportOptions {
        match is_requested(selection, target) {
            true => first_form(&self.outputs(target)),
            false => ExportOptions::default(),
        }
    }

    /// What is written of a requested target: the command line's outputs, else the group's, else its own;
    /// `push` and `load` add to them as bake's flags do.
    fn outputs(&self, target: &Target) -> Vec<Output> {
        let said = self.delivery.get(target.name.as_str());
        let group = said.and_then(|said| said.outputs.as_ref());
        let located =
            |outputs: &Vec<Located<Output>>| outputs.iter().map(|output| output.value.clone()).collect();
        let mut outputs: Vec<Output> = match (&self.request.outputs, group) {
            (Some(outputs), _) => outputs.clone(),
            (None, Some(outputs)) => located(outputs),
            (None, None) => located(&target.outputs),
        };
        if self.request.push || said.and_then(|said| said.push) == Some(true) {
            add_push(&mut outputs);
        }
        if self.request.load || said.and_then(|said| said.load) == Some(true) {
            add_load(&mut outputs);
        }
        outputs
    }

    /// Edges: contexts that are targets, `needs`, and base images.
    fn connect(&mut self, target: &Target) {
        for variant in &target.variants {
            let key = (target.name.clone(), variant.platform.value.clone());
            let Some(node) = self.builds.get(&key).copied() else { continue };
            for context in std::iter::once(&variant.context).chain(variant.contexts.values()) {
                self.connect_context(node, variant, context);
            }
            for need in &target.needs {
                if let Some(merge) = self.merges.get(&need.value) {
                    self.plan.depend(node, *merge);
                }
            }
            self.connect_bases(node, variant);
        }
    }

    /// A target that is a context comes first wherever it is built for the same platform, even if only a
    /// trigger of a base image will turn out to use it.
    fn connect_context(&mut self, node: NodeId, variant: &Variant, context: &Located<Context>) {
        let Context::Target(name) = &context.value else { return };
        if let Some(build) = self.builds.get(&(name.clone(), variant.platform.value.clone())) {
            self.plan.depend(node, *build);
        }
    }

    /// A target that a FROM or `--from` uses, for the platform of the stage that uses it.
    fn connect_target(&mut self, node: NodeId, variant: &Variant, request: &BaseRequest) {
        let Some(Located { value: Context::Target(name), place }) = variant.contexts.get(&request.name)
        else {
            return;
        };
        let platform = &request.platform;
        match self.builds.get(&(name.clone(), platform.clone())) {
            Some(build) => self.plan.depend(node, *build),
            // A target whose Dockerfile is broken has been reported already.
            None if self.dockerfiles.keys().any(|(known, _)| known == name) => {
                let message = format!("target `{name}` is not built for `{platform}`");
                let problem = Problem::input("plan::platform-mismatch", message)
                    .help(format!("add `{platform}` to the platforms of `{name}`, or narrow this target's"));
                self.problems.push(match place {
                    Some(place) => problem.at(place.clone(), format!("used here for `{platform}`")),
                    None => problem,
                });
            }
            None => {}
        }
    }

    fn connect_bases(&mut self, node: NodeId, variant: &Variant) {
        let Node::Build(build) = self.plan.node(node) else { return };
        let setting = steps::Setting::new(&build.dockerfile, variant, &self.request.build_platform);
        let requests = match steps::base_requests(&setting) {
            Ok(requests) => requests,
            Err(problems) => return self.problems.extend(problems),
        };
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
            .or_insert_with(|| self.plan.add(Node::Resolve(ResolveNode { source, wanted: Vec::new() })));
        if let Node::Resolve(resolve) = self.plan.node_mut(resolve)
            && !resolve.wanted.iter().any(|(known, _)| *known == platform)
        {
            resolve.wanted.push((platform, place));
        }
        self.plan.depend(node, resolve);
    }

    /// One node that pushes, after every merge of the run, so that no tag moves before all are done.
    fn add_publish(&mut self, selection: &Selection<'_>) {
        let mut targets = Vec::new();
        for target in &selection.requested {
            let outputs = self.outputs(target);
            for output in outputs {
                if let Output::Image { names, push: true, options } = output {
                    targets.extend(self.publish_target(target, names, options));
                }
            }
        }
        if targets.is_empty() {
            return;
        }
        self.problems.extend(conflicts::duplicate_tags(&targets));
        let node = self.plan.add(Node::Publish(PublishNode { targets }));
        for merge in self.merges.values() {
            self.plan.depend(node, *merge);
        }
    }

    fn publish_target(
        &mut self,
        target: &Target,
        names: Vec<Reference>,
        options: ExportOptions,
    ) -> Option<PublishTarget> {
        let own = || -> Vec<Reference> {
            match options.push_by_digest {
                true => target.images.iter().map(|image| image.value.without_tag()).collect(),
                false => target.tags.iter().map(|tag| tag.value.clone()).collect(),
            }
        };
        let names = if names.is_empty() { own() } else { names };
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
        Some(PublishTarget { target: target.name.clone(), names, options })
    }

    fn finish(mut self, selection: &Selection<'_>) -> Result<Plan, Vec<Problem>> {
        self.problems.extend(conflicts::duplicate_destinations(&self.plan));
        let plan = std::mem::take(&mut self.plan);
        match plan.clone().sorted() {
            Ok(sorted) if self.problems.is_empty() => return Ok(sorted),
            Ok(_) => {}
            Err(cycle) => self.problems.push(cycle_problem(&plan, &cycle, selection)),
        }
        Err(self.problems)
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

/// Sets `known` if it is unset; whether both then agree.
fn join<T: Clone + PartialEq>(known: &mut Option<T>, said: &Option<T>) -> bool {
    if known.is_none() {
        known.clone_from(said);
    }
    said.is_none() || known == said
}

fn add_push(outputs: &mut Vec<Output>) {
    let mut pushed = false;
    for output in outputs.iter_mut() {
        if let Output::Image { push, .. } = output {
            *push = true;
            pushed = true;
        }
    }
    if !pushed {
        outputs.push(Output::Image { names: Vec::new(), push: true, options: ExportOptions::default() });
    }
}

/// Adds a load into an engine, unless the outputs say already where the result goes.
fn add_load(outputs: &mut Vec<Output>) {
    let settled = outputs.iter().any(|output| match output {
        Output::Docker { dest, .. } => dest.is_none(),
        Output::Local { .. } | Output::Tar { .. } | Output::CacheOnly => true,
        Output::Image { .. } | Output::Oci { .. } => false,
    });
    if !settled {
        let options = ExportOptions { oci_media_types: false, ..ExportOptions::default() };
        outputs.push(Output::Docker { dest: None, options });
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

fn cycle_problem(plan: &Plan, cycle: &Cycle, selection: &Selection<'_>) -> Problem {
    let mut names: Vec<&str> = Vec::new();
    for id in &cycle.0 {
        let name = match plan.node(*id) {
            Node::Build(node) => &node.target,
            Node::Merge(node) => &node.target,
            Node::Resolve(_) | Node::Publish(_) => continue,
        };
        if !names.contains(&name.as_str()) {
            names.push(name);
        }
    }
    let chain =
        names.iter().chain(names.first()).map(|name| format!("`{name}`")).collect::<Vec<_>>().join(" → ");
    let mut problem =
        Problem::input("plan::cycle", format!("targets build on each other in a circle: {chain}"))
            .help("remove one of the `target:` contexts or `needs` on the circle");
    let members: BTreeSet<&str> = names.into_iter().collect();
    for target in selection.all().filter(|target| members.contains(target.name.as_str())) {
        if let Some(place) = &target.place {
            problem = problem.at(place.clone(), "on the circle");
        }
    }
    problem
}
