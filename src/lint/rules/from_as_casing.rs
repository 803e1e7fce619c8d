//! `FromAsCasing`.

use crate::lint::finding::{first_line, within};
use crate::lint::{Finding, Level, Rule, View};

pub const RULE: Rule = Rule {
    name: "FromAsCasing",
    summary: "`FROM` and `as` are written in different cases",
    level: Level::Warning,
    url: Some("https://docs.docker.com/go/dockerfile/rule/from-as-casing/"),
    why: "The keywords of one line should look alike: `FROM … AS …` or `from … as …`.",
    bad: "FROM scratch as base\n",
    good: "FROM scratch AS base\n",
    check,
};

fn check(view: &View<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    for from in view.stages().iter().map(|stage| &stage.from) {
        let Some(written) = &from.as_keyword else { continue };
        let keyword = from.keyword.as_str();
        let wanted = match (keyword == keyword.to_lowercase(), keyword == keyword.to_uppercase()) {
            (true, _) => written.to_lowercase(),
            (_, true) => written.to_uppercase(),
            // A keyword of mixed case is the matter of another rule.
            (false, false) => continue,
        };
        if *written != wanted {
            let place = within(&from.place, &format!(" {written} "));
            findings.push(
                Finding::new(format!("`{written}` and `{keyword}` are written in different cases"))
                    .at(first_line(&from.place), "in this line")
                    .help(format!("write `{wanted}`"))
                    .edit(place, format!(" {wanted} ")),
            );
        }
    }
    findings
}
