//! `UndefinedVar`.

use crate::lint::arguments::is_platform_argument;
use crate::lint::finding::variable_within;
use crate::lint::{Finding, Level, Rule, View};

pub const RULE: Rule = Rule {
    name: "UndefinedVar",
    summary: "a variable is used that has no value",
    level: Level::Warning,
    url: Some("https://docs.docker.com/go/dockerfile/rule/undefined-var/"),
    why: "An undefined variable is replaced by nothing, without an error, so `COPY $SRC /app` copies something \
          else than was meant. Declare it with ARG or ENV above. Where the base image is not at hand its variables are not \
          known, and this rule says nothing.",
    bad: "FROM scratch\nARG SOURCE=bin\nCOPY $SUORCE /bin\n",
    good: "FROM scratch\nARG SOURCE=bin\nCOPY $SOURCE /bin\n",
    check,
};

fn check(view: &View<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (_, _, at) in view.uses().filter(|(_, stage, _)| !stage.is_open) {
        for name in at.words.iter().flat_map(|word| &word.undefined) {
            let help = match at.meant.get(name) {
                Some(meant) => format!("did you mean `${meant}`?"),
                None if is_platform_argument(name) => format!("declare `ARG {name}` in this stage"),
                None => format!("declare it above, for instance `ARG {name}`"),
            };
            findings.push(
                Finding::new(format!("`${name}` has no value here"))
                    .at(variable_within(at.place, name), "not defined")
                    .help(help),
            );
        }
    }
    findings
}
