//! What the requested targets require of the working tree.

use crate::diag::Problem;
use crate::facts::Checkout;
use crate::model::{Requirement, Target};

/// More than anybody reads.
const MOST_PROBLEMS: usize = 100;

/// What does not hold, once for each place that requires it.
pub fn unmet<'t>(requested: impl Iterator<Item = &'t Target>, checkout: &Checkout<'_>) -> Vec<Problem> {
    let mut problems: Vec<Problem> = Vec::new();
    for target in requested {
        if problems.len() >= MOST_PROBLEMS {
            break;
        }
        for required in &target.requirements {
            let Some((message, help)) = failure(required.value, checkout) else { continue };
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

fn failure(required: Requirement, checkout: &Checkout<'_>) -> Option<(String, &'static str)> {
    let Some(git) = checkout.git else {
        let no_git = "there is no git commit to be clean or tagged, or on a branch";
        return Some((no_git.to_string(), "bake in a git checkout with at least one commit"));
    };
    let (message, help) = match required {
        Requirement::Clean if git.dirty => {
            ("tracked files differ from the commit", "commit or stash them; `git status` lists them")
        }
        Requirement::Tag if git.tags.is_empty() => {
            ("no tag points at the commit", "tag it: `git tag v1.2.3`")
        }
        Requirement::Branch => return wrong_branch(checkout),
        Requirement::Clean | Requirement::Tag => return None,
    };
    Some((message.to_string(), help))
}

fn wrong_branch(checkout: &Checkout<'_>) -> Option<(String, &'static str)> {
    match (checkout.branch, checkout.default_branch) {
        (_, None) => Some((
            "nothing says which branch releases come from".to_string(),
            "name it with `default-branch` in `[project]`",
        )),
        (Some(branch), Some(default)) if branch == default => None,
        (branch, Some(default)) => {
            let branch = branch.map_or("no branch".to_string(), |branch| format!("the branch `{branch}`"));
            let message = format!("this is {branch}, and releases come from `{default}`");
            Some((message, "bake on that branch, or change `default-branch` in `[project]`"))
        }
    }
}
