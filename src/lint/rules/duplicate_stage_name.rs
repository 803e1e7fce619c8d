//! `DuplicateStageName`.

use crate::lint::finding::first_line;
use crate::lint::{Finding, Level, Rule, View};

pub const RULE: Rule = Rule {
    name: "DuplicateStageName",
    summary: "two stages have one name",
    level: Level::Warning,
    url: Some("https://docs.docker.com/go/dockerfile/rule/duplicate-stage-name/"),
    why: "`COPY --from` and `--target` mean the last stage of a name, so the earlier one can only be reached by its \
          number, and whoever reads the file is misled. Give every stage a name of its own.",
    bad: "FROM scratch AS app\nFROM scratch AS app\n",
    good: "FROM scratch AS build\nFROM scratch AS app\n",
    check,
};

fn check(view: &View<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (index, stage) in view.stages().iter().enumerate() {
        let Some(name) = &stage.name else { continue };
        let first = view.stages()[..index].iter().find(|earlier| earlier.name.as_ref() == Some(name));
        if let Some(first) = first {
            findings.push(
                Finding::new(format!("there is another stage called `{name}`"))
                    .at(first_line(&stage.from.place), "this stage hides the other")
                    .at(first_line(&first.from.place), "the other one")
                    .help("give each a name of its own"),
            );
        }
    }
    findings
}
