//! What a step's process is: its ids, capabilities, limits, and finally its program.

use std::ffi::{CString, OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::io::Errno;
use rustix::process::{Gid, Uid};
use rustix::thread::{CapabilitySet, CapabilitySets};

use super::error::{Doing, Failure, SETTING_A_LIMIT};
use super::request::{Limit, User};
use super::syscall;

/// Docker's default: chown, dac_override, fowner, fsetid, kill, setgid, setuid, setpcap, net_bind_service,
/// net_raw, sys_chroot, mknod, audit_write, setfcap.
pub(super) const DEFAULT_CAPABILITIES: u64 = 0xa804_25fb;
/// What `execve` looks through when the environment has no PATH, as runc does.
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// What a process keeps of its capabilities.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Capabilities {
    /// Docker's. Nothing is inheritable or ambient, as with Docker since CVE-2022-24769, so that a user other
    /// than root loses them all at exec.
    Default,
    /// All, whoever the user is.
    All,
}

/// Becomes the user with no more than these capabilities.
pub(super) fn become_user(user: &User, kept: Capabilities) -> Result<(), Failure> {
    let capabilities = match kept {
        Capabilities::Default => DEFAULT_CAPABILITIES,
        Capabilities::All => u64::MAX,
    };
    drop_from_bounding_set(capabilities).doing(|| "limit capabilities".into())?;
    rustix::thread::set_keep_capabilities(true).doing(|| "keep capabilities".into())?;
    let groups: Vec<Gid> = user.groups.iter().map(|&gid| Gid::from_raw(gid)).collect();
    match rustix::thread::set_thread_groups(&groups) {
        // In a single-id map groups cannot be set, and there are none to drop that would mean anything.
        Err(Errno::PERM) if user.groups.iter().all(|gid| *gid == user.gid) => {}
        set => set.doing(|| "set supplementary groups".into())?,
    }
    let (uid, gid) = (Uid::from_raw(user.uid), Gid::from_raw(user.gid));
    rustix::thread::set_thread_res_gid(gid, gid, gid).doing(|| format!("become group {}", user.gid))?;
    rustix::thread::set_thread_res_uid(uid, uid, uid).doing(|| format!("become user {}", user.uid))?;
    rustix::thread::set_keep_capabilities(false).doing(|| "keep capabilities".into())?;
    let held = rustix::thread::capabilities(None).doing(|| "read capabilities".into())?;
    let wanted = CapabilitySet::from_bits_retain(capabilities) & held.permitted;
    let inheritable = match kept {
        Capabilities::Default => CapabilitySet::empty(),
        Capabilities::All => wanted,
    };
    let sets = CapabilitySets { effective: wanted, permitted: wanted, inheritable };
    rustix::thread::set_capabilities(None, sets).doing(|| "set capabilities".into())?;
    for capability in inheritable.iter() {
        rustix::thread::configure_capability_in_ambient_set(capability, true)
            .doing(|| "keep capabilities".into())?;
    }
    Ok(())
}

fn drop_from_bounding_set(kept: u64) -> Result<(), Errno> {
    for bit in (0..64).map(|number| 1u64 << number).filter(|bit| kept & bit == 0) {
        match rustix::thread::remove_capability_from_bounding_set(CapabilitySet::from_bits_retain(bit)) {
            // The kernel knows no further ones.
            Err(Errno::INVAL) => return Ok(()),
            removed => removed?,
        }
    }
    Ok(())
}

/// What an ordinary user may not go beyond.
fn beyond(resource: u32) -> Option<String> {
    let limit = syscall::hard_limit(resource).ok()?;
    Some(format!("it is at most {limit} here"))
}

/// Sets limits by their Docker names.
pub(super) fn set_limits(limits: &[Limit]) -> Result<(), Failure> {
    for limit in limits {
        let Some(resource) = resource(&limit.name) else {
            return Err(Failure::new(format!("{SETTING_A_LIMIT}{}`", limit.name), "there is no such limit"));
        };
        let value = |value: Option<u64>| value.unwrap_or(u64::MAX);
        syscall::set_limit(resource, value(limit.soft), value(limit.hard)).map_err(|error| {
            let is_beyond = error.raw_os_error() == Some(libc::EPERM);
            Failure {
                action: format!("{SETTING_A_LIMIT}{}`", limit.name),
                errno: error.raw_os_error(),
                detail: is_beyond.then(|| beyond(resource)).flatten(),
            }
        })?;
    }
    Ok(())
}

