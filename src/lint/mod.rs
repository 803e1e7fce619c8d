//! What is odd about Dockerfiles although they build: BuildKit's rules, and those of multi-platform images.
//!
//! One rule a file in `rules`, its documentation part of its value. A rule is a function over a [`View`]: one
//! Dockerfile as one target uses it, traced for each of its platforms. [`check()`] runs the rules over all
//! views, drops what comments and options skip, and joins what several targets and platforms share.
//! Pure: nothing is read, and a rule that needs an image's config says nothing when it is not known.

mod arguments;
mod bases;
mod choice;
mod documentation;
mod finding;
mod json;
mod report;
mod rule;
mod rules;
mod sarif;
mod shell;
mod toolchain;
mod trace;
mod view;
mod way_out;

pub use bases::{KnownBase, KnownBases, Offer};
pub use choice::{Choice, Failing};
pub use documentation::{explanation, list};
pub use finding::Finding;
pub use json::to_json;
pub use report::{Report, Reported, Unit, check};
pub use rule::{Level, Rule};
pub use rules::RULES;
pub use sarif::sarif;
pub use view::View;
pub use way_out::{WayOut, way_out};

/// The rule of this name.
pub fn rule(name: &str) -> Option<&'static Rule> {
    RULES.iter().copied().find(|rule| rule.name == name)
}

/// A rule whose name is close to `name`.
pub fn nearest_rule(name: &str) -> Option<&'static str> {
    crate::diag::nearest(name, RULES.iter().map(|rule| rule.name))
}
