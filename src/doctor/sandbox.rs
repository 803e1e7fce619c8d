//! What commands of builds run in: overlays, file systems of their own, the network, control groups.

use std::path::{Path, PathBuf};

use super::namespaces::Surroundings;
use super::packages::{Package, install};
use super::{Check, Finding, Level, Trouble};
use crate::engine::embedded::sandbox::{Failure, Probe};

/// Judges the sandbox as builds get it.
pub fn sandbox(probe: &Probe, groups: &[PathBuf], store: &Path, here: &Surroundings) -> Vec<Finding> {
    vec![overlay(probe.overlay.as_ref(), store), mounts(probe, here), cgroups(groups)]
}

/// What is told of all that where the sandbox does not start.
pub fn none(why: &str) -> Vec<Finding> {
    let checks = [Check::Overlay, Check::Mounts, Check::Cgroups, Check::Network];
    checks.map(|check| Finding::note(check, format!("not tried: {why}"))).into()
}

fn overlay(failure: Option<&Failure>, store: &Path) -> Finding {
    let Some(failure) = failure else {
        return Finding::good(Check::Overlay, format!("mounted and written in `{}`", store.display()));
    };
    let remedy = "mab --store cannot lie on an overlay, NFS or FUSE: put it on ext4, xfs, btrfs or tmpfs\n\
                  export MAB_STORE=/var/tmp/mab";
    let trouble = Trouble::new("every RUN fails, with `host::overlay`", failure.to_string(), remedy);
    let said = format!("refused in `{}`", store.display());
    Finding::bad(Level::Error, Check::Overlay, said, trouble)
}

fn mounts(probe: &Probe, here: &Surroundings) -> Finding {
    let tried = [
        ("proc", &probe.proc_mount),
        ("sysfs", &probe.sysfs_mount),
        ("devpts", &probe.devpts_mount),
        ("mqueue", &probe.mqueue_mount),
    ];
    let refused: Vec<(&str, &Failure)> =
        tried.iter().filter_map(|(name, failure)| Some((*name, failure.as_ref()?))).collect();
    let names = |names: Vec<&str>| names.join(", ");
    if refused.is_empty() {
        return Finding::good(Check::Mounts, names(tried.iter().map(|(name, _)| *name).collect()));
    }
    let said = format!("refused: {}", names(refused.iter().map(|(name, _)| *name).collect()));
    let test: Vec<String> = refused.iter().map(|(_, failure)| failure.to_string()).collect();
    let symptom = "commands see this machine's own where they should see theirs, or none: tools that list processes or \
                   open terminals may fail";
    let remedy = match here.is_container {
        true => "docker run --security-opt systempaths=unconfined …",
        false => "run mab where nothing is mounted over /proc and /sys",
    };
    let trouble = Trouble::new(symptom, test.join("; "), remedy);
    Finding::bad(Level::Warning, Check::Mounts, said, trouble)
}

fn cgroups(groups: &[PathBuf]) -> Finding {
    if let [first, ..] = groups {
        let parent = first.parent().unwrap_or(first);
        return Finding::good(Check::Cgroups, format!("made in `{}`", parent.display()));
    }
    let trouble = Trouble::new(
        "a command that forks without end or takes all memory is held by weaker limits, or by none",
        "no control group could be made below the one of this session",
        "systemd-run --user --scope -p Delegate=yes mab bake",
    );
    Finding::bad(Level::Warning, Check::Cgroups, "none can be made", trouble)
}

/// Judges the network that commands have unless they ask for another one.
pub fn network(
    probe: Option<&Failure>,
    notice: Result<Option<String>, String>,
    here: &Surroundings,
) -> Finding {
    let test = match (probe, notice) {
        (Some(failure), _) => failure.to_string(),
        (None, Err(why)) => why,
        (None, Ok(Some(notice))) => notice,
        (None, Ok(None)) => return Finding::good(Check::Network, "commands have one of their own"),
    };
    let symptom = "commands use this machine's network, and reach what listens on its loopback";
    let remedy = match (here.has_network_tool, here.has_tun) {
        (false, _) => install(Package::Pasta, &here.distribution),
        (true, false) if here.is_container => "docker run --device /dev/net/tun …".to_string(),
        (true, false) => "sudo modprobe tun\nsudo chmod 0666 /dev/net/tun".to_string(),
        (true, true) => "put right what the test says, or install another version of pasta".to_string(),
    };
    let trouble = Trouble::new(symptom, test, remedy);
    Finding::bad(Level::Warning, Check::Network, "commands share that of this machine", trouble)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_refused_is_trouble() {
        let here = Surroundings::read((6, 8), Vec::new());
        let failure = || Some(Failure::new("mount proc", "Operation not permitted"));
        let levels = |probe: &Probe, groups: &[PathBuf]| -> Vec<Level> {
            sandbox(probe, groups, Path::new("/s"), &here).iter().map(|found| found.level).collect()
        };
        assert_eq!(levels(&Probe::default(), &["/g/mab".into()]), [Level::Good; 3]);
        let probe = Probe { overlay: failure(), proc_mount: failure(), ..Probe::default() };
        assert_eq!(levels(&probe, &[]), [Level::Error, Level::Warning, Level::Warning]);
        assert_eq!(network(None, Ok(None), &here).level, Level::Good);
        assert_eq!(network(None, Ok(Some("none".into())), &here).level, Level::Warning);
    }
}
