//! Whole Dockerfiles in, data or problems out.

mod instructions;
mod properties;
mod stages;
mod structure;
mod words;

use super::*;

fn parse(text: &str) -> Result<Dockerfile, Vec<Problem>> {
    Dockerfile::parse(&Source::new("Dockerfile", text))
}

/// A Dockerfile that must be right.
fn dockerfile(text: &str) -> Dockerfile {
    parse(text).unwrap_or_else(|problems| panic!("{text}\n{problems:#?}"))
}

/// The one instruction behind `FROM a`.
fn instruction(text: &str) -> Instruction {
    let mut dockerfile = dockerfile(&format!("FROM a\n{text}"));
    let mut stage = dockerfile.stages.remove(0);
    assert_eq!(stage.instructions.len(), 1, "{text}");
    stage.instructions.remove(0)
}

fn kind(text: &str) -> InstructionKind {
    instruction(text).kind
}

/// Problems as `line code "what is marked" message | help`, one per line. The form of an instruction, which
/// is the help where there is no other, is left out.
fn problems(text: &str) -> String {
    let problems = parse(text).expect_err(text);
    problems.iter().map(|problem| describe(problem, text)).collect::<Vec<_>>().join("\n")
}

fn describe(problem: &Problem, text: &str) -> String {
    let place = &problem.labels[0].place;
    let code = problem.code.strip_prefix("dockerfile::").expect("codes name their area");
    let help = problem.help.as_ref().expect("a problem tells the next step");
    let help = if help.starts_with("the form is") { String::new() } else { format!(" | {help}") };
    format!("{} {code} {:?} {}{help}", place.line(), &text[place.span.clone()], problem.message)
}
