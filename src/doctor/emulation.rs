//! Which platforms' commands run here, and how: natively, through the host's emulator, through one of mab's own.

use std::path::Path;

use super::{Check, Finding, Level, Trouble};
use crate::base::Platform;
use crate::engine::embedded::emulate::{Execution, HostFacts};
use crate::engine::embedded::sandbox::Failure;
use crate::engine::embedded::trial::Ran;

/// Emulators whose faults are known: the architecture, or any 32-bit one, from a version, to below one.
struct KnownFault {
    architectures: &'static [&'static str],
    from: (u32, u32),
    below: (u32, u32),
    fault: &'static str,
}

/// docker/buildx#542, tonistiigi/binfmt#240, #245 and #298, and Alpine's notes on 3.13.
const KNOWN_FAULTS: &[KnownFault] = &[
    KnownFault {
        architectures: &["arm", "386"],
        from: (0, 0),
        below: (5, 0),
        fault: "lacks the system calls for 64-bit times, which Alpine from 3.13 on needs",
    },
    KnownFault {
        architectures: &["arm64"],
        from: (5, 1),
        below: (6, 0),
        fault: "crashes now and then when small programs start",
    },
    KnownFault {
        architectures: &["arm64"],
        from: (9, 0),
        below: (10, 2),
        fault: "is known to crash in `ldconfig` of Debian 11 and Ubuntu 22.04, so that installing packages fails",
    },
];

/// Judges how a platform's smallest program ran. What is not wanted is only told.
pub fn platform(
    platform: &Platform,
    execution: &Execution,
    ran: &Ran,
    version: Option<&str>,
    is_wanted: bool,
) -> Finding {
    let level = if is_wanted { Level::Error } else { Level::Note };
    let found = match (execution, ran) {
        (Execution::Unavailable { reason, remedy }, _) => {
            let trouble = Trouble::new(
                format!("RUN for {platform} fails, with `host::emulation`"),
                reason.clone(),
                remedy.clone(),
            );
            Finding::bad(level, Check::Platform, "unavailable", trouble)
        }
        (_, Ran::Wrong(how)) => broken(platform, execution, how, level),
        (Execution::Native, _) => Finding::good(Check::Platform, "native"),
        (Execution::HostBinfmt { interpreter, flags }, _) => {
            by_the_host(platform, interpreter, flags, version)
        }
        (Execution::PrivateBinfmt(emulator), _) => {
            own(platform, &emulator.interpreter, version, "registered for mab alone")
        }
    };
    found.of(platform.to_string())
}

/// What is told of a platform where the sandbox does not start.
pub fn untried(platform: &Platform, is_wanted: bool, why: &str) -> Finding {
    let said = "unavailable: the sandbox does not start";
    let found = match is_wanted {
        false => Finding::note(Check::Platform, said),
        true => {
            let trouble =
                Trouble::new(format!("RUN for {platform} fails"), why, "mab doctor userns ids overlay");
            Finding::bad(Level::Error, Check::Platform, said, trouble)
        }
    };
    found.of(platform.to_string())
}

fn broken(platform: &Platform, execution: &Execution, how: &str, level: Level) -> Finding {
    let (said, remedy) = match execution {
        Execution::HostBinfmt { interpreter, .. } => (
            format!("the host's emulator `{}` does not run programs", interpreter.display()),
            "docker run --privileged --rm tonistiigi/binfmt --install all",
        ),
        Execution::PrivateBinfmt(emulator) => (
            format!("`{}` does not run programs", emulator.interpreter.display()),
            "sudo apt-get install --reinstall qemu-user-static",
        ),
        _ => ("programs do not run".to_string(), "mab doctor userns overlay mounts"),
    };
    let test = format!("the smallest program of {platform}: {how}");
    Finding::bad(
        level,
        Check::Platform,
        said,
        Trouble::new(format!("RUN for {platform} fails"), test, remedy),
    )
}

fn by_the_host(platform: &Platform, interpreter: &Path, flags: &str, version: Option<&str>) -> Finding {
    let found = own(platform, interpreter, version, &format!("registered on the host with flags {flags}"));
    if found.level > Level::Good || flags.contains('C') {
        return found;
    }
    let trouble = Trouble::new(
        "`sudo`, `su` and other setuid programs fail under emulation",
        format!("the entry has flags {flags}, without C"),
        "docker run --privileged --rm tonistiigi/binfmt --install all",
    );
    Finding::bad(Level::Note, Check::Platform, found.said, trouble)
}

fn own(platform: &Platform, interpreter: &Path, version: Option<&str>, way: &str) -> Finding {
    let name = match version {
        Some(version) => format!("qemu {version}"),
        None => format!("`{}`", interpreter.display()),
    };
    let said = format!("emulated by {name}, {way}");
    match version.and_then(|version| known_fault(&platform.architecture, version)) {
        None => Finding::good(Check::Platform, said),
        Some(fault) => {
            let trouble = Trouble::new(
                format!("this version {fault}"),
                format!("`{} --version`", interpreter.display()),
                "install another version of qemu-user-static, or name a folder that has one with MAB_QEMU_DIR",
            );
            Finding::bad(Level::Warning, Check::Platform, said, trouble)
        }
    }
}

