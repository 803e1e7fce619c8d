//! `StageNameCasing`.

use crate::lint::{Finding, Level, Rule, View};

pub const RULE: Rule = Rule {
    name: "StageNameCasing",
    summary: "a stage's name has capital letters",
    level: Level::Warning,
    url: Some("https://docs.docker.com/go/dockerfile/rule/stage-name-casing/"),
    why: "Stages are looked up in lower case, whatever their names look like, so capital letters only make a name \
          look different in two places. Write it in lower case.",
    bad: "FROM scratch AS Base\n",
    good: "FROM scratch AS base\n",
    check,
};

fn check(view: &View<'_>) -> Vec<Finding> {
    let written = view.stages().iter().filter_map(|stage| stage.written_name.as_ref());
    let with_capitals = written.filter(|name| name.value != name.value.to_lowercase());
    with_capitals
        .filter_map(|name| {
            let place = name.place.clone()?;
            Some(
                Finding::new(format!("the stage's name `{}` has capital letters", name.value))
                    .at(place.clone(), "this name")
                    .help("write it in lower case")
                    .edit(place, name.value.to_lowercase()),
            )
        })
        .collect()
}
