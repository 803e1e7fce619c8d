//! Names of targets: what they may be, and patterns over them.

use crate::pattern::Glob;

/// Whether a target or group may have this name.
pub fn is_name(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-')
}

/// Whether a name matches a pattern of Go's `path.Match`.
pub fn matches(pattern: &str, name: &str) -> bool {
    Glob::parse(pattern.as_bytes()).is_ok_and(|glob| glob.matches(name.as_bytes()))
}
