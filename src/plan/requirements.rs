//! What the requested targets require of the working tree.

use crate::diag::Problem;
use crate::facts::GitFacts;
use crate::model::{Requirement, Target};

/// What does not hold, once for each place that requires it.
pub fn unmet<'t>(requested: impl Iterator<Item = &'t Target>, git: Option<&GitFacts>) -> Vec<Problem> {
    let mut problems: Vec<Problem> = Vec::new();
    for target in requested {
        for required in &target.requirements {
            let Some((message, help)) = failure(required.value, git) else { continue };
            let problem = Problem::input("plan::requirement", message).help(help);
            let problem = match required.place.as_ref().or(target.place.as_ref()) {
                Some(place) => problem.at(place.clone(), "required here"),
                None => problem,
            };
            if !problems.contains(&problem) {
                problems.push(problem);
            }
        }
    }
    problems
}

fn failure(required: Requirement, git: Option<&GitFacts>) -> Option<(&'static str, &'static str)> {
    let no_git = "there is no git commit to be clean or tagged";
    match (required, git) {
        (_, None) => Some((no_git, "bake in a git checkout with at least one commit")),
        (Requirement::Clean, Some(git)) if git.dirty => {
            Some(("tracked files differ from the commit", "commit or stash them; `git status` lists them"))
        }
        (Requirement::Tag, Some(git)) if git.tags.is_empty() => {
            Some(("no tag points at the commit", "tag it: `git tag v1.2.3`"))
        }
        (Requirement::Clean | Requirement::Tag, Some(_)) => None,
    }
}
