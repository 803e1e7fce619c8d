//! The system call filter of a step, a classic BPF program made here.
//!
//! One program holds a section for the native architecture and one for the 32-bit one that the same kernel runs
//! (386 on amd64, arm on arm64): a filter that knew only the native one would have to kill those images' steps.
//! Any other architecture is killed. Within a section the filter allows by default, refuses what Docker's
//! profile refuses, and answers ENOSYS to numbers newer than the table, so that C libraries fall back.

use super::seccomp_table::{Abi, CLONE, CLONE3, DENIED, PERSONALITY, SOCKET, number};

/// `AUDIT_ARCH_…` of the kernel's `linux/audit.h`.
const fn audit_architecture(abi: Abi) -> u32 {
    match abi {
        Abi::X86_64 => 0xc000_003e,
        Abi::I386 => 0x4000_0003,
        Abi::Aarch64 => 0xc000_00b7,
        Abi::Arm => 0x4000_0028,
        Abi::Riscv64 => 0xc000_00f3,
        Abi::S390x => 0x8000_0016,
        Abi::Powerpc64 => 0xc000_0015,
    }
}

/// The first number nobody had when the table was made (Linux 6.18).
const FIRST_UNKNOWN: u32 = 471;
/// arm has private calls far above the common ones.
const ARM_PRIVATE: u32 = 0x000f_0000;

/// Every `CLONE_NEW…` flag that `clone` can be given.
const NEW_NAMESPACES: u32 = 0x7e02_0000;
/// Linux, BSD-like and 32-bit `uname`, and the question which one it is: Docker's list.
const PERSONALITIES: [u32; 5] = [0, 8, 0x2_0000, 0x2_0008, 0xffff_ffff];
const AF_VSOCK: u32 = 40;

const ALLOW: u32 = 0x7fff_0000;
const KILL_PROCESS: u32 = 0x8000_0000;
const fn error(number: i32) -> u32 {
    0x0005_0000 | number as u32
}

/// Offsets in `struct seccomp_data`.
const AT_NUMBER: u32 = 0;
const AT_ARCHITECTURE: u32 = 4;

/// The lower half of an argument, which is all that flags and families use.
const fn at_argument(index: u32) -> u32 {
    16 + 8 * index + if cfg!(target_endian = "big") { 4 } else { 0 }
}

const LOAD: u16 = 0x20;
const JUMP_EQUAL: u16 = 0x15;
const JUMP_AT_LEAST: u16 = 0x35;
const JUMP_ANY_BIT: u16 = 0x45;
const JUMP: u16 = 0x05;
const RETURN: u16 = 0x06;

fn instruction(code: u16, jt: u8, jf: u8, k: u32) -> libc::sock_filter {
    libc::sock_filter { code, jt, jf, k }
}

/// The filter for what this kernel runs natively.
pub(super) fn program_for_this_machine() -> Vec<libc::sock_filter> {
    program(native_abis())
}

const fn native_abis() -> &'static [Abi] {
    if cfg!(target_arch = "x86_64") {
        &[Abi::X86_64, Abi::I386]
    } else if cfg!(target_arch = "aarch64") {
        &[Abi::Aarch64, Abi::Arm]
    } else if cfg!(target_arch = "riscv64") {
        &[Abi::Riscv64]
    } else if cfg!(target_arch = "s390x") {
        &[Abi::S390x]
    } else if cfg!(target_arch = "powerpc64") {
        &[Abi::Powerpc64]
    } else {
        &[]
    }
}

fn program(abis: &[Abi]) -> Vec<libc::sock_filter> {
    if abis.is_empty() {
        // An architecture without a table: capabilities and namespaces have to do.
        return vec![instruction(RETURN, 0, 0, ALLOW)];
    }
    let mut program = vec![instruction(LOAD, 0, 0, AT_ARCHITECTURE)];
    for &abi in abis {
        let section = section(abi);
        // A conditional jump reaches 255 instructions, an unconditional one everything.
        program.push(instruction(JUMP_EQUAL, 1, 0, audit_architecture(abi)));
        program.push(instruction(JUMP, 0, 0, section.len() as u32));
        program.extend(section);
    }
    program.push(instruction(RETURN, 0, 0, KILL_PROCESS));
    program
}

