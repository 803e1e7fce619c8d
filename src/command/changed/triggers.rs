//! The ONBUILD triggers of bases, which copy files as any step does: of images as their configs have them, of other
//! targets as their Dockerfiles do. Nothing is known of a base that cannot be reached in a moment.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::{Instant, timeout_at};

use super::read;
use crate::base::Platform;
use crate::command::dockerfiles::DockerfileReader;
use crate::command::session::{self, Session};
use crate::dockerfile::{Dockerfile, InstructionKind};
use crate::facts::Facts;
use crate::model::{Context, Variant};
use crate::plan::{Selection, base_source};
use crate::run::Bases;
use crate::steps::{BaseRequest, Setting, base_requests};

/// How long registries are waited for, all together.
const PATIENCE: Duration = Duration::from_secs(5);

/// By the name and the platform of a base; those that are not known are not there.
pub(super) type Triggers = BTreeMap<(String, Platform), Vec<String>>;

pub(super) struct TriggerReader<'a> {
    selection: &'a Selection<'a>,
    bases: Option<Bases>,
    deadline: Instant,
}

impl<'a> TriggerReader<'a> {
    pub fn new(selection: &'a Selection<'a>, session: &Session<'_>, facts: &Facts) -> Self {
        let options = session.options();
        let store = session::open_store(options, facts).ok();
        let registry = session::registry(facts, options.is_offline).ok();
        let bases =
            store.zip(registry).map(|(store, registry)| Bases::new(store, registry, session.pins().clone()));
        Self { selection, bases, deadline: Instant::now() + PATIENCE }
    }

    pub async fn of(
        &self,
        dockerfile: &Dockerfile,
        variant: &Variant,
        reader: &mut DockerfileReader<'_>,
        build: &Platform,
    ) -> Triggers {
        let requests = base_requests(&Setting::new(dockerfile, variant, build)).unwrap_or_default();
        let mut triggers = Triggers::new();
        for request in requests {
            let found = match variant.contexts.get(&request.name).map(|context| &context.value) {
                Some(Context::Target(name)) => self.of_target(name, &request, reader).await,
                _ => self.of_image(&request, variant).await,
            };
            triggers.extend(found.map(|found| ((request.name, request.platform), found)));
        }
        triggers
    }

    /// All that its Dockerfile has, whatever the stage.
    async fn of_target(
        &self,
        name: &str,
        request: &BaseRequest,
        reader: &mut DockerfileReader<'_>,
    ) -> Option<Vec<String>> {
        let target = self.selection.all().find(|target| target.name == name)?;
        let dockerfile = read(reader, target.variant(&request.platform)?).await?;
        let instructions = dockerfile.stages.iter().flat_map(|stage| &stage.instructions);
        let triggers = instructions.filter_map(|instruction| match &instruction.kind {
            InstructionKind::OnBuild(trigger) => Some(trigger.text.clone()),
            _ => None,
        });
        Some(triggers.collect())
    }

    async fn of_image(&self, request: &BaseRequest, variant: &Variant) -> Option<Vec<String>> {
        let source = base_source(request, variant).ok()??;
        let asked = self.bases.as_ref()?.base(&source, &request.platform, None);
        let base = timeout_at(self.deadline, asked).await.ok()?.ok()?;
        Some(base.config.config.on_build.clone().unwrap_or_default())
    }
}
