//! The kernel, user namespaces, and the ids they can have.

use std::fs;
use std::path::{Path, PathBuf};

use super::packages::{Package, install};
use super::{Check, Finding, Fix, Level, Trouble, apparmor};
use crate::engine::embedded::sandbox::{IdMap, SandboxError, Subordinate, find_program};

/// Overlays in user namespaces came with 5.11.
const OVERLAY_SINCE: (u32, u32) = (5, 11);
const PRIVATE_BINFMT_SINCE: (u32, u32) = (6, 7);

/// What the judgements need to know of this machine.
#[derive(Clone, Debug)]
pub struct Surroundings {
    pub is_root: bool,
    pub kernel: (u32, u32),
    pub distribution: Vec<String>,
    /// This program.
    pub program: PathBuf,
    /// AppArmor allows user namespaces to named programs only.
    pub is_restricted: bool,
    pub has_profile: bool,
    /// `kernel.unprivileged_userns_clone` of older Debian kernels is 0.
    pub is_clone_disabled: bool,
    pub is_container: bool,
    /// `pasta` or `slirp4netns`.
    pub has_network_tool: bool,
    /// `/dev/net/tun`, which these open.
    pub has_tun: bool,
}

impl Surroundings {
    pub fn read(kernel: (u32, u32), distribution: Vec<String>) -> Self {
        let program = std::env::current_exe().unwrap_or_else(|_| "mab".into());
        let clone = fs::read_to_string("/proc/sys/kernel/unprivileged_userns_clone").unwrap_or_default();
        let marks = ["/.dockerenv", "/run/.containerenv", "/var/run/secrets/kubernetes.io"];
        Self {
            is_root: rustix::process::geteuid().is_root(),
            kernel,
            distribution,
            is_restricted: apparmor::is_restricting(),
            has_profile: apparmor::has_profile(&program),
            program,
            is_clone_disabled: clone.trim() == "0",
            is_container: marks.iter().any(|mark| Path::new(mark).exists()),
            has_network_tool: ["pasta", "slirp4netns"].iter().any(|name| find_program(name).is_some()),
            has_tun: fs::File::options().read(true).write(true).open("/dev/net/tun").is_ok(),
        }
    }
}

pub fn kernel(here: &Surroundings) -> Finding {
    let version = format!("Linux {}.{}", here.kernel.0, here.kernel.1);
    if here.kernel < OVERLAY_SINCE && !here.is_root {
        let symptom = "RUN fails for ordinary users: overlays in user namespaces came with Linux 5.11";
        let trouble =
            Trouble::new(symptom, "the version of the kernel", "upgrade the kernel, or run mab as root");
        return Finding::bad(Level::Error, Check::Kernel, version, trouble);
    }
    if here.kernel < PRIVATE_BINFMT_SINCE {
        let said =
            format!("{version}; emulators must be registered on the host, from 6.7 on mab does it itself");
        return Finding::note(Check::Kernel, said);
    }
    Finding::good(Check::Kernel, version)
}

/// Judges what came of making a user namespace.
pub fn user_namespace(refused: Option<&SandboxError>, here: &Surroundings) -> Finding {
    match refused {
        // That is about its ids.
        None | Some(SandboxError::IdMap(_)) => user_namespace_made(here),
        Some(error) => {
            let (symptom, level) = match here.is_root {
                true => ("emulators cannot be registered for mab alone", Level::Warning),
                false => ("every RUN fails, with `host::user-namespaces`", Level::Error),
            };
            let (remedy, fix) = remedy(error, here);
            let trouble = Trouble { fix, ..Trouble::new(symptom, error.to_string(), remedy) };
            let said = match error {
                SandboxError::NoUserNamespaces { .. } => "user namespaces are refused",
                _ => "the sandbox does not start in one",
            };
            Finding::bad(level, Check::Userns, said, trouble)
        }
    }
}

fn user_namespace_made(here: &Surroundings) -> Finding {
    if !(here.is_root && here.is_restricted && !here.has_profile) {
        return Finding::good(Check::Userns, "one was made");
    }
    let trouble = Trouble::new(
        "RUN fails for ordinary users, with `host::user-namespaces`",
        "kernel.apparmor_restrict_unprivileged_userns is 1, and no profile names this program",
        apparmor::commands(&here.program),
    );
    let said = "one was made; AppArmor refuses them to ordinary users";
    let trouble = trouble.fixed_by(Fix::AppArmorProfile { program: here.program.clone() });
    Finding::bad(Level::Warning, Check::Userns, said, trouble)
}

