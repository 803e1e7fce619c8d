//! Waits for a command, and for the store's file system to get full.

use std::path::Path;

use super::sandbox::{RunExit, RunningStep, SandboxError};
use crate::store::free_space::{self, Shortage};

/// How a command came to its end.
#[derive(Debug)]
pub enum Ended {
    ByItself(RunExit),
    /// It was killed, and is gone.
    OutOfSpace(Shortage),
}

/// Waits for the command's end, or until the file system of `store` is nearly full.
pub(super) async fn watch(store: &Path, step: &mut RunningStep) -> Result<Ended, SandboxError> {
    loop {
        match tokio::time::timeout(free_space::INTERVAL, step.wait()).await {
            Ok(exit) => return exit.map(Ended::ByItself),
            Err(_) => {
                if let Some(shortage) = free_space::shortage(store) {
                    step.kill();
                    // However it ended, what matters is that it is over.
                    return step.wait().await.map(|_| Ended::OutOfSpace(shortage));
                }
            }
        }
    }
}
