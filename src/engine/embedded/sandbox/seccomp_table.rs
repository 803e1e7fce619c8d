//! System calls a step may not make, by their numbers on every architecture.
//!
//! Docker's default profile lists what is allowed; this is what it leaves out (with Docker's default
//! capabilities), so that a system call newer than the table is not forgotten by accident: see
//! [`super::seccomp`], which refuses those numbers altogether. Numbers are the kernel's, from its
//! `syscall*.tbl` files.

/// The order of the columns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Abi {
    X86_64,
    I386,
    Aarch64,
    Arm,
    Riscv64,
    S390x,
    Powerpc64,
}

/// A system call's numbers, one per [`Abi`].
pub(super) type Numbers = [Option<u32>; 7];

pub(super) fn number(numbers: &Numbers, abi: Abi) -> Option<u32> {
    numbers[abi as usize]
}

/// Reads better than `Some` seven times in every line.
const fn row(numbers: [i32; 7]) -> Numbers {
    let mut row = [None; 7];
    let mut index = 0;
    while index < row.len() {
        if numbers[index] != N {
            row[index] = Some(numbers[index] as u32);
        }
        index += 1;
    }
    row
}

/// The architecture does not have it.
const N: i32 = -1;

/// Refused with EPERM.
#[rustfmt::skip]
pub(super) const DENIED: &[(&str, Numbers)] = &[
    ("_sysctl", row([156, 149, N, 149, N, 149, 149])),
    ("acct", row([163, 51, 89, 51, 89, 51, 51])),
    ("add_key", row([248, 286, 217, 309, 217, 278, 269])),
    ("bpf", row([321, 357, 280, 386, 280, 351, 361])),
    ("clock_settime", row([227, 264, 112, 262, 112, 259, 245])),
    ("clock_settime64", row([N, 404, N, 404, N, N, N])),
    ("delete_module", row([176, 129, 106, 129, 106, 129, 129])),
    ("fanotify_init", row([300, 338, 262, 367, 262, 332, 323])),
    ("finit_module", row([313, 350, 273, 379, 273, 344, 353])),
    ("fsconfig", row([431, 431, 431, 431, 431, 431, 431])),
    ("fsmount", row([432, 432, 432, 432, 432, 432, 432])),
    ("fsopen", row([430, 430, 430, 430, 430, 430, 430])),
    ("fspick", row([433, 433, 433, 433, 433, 433, 433])),
    ("get_mempolicy", row([239, 275, 236, 320, 236, 269, 260])),
    ("init_module", row([175, 128, 105, 128, 105, 128, 128])),
    ("io_uring_enter", row([426, 426, 426, 426, 426, 426, 426])),
    ("io_uring_register", row([427, 427, 427, 427, 427, 427, 427])),
    ("io_uring_setup", row([425, 425, 425, 425, 425, 425, 425])),
    ("ioperm", row([173, 101, N, N, N, N, 101])),
    ("iopl", row([172, 110, N, N, N, N, 110])),
    ("kcmp", row([312, 349, 272, 378, 272, 343, 354])),
    ("kexec_file_load", row([320, N, 294, 401, N, 381, 382])),
    ("kexec_load", row([246, 283, 104, 347, 104, 277, 268])),
    ("keyctl", row([250, 288, 219, 311, 219, 280, 271])),
    ("lookup_dcookie", row([212, 253, 18, 249, 18, 110, 235])),
    ("lsm_set_self_attr", row([460, 460, 460, 460, 460, 460, 460])),
    ("mbind", row([237, 274, 235, 319, 235, 268, 259])),
    ("migrate_pages", row([256, 294, 238, 400, 238, 287, 258])),
    ("mount", row([165, 21, 40, 21, 40, 21, 21])),
    ("mount_setattr", row([442, 442, 442, 442, 442, 442, 442])),
    ("move_mount", row([429, 429, 429, 429, 429, 429, 429])),
    ("move_pages", row([279, 317, 239, 344, 239, 310, 301])),
    ("nfsservctl", row([180, 169, 42, 169, 42, 169, 168])),
    ("open_by_handle_at", row([304, 342, 265, 371, 265, 336, 346])),
    ("open_tree", row([428, 428, 428, 428, 428, 428, 428])),
    ("open_tree_attr", row([467, 467, 467, 467, 467, 467, 467])),
    ("perf_event_open", row([298, 336, 241, 364, 241, 331, 319])),
    ("pidfd_getfd", row([438, 438, 438, 438, 438, 438, 438])),
    ("pivot_root", row([155, 217, 41, 218, 41, 217, 203])),
    ("process_madvise", row([440, 440, 440, 440, 440, 440, 440])),
    ("quotactl", row([179, 131, 60, 131, 60, 131, 131])),
    ("quotactl_fd", row([443, 443, 443, 443, 443, 443, 443])),
    ("reboot", row([169, 88, 142, 88, 142, 88, 88])),
    ("request_key", row([249, 287, 218, 310, 218, 279, 270])),
    ("set_mempolicy", row([238, 276, 237, 321, 237, 270, 261])),
    ("set_mempolicy_home_node", row([450, 450, 450, 450, 450, 450, 450])),
    ("setdomainname", row([171, 121, 162, 121, 162, 121, 121])),
    ("sethostname", row([170, 74, 161, 74, 161, 74, 74])),
    ("setns", row([308, 346, 268, 375, 268, 339, 350])),
    ("settimeofday", row([164, 79, 170, 79, 170, 79, 79])),
    ("stime", row([N, 25, N, N, N, N, 25])),
    ("swapoff", row([168, 115, 225, 115, 225, 115, 115])),
    ("swapon", row([167, 87, 224, 87, 224, 87, 87])),
    ("sysfs", row([139, 135, N, 135, N, 135, 135])),
    ("syslog", row([103, 103, 116, 103, 116, 103, 103])),
    ("umount", row([N, 22, N, N, N, 22, 22])),
    ("umount2", row([166, 52, 39, 52, 39, 52, 52])),
    ("unshare", row([272, 310, 97, 337, 97, 303, 282])),
    ("uselib", row([134, 86, N, 86, N, 86, 86])),
    ("userfaultfd", row([323, 374, 282, 388, 282, 355, 364])),
    ("ustat", row([136, 62, N, 62, N, 62, 62])),
    ("vhangup", row([153, 111, 58, 111, 58, 111, 111])),
    ("vm86", row([N, 166, N, N, N, N, 113])),
    ("vm86old", row([N, 113, N, N, N, N, N])),
];

/// Refused with EPERM when it asks for a new namespace.
pub(super) const CLONE: Numbers = row([56, 120, 220, 120, 220, 120, 120]);
/// Refused with ENOSYS, as its arguments cannot be seen; C libraries then use `clone`.
pub(super) const CLONE3: Numbers = row([435, 435, 435, 435, 435, 435, 435]);
/// Refused but for the personalities that change nothing.
pub(super) const PERSONALITY: Numbers = row([135, 136, 92, 136, 92, 136, 136]);
/// Refused for virtual machine sockets, which reach the hypervisor.
pub(super) const SOCKET: Numbers = row([41, 359, 198, 281, 198, 359, 326]);
