//! A binfmt_misc instance of the supervisor's own user namespace, from Linux 6.7 on.
//!
//! It must stay mounted as long as emulated programs run. The host's table is hidden from the namespace while
//! it is mounted, and is never changed.

use std::path::Path;

use super::error::{Doing, Failure};
use super::mounts;
use crate::engine::embedded::emulate::Emulator;

const PLACE: &str = "/proc/sys/fs/binfmt_misc";

/// Mounts the instance and registers the emulators.
pub(super) fn register(emulators: &[Emulator]) -> Result<(), Failure> {
    mount()?;
    for emulator in emulators {
        std::fs::write(Path::new(PLACE).join("register"), emulator.registration())
            .doing(|| format!("register `{}`", emulator.interpreter.display()))?;
    }
    Ok(())
}

/// Mounts a fresh instance over whatever is there.
pub(super) fn mount() -> Result<(), Failure> {
    let instance = mounts::new_filesystem("binfmt_misc", &[], 0);
    instance
        .and_then(|instance| mounts::attach(&instance, Path::new(PLACE)))
        .doing(|| "mount a private binfmt_misc".into())
}
