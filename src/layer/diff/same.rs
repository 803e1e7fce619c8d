//! Whether a file of the upper directory is the one that shows through from below. Overlayfs copies a file
//! up as soon as it is given the mode it has, and a copy of a file may have replaced it; neither is a change.
//!
//! What is compared is what BuildKit compares: kind, mode, owner, device, size, time to the nanosecond and
//! capability. Bytes are always compared as well, since two writes may share a tick of the kernel's clock.

use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{self, FileType, Mode, OFlags, Stat};
use rustix::io::Errno;

use super::{Lowers, Marks};
use crate::layer::rooted;

/// A name in an open directory, with what stands there.
pub(super) struct Standing<'a> {
    pub(super) directory: &'a OwnedFd,
    pub(super) name: &'a [u8],
    pub(super) stat: &'a Stat,
}

impl Lowers {
    /// Whether what stands in the upper directory at `name` of `folder` shows through from below as well.
    pub(super) fn show_same(
        &self,
        upper: &Standing<'_>,
        folder: &[u8],
        merged: &[usize],
    ) -> Result<bool, Errno> {
        for &index in merged {
            let directory = match self.0[index].directory(folder) {
                Ok(directory) => directory,
                Err(Errno::NOENT) => continue,
                Err(Errno::NOTDIR | Errno::LOOP) => return Ok(false),
                Err(cause) => return Err(cause),
            };
            if let Some(stat) = rooted::look(&directory, upper.name)? {
                let lower = Standing { directory: &directory, name: upper.name, stat: &stat };
                return Ok(described_alike(upper.stat, &stat) && upper.holds_same(&lower)?);
            }
        }
        Ok(false)
    }
}

fn described_alike(upper: &Stat, lower: &Stat) -> bool {
    let described = |stat: &Stat| {
        let owner = (stat.st_uid, stat.st_gid);
        (stat.st_mode, owner, stat.st_rdev, stat.st_size, stat.st_mtime, stat.st_mtime_nsec)
    };
    described(upper) == described(lower)
}

impl Standing<'_> {
    fn holds_same(&self, lower: &Self) -> Result<bool, Errno> {
        match rooted::file_type(self.stat) {
            FileType::Symlink => Ok(self.target()? == lower.target()?),
            FileType::RegularFile => {
                let (upper, lower) = (self.open()?, lower.open()?);
                Ok(Marks::of(&upper)?.capability == Marks::of(&lower)?.capability
                    && have_same_bytes(upper.into(), lower.into())?)
            }
            _ => Ok(true),
        }
    }

    fn target(&self) -> Result<Vec<u8>, Errno> {
        Ok(fs::readlinkat(self.directory, self.name, Vec::new())?.into_bytes())
    }

    fn open(&self) -> Result<OwnedFd, Errno> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        fs::openat(self.directory.as_fd(), self.name, flags, Mode::empty())
    }
}

fn have_same_bytes(mut upper: File, mut lower: File) -> Result<bool, Errno> {
    const BUFFER: usize = 64 << 10;
    let cause = |error: std::io::Error| Errno::from_io_error(&error).unwrap_or(Errno::IO);
    let (mut left, mut right) = (vec![0; BUFFER], vec![0; BUFFER]);
    loop {
        let length = upper.read(&mut left).map_err(cause)?;
        if length == 0 {
            return Ok(lower.read(&mut right).map_err(cause)? == 0);
        }
        match lower.read_exact(&mut right[..length]) {
            Ok(()) if left[..length] == right[..length] => {}
            Ok(()) => return Ok(false),
            Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => return Ok(false),
            Err(error) => return Err(cause(error)),
        }
    }
}
