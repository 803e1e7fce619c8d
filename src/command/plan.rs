//! `mab plan` and `mab bake --print`: what would be done, without doing it.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::Failure;
use super::build_files::{self, BuildFiles};
use super::project::{self, Loaded, Planned, ProjectOptions};
use super::remote;
use super::session::{self, Session, SessionOptions};
use crate::base::NodeId;
use crate::base::explanation::Explanation;
use crate::diag::Problem;
use crate::event::{Event, EventSink};
use crate::facts::Facts;
use crate::model::Entitlement;
use crate::plan::{Node, Request};
use crate::report::{bake_json, graph, verdicts};
use crate::run::{PlanWorker, Tools};

/// What is written to standard output, and what is said about it.
#[derive(Debug)]
pub struct Document {
    pub text: String,
    pub warnings: Vec<Problem>,
}

/// How a plan is written down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    Text,
    Json,
    Dot,
    Mermaid,
    Svg,
}

/// Whose graph, and what of it.
#[derive(Clone, Debug)]
pub struct PlanOptions {
    pub project: ProjectOptions,
    pub session: SessionOptions,
    pub request: Request,
    pub format: Format,
}

/// The graph of what `options` names.
pub async fn plan(options: &PlanOptions, facts: &mut Facts) -> Result<Document, Failure> {
    let session = Session::new(&options.session);
    let Planned { plan, warnings, changed, .. } =
        project::plan(&options.project, &options.request, None, facts, &session).await?;
    let text = match options.format {
        Format::Text => match &changed {
            Some(changed) if plan.is_empty() => changed.text(),
            Some(changed) => format!("{}\n{}", changed.text(), graph::text(&plan)),
            None => graph::text(&plan),
        },
        Format::Json => {
            let mut document = graph::json(&plan);
            if let Some(changed) = &changed {
                document["changed"] = changed.json();
            }
            format!("{document:#}\n")
        }
        Format::Dot => graph::dot(&plan),
        Format::Mermaid => graph::mermaid(&plan),
        Format::Svg => graph::svg(&plan),
    };
    Ok(Document { text, warnings })
}

/// What a bake would find of the nodes, and why. Nothing is built.
pub async fn explain(options: &PlanOptions, facts: &mut Facts) -> Result<Document, Failure> {
    let session = Session::new(&options.session);
    let Planned { plan, project, requested, warnings, .. } =
        project::plan(&options.project, &options.request, None, facts, &session).await?;
    let tools = session.open(facts, Arc::new(Silence)).map_err(|problem| vec![*problem])?;
    tools.engine.check(&plan, &requested)?;
    let engine = tools.engine.clone();
    let worker =
        PlanWorker::new(plan.clone(), Tools { project: project.root, named_caches: project.caches, ..tools });
    let explained = worker.explain().await?;
    let is_unbuilt = |(id, explanation): &&(NodeId, Explanation)| {
        matches!(plan.node(*id), Node::Build(_))
            && matches!(explanation, Explanation::Miss { .. } | Explanation::Open { .. })
    };
    let unbuilt: Vec<NodeId> = explained.iter().filter(is_unbuilt).map(|(id, _)| *id).collect();
    let surveyed = engine.survey(&plan, &unbuilt, worker.named_caches()).await?;
    let warnings = warnings.into_iter().chain(surveyed);
    let warnings = warnings.collect();
    let text = match options.format {
        Format::Text => verdicts::text(&plan, &explained),
        Format::Json => format!("{:#}\n", verdicts::json(&plan, &explained)),
        Format::Dot | Format::Mermaid | Format::Svg => {
            let problem = Problem::input("plan::explain-format", "explanations are text or JSON");
            return Err(vec![
                problem.help("leave out `--explain`, or give `--format text` or `--format json`"),
            ]);
        }
    };
    Ok(Document { text, warnings })
}

/// Whoever builds nothing has no events to tell.
pub(super) struct Silence;

impl EventSink for Silence {
    fn emit(&self, _: Event) {}
}

/// The resolved file as bake prints it.
pub fn print(options: &ProjectOptions, facts: &mut Facts) -> Result<Document, Failure> {
    if let BuildFiles::Foreign(files) = build_files::find(options, facts)? {
        let imported = build_files::import(files, options, facts, &*remote::disk(options))?;
        project::check_imported(&imported, options, facts)?;
        return Ok(Document { text: imported.print(facts)?, warnings: imported.warnings });
    }
    let Loaded { mut project, warnings, names, .. } = project::load(options, facts)?;
    // Whoever reads it again, here or with bake, takes paths as relative to the working directory.
    let root = options.remote.as_ref().and_then(|remote| remote.root());
    project.root = root.unwrap_or(&facts.directories.current).to_path_buf();
    let selection = crate::plan::select(&project, &names)?;
    let is_default = names.is_empty() || names == ["default"];
    let asked = selection.requested.iter().filter(|_| !is_default).map(|target| target.name.as_str());
    let asked: Vec<&str> = asked.collect();
    let names: Vec<&str> = selection.all().map(|target| target.name.as_str()).collect();
    let document = bake_json::document(&project, &names, &asked);
    Ok(Document { text: format!("{document:#}\n"), warnings })
}

/// A request that changes nothing of the file.
pub fn plain_request(facts: &Facts) -> Request {
    Request {
        push: false,
        load: false,
        outputs: None,
        no_cache: false,
        pull: false,
        tests_again: false,
        // Nothing runs.
        allowed: BTreeSet::from(Entitlement::ALL),
        is_lenient: false,
        has_workers: false,
        build_platform: session::build_platform(facts),
        directory: facts.directories.current.clone(),
    }
}