/// What one architecture's system calls come to. Every path through it returns.
fn section(abi: Abi) -> Vec<libc::sock_filter> {
    let mut code = vec![instruction(LOAD, 0, 0, AT_NUMBER)];
    let above = |code: &mut Vec<_>, limit: u32, answer: u32| {
        code.push(instruction(JUMP_AT_LEAST, 0, 1, limit));
        code.push(instruction(RETURN, 0, 0, answer));
    };
    if abi == Abi::Arm {
        above(&mut code, ARM_PRIVATE, ALLOW);
    }
    // On x86-64 this refuses x32 as well.
    above(&mut code, FIRST_UNKNOWN, error(libc::ENOSYS));
    if let Some(clone3) = number(&CLONE3, abi) {
        code.push(instruction(JUMP_EQUAL, 0, 1, clone3));
        code.push(instruction(RETURN, 0, 0, error(libc::ENOSYS)));
    }
    for (numbers, test) in
        [(&CLONE, clone_test(abi)), (&PERSONALITY, personality_test()), (&SOCKET, socket_test())]
    {
        if let Some(conditional) = number(numbers, abi) {
            code.push(instruction(JUMP_EQUAL, 0, test.len() as u8, conditional));
            code.extend(test);
        }
    }
    code.extend(denied(abi));
    code
}

fn clone_test(abi: Abi) -> Vec<libc::sock_filter> {
    let flags = if abi == Abi::S390x { 1 } else { 0 };
    vec![
        instruction(LOAD, 0, 0, at_argument(flags)),
        instruction(JUMP_ANY_BIT, 0, 1, NEW_NAMESPACES),
        instruction(RETURN, 0, 0, error(libc::EPERM)),
        instruction(RETURN, 0, 0, ALLOW),
    ]
}

fn personality_test() -> Vec<libc::sock_filter> {
    let mut test = vec![instruction(LOAD, 0, 0, at_argument(0))];
    for personality in PERSONALITIES {
        test.push(instruction(JUMP_EQUAL, 0, 1, personality));
        test.push(instruction(RETURN, 0, 0, ALLOW));
    }
    test.push(instruction(RETURN, 0, 0, error(libc::EPERM)));
    test
}

fn socket_test() -> Vec<libc::sock_filter> {
    vec![
        instruction(LOAD, 0, 0, at_argument(0)),
        instruction(JUMP_EQUAL, 0, 1, AF_VSOCK),
        instruction(RETURN, 0, 0, error(libc::EPERM)),
        instruction(RETURN, 0, 0, ALLOW),
    ]
}

/// All unconditional refusals, sharing one answer at the end.
fn denied(abi: Abi) -> Vec<libc::sock_filter> {
    let mut numbers: Vec<u32> = DENIED.iter().filter_map(|(_, numbers)| number(numbers, abi)).collect();
    numbers.sort_unstable();
    numbers.dedup();
    let count = numbers.len();
    let mut code = Vec::with_capacity(count + 2);
    for (index, denied) in numbers.into_iter().enumerate() {
        // Over the remaining comparisons and the answer "allow".
        let distance = u8::try_from(count - index).expect("the table is far shorter than 255");
        code.push(instruction(JUMP_EQUAL, distance, 0, denied));
    }
    code.push(instruction(RETURN, 0, 0, ALLOW));
    code.push(instruction(RETURN, 0, 0, error(libc::EPERM)));
    code
}

#[cfg(test)]
mod tests {
    use super::*;

    const ABIS: [Abi; 7] =
        [Abi::X86_64, Abi::I386, Abi::Aarch64, Abi::Arm, Abi::Riscv64, Abi::S390x, Abi::Powerpc64];

    /// Runs a filter as the kernel does; a jump out of the program panics.
    fn run(program: &[libc::sock_filter], architecture: u32, call: u32, arguments: &[u32]) -> u32 {
        let (mut at, mut accumulator) = (0, 0);
        let argument = |offset: u32| {
            (0..6)
                .find(|&index| at_argument(index) == offset)
                .map(|i| arguments.get(i as usize).copied().unwrap_or(0))
        };
        loop {
            let libc::sock_filter { code, jt, jf, k } = program[at];
            let jump = |taken: bool| usize::from(if taken { jt } else { jf });
            at += 1;
            match code {
                LOAD => {
                    accumulator = match k {
                        AT_NUMBER => call,
                        AT_ARCHITECTURE => architecture,
                        offset => argument(offset).unwrap(),
                    }
                }
                JUMP_EQUAL => at += jump(accumulator == k),
                JUMP_AT_LEAST => at += jump(accumulator >= k),
                JUMP_ANY_BIT => at += jump(accumulator & k != 0),
                JUMP => at += k as usize,
                RETURN => return k,
                other => panic!("instruction {other:#x}"),
            }
        }
    }

