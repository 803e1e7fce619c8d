//! System calls that rustix does not offer, each with the reason its `unsafe` is sound.
//!
//! All of them are made by the helper process, which has one thread.

use std::io;
use std::os::fd::{AsFd, AsRawFd};

/// Both sides of a fork.
pub(super) enum Fork {
    Child,
    /// The child's process id, as this process sees it.
    Parent(i32),
}

/// Forks this single-threaded process, the child in the new namespaces of `flags` (`CLONE_NEW…`).
pub(super) fn fork_into(flags: i32) -> io::Result<Fork> {
    #[repr(C)]
    #[derive(Default)]
    struct CloneArguments {
        flags: u64,
        pidfd: u64,
        child_tid: u64,
        parent_tid: u64,
        exit_signal: u64,
        stack: u64,
        stack_size: u64,
        tls: u64,
    }
    let arguments = CloneArguments {
        flags: flags as u32 as u64,
        exit_signal: libc::SIGCHLD as u64,
        ..Default::default()
    };
    // SAFETY: without CLONE_VM this is fork: the child has its own copy of all memory, and since no other thread
    // exists, no lock can be held in it. The structure outlives the call and has the size told.
    let pid = unsafe { libc::syscall(libc::SYS_clone3, &arguments, size_of::<CloneArguments>()) };
    match pid {
        0 => Ok(Fork::Child),
        pid if pid > 0 => Ok(Fork::Parent(pid as i32)),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Moves this process (its children, for pid namespaces) into new namespaces.
pub(super) fn unshare(flags: i32) -> io::Result<()> {
    // SAFETY: takes no pointers; namespace flags do not unshare memory or descriptors.
    check(unsafe { libc::unshare(flags) })
}

/// A child that ended: its id, its wait status, and what it used.
pub(super) struct Reaped {
    pub pid: i32,
    pub status: i32,
    pub usage: libc::rusage,
}

/// One ended child, if there is one.
pub(super) fn reap() -> Option<Reaped> {
    let mut status = 0;
    // SAFETY: all-zero is a valid `rusage`, a structure of integers.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    // SAFETY: both pointers are to live, writable values of the right type.
    let pid = unsafe { libc::wait4(-1, &mut status, libc::WNOHANG, &mut usage) };
    (pid > 0).then_some(Reaped { pid, status, usage })
}

/// Waits until this child, the only one, ends.
pub(super) fn wait_with_usage(pid: i32) -> io::Result<Reaped> {
    let mut status = 0;
    // SAFETY: all-zero is a valid `rusage`, a structure of integers.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    loop {
        // SAFETY: both pointers are to live, writable values of the right type.
        if unsafe { libc::wait4(pid, &mut status, 0, &mut usage) } == pid {
            return Ok(Reaped { pid, status, usage });
        }
        let error = io::Error::last_os_error();
        if error.kind() != io::ErrorKind::Interrupted {
            return Err(error);
        }
    }
}

/// Waits until this child ends, and gives its wait status.
pub(super) fn wait_for(pid: i32) -> io::Result<i32> {
    let mut status = 0;
    loop {
        // SAFETY: the pointer is to a live integer.
        if unsafe { libc::waitpid(pid, &mut status, 0) } == pid {
            return Ok(status);
        }
        let error = io::Error::last_os_error();
        if error.kind() != io::ErrorKind::Interrupted {
            return Err(error);
        }
    }
}

pub(super) fn kill(pid: i32) {
    signal(pid, libc::SIGKILL);
}

/// Sends a signal to a child that was not reaped yet.
pub(super) fn signal(pid: i32, number: i32) {
    // SAFETY: takes no pointers. The child is not reaped yet, so its id cannot be another's.
    unsafe { libc::kill(pid, number) };
}

/// Ends the process without running anything of the parent's copy.
pub(super) fn exit_now(code: i32) -> ! {
    // SAFETY: takes no pointers and does not return.
    unsafe { libc::_exit(code) }
}

/// A descriptor that becomes readable when a child ends; SIGCHLD is blocked from here on.
pub(super) fn child_events() -> io::Result<std::os::fd::OwnedFd> {
    // SAFETY: all-zero is a valid signal set, which is initialised next; the pointers are to it.
    let descriptor = unsafe {
        let mut set: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&mut set);
        libc::sigaddset(&mut set, libc::SIGCHLD);
        check(libc::sigprocmask(libc::SIG_BLOCK, &set, std::ptr::null_mut()))?;
        libc::signalfd(-1, &set, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK)
    };
    check(descriptor)?;
    // SAFETY: the kernel just gave us this descriptor, and nobody else has it.
    Ok(unsafe { std::os::fd::FromRawFd::from_raw_fd(descriptor) })
}

