//! `mab plan` and `mab bake --print`: what would be done, without doing it.

use std::collections::BTreeSet;

use super::Failure;
use super::project::{self, Planned, ProjectOptions};
use super::session::{self, Session, SessionOptions};
use crate::facts::Facts;
use crate::model::Entitlement;
use crate::plan::Request;
use crate::report::{bake_json, graph};

/// How a plan is written down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    Text,
    Json,
    Dot,
}

/// The graph of what `options` names.
pub async fn plan(
    options: &ProjectOptions,
    session: &SessionOptions,
    request: &Request,
    format: Format,
    facts: &mut Facts,
) -> Result<String, Failure> {
    let session = Session::new(session);
    let Planned { plan, .. } = project::plan(options, request, None, facts, &session).await?;
    Ok(match format {
        Format::Text => graph::text(&plan),
        Format::Json => graph::json(&plan),
        Format::Dot => graph::dot(&plan),
    })
}

/// The resolved file as bake prints it.
pub fn print(options: &ProjectOptions, facts: &mut Facts) -> Result<String, Failure> {
    let (project, _) = project::load(options, facts)?;
    let selection = crate::plan::select(&project, &options.names)?;
    let names: Vec<&str> = selection.all().map(|target| target.name.as_str()).collect();
    let document = bake_json::selected_json(&project, &names);
    Ok(format!("{document:#}\n"))
}

/// A request that changes nothing of the file.
pub fn plain_request(facts: &Facts) -> Request {
    Request {
        push: false,
        load: false,
        outputs: None,
        no_cache: false,
        pull: false,
        // Nothing runs.
        allowed: BTreeSet::from(Entitlement::ALL),
        build_platform: session::build_platform(facts),
    }
}