#[expect(clippy::unnecessary_cast, reason = "the constants' type differs between C libraries")]
fn resource(name: &str) -> Option<u32> {
    Some(match name {
        "core" => libc::RLIMIT_CORE,
        "cpu" => libc::RLIMIT_CPU,
        "data" => libc::RLIMIT_DATA,
        "fsize" => libc::RLIMIT_FSIZE,
        "locks" => libc::RLIMIT_LOCKS,
        "memlock" => libc::RLIMIT_MEMLOCK,
        "msgqueue" => libc::RLIMIT_MSGQUEUE,
        "nice" => libc::RLIMIT_NICE,
        "nofile" => libc::RLIMIT_NOFILE,
        "nproc" => libc::RLIMIT_NPROC,
        "rss" => libc::RLIMIT_RSS,
        "rtprio" => libc::RLIMIT_RTPRIO,
        "rttime" => libc::RLIMIT_RTTIME,
        "sigpending" => libc::RLIMIT_SIGPENDING,
        "stack" => libc::RLIMIT_STACK,
        _ => return None,
    } as u32)
}

/// Goes to the working directory, making it if it is missing.
pub(super) fn enter_directory(path: &Path) -> Result<(), Failure> {
    let action = || format!("enter the working directory `{}`", path.display());
    match rustix::process::chdir(path) {
        Err(Errno::NOENT) => {
            std::fs::create_dir_all(path).doing(action)?;
            rustix::process::chdir(path).doing(action)
        }
        entered => entered.doing(action),
    }
}

/// Executes the program; returns only what went wrong.
pub(super) fn execute(argv: &[OsString], env: &[(OsString, OsString)]) -> Failure {
    let Some(name) = argv.first() else { return Failure::new("run a command", "it is empty") };
    let action = format!("run `{}`", name.to_string_lossy());
    let Some(arguments) = argv.iter().map(|text| c_string(text)).collect::<Option<Vec<_>>>() else {
        return Failure::new(action, "an argument has a zero byte");
    };
    let variable = |(name, value): &(OsString, OsString)| {
        let mut text = name.clone();
        text.push("=");
        text.push(value);
        c_string(&text)
    };
    let Some(variables) = env.iter().map(variable).collect::<Option<Vec<_>>>() else {
        return Failure::new(action, "an environment variable has a zero byte");
    };
    let mut last = Errno::NOENT.into();
    for path in candidates(name, env) {
        let Some(path) = c_string(path.as_os_str()) else { continue };
        let error = syscall::execve(&path, &arguments, &variables);
        let not_this_one = [libc::ENOENT, libc::ENOTDIR].contains(&error.raw_os_error().unwrap_or(0));
        if !not_this_one {
            last = error;
        }
        if !not_this_one && error_ends_search(&last) {
            break;
        }
    }
    match Err::<(), _>(last).doing(|| action) {
        Err(failure) => failure,
        Ok(()) => Failure::new("run a command", "it ended strangely"),
    }
}

/// As execvp(3): what may not be executed is passed over, anything else ends the search.
fn error_ends_search(error: &std::io::Error) -> bool {
    error.raw_os_error() != Some(libc::EACCES)
}

/// The files that may be meant by a program's name.
fn candidates(name: &OsStr, env: &[(OsString, OsString)]) -> Vec<PathBuf> {
    if name.as_bytes().contains(&b'/') {
        return vec![name.into()];
    }
    let path = env.iter().rev().find(|(variable, _)| variable == "PATH").map(|(_, value)| value.as_os_str());
    let path = path.unwrap_or(OsStr::new(DEFAULT_PATH));
    path.as_bytes()
        .split(|&byte| byte == b':')
        .map(|folder| if folder.is_empty() { Path::new(".") } else { Path::new(OsStr::from_bytes(folder)) })
        .map(|folder| folder.join(name))
        .collect()
}

fn c_string(text: &OsStr) -> Option<CString> {
    CString::new(text.as_bytes()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_are_looked_up_in_the_steps_own_path() {
        let env = [("PATH".into(), "/a::/b".into()), ("X".into(), "y".into())];
        let found = |name: &str, env: &[(OsString, OsString)]| {
            candidates(OsStr::new(name), env).iter().map(|p| p.display().to_string()).collect::<Vec<_>>()
        };
        assert_eq!(found("sh", &env), ["/a/sh", "./sh", "/b/sh"]);
        assert_eq!(found("./sh", &env), ["./sh"]);
        assert_eq!(found("sh", &[]).len(), 6);
    }

    #[test]
    fn the_default_capabilities_are_dockers_fourteen() {
        assert_eq!(DEFAULT_CAPABILITIES.count_ones(), 14);
        let never = CapabilitySet::SYS_ADMIN | CapabilitySet::SYS_PTRACE | CapabilitySet::NET_ADMIN;
        assert!(!CapabilitySet::from_bits_retain(DEFAULT_CAPABILITIES).intersects(never));
    }
}
