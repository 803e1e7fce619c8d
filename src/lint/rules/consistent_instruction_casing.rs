//! `ConsistentInstructionCasing`.

use crate::diag::Place;
use crate::lint::finding::within;
use crate::lint::{Finding, Level, Rule, View};

pub const RULE: Rule = Rule {
    name: "ConsistentInstructionCasing",
    summary: "instructions are written in different cases",
    level: Level::Warning,
    url: Some("https://docs.docker.com/go/dockerfile/rule/consistent-instruction-casing/"),
    why: "All keywords of a file should be in upper case, or all in lower case; the majority decides which. Mixed \
          case within a word fits neither.",
    bad: "FROM scratch\nCOPY a /a\nenv A=b\n",
    good: "FROM scratch\nCOPY a /a\nENV A=b\n",
    check,
};

fn check(view: &View<'_>) -> Vec<Finding> {
    let froms = view.stages().iter().map(|stage| (stage.from.keyword.as_str(), &stage.from.place));
    let instructions = view.instructions().map(|at| (at.keyword.as_str(), &at.place));
    let keywords: Vec<(&str, &Place)> = froms.chain(instructions).collect();
    let lower = keywords.iter().filter(|(keyword, _)| *keyword == keyword.to_lowercase()).count();
    let upper = keywords.iter().filter(|(keyword, _)| *keyword == keyword.to_uppercase()).count();
    let (name, in_case): (&str, fn(&str) -> String) = match lower > upper {
        true => ("lower", |word| word.to_lowercase()),
        false => ("upper", |word| word.to_uppercase()),
    };
    keywords
        .into_iter()
        .filter(|(keyword, _)| **keyword != in_case(keyword))
        .map(|(keyword, place)| {
            let place = within(place, keyword);
            Finding::new(format!("`{keyword}` is not in {name} case, as most instructions of this file are"))
                .at(place.clone(), "this keyword")
                .help(format!("write `{}`", in_case(keyword)))
                .edit(place, in_case(keyword))
        })
        .collect()
}
