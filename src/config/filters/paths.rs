//! Filters on paths, which are texts here: nothing asks the disk.

use std::path::{Component, Path, PathBuf};

use minijinja::value::Rest;

use crate::config::text::clean;

pub fn basename(path: &str) -> String {
    part(Path::new(path).file_name())
}

/// What holds the last name; `.` where nothing is said.
pub fn dirname(path: &str) -> String {
    match Path::new(path).parent() {
        Some(parent) if parent.as_os_str().is_empty() => ".".to_string(),
        Some(parent) => parent.display().to_string(),
        None => path.to_string(),
    }
}

pub fn stem(path: &str) -> String {
    part(Path::new(path).file_stem())
}

/// Without its dot; empty where there is none.
pub fn extension(path: &str) -> String {
    part(Path::new(path).extension())
}

fn part(part: Option<&std::ffi::OsStr>) -> String {
    part.map(|part| part.to_string_lossy().into_owned()).unwrap_or_default()
}

/// An absolute part starts anew.
pub fn join_path(path: &str, more: &Rest<String>) -> String {
    let joined = more.iter().fold(PathBuf::from(path), |path, part| path.join(part));
    joined.display().to_string()
}

/// `path` as seen from `base`; both from the same place.
pub fn relative_to(path: &str, base: &str) -> String {
    let anchored = |path: &str| clean(&Path::new("/").join(path));
    let (path, base) = (anchored(path), anchored(base));
    let shared = path.components().zip(base.components()).take_while(|(a, b)| a == b).count();
    let up = base.components().skip(shared).map(|_| Component::ParentDir);
    let relative: PathBuf = up.chain(path.components().skip(shared)).collect();
    match relative.as_os_str().is_empty() {
        true => ".".to_string(),
        false => relative.display().to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_taken_apart() {
        for (path, expected) in [
            ("services/api/Dockerfile.dev", ["Dockerfile.dev", "services/api", "Dockerfile", "dev"]),
            ("api", ["api", ".", "api", ""]),
            ("/", ["", "/", "", ""]),
            ("", ["", "", "", ""]),
            ("a/.env", [".env", "a", ".env", ""]),
        ] {
            assert_eq!([basename(path), dirname(path), stem(path), extension(path)], expected, "{path}");
        }
    }

    #[test]
    fn paths_are_put_together() {
        let join = |path: &str, more: &[&str]| {
            join_path(path, &Rest(more.iter().map(ToString::to_string).collect()))
        };
        assert_eq!(join("a", &["b", "c"]), "a/b/c");
        assert_eq!(join("a", &["/b"]), "/b");
        for (path, base, expected) in [
            ("services/api", "services", "api"),
            ("services/api", "docker/base", "../../services/api"),
            ("a", "a/", "."),
            ("../a", "b", "../a"),
        ] {
            assert_eq!(relative_to(path, base), expected, "{path} {base}");
        }
    }
}
