//! multiarch.toml to the validated model, all problems collected.
//!
//! [`load()`] reads the files, [`resolve()`] makes the model of them; in between the caller asks
//! [`needs_git`] and completes the facts. Neither reads the environment, the clock or the working
//! directory. On the way:
//!
//! ```text
//! files ─ table, read ─▶ declare (places, templates unrendered) ─ layers, vars, template ─▶ target ─▶ model
//! ```
//!
//! Knows nothing of running builds: contexts and Dockerfiles are named, not looked at.

mod annotation;
mod append;
mod braces;
mod budget;
mod builder;
mod conditional;
mod context;
mod declare;
mod delivery;
mod entries;
mod explain;
mod fault;
mod files;
mod filters;
mod forwarded;
mod groups;
pub mod import;
mod include;
mod keys;
mod layers;
mod lint;
mod load;
mod looks;
mod matrix;
mod names;
mod output;
pub mod path;
mod platforms;
mod read;
mod removal;
mod resolve;
pub mod resolved;
mod resources;
mod roster;
mod sandbox;
pub mod schema;
mod scope;
mod secret;
mod set;
mod shape;
mod size;
mod ssh;
mod syntax;
mod table;
mod tagging;
mod target;
mod template;
mod test;
mod text;
pub mod user;
mod value;
mod var;
mod variable;
mod vars;
mod verify;
pub mod write;

use std::path::{Path, PathBuf};

pub use builder::OWN as OWN_BUILDER;
pub use context::is_tag;
pub use entries::split_csv;
pub use explain::{How, Step, explain, explain_variable};
pub use files::{Disk, Entry, Files};
pub use import::yaml;
pub use load::{Loaded, load};
pub use output::parse as parse_output;
pub use platforms::PlatformName;
pub use resolve::{Overrides, resolve};
pub use resolved::{is_resolved, load_resolved};
pub use shape::{has_entries, key_problem};
pub use size::text as size_text;
pub use variable::{Variable, variables};

use crate::facts::{CiFacts, GitQuestions};

/// The name of the build file.
pub const FILE_NAME: &str = "multiarch.toml";

/// The build file of `directory` or of the nearest directory above it.
pub fn find(directory: &Path) -> Option<PathBuf> {
    directory.ancestors().map(|ancestor| ancestor.join(FILE_NAME)).find(|path| path.is_file())
}

/// What is asked of git.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NeedOfGit {
    pub questions: GitQuestions,
    /// CI says what there is no way around: rules for tags know less without git, and work.
    pub is_optional: bool,
}

/// What templates, rules and groups ask git for; `None` when they do not, as it costs processes to answer. `ci` may
/// know the default branch as well.
pub fn needs_git(loaded: &Loaded, overrides: &Overrides, ci: Option<&CiFacts>) -> Option<NeedOfGit> {
    let mut asked = loaded.uses_git;
    asked.add(set::git_use(&overrides.sets));
    let groups = delivery::groups_of_run(&loaded.declared, &overrides.names);
    asked.facts |= groups.iter().any(|said| !said.group.require.is_empty());
    asked.tags |= groups.iter().any(|said| said.group.has_rules());
    let is_known =
        loaded.declared.project.default_branch.is_some() || ci.is_some_and(|ci| ci.default_branch.is_some());
    let is_needed = asked.facts || (asked.default_branch && !is_known);
    let questions = GitQuestions { describe: asked.describe, tags: asked.tags };
    let has_head = ci.is_some_and(|ci| ci.reference.is_some() && ci.sha.is_some());
    (is_needed || asked.tags).then_some(NeedOfGit { questions, is_optional: !is_needed && has_head })
}

#[cfg(test)]
mod tests {
    use super::find;

    #[test]
    fn the_nearest_file_above_is_found() {
        let directory = tempfile::tempdir().unwrap();
        let inner = directory.path().join("a/b");
        std::fs::create_dir_all(&inner).unwrap();
        assert_eq!(find(&inner), None);
        let file = directory.path().join("multiarch.toml");
        std::fs::write(&file, "").unwrap();
        assert_eq!(find(&inner), Some(file));
    }
}
