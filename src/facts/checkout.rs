//! Where a work tree stands: its commit, its branch, and the branch that releases come from.

use super::{CiFacts, Facts, GitFacts};

#[derive(Clone, Copy, Debug)]
pub struct Checkout<'a> {
    pub git: Option<&'a GitFacts>,
    /// What is checked out; CI checks out commits, and knows what branch they were pushed to.
    pub branch: Option<&'a str>,
    /// What the project says, else CI, else git.
    pub default_branch: Option<&'a str>,
}

impl<'a> Checkout<'a> {
    pub fn new(facts: &'a Facts, of_project: Option<&'a str>) -> Self {
        let (git, ci): (_, Option<&CiFacts>) = (facts.git.as_ref(), facts.ci.as_ref());
        // What a pull request comes from may be called as anything.
        let pushed = ci.filter(|ci| ci.pull_request.is_none()).and_then(|ci| ci.branch.as_deref());
        let of_ci = || ci.and_then(|ci| ci.default_branch.as_deref());
        let of_git = || git.and_then(|git| git.default_branch.as_deref());
        Self {
            git,
            branch: git.and_then(|git| git.branch.as_deref()).or(pushed),
            default_branch: of_project.or_else(of_ci).or_else(of_git),
        }
    }
}
