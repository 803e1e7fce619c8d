//! `ReservedStageName`.

use crate::lint::finding::first_line;
use crate::lint::{Finding, Level, Rule, View};

pub const RULE: Rule = Rule {
    name: "ReservedStageName",
    summary: "a stage is called `scratch` or `context`",
    level: Level::Warning,
    url: Some("https://docs.docker.com/go/dockerfile/rule/reserved-stage-name/"),
    why: "`scratch` is the empty image and `context` the main build context. A stage of that name hides them, or is \
          hidden by them, depending on where it is used.",
    bad: "FROM scratch AS context\n",
    good: "FROM scratch AS files\n",
    check,
};

fn check(view: &View<'_>) -> Vec<Finding> {
    let is_reserved = |name: &&str| matches!(*name, "scratch" | "context");
    let named = view.stages().iter().filter_map(|stage| Some((stage, stage.name.as_deref()?)));
    named
        .filter(|(_, name)| is_reserved(name))
        .map(|(stage, name)| {
            Finding::new(format!("`{name}` means something else already"))
                .at(first_line(&stage.from.place), "this stage")
                .help("give the stage another name")
        })
        .collect()
}
