//! The files that a target itself puts into its image, as far as they should be the same on every platform.
//!
//! What systems and packages have for one architecture alone is left out: the folders of its libraries, what package
//! managers keep books of, caches, documentation.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::allowed::Allowed;
use super::image::Image;
use super::names;
use crate::base::Digest;
use crate::layer::EntryKind;

/// So many paths are written down of one image. Of more, only the folders are.
const MOST_PATHS: usize = 1000;
/// Of more files than that nothing is said.
const MOST_FILES: usize = 200_000;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OwnFiles {
    /// Of their names without architectures: most images are found alike by this alone.
    digest: Digest,
    /// So many components of each path are kept.
    depth: usize,
    /// One after the other, without their first `/`, and `//` between them. Kept apart from the rest: only of images that
    /// differ they are read again.
    #[serde(skip)]
    paths: String,
}

const BETWEEN: &str = "//";

/// Below these, architectures differ by their nature.
const LEFT_OUT: [&str; 31] = [
    "dev",
    "etc/alternatives",
    "etc/default",
    "etc/init.d",
    "etc/systemd",
    "lib/systemd",
    "lib/udev",
    "lib32",
    "lib64",
    "libx32",
    "proc",
    "root",
    "run",
    "sys",
    "tmp",
    "usr/lib/systemd",
    "usr/lib/udev",
    "usr/lib32",
    "usr/lib64",
    "usr/libx32",
    "usr/share/bash-completion",
    "usr/share/bug",
    "usr/share/doc",
    "usr/share/info",
    "usr/share/lintian",
    "usr/share/locale",
    "usr/share/man",
    "var/cache",
    "var/lib",
    "var/log",
    "var/tmp",
];

impl OwnFiles {
    /// Nothing where a layer of the target is not known, or has too many files to compare.
    pub(super) fn of(image: &Image<'_>, allowed: &Allowed) -> Option<Self> {
        if image.layers.iter().skip(image.first).any(Option::is_none) {
            return None;
        }
        let mut paths = Vec::new();
        let tree = image.tree();
        for node in tree.walk(tree.root()) {
            let is_file = matches!(tree.entry(node).kind, EntryKind::File { .. } | EntryKind::Symlink { .. });
            let is_own = || image.layer_of(node).is_some_and(|layer| layer >= image.first);
            if !is_file || !is_own() {
                continue;
            }
            let path = String::from_utf8_lossy(tree.path(node));
            if is_compared(&path, &image.platform.architecture) && !allowed.has(tree.path(node)) {
                paths.push(format!("/{path}"));
            }
            if paths.len() > MOST_FILES {
                return None;
            }
        }
        // Put in order all at once, as most are already.
        let (depth, paths) = folded(paths.into_iter().collect())?;
        let architecture = &image.platform.architecture;
        let mut names: Vec<String> = paths.iter().map(|path| neutral_name(path, architecture)).collect();
        names.sort_unstable();
        let paths: Vec<&str> = paths.iter().map(|path| path.trim_start_matches('/')).collect();
        Some(Self { digest: Digest::of(names.join("\n")), depth, paths: paths.join(BETWEEN) })
    }

    fn paths(&self) -> BTreeSet<String> {
        let paths = self.paths.split(BETWEEN).filter(|path| !path.is_empty());
        paths.map(|path| format!("/{path}")).collect()
    }

    /// One after the other, in one text.
    pub(super) fn text(&self) -> &str {
        &self.paths
    }

    pub(super) fn with_text(self, paths: String) -> Self {
        Self { paths, ..self }
    }

    pub(super) fn is_like(&self, other: &Self) -> bool {
        self.digest == other.digest && self.depth == other.depth
    }

    /// What is here for `architecture`, and not there for the other.
    pub(super) fn lacking_in(&self, architecture: &str, other: &Self, of_other: &str) -> Vec<String> {
        if self.is_like(other) {
            return Vec::new();
        }
        let depth = self.depth.min(other.depth);
        let there = neutral(&to_depth(&other.paths(), depth), of_other);
        let there: BTreeSet<&str> = there.iter().map(|(name, _)| name.as_str()).collect();
        let here = neutral(&to_depth(&self.paths(), depth), architecture);
        let lacking = here.into_iter().filter(|(name, _)| !there.contains(name.as_str()));
        lacking.map(|(_, path)| path).collect()
    }
}

