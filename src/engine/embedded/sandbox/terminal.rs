//! A terminal for a command: made in its own devpts, so that it has a name there, and handed to the parent.

use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;

use rustix::fs::{Gid, Mode, OFlags, Uid, fchown, openat};
use rustix::pty::{OpenptFlags, ioctl_tiocgptpeer, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};

use super::devices::furnish_console;
use super::error::{Doing, Failure};
use super::request::{TerminalSize, User};
use super::wire;

/// Makes a terminal in `dev`, sends its controlling end over `socket` and takes the other one as this process's
/// standard streams and its session's terminal.
pub(super) fn take(dev: &OwnedFd, socket: OwnedFd, size: TerminalSize, user: &User) -> Result<(), Failure> {
    let action = || "make a terminal".to_string();
    let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
    let controller = openat(dev, "pts/ptmx", flags, Mode::empty()).doing(action)?;
    unlockpt(&controller).doing(action)?;
    let name = ptsname(&controller, Vec::new()).doing(action)?;
    let name = name.to_string_lossy().trim_start_matches("/dev/").to_string();
    let peer = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
    let terminal = ioctl_tiocgptpeer(&controller, peer).doing(action)?;
    let size = Winsize { ws_row: size.rows, ws_col: size.columns, ws_xpixel: 0, ws_ypixel: 0 };
    tcsetwinsize(&controller, size).doing(action)?;
    // Programs of another user open it again by its name.
    let (uid, gid) = (Uid::from_raw(user.uid), None::<Gid>);
    fchown(&terminal, Some(uid), gid).doing(action)?;
    furnish_console(dev, &name)?;
    rustix::process::ioctl_tiocsctty(&terminal).doing(action)?;
    rustix::stdio::dup2_stdin(terminal.as_fd()).doing(action)?;
    rustix::stdio::dup2_stdout(terminal.as_fd()).doing(action)?;
    rustix::stdio::dup2_stderr(terminal.as_fd()).doing(action)?;
    wire::send(&UnixStream::from(socket), &(), &[controller.as_fd()])
        .doing(|| "hand over the terminal".into())
}
