//! Templates that ask for too much: each ends in an error, soon and in little memory.

use std::fmt::Write as _;
use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

use mab::config::{self, Entry, Files, Overrides};
use mab::facts::Facts;

/// A second is what the user waits; tests run unoptimised and beside others.
const LONGEST: Duration = Duration::from_secs(if cfg!(debug_assertions) { 20 } else { 1 });

struct OneFile(String);

impl Files for OneFile {
    fn read(&self, _path: &Path) -> io::Result<String> {
        Ok(self.0.clone())
    }

    fn list(&self, _directory: &Path) -> io::Result<Vec<Entry>> {
        Ok(Vec::new())
    }
}

fn check(text: String, code: &str) {
    let start = Instant::now();
    let loaded = config::load(Path::new("/multiarch.toml"), &OneFile(text));
    let answer = config::resolve(&loaded, &Facts::for_test(), &Overrides::default());
    let taken = start.elapsed();
    let codes: Vec<&str> = answer.expect_err(code).iter().map(|problem| problem.code).collect();
    assert!(codes.contains(&code), "{:?} has no {code}", &codes[..codes.len().min(5)]);
    assert!(taken < LONGEST, "{code} after {taken:?}");
}

/// A target with `count` arguments, and a variable of 64 KiB.
fn arguments(count: usize, value: impl Fn(usize) -> String) -> String {
    let mut text = format!("[vars]\nlong = \"{}\"\n[target.app.args]\n", "x".repeat(64 << 10));
    for number in 0..count {
        let _ = writeln!(text, "A{number} = \"{}\"", value(number));
    }
    text
}

#[test]
fn templates_that_make_too_much_text_are_refused() {
    check(arguments(100_000, |_| "{{ vars.long }}".to_string()), "config::template-size");
    check(arguments(100_000, |number| format!("{{{{ vars.long }}}}{number}")), "config::template-size");
}

#[test]
fn templates_that_do_too_much_are_refused() {
    let joined = vec!["vars.long"; 400].join(" ~ ");
    check(arguments(2_000, |number| format!("{{{{ ({joined} ~ {number}) | length }}}}")), "config::template");
    check(arguments(2_000, |n| format!("{{{{ ({joined} ~ {n}) == 'x' }}}}")), "config::template");
    let hashed = " | sha256".repeat(300);
    let short = format!("{} | lower", " | upper | lower".repeat(200));
    check(arguments(20_000, |n| format!("{{{{ (vars.long{short}{hashed})[:{n}] }}}}")), "config::template");
    let split = "{{ vars.long | split('') | join | split('') | join | split('') | join | length }}";
    check(arguments(20_000, |n| format!("{split}{n}")), "config::template");
    let pattern = "{{ vars.long is matching('(a|b|c){20}$') }}";
    check(arguments(20_000, |n| format!("{pattern}{n}")), "config::template");
}

#[test]
fn values_that_are_too_long_are_refused() {
    check(format!("[vars]\nlong = \"{}\"\n", "x".repeat((64 << 10) + 1)), "config::too-long");
}