fn is_compared(path: &str, architecture: &str) -> bool {
    let is_below = |folder: &str| path.strip_prefix(folder).is_some_and(|rest| rest.starts_with('/'));
    let (folders, name) = path.rsplit_once('/').unwrap_or(("", path));
    let is_of_one = |component: &str| {
        component.starts_with('.')
            || component == "__pycache__"
            // What wheels bring along, under names that are made up.
            || component.ends_with(".libs")
            || names::is_triplet(component, architecture)
    };
    // The loader, and what the system's libraries need of one processor.
    let is_of_system =
        matches!(folders, "lib" | "usr/lib") && (name.contains(".so.") || name.ends_with(".so"));
    !is_of_system
        && !names::is_architecture(name)
        && !LEFT_OUT.iter().any(|folder| is_below(folder))
        && !folders.split('/').any(is_of_one)
}

/// As deep as a bounded number of paths allows.
fn folded(paths: BTreeSet<String>) -> Option<(usize, BTreeSet<String>)> {
    if paths.len() <= MOST_PATHS {
        return Some((usize::MAX, paths));
    }
    let deepest = paths.iter().map(|path| path.matches('/').count()).max().unwrap_or(0);
    // Each time the paths that are left are folded further, so that all rounds together cost little more than the first.
    let mut folded = paths;
    for depth in (1..deepest).rev() {
        folded = to_depth(&folded, depth);
        if folded.len() <= MOST_PATHS {
            return Some((depth, folded));
        }
    }
    None
}

fn to_depth(paths: &BTreeSet<String>, depth: usize) -> BTreeSet<String> {
    let cut = |path: &String| {
        let end = path.match_indices('/').nth(depth).map_or(path.len(), |(end, _)| end);
        path[..end].to_string()
    };
    paths.iter().map(cut).collect()
}

/// Names without architectures and without what tools make up from contents, and whose they are.
fn neutral(paths: &BTreeSet<String>, architecture: &str) -> BTreeSet<(String, String)> {
    paths.iter().map(|path| (neutral_name(path, architecture), path.clone())).collect()
}

fn neutral_name(path: &str, architecture: &str) -> String {
    without_digests(&names::neutral(path, architecture))
}

/// `app-3f2a91bc.js` is the same file as `app-90ff12ad.js`, made on another machine.
fn without_digests(text: &str) -> String {
    const SHORTEST: usize = 8;
    let mut made = String::with_capacity(text.len());
    let mut rest = text;
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_alphanumeric()).unwrap_or(rest.len());
        let (word, after) = rest.split_at(end);
        let is_digest = word.len() >= SHORTEST
            && word.bytes().all(|byte| byte.is_ascii_hexdigit())
            && word.bytes().any(|byte| byte.is_ascii_digit());
        made.push_str(if is_digest { "DIGEST" } else { word });
        let next = after.chars().next().map_or(0, char::len_utf8);
        made.push_str(&after[..next]);
        rest = &after[next..];
    }
    made
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_packages_have_for_one_architecture_is_not_compared() {
        let check = |path: &str, expected: bool| {
            assert_eq!(is_compared(path, "amd64"), expected, "{path}");
        };
        check("app/server", true);
        check("etc/app.conf", true);
        check("usr/lib/python3/dist-packages/x.py", true);
        check("usr/lib/x86_64-linux-gnu/libz.so.1", false);
        check("lib64/ld-linux-x86-64.so.2", false);
        check("lib/ld-linux.so.2", false);
        check("usr/share/doc/libquadmath0/copyright", false);
        check("var/lib/dpkg/info/libquadmath0:amd64.list", false);
        check("app/.cache/x", false);
        check("usr/lib/python3/dist-packages/numpy.libs/libgfortran-040039e1.so.5", false);
    }

    #[test]
    fn names_that_are_made_from_contents_are_alike() {
        assert_eq!(without_digests("/a/app-3f2a91bc.js"), "/a/app-DIGEST.js");
        assert_eq!(without_digests("/a/deadbeef/facade12é"), "/a/deadbeef/DIGESTé");
    }

    #[test]
    fn many_files_are_compared_by_their_folders() {
        let many: BTreeSet<String> =
            (0..5000).map(|number| format!("/app/{}/{}/x{number}", number % 7, number % 500)).collect();
        let (depth, folded) = folded(many).expect("it has few folders");
        assert_eq!((depth, folded.len()), (2, 7));
        assert!(folded.contains("/app/3"));
    }
}
