//! How far RUN steps reach: entitlements and ulimits.

use super::keys::{self, quoted_list};
use super::layers::Layers;
use super::table::{Reader, Role, Value};
use super::text::Text;
use crate::diag::{Located, Problem};
use crate::model::{Entitlement, Network, Ulimit};

pub fn read_entitlements(reader: &mut Reader<'_>, value: &Value<'_>) -> Option<Vec<Located<Entitlement>>> {
    let texts = reader.texts("entitlements", value, Role::Plain)?;
    let mut entitlements: Vec<Located<Entitlement>> = Vec::new();
    for text in texts {
        match Entitlement::parse(&text.value) {
            Some(found) if entitlements.iter().any(|known| known.value == found) => {}
            Some(found) => entitlements.push(Located::new(found, text.place())),
            None if text.value.starts_with("device") => {
                reader.report(keys::not_yet("`device`").at(text.place(), "not supported yet"));
            }
            None => reader.report(
                Problem::input("config::bad-value", format!("there is no entitlement `{}`", text.value))
                    .at(text.place(), "not a known word")
                    .help(format!("the values are {}", quoted_list(Entitlement::ALL.map(Entitlement::name)))),
            ),
        }
    }
    Some(entitlements)
}

/// What a variant asks for. As in bake, `network = "host"` asks too.
pub fn entitlements(layers: &Layers<'_>) -> Vec<Located<Entitlement>> {
    let declared = layers.list("entitlements", |layer| layer.entitlements.as_ref());
    let mut entitlements: Vec<Located<Entitlement>> = declared.into_iter().flatten().cloned().collect();
    let uses_host = layers.last("network", |layer| layer.network) == Some(Network::Host);
    if uses_host && !entitlements.iter().any(|known| known.value == Entitlement::NetworkHost) {
        entitlements.push(Located::unplaced(Entitlement::NetworkHost));
    }
    entitlements
}

pub fn ulimits(layers: &Layers<'_>) -> Vec<Ulimit> {
    layers.list("ulimits", |layer| layer.ulimits.as_ref()).into_iter().flatten().cloned().collect()
}

pub fn read_ulimits(reader: &mut Reader<'_>, value: &Value<'_>) -> Option<Vec<Ulimit>> {
    let texts = reader.texts("ulimits", value, Role::Plain)?;
    let mut limits: Vec<Ulimit> = Vec::new();
    for text in texts {
        match parse_ulimit(&text.value) {
            Ok(limit) => {
                limits.retain(|known| known.name != limit.name);
                limits.push(limit);
            }
            Err(problem) => reader.report(at(problem, &text)),
        }
    }
    Some(limits)
}

fn at(problem: Problem, text: &Text) -> Problem {
    problem.at(text.place(), "here")
}

/// `name=soft[:hard]`; the hard limit is the soft one when it is not given, and -1 is none.
pub fn parse_ulimit(text: &str) -> Result<Ulimit, Problem> {
    let bad = |message: String| Problem::input("config::bad-value", message);
    let Some((name, limits)) = text.split_once('=') else {
        let problem = bad(format!("`{text}` is not a limit"));
        return Err(problem.help("write `name=soft` or `name=soft:hard`, as `nofile=1024:2048`"));
    };
    if !Ulimit::NAMES.contains(&name) {
        let problem = bad(format!("there is no limit `{name}`"));
        return Err(problem.help(format!("the limits are {}", quoted_list(Ulimit::NAMES))));
    }
    let number = |text: &str| match text {
        "-1" => Ok(None),
        _ => text.parse::<u64>().map(Some).map_err(|_| bad(format!("`{text}` is not a number"))),
    };
    let (soft, hard) = limits.split_once(':').unwrap_or((limits, limits));
    let (soft, hard) = (number(soft)?, number(hard)?);
    if soft.unwrap_or(u64::MAX) > hard.unwrap_or(u64::MAX) {
        return Err(bad(format!("the soft limit of `{name}` is above the hard one")));
    }
    Ok(Ulimit { name: name.to_string(), soft, hard })
}
