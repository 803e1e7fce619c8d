//! What mab may be made of: licences, sources and crates that must not come in. Reads `cargo metadata`, so it
//! needs no tool and no advisory database; deny.toml says the same for those who have cargo-deny.

use std::process::Command;

use serde_json::Value;

/// Licences that ask for no more than a notice.
const LICENCES: [&str; 14] = [
    "0BSD",
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "BSL-1.0",
    "CC0-1.0",
    "CDLA-Permissive-2.0",
    "ISC",
    "MIT",
    "MIT-0",
    "Unicode-3.0",
    "Zlib",
    "bzip2-1.0.6",
];

/// Each with what is used in its place.
const FORBIDDEN: [(&str, &str); 4] = [
    ("openssl-sys", "rustls: no system library, so one static binary serves every distribution"),
    ("native-tls", "rustls"),
    ("aws-lc-sys", "ring: needs no cmake and cross-compiles"),
    ("chrono", "jiff"),
];

/// What our own code does without; others may use it beneath (OpenDAL does).
const NOT_OURS: [(&str, &str); 3] = [
    ("anyhow", "a thiserror enum per folder"),
    ("eyre", "a thiserror enum per folder"),
    ("lazy_static", "std::sync::LazyLock"),
];

fn packages() -> Vec<Value> {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--locked", "--format-version", "1"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .expect("cargo runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let mut metadata: Value = serde_json::from_slice(&output.stdout).expect("cargo writes JSON");
    let Value::Array(packages) = metadata["packages"].take() else { panic!("cargo lists packages") };
    assert!(packages.len() > 20, "the packages were not found");
    packages
}

fn text<'a>(package: &'a Value, field: &str) -> &'a str {
    package[field].as_str().unwrap_or_default()
}

#[test]
fn licences_are_permissive() {
    let wrong: Vec<String> = packages()
        .iter()
        .filter(|package| !is_permitted(text(package, "license")))
        .map(|package| format!("{}: `{}`", text(package, "name"), text(package, "license")))
        .collect();
    assert!(wrong.is_empty(), "licences not on the list:\n{}", wrong.join("\n"));
}

#[test]
fn packages_come_from_the_registry() {
    let packages = packages();
    let wrong: Vec<&str> = packages
        .iter()
        .filter(|package| {
            package["source"].as_str().is_some_and(|source| !source.starts_with("registry+https://"))
        })
        .map(|package| text(package, "id"))
        .collect();
    assert!(wrong.is_empty(), "packages from elsewhere:\n{}", wrong.join("\n"));
}

#[test]
fn forbidden_packages_stay_out() {
    let packages = packages();
    let wrong: Vec<String> = FORBIDDEN
        .iter()
        .filter(|(forbidden, _)| packages.iter().any(|package| text(package, "name") == *forbidden))
        .map(|(forbidden, instead)| format!("{forbidden}: {instead}"))
        .collect();
    assert!(wrong.is_empty(), "packages that must not come in, and what to use:\n{}", wrong.join("\n"));
}

#[test]
fn our_own_code_does_without() {
    let packages = packages();
    let own =
        packages.iter().find(|package| text(package, "name") == "mab").expect("mab is a package of its own");
    let Value::Array(dependencies) = &own["dependencies"] else { panic!("cargo lists dependencies") };
    let wrong: Vec<String> = NOT_OURS
        .iter()
        .filter(|(name, _)| dependencies.iter().any(|dependency| text(dependency, "name") == *name))
        .map(|(name, instead)| format!("{name}: {instead}"))
        .collect();
    assert!(wrong.is_empty(), "dependencies that must not come in, and what to use:\n{}", wrong.join("\n"));
}

/// Whether an SPDX expression can be met with the licences on the list. The old `MIT/Apache-2.0` means `OR`.
fn is_permitted(expression: &str) -> bool {
    let spaced = expression.replace('/', " OR ").replace('(', " ( ").replace(')', " ) ");
    let words: Vec<&str> = spaced.split_whitespace().collect();
    let mut words = words.as_slice();
    either(&mut words) && words.is_empty()
}

/// `both { OR both }`
fn either(words: &mut &[&str]) -> bool {
    let mut permitted = both(words);
    while take(words, "OR") {
        permitted |= both(words);
    }
    permitted
}

/// `one { AND one }`
fn both(words: &mut &[&str]) -> bool {
    let mut permitted = one(words);
    while take(words, "AND") {
        permitted &= one(words);
    }
    permitted
}

/// `( either )` or `licence [WITH exception]`
fn one(words: &mut &[&str]) -> bool {
    if take(words, "(") {
        let permitted = either(words);
        return take(words, ")") && permitted;
    }
    let Some((licence, rest)) = words.split_first() else { return false };
    *words = rest;
    if !take(words, "WITH") {
        return LICENCES.contains(licence);
    }
    let Some((exception, rest)) = words.split_first() else { return false };
    *words = rest;
    LICENCES.contains(&format!("{licence} WITH {exception}").as_str())
}

fn take(words: &mut &[&str], word: &str) -> bool {
    let taken = words.first() == Some(&word);
    if taken {
        *words = &words[1..];
    }
    taken
}

#[test]
fn licence_expressions_are_understood() {
    let check = |expression: &str, expected: bool| {
        assert_eq!(is_permitted(expression), expected, "{expression}");
    };
    check("MIT", true);
    check("MIT/Apache-2.0", true);
    check("GPL-2.0-only OR MIT", true);
    check("GPL-2.0-only AND MIT", false);
    check("MIT OR Apache-2.0 AND GPL-2.0-only", true);
    check("(MIT OR Apache-2.0) AND GPL-2.0-only", false);
    check("Apache-2.0 WITH LLVM-exception", true);
    check("GPL-2.0-only WITH Classpath-exception-2.0", false);
    check("", false);
    check("MIT )", false);
}
