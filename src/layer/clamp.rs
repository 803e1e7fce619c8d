//! Gives the files below a directory the times that a layer written with a latest time says they have.
//!
//! A layer has whole seconds, none after the latest; a tree that is kept beside it must look as if it had
//! been unpacked from it. A directory that the layer does not describe shows the one below it, and stays as
//! it is.

use std::collections::HashSet;
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::{self, AtFlags, FileType, Stat, Timespec, Timestamps, UTIME_OMIT};
use rustix::io::Errno;

use super::rooted::{self, DEPTH_LIMIT, Links, Root, failed};
use super::{Entry, EntrySink};

/// Passes entries on and remembers the directories among them.
pub struct Described<'a> {
    sink: &'a mut dyn EntrySink,
    directories: HashSet<Vec<u8>>,
}

impl<'a> Described<'a> {
    pub fn new(sink: &'a mut dyn EntrySink) -> Self {
        Self { sink, directories: HashSet::new() }
    }

    pub fn finish(self) -> HashSet<Vec<u8>> {
        self.directories
    }
}

impl EntrySink for Described<'_> {
    fn append(&mut self, entry: &Entry, content: &mut dyn Read) -> io::Result<()> {
        if entry.is_directory() {
            self.directories.insert(entry.path.clone());
        }
        self.sink.append(entry, content)
    }
}

/// Clamps what is below `root`: marks of removed files left alone, and of directories those `described`.
pub fn clamp_times(root: &Path, described: &HashSet<Vec<u8>>, latest: i64) -> io::Result<()> {
    let top = Root::open(root, Links::Refused)?;
    let fd = top.directory(b"").map_err(|cause| failed("read", b"", cause))?;
    let clamp = Clamp { described, latest };
    clamp.below(&fd, b"", 0).map_err(|(path, cause)| failed("set times in", &path, cause))
}

struct Clamp<'a> {
    described: &'a HashSet<Vec<u8>>,
    latest: i64,
}

impl Clamp<'_> {
    fn below(&self, directory: &OwnedFd, path: &[u8], depth: usize) -> Result<(), (Vec<u8>, Errno)> {
        let at = |cause: Errno| (path.to_vec(), cause);
        if depth == DEPTH_LIMIT {
            return Err(at(Errno::NAMETOOLONG));
        }
        for (name, _) in rooted::names(directory).map_err(at)? {
            let Some(stat) = rooted::look(directory, &name).map_err(at)? else { continue };
            if rooted::is_whiteout(&stat) {
                continue;
            }
            if rooted::file_type(&stat) == FileType::Directory {
                let below = if path.is_empty() { name.clone() } else { [path, b"/", &name].concat() };
                self.below(&rooted::open_directory(directory, &name).map_err(at)?, &below, depth + 1)?;
                if !self.described.contains(&below) {
                    continue;
                }
            }
            fs::utimensat(directory, &name[..], &times(&stat, self.latest), AtFlags::SYMLINK_NOFOLLOW)
                .map_err(at)?;
        }
        Ok(())
    }
}

fn times(stat: &Stat, latest: i64) -> Timestamps {
    let modified = Timespec { tv_sec: stat.st_mtime.min(latest), tv_nsec: 0 };
    Timestamps { last_access: Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT }, last_modification: modified }
}

#[cfg(test)]
mod tests {
    use std::fs::{self, File};
    use std::os::unix::fs::{MetadataExt as _, symlink};
    use std::time::{Duration, UNIX_EPOCH};

    use super::{HashSet, clamp_times};

    #[test]
    fn younger_files_get_the_latest_time_and_all_whole_seconds() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        fs::create_dir_all(path("a/b")).unwrap();
        fs::write(path("a/b/new"), "").unwrap();
        symlink("nowhere", path("a/link")).unwrap();
        let old = File::create(path("a/old")).unwrap();
        old.set_modified(UNIX_EPOCH + Duration::from_millis(5500)).unwrap();
        let before = fs::metadata(path("a")).unwrap().modified().unwrap();
        clamp_times(folder.path(), &HashSet::from([b"a/b".to_vec()]), 1000).unwrap();
        assert_eq!(fs::metadata(path("a")).unwrap().modified().unwrap(), before, "nobody described it");
        for (name, expected) in [("a/b", 1000), ("a/b/new", 1000), ("a/link", 1000), ("a/old", 5)] {
            let found = fs::symlink_metadata(path(name)).unwrap();
            assert_eq!((found.mtime(), found.mtime_nsec()), (expected, 0), "{name}");
        }
    }
}
