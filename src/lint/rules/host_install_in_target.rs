//! `host-install-in-target`.

use crate::diag::Place;
use crate::dockerfile::InstructionKind;
use crate::lint::finding::first_line;
use crate::lint::shell::Shell;
use crate::lint::toolchain::{Installs, installs, is_told_a_platform};
use crate::lint::trace::{StageTrace, Trace};
use crate::lint::{Finding, Level, Rule, View};

pub const RULE: Rule = Rule {
    name: "host-install-in-target",
    summary: "packages installed for the build machine are copied into the image",
    level: Level::Warning,
    url: None,
    why: "A package manager installs for the machine it runs on. `node_modules`, `site-packages`, gems, cargo's `target` \
          folder and the distribution's programs hold machine code as soon as one package has any, so they must not go from a \
          stage `FROM --platform=$BUILDPLATFORM` into an image for another platform. Install in a stage of the target's \
          platform, and keep on the build machine what is the same everywhere, such as a bundled `dist`.",
    bad: "FROM --platform=$BUILDPLATFORM node AS build\nRUN npm ci && npm run build\n\
          FROM node\nCOPY --from=build /app/node_modules /app/node_modules\nCOPY --from=build /app/dist /app/dist\n",
    good: "FROM --platform=$BUILDPLATFORM node AS build\nRUN npm ci && npm run build\n\
           FROM node\nCOPY package.json package-lock.json /app/\nRUN cd /app && npm ci --omit=dev\nCOPY --from=build /app/dist /app/dist\n",
    check,
};

fn check(view: &View<'_>) -> Vec<Finding> {
    let findings = view.host_copies().filter_map(|copy| {
        let found =
            copy.sources.iter().find_map(|path| Some((path, installed(copy.trace, copy.stage, path)?)));
        let (path, (what, place)) = found?;
        let message = format!("`{path}` holds {} that were installed for the build machine", what.what());
        Some(
            Finding::new(message)
                .at(copy.at.place.clone(), "copied into images for every platform")
                .at(first_line(&place), "installed here, on the build machine")
                .help("install them in a stage without `--platform`, and copy from that"),
        )
    });
    findings.collect()
}

/// What of a stage on the build machine lies at `path`, and the command that put it there.
fn installed(trace: &Trace<'_>, stage: &StageTrace<'_>, path: &str) -> Option<(Installs, Place)> {
    for at in trace.chain(stage.stage.index).into_iter().flat_map(|stage| &stage.uses) {
        let InstructionKind::Run(run) = &at.instruction.kind else { continue };
        for command in &Shell::of(run).commands {
            let Some(what) = installs(command).filter(|what| what.holds(path)) else { continue };
            let knows = match what {
                // Told by a flag of its own, which `installs` knows; a mere mention of the platform is no help.
                Installs::Node | Installs::Python | Installs::Ruby | Installs::System => false,
                Installs::Cargo => is_told_a_platform(command),
            };
            if !knows {
                return Some((what, at.place.clone()));
            }
        }
    }
    None
}
