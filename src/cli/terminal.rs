//! The terminal that `mab` itself is used from.

use std::os::fd::AsFd;

use rustix::termios::{OptionalActions, Termios, Winsize, tcgetattr, tcgetwinsize, tcsetattr, tcsetwinsize};

use crate::engine::embedded::sandbox::TerminalSize;

/// Bytes go through as they are until this is dropped.
pub struct RawMode(Termios);

impl RawMode {
    /// Nothing, where standard input is no terminal.
    pub fn enter() -> Option<Self> {
        let before = tcgetattr(std::io::stdin()).ok()?;
        let mut raw = before.clone();
        raw.make_raw();
        tcsetattr(std::io::stdin(), OptionalActions::Now, &raw).ok()?;
        Some(Self(before))
    }
}

impl Drop for RawMode {
    fn drop(&mut self) {
        // A terminal that is gone needs no mode.
        let _ = tcsetattr(std::io::stdin(), OptionalActions::Drain, &self.0);
    }
}

/// As large as the terminal here, or as one of old.
pub fn size_of_terminal() -> TerminalSize {
    let size = tcgetwinsize(std::io::stdout()).or_else(|_| tcgetwinsize(std::io::stdin()));
    match size {
        Ok(size) if size.ws_row > 0 && size.ws_col > 0 => {
            TerminalSize { rows: size.ws_row, columns: size.ws_col }
        }
        _ => TerminalSize { rows: 24, columns: 80 },
    }
}

pub fn resize(terminal: impl AsFd, size: TerminalSize) {
    let size = Winsize { ws_row: size.rows, ws_col: size.columns, ws_xpixel: 0, ws_ypixel: 0 };
    // What the command has closed has no size any more.
    let _ = tcsetwinsize(terminal, size);
}