fn remedy(error: &SandboxError, here: &Surroundings) -> (String, Option<Fix>) {
    if matches!(error, SandboxError::NoUserNamespaces { limit_is_zero: true, .. }) {
        let lasting =
            "echo user.max_user_namespaces=15000 | sudo tee /etc/sysctl.d/60-mab.conf\nsudo sysctl --system";
        return (lasting.to_string(), None);
    }
    if here.is_clone_disabled {
        let lasting = "echo kernel.unprivileged_userns_clone=1 | sudo tee /etc/sysctl.d/60-mab.conf\nsudo sysctl --system";
        return (lasting.to_string(), None);
    }
    if here.is_restricted && !here.has_profile {
        // An ordinary user may not install it, and is told so.
        let fix = Fix::AppArmorProfile { program: here.program.clone() };
        return (apparmor::commands(&here.program), Some(fix));
    }
    if here.is_container {
        let flags = "docker run --security-opt seccomp=unconfined --security-opt apparmor=unconfined --security-opt \
                     systempaths=unconfined …";
        return (flags.to_string(), None);
    }
    if !matches!(error, SandboxError::NoUserNamespaces { .. }) {
        return (
            "put right what the test says; `mab doctor store disk` looks at the place it is tried in".into(),
            None,
        );
    }
    (
        "allow `unshare` and `mount` in the policy this session runs under, or run mab as root".to_string(),
        None,
    )
}

/// Judges which ids builds can use.
pub fn ids(map: Result<IdMap, &SandboxError>, granted: &Subordinate, here: &Surroundings) -> Finding {
    let symptom = "files can belong to root only: `chown` and `USER` with another user fail in RUN";
    match map {
        Err(SandboxError::IdMap(said)) => {
            let remedy = "sudo chmod u+s \"$(command -v newuidmap)\" \"$(command -v newgidmap)\"";
            let trouble = Trouble::new("every RUN fails, with `host::id-map`", said.clone(), remedy);
            Finding::bad(Level::Error, Check::Ids, "the user namespace is refused its ids", trouble)
        }
        Err(_) => Finding::note(Check::Ids, "not tried: there is no user namespace"),
        Ok(IdMap::Full) => Finding::good(Check::Ids, "all, as root"),
        Ok(IdMap::Range(end)) if end > 65_535 => Finding::good(Check::Ids, format!("{end} users and groups")),
        Ok(IdMap::Range(end)) => {
            let test = format!("{} has {} ids in /etc/subuid and /etc/subgid", granted.name, end - 1);
            let symptom = "files of users such as `nobody` (65534) cannot be written";
            let trouble = Trouble::new(symptom, test, more_ids(granted));
            Finding::bad(Level::Warning, Check::Ids, format!("{end}, where images use 65536"), trouble)
        }
        Ok(IdMap::Single) => {
            let (tests, remedies) = missing(granted, here);
            let trouble = Trouble::new(symptom, tests.join("; "), remedies.join("\n"));
            Finding::bad(Level::Warning, Check::Ids, "one only", trouble)
        }
    }
}

fn missing(granted: &Subordinate, here: &Surroundings) -> (Vec<String>, Vec<String>) {
    let (mut tests, mut remedies) = (Vec::new(), Vec::new());
    if !granted.missing_programs.is_empty() {
        tests.push(format!("{} not on PATH", granted.missing_programs.join(" and ")));
        remedies.push(install(Package::IdTools, &here.distribution));
    }
    let files = [("/etc/subuid", granted.users.is_empty()), ("/etc/subgid", granted.groups.is_empty())];
    let without: Vec<&str> =
        files.into_iter().filter(|(_, is_empty)| *is_empty).map(|(file, _)| file).collect();
    if !without.is_empty() {
        tests.push(format!("{} not named in {}", granted.name, without.join(" and ")));
        remedies.push(more_ids(granted));
    }
    (tests, remedies)
}

/// The command that gives the user as many ids as images use, behind those of everybody else.
fn more_ids(granted: &Subordinate) -> String {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let first = next_free(&[read("/etc/subuid"), read("/etc/subgid")]);
    let range = format!("{first}-{}", first.saturating_add(65_535));
    format!("sudo usermod --add-subuids {range} --add-subgids {range} {}", granted.name)
}

