//! The paths that may be strangers, as `verify.allow` has them.

use crate::pattern::Ignore;

/// Patterns of paths, with `*`, `**` and `!`; what stands below a path is meant with it.
pub(super) struct Allowed(Ignore);

impl Allowed {
    pub(super) fn new(patterns: &[String]) -> Self {
        let patterns = patterns.iter().map(|pattern| without_slash(pattern).into_bytes()).collect::<Vec<_>>();
        let patterns = patterns.iter().map(Vec::as_slice);
        // One that is no pattern was refused when the file was read.
        Self(Ignore::from_patterns(patterns).unwrap_or_default())
    }

    pub(super) fn has(&self, path: &[u8]) -> bool {
        !self.0.is_empty() && self.0.matches(path)
    }
}

/// Paths in an image begin with a slash to people.
fn without_slash(pattern: &str) -> String {
    match pattern.strip_prefix('!') {
        Some(kept) => format!("!{}", kept.trim_start_matches('/')),
        None => pattern.trim_start_matches('/').to_string(),
    }
}
