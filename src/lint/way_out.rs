//! The way out of emulation that fits a Dockerfile: the build machine does it for every platform, others have done it
//! already, or a machine of the platform does it.

use super::finding::first_line;
use super::shell::Shell;
use super::toolchain::{installs, portable};
use crate::diag::Place;
use crate::dockerfile::{Dockerfile, InstructionKind};

/// What would spare emulation, and the line of the Dockerfile that it is about.
pub struct WayOut {
    pub place: Option<Place>,
    pub label: String,
    pub help: String,
}

/// The first one that fits: what the build machine can do costs nothing but a line.
pub fn way_out(dockerfile: &Dockerfile) -> WayOut {
    let emulated = dockerfile.stages.iter().filter(|stage| stage.from.platform.is_none());
    let runs: Vec<(&Place, Shell)> = emulated
        .flat_map(|stage| &stage.instructions)
        .filter_map(|instruction| match &instruction.kind {
            InstructionKind::Run(run) => Some((&instruction.place, Shell::of(run))),
            _ => None,
        })
        .collect();
    for (place, shell) in &runs {
        if let Some(found) = shell.commands.iter().find_map(portable) {
            return WayOut {
                place: Some(first_line(place)),
                label: format!("{} need not be emulated", found.name),
                help: found.advice.to_string(),
            };
        }
    }
    for (place, shell) in &runs {
        if let Some(command) = shell.commands.iter().find(|command| installs(command).is_some()) {
            return WayOut {
                place: Some(first_line(place)),
                label: format!("what {} compiles here is emulated", command.name()),
                help: "install what is built for the platform already (wheels, prebuilt packages); else a machine of \
                       the platform builds it: `mab builder add`, docs/builders.md"
                    .to_string(),
            };
        }
    }
    WayOut {
        place: None,
        label: String::new(),
        help: "a machine of the platform builds it natively: `mab builder add`, docs/builders.md".to_string(),
    }
}
