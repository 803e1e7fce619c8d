//! What rules made of a target's names.

use crate::diag::Problem;

/// The version and the tags that rules came to, as they are told; what becomes a name is among the target's tags.
#[derive(Clone, Debug, Default)]
pub struct Tagging {
    pub version: Option<String>,
    /// In their order, also those that no registry takes.
    pub tags: Vec<String>,
    /// Those of them that follow a branch, a pull request, a schedule or a commit, and no version.
    pub historical: Vec<String>,
    /// Whoever comes gets a floating tag, whatever its version.
    pub is_unguarded: bool,
    /// The repository's own tags say which version is the highest.
    pub asks_registry: bool,
    /// Every tag at every image, as text.
    pub names: Vec<String>,
    /// How many of the target's tags, the first ones, they have become.
    pub made: usize,
    /// Tags that no registry takes, and rules that gave nothing.
    pub problems: Vec<Problem>,
}
