//! Build files that ask for too much: each ends in an error that says what the bound is, in little memory, and
//! little is said about it. What is in memory is counted, which is why they are tried one after the other.
//!
//! How long each takes is printed: `cargo test --release --test hostile -- --nocapture`. It is to be less than a
//! second, which no test asserts.

mod compose;
mod files;
mod graphs;
mod imports;
mod meter;
mod templates;
