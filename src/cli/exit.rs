//! Exit codes, which are interface.
//!
//! | code | meaning |
//! |---|---|
//! | 0 | done |
//! | 1 | a build step or a test failed, or an image does not pass verification; of `mab diff`: there are differences |
//! | 2 | wrong input: arguments, build file, Dockerfile, context, base image |
//! | 3 | the machine cannot do it: namespaces, emulator, disk, store |
//! | 4 | a registry or another remote did not do its part |
//! | 70 | mab itself is wrong |
//! | 130 | interrupted |

use std::process::ExitCode;

use crate::diag::Kind;

/// The answer of `mab diff` where there are differences, as `diff` gives it.
pub const DIFFERENT: u8 = 1;

pub fn of_kind(kind: Kind) -> ExitCode {
    ExitCode::from(match kind {
        Kind::Build => 1,
        Kind::Input => 2,
        Kind::Host => 3,
        Kind::Remote => 4,
        Kind::Bug => 70,
        Kind::Interrupted => 130,
    })
}

/// The kind that decides when there are several: what `mab` is to blame for first, a failed step last.
pub fn worst(kinds: impl Iterator<Item = Kind>) -> Kind {
    let weight = |kind: &Kind| match kind {
        Kind::Build => 0,
        Kind::Input => 1,
        Kind::Remote => 2,
        Kind::Host => 3,
        Kind::Interrupted => 4,
        Kind::Bug => 5,
    };
    kinds.max_by_key(weight).unwrap_or(Kind::Bug)
}
