//! The disk as `config` sees it: reading a file and listing a directory, and include patterns over that.
//!
//! A trait, so that tests and imports can hand in files that are nowhere.

use std::collections::BTreeSet;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use super::text::clean;

/// A build file larger than this is a mistake, such as an include pattern that matches an archive.
const LARGEST_FILE: u64 = 8 << 20;
/// How deep `**` descends.
const DEEPEST: usize = 32;

/// Where build files come from.
pub trait Files {
    fn read(&self, path: &Path) -> io::Result<String>;
    /// The entries of a directory in any order. Symbolic links to directories do not count as directories.
    fn list(&self, directory: &Path) -> io::Result<Vec<Entry>>;
}

/// One name in a directory.
#[derive(Clone, Debug)]
pub struct Entry {
    pub name: String,
    pub is_directory: bool,
}

/// The real disk.
pub struct Disk;

impl Files for Disk {
    fn read(&self, path: &Path) -> io::Result<String> {
        let mut bytes = Vec::new();
        std::fs::File::open(path)?.take(LARGEST_FILE + 1).read_to_end(&mut bytes)?;
        if bytes.len() as u64 > LARGEST_FILE {
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, "the file is larger than 8 MiB"));
        }
        String::from_utf8(bytes)
            .map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "the file is not UTF-8 text"))
    }

    fn list(&self, directory: &Path) -> io::Result<Vec<Entry>> {
        let mut entries = Vec::new();
        for entry in std::fs::read_dir(directory)? {
            let entry = entry?;
            if let Ok(name) = entry.file_name().into_string() {
                entries.push(Entry { name, is_directory: entry.file_type()?.is_dir() });
            }
        }
        Ok(entries)
    }
}

pub fn has_wildcard(pattern: &str) -> bool {
    pattern.contains(['*', '?'])
}

/// A pattern looks at more than [`MOST_ENTRIES`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooMuch;

/// How many names of directories a pattern may look at.
pub const MOST_ENTRIES: usize = 500_000;

/// The files that match `pattern`, sorted. `*` and `?` match within one name, `**` any number of
/// directories; neither matches a leading dot. Directories that cannot be read match nothing.
pub fn glob(files: &dyn Files, directory: &Path, pattern: &str) -> Result<Vec<PathBuf>, TooMuch> {
    let (mut start, mut pieces) = (directory.to_path_buf(), Vec::new());
    for component in Path::new(pattern).components() {
        match component.as_os_str().to_str() {
            Some("**") if pieces.last() == Some(&"**") => {}
            Some(piece) if !pieces.is_empty() || has_wildcard(piece) => pieces.push(piece),
            _ => start.push(component),
        }
    }
    let mut walk = Walk { files, found: BTreeSet::new(), seen: 0 };
    walk.descend(&clean(&start), &pieces, DEEPEST)?;
    Ok(walk.found.into_iter().collect())
}

struct Walk<'f> {
    files: &'f dyn Files,
    found: BTreeSet<PathBuf>,
    seen: usize,
}

impl Walk<'_> {
    fn descend(&mut self, directory: &Path, pieces: &[&str], depth: usize) -> Result<(), TooMuch> {
        let Some((piece, rest)) = pieces.split_first() else { return Ok(()) };
        if *piece == "**" {
            self.descend(directory, rest, depth)?;
        } else if !has_wildcard(piece) && !rest.is_empty() {
            return self.descend(&directory.join(piece), rest, depth);
        }
        let entries = self.files.list(directory).unwrap_or_default();
        self.seen += entries.len();
        if self.seen > MOST_ENTRIES {
            return Err(TooMuch);
        }
        for entry in entries {
            if *piece == "**" {
                if entry.is_directory && !entry.name.starts_with('.') && depth > 0 {
                    self.descend(&directory.join(&entry.name), pieces, depth - 1)?;
                }
            } else if matches(piece, &entry.name) {
                let path = directory.join(&entry.name);
                if !rest.is_empty() {
                    self.descend(&path, rest, depth)?;
                } else if !entry.is_directory {
                    self.found.insert(path);
                }
            }
        }
        Ok(())
    }
}

/// Whether one name matches a pattern of `*`, `?` and letters; linear but for one step back per `*`.
fn matches(pattern: &str, name: &str) -> bool {
    if name.starts_with('.') && !pattern.starts_with('.') {
        return false;
    }
    let (pattern, name): (Vec<char>, Vec<char>) = (pattern.chars().collect(), name.chars().collect());
    let (mut p, mut n, mut star) = (0, 0, None);
    while n < name.len() {
        if p < pattern.len() && pattern[p] == '*' {
            star = Some((p, n));
            p += 1;
        } else if p < pattern.len() && (pattern[p] == '?' || pattern[p] == name[n]) {
            p += 1;
            n += 1;
        } else if let Some((star_at, matched)) = star {
            star = Some((star_at, matched + 1));
            p = star_at + 1;
            n = matched + 1;
        } else {
            return false;
        }
    }
    pattern[p..].iter().all(|c| *c == '*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_match_patterns() {
        for (pattern, name, expected) in [
            ("*", "a", true),
            ("*", ".git", false),
            (".*", ".git", true),
            ("a*b*c", "a-b-b-c", true),
            ("a*b", "a-b-c", false),
            ("?.toml", "é.toml", true),
            ("?", "", false),
            ("**a", "ba", true),
        ] {
            assert_eq!(matches(pattern, name), expected, "{pattern} {name}");
        }
    }

    #[test]
    fn patterns_find_files_sorted() {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path();
        for path in ["b/m.toml", "a/m.toml", "a/x/m.toml", ".hidden/m.toml", "a/other", "m.toml"] {
            let path = root.join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, "").unwrap();
        }
        let check = |pattern: &str, expected: &[&str]| {
            let found = glob(&Disk, root, pattern).unwrap();
            let found: Vec<_> =
                found.iter().map(|p| p.strip_prefix(root).unwrap().to_str().unwrap()).collect();
            assert_eq!(found, expected, "{pattern}");
        };
        check("*/m.toml", &["a/m.toml", "b/m.toml"]);
        check("**/m.toml", &["a/m.toml", "a/x/m.toml", "b/m.toml", "m.toml"]);
        check("a/**", &[]);
        check("a/*", &["a/m.toml", "a/other"]);
        check("none/*", &[]);
    }
}