fn known_fault(architecture: &str, version: &str) -> Option<&'static str> {
    let mut numbers = version.split('.').map_while(|number| number.parse::<u32>().ok());
    let version = (numbers.next()?, numbers.next().unwrap_or(0));
    let is_known = |known: &&KnownFault| {
        known.architectures.contains(&architecture) && (known.from..known.below).contains(&version)
    };
    KNOWN_FAULTS.iter().find(is_known).map(|known| known.fault)
}

/// Judges the two registries of emulators: the host's, for these platforms, and the one mab makes for itself.
pub fn binfmt(host: &HostFacts, platforms: &[Platform], own: Option<&Failure>) -> Finding {
    let mut entries: Vec<String> = Vec::new();
    let mut unusable: Vec<String> = Vec::new();
    for platform in platforms.iter().filter(|platform| platform.architecture != host.platform.architecture) {
        let Some(entry) = host.entry_for(&platform.architecture) else { continue };
        let named = format!("{} by `{}`", platform.architecture, entry.interpreter.display());
        if !entry.enabled {
            unusable.push(format!("{named} is disabled"));
        } else if !entry.flags.contains('F') {
            unusable.push(format!("{named} lacks flag F, so that it is not found in images"));
        } else {
            entries.push(platform.architecture.clone());
        }
    }
    entries.dedup();
    let hosts = match entries.is_empty() {
        true => "the host has no usable entries".to_string(),
        false => format!("the host has entries for {}", entries.join(", ")),
    };
    let can_own = host.has_private_registry() && own.is_none();
    let said = format!("{hosts}; mab {} register its own", if can_own { "can" } else { "cannot" });
    if can_own || unusable.is_empty() && !entries.is_empty() {
        return Finding::good(Check::Binfmt, said);
    }
    let why = match own {
        Some(failure) => failure.to_string(),
        None => {
            format!("Linux {}.{} has no registry for user namespaces, 6.7 has", host.kernel.0, host.kernel.1)
        }
    };
    let test = unusable.into_iter().chain([why]).collect::<Vec<_>>().join("; ");
    let remedy = "docker run --privileged --rm tonistiigi/binfmt --install all";
    let trouble = Trouble::new("RUN for foreign platforms fails, with `host::emulation`", test, remedy);
    let level = if entries.is_empty() { Level::Warning } else { Level::Note };
    Finding::bad(level, Check::Binfmt, said, trouble)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(flags: &str) -> Execution {
        Execution::HostBinfmt { interpreter: "/usr/bin/qemu".into(), flags: flags.into() }
    }

    #[test]
    fn a_platform_is_native_emulated_or_unavailable() {
        let check = |execution: &Execution, ran: &Ran, version, is_wanted, level, said: &str| {
            let found = platform(&Platform::linux("arm64"), execution, ran, version, is_wanted);
            assert_eq!((found.level, found.said.as_str()), (level, said));
            assert_eq!(found.trouble.is_some(), level > Level::Good);
        };
        let wrong = Ran::Wrong("signal 11 killed it".into());
        let none = Execution::Unavailable { reason: "nothing".into(), remedy: "do".into() };
        check(&Execution::Native, &Ran::Well, None, true, Level::Good, "native");
        check(&none, &Ran::NotTried, None, true, Level::Error, "unavailable");
        check(&none, &Ran::NotTried, None, false, Level::Note, "unavailable");
        let good = "emulated by qemu 7.2.22, registered on the host with flags POCF";
        check(&host("POCF"), &Ran::Well, Some("7.2.22"), true, Level::Good, good);
        let setuid = "emulated by qemu 7.2.22, registered on the host with flags POF";
        check(&host("POF"), &Ran::Well, Some("7.2.22"), true, Level::Note, setuid);
        let faulty = "emulated by qemu 9.2.0, registered on the host with flags F";
        check(&host("F"), &Ran::Well, Some("9.2.0"), true, Level::Warning, faulty);
        let crashes = "the host's emulator `/usr/bin/qemu` does not run programs";
        check(&host("F"), &wrong, None, true, Level::Error, crashes);
    }

    #[test]
    fn faults_are_known_by_architecture_and_version() {
        for (architecture, version, is_known) in [
            ("arm64", "9.2.2", true),
            ("arm64", "10.1.3", true),
            ("arm64", "10.2.0", false),
            ("arm64", "7.2.22", false),
            ("riscv64", "9.2.2", false),
            ("arm", "4.2.1", true),
            ("arm", "5.2.0", false),
            ("arm64", "x", false),
        ] {
            assert_eq!(known_fault(architecture, version).is_some(), is_known, "{architecture} {version}");
        }
    }
}
