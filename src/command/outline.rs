//! `mab bake --call outline` and `--call targets`: what the Dockerfiles of targets ask for, and which stages they
//! have, in the shapes of `docker buildx bake`. Nothing is built, and no registry is asked.

use serde_json::{Map, Value};

use super::dockerfiles::{DockerfileReader, Found};
use super::plan::{self, Document};
use super::project::{self, Loaded, ProjectOptions};
use super::session::{self, Session, SessionOptions};
use super::{Failure, lock_file};
use crate::dockerfile::Dockerfile;
use crate::facts::Facts;
use crate::model::{Call, Target};
use crate::report::outline::{outline_json, outline_text, targets_json, targets_text};
use crate::steps::{Outline, Setting, outline};

/// What is told of every target that was asked for.
pub async fn describe(
    call: Call,
    is_json: bool,
    options: &ProjectOptions,
    session_options: &SessionOptions,
    facts: &mut Facts,
) -> Result<Document, Failure> {
    // As bake, which prints it as part of the target.
    let shorthands = options.shorthands.iter().cloned().chain([format!("*.call={}", call.name())]).collect();
    let options = ProjectOptions { shorthands, ..options.clone() };
    let Loaded { project, warnings, names, folder, .. } = project::load(&options, facts)?;
    let session = Session::new(session_options);
    session.set_pins(lock_file::pins(&folder, session.options(), facts)?);
    let selection = crate::plan::select(&project, &names)?;
    let targets: Vec<Target> = selection.requested.into_iter().cloned().collect();
    let text = match is_json {
        false => texts(&targets, |_| call, &session, facts).await?,
        true => {
            let printed = plan::print(&options, facts)?;
            let mut document: Value = serde_json::from_str(&printed.text).unwrap_or_default();
            let told = json(&targets, call, &session, facts).await?;
            let members = document["target"].as_object_mut().into_iter().flatten();
            for (name, target) in members {
                let mut object = Map::from_iter([("build".to_string(), target.take())]);
                object.extend(told.get(name).map(|told| (call.name().to_string(), told.clone())));
                *target = Value::Object(object);
            }
            format!("{document:#}\n")
        }
    };
    Ok(Document { text, warnings })
}

/// One part of text for each target, with a line between them.
pub(super) async fn texts(
    targets: &[Target],
    call_of: impl Fn(&Target) -> Call,
    session: &Session<'_>,
    facts: &Facts,
) -> Result<String, Failure> {
    let mut parts = Vec::new();
    for target in targets {
        let (dockerfile, outline) = read(target, session, facts).await?;
        let mut text = format!("{}\n", target.name);
        text.extend(target.description.as_ref().map(|description| format!("{description}\n")));
        text.push('\n');
        text.push_str(&match call_of(target) {
            Call::Targets => targets_text(&dockerfile),
            Call::Outline | Call::Build | Call::Check => outline_text(&outline),
        });
        parts.push(text);
    }
    Ok(parts.join("\n"))
}

async fn json(
    targets: &[Target],
    call: Call,
    session: &Session<'_>,
    facts: &Facts,
) -> Result<Map<String, Value>, Failure> {
    let mut told = Map::new();
    for target in targets {
        let (dockerfile, outline) = read(target, session, facts).await?;
        let value = match call {
            Call::Targets => targets_json(&dockerfile),
            Call::Outline | Call::Build | Call::Check => outline_json(&outline, &dockerfile),
        };
        told.insert(target.name.clone(), value);
    }
    Ok(told)
}

/// The Dockerfile of a target's first platform, and what it asks for there.
async fn read(
    target: &Target,
    session: &Session<'_>,
    facts: &Facts,
) -> Result<(std::sync::Arc<Dockerfile>, Outline), Failure> {
    let (mut problems, mut warnings) = (Vec::new(), Vec::new());
    let mut reader = DockerfileReader::new(facts, session);
    let Some(variant) = target.variants.first() else {
        let message = format!("nothing is left of target `{}` for these platforms", target.name);
        let problem = crate::diag::Problem::input("outline::platform", message);
        return Err(vec![problem.help("leave out `--platform`, or name one of the target's")]);
    };
    let mut found = Found { problems: &mut problems, warnings: &mut warnings };
    let Some(dockerfile) = reader.read(variant, &mut found).await else { return Err(problems) };
    let build = session::build_platform(facts);
    let outline = outline(&Setting::new(&dockerfile, variant, &build))?;
    Ok((dockerfile, outline))
}
