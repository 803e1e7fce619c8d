//! `mab tags`: what targets are called and what is said of them, without building.

use super::Failure;
use super::plan::Document;
use super::project::{self, Loaded, ProjectOptions};
use crate::facts::Facts;
use crate::model::Target;
use crate::plan;
use crate::report::tags;

pub fn tags(options: &ProjectOptions, is_json: bool, facts: &mut Facts) -> Result<Document, Failure> {
    let Loaded { project, warnings, names, .. } = project::load(options, facts)?;
    let names = project::names_or_all(&project, &names);
    let selection = plan::select(&project, &names)?;
    let targets: Vec<&Target> = selection.requested.clone();
    let text = match is_json {
        true => format!("{:#}\n", tags::json(&targets)),
        false => tags::text(&targets),
    };
    Ok(Document { text, warnings })
}