    fn check(abi: Abi, call: u32, arguments: &[u32], expected: u32) {
        let program = program(&ABIS);
        let found = run(&program, audit_architecture(abi), call, arguments);
        assert_eq!(found, expected, "{abi:?} call {call} with {arguments:?}");
    }

    #[test]
    fn denied_calls_are_refused_on_every_architecture() {
        for abi in ABIS {
            for (name, numbers) in DENIED {
                if let Some(call) = number(numbers, abi) {
                    assert!(call < FIRST_UNKNOWN, "{name}");
                    check(abi, call, &[], error(libc::EPERM));
                }
            }
            assert!(DENIED.iter().filter(|(_, numbers)| number(numbers, abi).is_some()).count() > 50);
        }
    }

    #[test]
    fn everyday_calls_are_allowed() {
        for (abi, calls) in [
            // read, write, mmap, execve, chown, setuid, prctl, ptrace, openat2, futex_waitv
            (Abi::X86_64, &[0, 1, 9, 59, 92, 105, 157, 101, 437, 449][..]),
            (Abi::I386, &[3, 4, 90, 11, 192, 26, 102, 437]),
            (Abi::Aarch64, &[63, 64, 222, 221, 54, 117, 437]),
            (Abi::Arm, &[3, 4, 11, 192, 0x000f_0005, 0x000f_0002]),
        ] {
            for &call in calls {
                check(abi, call, &[], ALLOW);
            }
        }
    }

    #[test]
    fn conditional_calls_depend_on_their_arguments() {
        let fork = (libc::CLONE_CHILD_SETTID | libc::SIGCHLD) as u32;
        let namespace = (libc::CLONE_NEWUSER | libc::SIGCHLD) as u32;
        for (call, arguments, expected) in [
            (56, &[fork][..], ALLOW),
            (56, &[namespace], error(libc::EPERM)),
            (56, &[libc::CLONE_NEWNET as u32], error(libc::EPERM)),
            (435, &[0], error(libc::ENOSYS)),
            (135, &[0xffff_ffff], ALLOW),
            (135, &[0x0004_0000], error(libc::EPERM)),
            (41, &[libc::AF_INET as u32], ALLOW),
            (41, &[AF_VSOCK], error(libc::EPERM)),
        ] {
            check(Abi::X86_64, call, arguments, expected);
        }
        check(Abi::S390x, 120, &[namespace, 0], ALLOW);
        check(Abi::S390x, 120, &[0, namespace], error(libc::EPERM));
    }

    #[test]
    fn unknown_numbers_and_architectures_do_not_pass() {
        check(Abi::X86_64, FIRST_UNKNOWN, &[], error(libc::ENOSYS));
        // The variant with 32-bit pointers, which sets this bit.
        check(Abi::X86_64, 0x4000_0001, &[], error(libc::ENOSYS));
        check(Abi::Aarch64, u32::MAX, &[], error(libc::ENOSYS));
        let native = program(&[Abi::X86_64, Abi::I386]);
        assert_eq!(run(&native, audit_architecture(Abi::Aarch64), 63, &[]), KILL_PROCESS);
    }

    #[cfg(target_arch = "x86_64")]
    #[test]
    fn the_table_agrees_with_this_machines_headers() {
        let known = [
            ("mount", libc::SYS_mount),
            ("bpf", libc::SYS_bpf),
            ("unshare", libc::SYS_unshare),
            ("open_by_handle_at", libc::SYS_open_by_handle_at),
            ("userfaultfd", libc::SYS_userfaultfd),
            ("quotactl_fd", libc::SYS_quotactl_fd),
        ];
        for (name, expected) in known {
            let (_, numbers) = DENIED.iter().find(|(known, _)| *known == name).unwrap();
            assert_eq!(number(numbers, Abi::X86_64).map(i64::from), Some(expected), "{name}");
        }
    }
}
