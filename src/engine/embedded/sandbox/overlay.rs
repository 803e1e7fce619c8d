//! Overlay mounts, in the one form that ordinary users can make too.
//!
//! `userxattr` keeps whiteouts' marks in `user.overlay.*`, so that what root wrote an ordinary user can mount
//! and the other way round; the other options switch off everything that would put more than files into the
//! upper directory. See the kernel's Documentation/filesystems/overlayfs.rst.

use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::io::Errno;
use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags, MountFlags, fsmount, fsopen};
use rustix::mount::{fsconfig_create, fsconfig_set_flag, fsconfig_set_string};

use super::error::{Doing, Failure};

const OPTIONS: [(&str, &str); 4] =
    [("redirect_dir", "nofollow"), ("metacopy", "off"), ("index", "off"), ("xino", "off")];

pub(super) struct Overlay<'a> {
    /// Topmost first; not empty.
    pub lowers: &'a [PathBuf],
    /// The upper and the work directory. Without them nothing can be written, and there must be two lowers.
    pub changes: Option<(&'a Path, &'a Path)>,
}

impl Overlay<'_> {
    /// Mounts at `target`, a directory outside of any root.
    pub fn mount_at(&self, target: &Path) -> Result<(), Failure> {
        match self.detached() {
            Ok(mount) => super::mounts::attach(&mount, target),
            // `lowerdir+` came with Linux 6.5 and was completed in 6.7.
            Err(Errno::INVAL | Errno::NOSYS) => self.mount_by_option_string(target),
            Err(error) => Err(error),
        }
        .doing(|| format!("mount an overlay of {} layers", self.lowers.len()))
    }

    fn detached(&self) -> Result<OwnedFd, Errno> {
        let context = fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC)?;
        for lower in self.lowers {
            fsconfig_set_string(&context, "lowerdir+", lower.as_path())?;
        }
        if let Some((upper, work)) = self.changes {
            fsconfig_set_string(&context, "upperdir", upper)?;
            fsconfig_set_string(&context, "workdir", work)?;
        }
        for (key, value) in OPTIONS {
            fsconfig_set_string(&context, key, value)?;
        }
        fsconfig_set_flag(&context, "userxattr")?;
        if self.changes.is_some() {
            fsconfig_set_flag(&context, "volatile")?;
        }
        fsconfig_create(&context)?;
        fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, MountAttrFlags::MOUNT_ATTR_NODEV)
    }

    fn mount_by_option_string(&self, target: &Path) -> Result<(), Errno> {
        let options = std::ffi::CString::new(self.option_string()).map_err(|_| Errno::INVAL)?;
        rustix::mount::mount("overlay", target, "overlay", MountFlags::NODEV, Some(options.as_c_str()))
    }

    /// The options as mount(2) takes them: at most a page, so this is for few layers.
    fn option_string(&self) -> Vec<u8> {
        let mut text = b"userxattr".to_vec();
        if self.changes.is_some() {
            text.extend_from_slice(b",volatile");
        }
        for (key, value) in OPTIONS {
            text.extend_from_slice(format!(",{key}={value}").as_bytes());
        }
        for (index, lower) in self.lowers.iter().enumerate() {
            text.extend_from_slice(if index == 0 { b",lowerdir=" } else { b":" });
            escape_into(&mut text, lower, b":\\,");
        }
        if let Some((upper, work)) = self.changes {
            for (key, path) in [(&b",upperdir="[..], upper), (b",workdir=", work)] {
                text.extend_from_slice(key);
                escape_into(&mut text, path, b"\\,");
            }
        }
        text
    }
}

fn escape_into(text: &mut Vec<u8>, path: &Path, special: &[u8]) {
    for &byte in path.as_os_str().as_bytes() {
        if special.contains(&byte) {
            text.push(b'\\');
        }
        text.push(byte);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn option_strings_escape_separators() {
        let lowers = ["/a:b".into(), "/c,d".into()];
        let overlay = Overlay { lowers: &lowers, changes: Some((Path::new("/u:\\"), Path::new("/w"))) };
        assert_eq!(
            String::from_utf8(overlay.option_string()).unwrap(),
            "userxattr,volatile,redirect_dir=nofollow,metacopy=off,index=off,xino=off,\
             lowerdir=/a\\:b:/c\\,d,upperdir=/u:\\\\,workdir=/w"
        );
    }
}