/// The first id from 100000 on behind all ranges of these files.
fn next_free(files: &[String]) -> u32 {
    let ends = files.iter().flat_map(|text| text.lines()).filter_map(|line| {
        let mut fields = line.trim().split(':').skip(1);
        let (first, count) = (fields.next()?.parse::<u32>().ok()?, fields.next()?.parse::<u32>().ok()?);
        first.checked_add(count)
    });
    ends.max().unwrap_or(0).max(100_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn here() -> Surroundings {
        Surroundings {
            is_root: false,
            kernel: (6, 8),
            distribution: vec!["debian".into()],
            program: "/usr/bin/mab".into(),
            is_restricted: false,
            has_profile: false,
            is_clone_disabled: false,
            is_container: false,
            has_network_tool: true,
            has_tun: true,
        }
    }

    fn refusal(limit_is_zero: bool) -> SandboxError {
        let detail = "cannot make a user namespace".into();
        SandboxError::NoUserNamespaces { detail, apparmor_restricted: false, limit_is_zero }
    }

    #[test]
    fn a_refusal_has_the_remedy_of_what_refuses() {
        let check = |error: &SandboxError, here: Surroundings, level: Level, remedy: &str| {
            let found = user_namespace(Some(error), &here);
            let trouble = found.trouble.unwrap();
            assert_eq!(found.level, level);
            assert!(trouble.remedy.starts_with(remedy), "{}", trouble.remedy);
            assert_eq!(trouble.fix.is_some(), here.is_restricted, "{here:?}");
        };
        check(&refusal(true), here(), Level::Error, "echo user.max_user_namespaces=15000 | sudo tee");
        check(
            &refusal(false),
            Surroundings { is_clone_disabled: true, ..here() },
            Level::Error,
            "echo kernel.unprivileged_userns_clone=1",
        );
        check(
            &refusal(false),
            Surroundings { is_restricted: true, ..here() },
            Level::Error,
            "sudo tee /etc/apparmor.d/mab > /dev/null <<'END'\nabi <abi/4.0>,",
        );
        check(
            &refusal(false),
            Surroundings { is_container: true, ..here() },
            Level::Error,
            "docker run --security-opt seccomp=unconfined",
        );
        check(&refusal(false), here(), Level::Error, "allow `unshare` and `mount`");
        check(&refusal(false), Surroundings { is_root: true, ..here() }, Level::Warning, "allow `unshare`");
    }

    #[test]
    fn root_is_told_what_apparmor_does_to_others() {
        let root = Surroundings { is_root: true, is_restricted: true, ..here() };
        assert_eq!(user_namespace(None, &root).level, Level::Warning);
        assert_eq!(user_namespace(None, &Surroundings { has_profile: true, ..root }).level, Level::Good);
        assert_eq!(user_namespace(None, &here()).level, Level::Good);
    }

    #[test]
    fn too_few_ids_name_what_is_missing() {
        let granted = Subordinate { name: "ann".into(), users: vec![(1, 2)], ..Subordinate::default() };
        let bare = Subordinate { missing_programs: vec!["newuidmap"], ..granted.clone() };
        let test = |map, granted: &Subordinate| {
            let found = ids(map, granted, &here());
            (found.level, found.said, found.trouble.map(|trouble| trouble.test))
        };
        let single = |test: &str| (Level::Warning, "one only".to_string(), Some(test.to_string()));
        assert_eq!(test(Ok(IdMap::Single), &granted), single("ann not named in /etc/subgid"));
        assert_eq!(
            test(Ok(IdMap::Single), &bare),
            single("newuidmap not on PATH; ann not named in /etc/subgid")
        );
        assert_eq!(
            test(Ok(IdMap::Range(65_537)), &granted),
            (Level::Good, "65537 users and groups".into(), None)
        );
        assert_eq!(test(Ok(IdMap::Range(11)), &granted).0, Level::Warning);
        let refused = SandboxError::IdMap("newuidmap: Operation not permitted".into());
        assert_eq!(test(Err(&refused), &granted).0, Level::Error);
    }

    #[test]
    fn old_kernels_are_told_apart() {
        let level = |kernel, is_root| super::kernel(&Surroundings { kernel, is_root, ..here() }).level;
        assert_eq!(level((5, 10), false), Level::Error);
        assert_eq!(level((5, 10), true), Level::Note);
        assert_eq!(level((6, 6), false), Level::Note);
        assert_eq!(level((6, 7), false), Level::Good);
    }

    #[test]
    fn new_ids_lie_behind_all_others() {
        let files =
            ["ann:100000:65536\n".to_string(), "bob:165536:65536\nbroken\n:4294967295:9\n".to_string()];
        assert_eq!(next_free(&files), 231_072);
        assert_eq!(next_free(&[]), 100_000);
    }
}
