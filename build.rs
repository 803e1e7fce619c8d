//! How the program is linked.

use std::env;

/// A release program for glibc stands at a fixed address, as those of other tools of the field do, which are written in
/// Go. Where it may stand anywhere, 50,000 addresses in it are put right at every start, a tenth of an unchanged bake.
/// The price: its own code and data are where everybody can foresee. Libraries, stacks and heaps are not.
fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let is = |name: &str, value: &str| env::var(name).is_ok_and(|found| found == value);
    if is("PROFILE", "release") && is("CARGO_CFG_TARGET_OS", "linux") && is("CARGO_CFG_TARGET_ENV", "gnu") {
        println!("cargo::rustc-link-arg-bin=mab=-no-pie");
    }
}
