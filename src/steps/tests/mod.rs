//! Dockerfiles lowered, and COPY placed, as tables of texts.

mod keys;
mod lowering;
mod mounts;
mod placing;
mod properties;
mod unpacking;

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{BaseImage, BaseImages, LowerError, Lowered, Op, Setting, lower};
use crate::base::{Digest, Platform, Reference};
use crate::diag::{Located, Problem, Source};
use crate::dockerfile::Dockerfile;
use crate::model::{Context, Entitlement, Network};
use crate::oci::{ContainerConfig, ImageConfig};

/// What a Dockerfile is lowered for, with everything at its plainest.
struct Case {
    dockerfile: Dockerfile,
    stage: Option<Located<String>>,
    target: Platform,
    build: Platform,
    args: BTreeMap<String, Located<String>>,
    contexts: BTreeMap<String, Located<Context>>,
    labels: Vec<(String, String)>,
    hosts: BTreeMap<String, String>,
    shm_size: Option<u64>,
    entitlements: Vec<Located<Entitlement>>,
    bases: BaseImages,
}

fn case(text: &str) -> Case {
    case_of(Dockerfile::parse(&Source::new("Dockerfile", text)).unwrap())
}

fn case_of(dockerfile: Dockerfile) -> Case {
    Case {
        dockerfile,
        stage: None,
        target: Platform::linux("arm64"),
        build: Platform::linux("amd64"),
        args: BTreeMap::new(),
        contexts: BTreeMap::new(),
        labels: Vec::new(),
        hosts: BTreeMap::new(),
        shm_size: None,
        entitlements: Vec::new(),
        bases: BaseImages::new(),
    }
}

impl Case {
    fn stage(mut self, name: &str) -> Self {
        self.stage = Some(Located::unplaced(name.to_string()));
        self
    }

    fn target(mut self, platform: &str) -> Self {
        self.target = platform.parse().unwrap();
        self
    }

    fn arg(mut self, name: &str, value: &str) -> Self {
        self.args.insert(name.to_string(), Located::unplaced(value.to_string()));
        self
    }

    fn context(mut self, name: &str, context: Context) -> Self {
        self.contexts.insert(name.to_string(), Located::unplaced(context));
        self
    }

    fn directory(self, name: &str) -> Self {
        self.context(name, Context::Directory("/somewhere".into()))
    }

    fn image(self, name: &str, reference: &str) -> Self {
        self.context(name, Context::Image(reference.parse::<Reference>().unwrap()))
    }

    /// A base for both platforms, whose config is what `change` makes of an empty one.
    fn base(mut self, name: &str, change: impl Fn(&mut ContainerConfig)) -> Self {
        for platform in [Platform::linux("arm64"), Platform::linux("amd64")] {
            let mut config = ImageConfig::empty(&platform);
            change(&mut config.config);
            let manifest = Digest::of(format!("{name} {platform}"));
            self.bases.insert((name.to_string(), platform), BaseImage::new(manifest, Arc::new(config)));
        }
        self
    }

    fn lower(&self) -> Result<Lowered, LowerError> {
        let setting = Setting {
            dockerfile: &self.dockerfile,
            stage: self.stage.as_ref(),
            target: &self.target,
            build: &self.build,
            args: &self.args,
            contexts: &self.contexts,
            labels: &self.labels,
            network: Network::Default,
            shm_size: self.shm_size,
            extra_hosts: &self.hosts,
            entitlements: &self.entitlements,
            ulimits: &[],
        };
        lower(&setting, &self.bases)
    }

    fn lowered(&self) -> Lowered {
        self.lower().unwrap_or_else(|error| panic!("not lowered: {error:?}"))
    }

    fn missing(&self) -> Vec<String> {
        match self.lower() {
            Err(LowerError::Missing(requests)) => {
                requests.iter().map(|request| format!("{} {}", request.name, request.platform)).collect()
            }
            other => panic!("nothing is missing: {other:?}"),
        }
    }

    /// Problems as `LINE CODE: MESSAGE`.
    fn problems(&self) -> Vec<String> {
        match self.lower() {
            Err(LowerError::Problems(problems)) => problems.iter().map(shown).collect(),
            other => panic!("no problem: {other:?}"),
        }
    }
}

fn shown(problem: &Problem) -> String {
    let line = problem.labels.first().map_or("?".to_string(), |label| label.place.line().to_string());
    format!("{line} {}: {}", problem.code, problem.message)
}

/// Every step as one line: what it does and what it reads.
fn steps(lowered: &Lowered) -> Vec<String> {
    let describe = |op: &Op| match op {
        Op::Scratch => "scratch".to_string(),
        Op::Base(place) => format!("base {} {}", lowered.bases[*place].name, lowered.bases[*place].platform),
        Op::Run(run) => format!("run {:?} in {} as `{}` on {}", run.argv, run.cwd, run.user, run.input),
        Op::Copy(copy) => {
            format!("copy {:?} {:?} to {} on {}", copy.from, copy.sources, copy.destination, copy.input)
        }
        Op::Merge(merge) => format!("merge {} to {}", merge.input, merge.top),
        Op::MakeDirectory(make) => format!("mkdir {} as `{}` on {}", make.path, make.user, make.input),
    };
    lowered.steps.iter().map(|step| describe(&step.op)).collect()
}
