//! Files that ask for too much: each ends in an error, soon and in little memory.

use std::time::{Duration, Instant};

use mab::config::Disk;
use mab::config::import::{self, ImportFile, Request};
use mab::facts::Facts;

/// A second is what the user waits; tests run unoptimised and beside others.
const LONGEST: Duration = Duration::from_secs(if cfg!(debug_assertions) { 20 } else { 1 });

fn check(name: &str, text: &str, code: &str) {
    let files = vec![ImportFile { name: name.to_string(), text: text.to_string() }];
    let request = Request { files, names: vec!["*".to_string()], ..Request::default() };
    let start = Instant::now();
    let answer = import::import(&request, &Facts::for_test(), &Disk);
    let taken = start.elapsed();
    let codes: Vec<&str> = answer.expect_err(code).iter().map(|problem| problem.code).collect();
    assert!(codes.contains(&code), "{name}: {codes:?} has no {code}");
    assert!(taken < LONGEST, "{code} after {taken:?}");
}

fn hcl(text: &str, code: &str) {
    check("docker-bake.hcl", text, code);
}

fn yaml(text: &str, code: &str) {
    check("compose.yaml", text, code);
}

/// `count` definitions, each of which uses the one before.
fn chain(count: usize, line: impl Fn(usize) -> String) -> String {
    (1..count).map(line).collect()
}

#[test]
fn hcl_that_nests_too_deep_is_refused() {
    hcl(&format!("a = {}1{}", "(".repeat(100_000), ")".repeat(100_000)), "bake::too-deep");
    hcl(&format!("a = {}", "[".repeat(100_000)), "bake::too-deep");
    hcl(&format!("a = {}1", "!".repeat(100_000)), "bake::too-deep");
    hcl(&format!("a = \"{}1{}\"", "${\"".repeat(50_000), "\"}".repeat(50_000)), "bake::too-deep");
    hcl(&format!("a = {}1", "true ? 1 : ".repeat(50_000)), "bake::too-deep");
    hcl(&"a {\n".repeat(50_000), "bake::too-deep");
    check("x.json", &"[".repeat(100_000), "bake::too-deep");
}

#[test]
fn hcl_that_is_too_long_is_refused() {
    hcl(&format!("a = 1{}", " + 1".repeat(50_000)), "bake::syntax");
    hcl(&format!("a = b{}", ".c".repeat(50_000)), "bake::syntax");
    hcl("a = 1e999999999", "bake::syntax");
}

#[test]
fn hcl_that_grows_without_bound_is_refused() {
    let doubling = chain(64, |n| format!("v{n} = \"${{v{}}}${{v{}}}\"\n", n - 1, n - 1));
    hcl(&format!("v0 = \"0123456789abcdef\"\n{doubling}"), "bake::too-much");
    let lists = chain(64, |n| format!("v{n} = concat(v{}, v{})\n", n - 1, n - 1));
    hcl(&format!("v0 = [1, 2, 3]\n{lists}"), "bake::too-much");
    let loops = "[for a in range(1000) : [for b in range(1000) : [for c in range(1000) : c]]]";
    hcl(&format!("x = {loops}"), "bake::too-much");
    hcl("x = format(\"%999999999d\", 1)", "bake::bad-call");
    hcl("x = indent(1000000000, \"a\\nb\")", "bake::bad-call");
    let axes: String = (0..10).map(|n| format!("a{n} = range(20)\n")).collect();
    hcl(&format!("target \"t\" {{\nname = \"x\"\nmatrix = {{\n{axes}}}\n}}"), "bake::bad-matrix");
}

#[test]
fn hcl_that_runs_in_circles_is_refused() {
    for (count, code) in [(100, "bake::circle"), (2_000, "bake::too-deep")] {
        let variables = chain(count, |n| format!("variable \"v{n}\" {{ default = v{} }}\n", n + 1));
        hcl(&format!("{variables}variable \"v{count}\" {{ default = v1 }}\n"), code);
    }
    let functions: String = (0..100)
        .map(|n| format!("function \"f{n}\" {{\nparams = [x]\nresult = f{}(x)\n}}\n", (n + 1) % 100))
        .collect();
    hcl(&format!("{functions}x = f0(1)"), "bake::circle");
    let parents = chain(2_000, |n| format!("target \"t{n}\" {{ inherits = [\"t{}\"] }}\n", n + 1));
    hcl(&format!("{parents}target \"t2000\" {{}}\n"), "bake::target");
}

#[test]
fn yaml_that_asks_for_too_much_is_refused() {
    let bomb: String =
        (1..30).map(|n| format!("x{n}: &a{n} [{}]\n", vec![format!("*a{}", n - 1); 10].join(", "))).collect();
    yaml(&format!("x0: &a0 [lol]\n{bomb}services: {{}}\n"), "compose::too-much");
    yaml(&format!("{}{}", "[".repeat(150), "]".repeat(150)), "compose::too-deep");
    // Here the parser itself has had enough.
    yaml(&"[".repeat(100_000), "compose::syntax");
    yaml(&format!("services: {}", "{a: ".repeat(100_000)), "compose::too-deep");
    let nested = format!("{}x{}", "${A:-".repeat(5_000), "}".repeat(5_000));
    yaml(&format!("services:\n  a:\n    image: \"{nested}\"\n"), "compose::interpolation");
    yaml("services:\n  a: &a\n    build: *a\n", "compose::circle");
}