/// Every signal at its default action and none blocked, as a fresh login has it.
pub(super) fn reset_signals() {
    // SAFETY: the default action runs no code of ours; numbers out of range are refused harmlessly.
    unsafe {
        for signal in 1..=64 {
            libc::signal(signal, libc::SIG_DFL);
        }
        let mut set: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&mut set);
        libc::sigprocmask(libc::SIG_SETMASK, &set, std::ptr::null_mut());
    }
}

/// Adds mount attributes (`MOUNT_ATTR_…`) to the mount behind a descriptor, and to those below it.
pub(super) fn set_mount_attributes(mount: impl AsFd, attributes: u64, recursive: bool) -> io::Result<()> {
    #[repr(C)]
    struct MountAttributes {
        set: u64,
        clear: u64,
        propagation: u64,
        user_namespace: u64,
    }
    let change = MountAttributes { set: attributes, clear: 0, propagation: 0, user_namespace: 0 };
    let flags = libc::AT_EMPTY_PATH | if recursive { libc::AT_RECURSIVE } else { 0 };
    // SAFETY: the path is a C string, the structure outlives the call and has the size told.
    let result = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            mount.as_fd().as_raw_fd(),
            c"".as_ptr(),
            flags,
            &change,
            size_of::<MountAttributes>(),
        )
    };
    check(result as i32)
}

/// Marks every descriptor from 3 up to be closed by the next exec.
pub(super) fn close_on_exec_from_3() -> io::Result<()> {
    // SAFETY: takes no pointers; only sets a flag.
    check(unsafe { libc::syscall(libc::SYS_close_range, 3, libc::c_uint::MAX, libc::CLOSE_RANGE_CLOEXEC) }
        as i32)
}

/// Installs a system call filter. The caller has CAP_SYS_ADMIN in its user namespace.
pub(super) fn install_filter(program: &[libc::sock_filter]) -> io::Result<()> {
    let length = u16::try_from(program.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
    let program = libc::sock_fprog { len: length, filter: program.as_ptr().cast_mut() };
    // SAFETY: the kernel copies `len` instructions from the pointer and writes nothing.
    let result = unsafe { libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, 0, &program) };
    check(result as i32)
}

/// Replaces the program. Returns only when that failed.
pub(super) fn execve(
    path: &std::ffi::CStr,
    argv: &[std::ffi::CString],
    env: &[std::ffi::CString],
) -> io::Error {
    let pointers = |list: &[std::ffi::CString]| {
        let mut pointers: Vec<*const libc::c_char> = list.iter().map(|text| text.as_ptr()).collect();
        pointers.push(std::ptr::null());
        pointers
    };
    let (argv, env) = (pointers(argv), pointers(env));
    // SAFETY: three null-terminated things whose strings outlive the call.
    unsafe { libc::execve(path.as_ptr(), argv.as_ptr(), env.as_ptr()) };
    io::Error::last_os_error()
}

/// Sets the up flag of the loopback interface of this network namespace.
pub(super) fn loopback_up() -> io::Result<()> {
    let socket = rustix::net::socket_with(
        rustix::net::AddressFamily::INET,
        rustix::net::SocketType::DGRAM,
        rustix::net::SocketFlags::CLOEXEC,
        None,
    )?;
    // SAFETY: all-zero is a valid `ifreq`.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(b"lo") {
        *to = *from as libc::c_char;
    }
    request.ifr_ifru.ifru_flags = (libc::IFF_UP | libc::IFF_RUNNING) as libc::c_short;
    // SAFETY: SIOCSIFFLAGS reads an `ifreq`, which is live.
    check(unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS as _, &request) })
}

pub(super) fn set_limit(resource: u32, soft: u64, hard: u64) -> io::Result<()> {
    let limit = libc::rlimit64 { rlim_cur: soft, rlim_max: hard };
    // SAFETY: the structure is live and only read.
    check(unsafe { libc::syscall(libc::SYS_prlimit64, 0, resource, &limit, std::ptr::null::<u8>()) } as i32)
}

pub(super) fn hard_limit(resource: u32) -> io::Result<u64> {
    let mut limit = libc::rlimit64 { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the structure is live and only written.
    check(
        unsafe { libc::syscall(libc::SYS_prlimit64, 0, resource, std::ptr::null::<u8>(), &mut limit) } as i32
    )?;
    Ok(limit.rlim_max)
}

fn check(result: i32) -> io::Result<()> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
