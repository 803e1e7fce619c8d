//! Which epoch a build node has: what `SOURCE_DATE_EPOCH` says as a build argument, else in the environment, else
//! what `source-date-epoch` says in the file, else a default of the Dockerfile. It is a number, or names what has a time of its own: `context`, a named
//! context, or a stage that is nothing but one remote ADD.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::sync::Arc;

use super::worker::PlanWorker;
use crate::base::RemoteSource;
use crate::diag::{Located, Problem};
use crate::dockerfile::{InstructionKind, Stage};
use crate::engine::Engine;
use crate::event::Event;
use crate::model::{Context, ExportOptions};
use crate::plan::BuildNode;
use crate::source::{SourceAuth, SourceError};
use crate::steps::{BaseImages, BuildArgs, Setting, global_value, lower};

const NAME: &str = "SOURCE_DATE_EPOCH";

/// What a number of seconds may be: to the end of the year 9999.
pub const EPOCHS: RangeInclusive<i64> = 0..=253_402_300_799;

/// An epoch, and the arguments among which stages find it.
pub(super) struct NodeEpoch {
    pub seconds: Option<i64>,
    pub args: BuildArgs,
}

impl<E: Engine> PlanWorker<E> {
    pub(super) async fn epoch(&self, node: &BuildNode, auth: &SourceAuth) -> Result<NodeEpoch, Box<Problem>> {
        let mut args = node.variant.args.clone();
        let setting = Setting::new(&node.dockerfile, &node.variant, &self.tools.build_platform);
        let given = args.get(NAME).cloned().or_else(|| {
            let of_run = self.tools.epoch.map(|seconds| Located::unplaced(seconds.to_string()));
            let of_file = || node.variant.source_date_epoch.clone();
            let of_dockerfile = || global_value(&setting, NAME).map(Located::unplaced);
            of_run.or_else(of_file).or_else(of_dockerfile)
        });
        let Some(given) = given else { return Ok(NodeEpoch { seconds: None, args }) };
        let seconds = match given.value.as_str() {
            "" => None,
            text => match text.parse::<i64>() {
                Ok(seconds) if EPOCHS.contains(&seconds) => Some(seconds),
                Ok(_) => return Err(at(&given, out_of_range(text))),
                Err(_) => self.time_of(node, &given, auth).await?,
            },
        };
        let text = seconds.map(|seconds| seconds.to_string()).unwrap_or_default();
        args.insert(NAME.to_string(), Located { value: text, place: given.place });
        Ok(NodeEpoch { seconds, args })
    }

    /// Tells which outputs say of file times what cannot be done.
    pub(super) fn tell_of_timestamps(&self, node: &BuildNode, epoch: Option<i64>) {
        let outputs = self.merge_node(&node.target).map(|merge| &merge.outputs[..]).unwrap_or_default();
        for problem in outputs.iter().filter_map(|output| unfollowed(output.export_options()?, epoch)) {
            self.tools.events.emit(Event::Notice { node: None, problem: Arc::new(problem) });
        }
    }

    /// The time of what `given` names, if that has one.
    async fn time_of(
        &self,
        node: &BuildNode,
        given: &Located<String>,
        auth: &SourceAuth,
    ) -> Result<Option<i64>, Box<Problem>> {
        let failed = |error: SourceError| at(given, error.problem());
        let context = match given.value.as_str() {
            "context" => Some(&node.variant.context.value),
            name => node.variant.contexts.get(name).map(|context| &context.value),
        };
        if let Some(context) = context {
            return self.context_time(context, auth).await.map_err(failed);
        }
        let source = self.stage_source(node, given)?;
        let pinned = self.tools.sources.pin(&source, auth).await.map_err(failed)?;
        self.tools.sources.time(&pinned, auth).await.map_err(failed)
    }

    async fn context_time(&self, context: &Context, auth: &SourceAuth) -> Result<Option<i64>, SourceError> {
        match context {
            Context::Remote { source, .. } => {
                let pinned = self.tools.sources.pin(source, auth).await?;
                self.tools.sources.time(&pinned, auth).await
            }
            Context::Archive(path) => self.tools.sources.newest_in_archive(path).await,
            // As in BuildKit: neither a directory nor an image says of when it is.
            Context::Directory(_)
            | Context::Stdin
            | Context::Image(_)
            | Context::OciLayout { .. }
            | Context::Target(_) => Ok(None),
        }
    }

    /// What the stage that `given` names adds from elsewhere.
    fn stage_source(&self, node: &BuildNode, given: &Located<String>) -> Result<RemoteSource, Box<Problem>> {
        let named =
            |stage: &&Stage| stage.name.as_ref().is_some_and(|name| name.eq_ignore_ascii_case(&given.value));
        let Some(stage) = node.dockerfile.stages.iter().find(named) else {
            let message =
                format!("{NAME} is `{}`, which is neither a number nor something with a time", given.value);
            return Err(at(given, Problem::input("build::epoch", message).help(
                "give it a Unix time, `context`, the name of a context, or that of a stage with one remote ADD",
            )));
        };
        let wrong = || {
            let message = format!("stage `{}` gives no {NAME}", stage.title());
            Box::new(Problem::input("build::epoch", message).at(stage.place.clone(), "this stage").help(
                "it must be `FROM scratch` with one ADD of one remote source, and nothing but ARG beside it",
            ))
        };
        let is_plain = stage
            .instructions
            .iter()
            .all(|instruction| matches!(instruction.kind, InstructionKind::Add(_) | InstructionKind::Arg(_)));
        let wanted = Located::unplaced(given.value.to_lowercase());
        let setting = Setting::new(&node.dockerfile, &node.variant, &self.tools.build_platform);
        let no_contexts = BTreeMap::new();
        let setting = Setting { stage: Some(&wanted), contexts: &no_contexts, ..setting };
        match lower(&setting, &BaseImages::new()) {
            Ok(lowered) if is_plain && lowered.new_layers() == 1 && lowered.bases.is_empty() => {
                match &lowered.sources[..] {
                    [source] => Ok(source.clone()),
                    _ => Err(wrong()),
                }
            }
            Ok(_) | Err(_) => Err(wrong()),
        }
    }
}

/// What an output's `rewrite-timestamp` says in vain, where the build has that epoch or none.
fn unfollowed(options: &ExportOptions, epoch: Option<i64>) -> Option<Problem> {
    const CODE: &str = "run::rewrite-timestamp";
    match (options.rewrite_timestamp?, epoch, options.source_date_epoch) {
        (true, None, None) => Some(
            Problem::warning(CODE, "`rewrite-timestamp=true` changes nothing: there is no epoch")
                .help(format!("set {NAME}, or the output's `source-date-epoch`")),
        ),
        (false, Some(_), _) => Some(
            Problem::warning(
                CODE,
                "`rewrite-timestamp=false` is not followed: with an epoch for the build, no layer made here has later times",
            )
            .help(format!("instead of {NAME} give the epoch to the output, as `source-date-epoch`")),
        ),
        _ => None,
    }
}

fn at(given: &Located<String>, problem: Problem) -> Box<Problem> {
    Box::new(match &given.place {
        Some(place) => problem.at(place.clone(), "given here"),
        None => problem,
    })
}

fn out_of_range(text: &str) -> Problem {
    Problem::input("run::epoch", format!("{NAME} is `{text}`, which is no time between 1970 and 9999"))
        .help("set it to a Unix time in seconds, for instance that of the last commit")
}
