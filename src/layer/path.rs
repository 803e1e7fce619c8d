//! Paths of entries as bytes: relative to the root, clean, never leaving it.
//!
//! Knows nothing of symlinks; those are the tree's matter.

/// The longest path an entry may have: what Linux takes in one call.
pub const MAX_PATH_BYTES: usize = 4096;

/// Begins the name of everything in a tar that marks a removal instead of being a file.
pub(super) const WHITEOUT_PREFIX: &[u8] = b".wh.";
/// Names the marker, inside a directory, that hides what lower layers have there.
pub(super) const OPAQUE_NAME: &[u8] = b".wh..wh..opq";
/// Begins names that only AUFS gave a meaning to.
pub(super) const AUFS_PREFIX: &[u8] = b".wh..wh.";

/// `path` without leading, doubled and trailing slashes and `.`, or what is wrong with it.
pub(super) fn clean(path: &[u8]) -> Result<Vec<u8>, &'static str> {
    let mut clean = Vec::with_capacity(path.len());
    for component in path.split(|byte| *byte == b'/') {
        match component {
            b"" | b"." => continue,
            b".." => return Err("leaves the root with `..`"),
            _ if component.contains(&0) => return Err("has a NUL byte in its name"),
            _ => {}
        }
        if !clean.is_empty() {
            clean.push(b'/');
        }
        clean.extend_from_slice(component);
    }
    if clean.len() > MAX_PATH_BYTES { Err("has a name longer than 4096 bytes") } else { Ok(clean) }
}

/// As [`clean`], but `..` leads up as far as the root, as after `chroot`.
pub(super) fn contained(path: &[u8]) -> Result<Vec<u8>, &'static str> {
    let mut components: Vec<&[u8]> = Vec::new();
    for component in path.split(|byte| *byte == b'/') {
        match component {
            b".." => drop(components.pop()),
            component => components.push(component),
        }
    }
    clean(&components.join(&b'/'))
}

/// Whether [`clean`] would leave `path` as it is.
pub(super) fn is_clean(path: &[u8]) -> bool {
    path.len() <= MAX_PATH_BYTES
        && !path.contains(&0)
        && (path.is_empty() || path.split(|byte| *byte == b'/').all(|c| !matches!(c, b"" | b"." | b"..")))
}

/// Whether a component of `path` has a name that tar readers take for a whiteout.
pub(super) fn has_reserved_name(path: &[u8]) -> bool {
    path.split(|byte| *byte == b'/').any(|component| component.starts_with(WHITEOUT_PREFIX))
}

/// The path of the directory `path` is in, and its last component. The root is in itself, with no name.
pub(super) fn split(path: &[u8]) -> (&[u8], &[u8]) {
    match path.iter().rposition(|byte| *byte == b'/') {
        Some(slash) => (&path[..slash], &path[slash + 1..]),
        None => (b"", path),
    }
}

/// `name` in `directory`; the root directory is the empty path.
pub(super) fn join(directory: &[u8], name: &[u8]) -> Vec<u8> {
    if directory.is_empty() { name.to_vec() } else { [directory, b"/", name].concat() }
}

/// Every directory above a clean path, the root first.
pub(super) fn ancestors(path: &[u8]) -> impl Iterator<Item = &[u8]> {
    let root = (!path.is_empty()).then_some(&path[..0]);
    let slashes = path.iter().enumerate().filter(|(_, byte)| **byte == b'/');
    root.into_iter().chain(slashes.map(move |(at, _)| &path[..at]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cleaning_keeps_paths_inside_the_root() {
        let check = |path: &str, expected: Result<&str, ()>| {
            let cleaned = clean(path.as_bytes()).map_err(|_| ());
            assert_eq!(
                cleaned.as_deref(),
                expected.map(str::as_bytes).as_ref().copied().map_err(|_| &()).map_err(|_| &()),
                "{path}"
            );
            if let Ok(cleaned) = cleaned {
                assert!(is_clean(&cleaned), "{path}");
            }
        };
        check("a/b", Ok("a/b"));
        check("/a//b/", Ok("a/b"));
        check("./a/./b", Ok("a/b"));
        check("./", Ok(""));
        check("a/../b", Err(()));
        check("..", Err(()));
        check("a/..b", Ok("a/..b"));
        check("a\0b", Err(()));
        check(&"x".repeat(MAX_PATH_BYTES), Ok(&"x".repeat(MAX_PATH_BYTES)));
        check(&"x".repeat(MAX_PATH_BYTES + 1), Err(()));
    }

    #[test]
    fn ancestors_start_at_the_root() {
        let check = |path: &str, expected: &[&str]| {
            let found: Vec<&[u8]> = ancestors(path.as_bytes()).collect();
            assert_eq!(found, expected.iter().map(|p| p.as_bytes()).collect::<Vec<_>>(), "{path}");
        };
        check("", &[]);
        check("a", &[""]);
        check("a/b/c", &["", "a", "a/b"]);
    }
}
