//! The house rules that a compiler does not check: who may import whom, and what every source file owes its
//! reader. The table of ranks is here and, for people, in CONTRIBUTING.md.
//!
//! Sources are read as text with comments and literals blanked, which is enough for paths that start with
//! `crate::`, `super::` or, in `main.rs`, `mab::`.

use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};

/// A top-level module imports only modules of a lower rank.
const RANKS: [(u32, &[&str]); 10] = [
    (0, &["base"]),
    (1, &["diag", "oci", "pattern", "scan"]),
    (2, &["event", "model", "dockerfile", "facts", "http", "lock", "store", "layer"]),
    (3, &["context", "dial", "registry", "source", "steps", "tagging"]),
    (4, &["cache", "config", "docker", "plan", "verify"]),
    (5, &["ci", "engine", "image", "k8s", "publish", "lint", "ui", "report"]),
    (6, &["doctor", "transfer"]),
    (7, &["run"]),
    (8, &["command"]),
    (9, &["cli"]),
];

const LONGEST_FILE: usize = 600;

fn rank(module: &str) -> Option<u32> {
    RANKS.iter().find(|(_, modules)| modules.contains(&module)).map(|(rank, _)| *rank)
}

#[test]
fn imports_point_to_lower_ranks() {
    let sources = sources();
    let wrong: Vec<String> = sources.iter().flat_map(rank_violations).collect();
    assert!(wrong.is_empty(), "imports against the ranks:\n{}", wrong.join("\n"));
}

#[test]
fn every_module_has_a_rank() {
    let library =
        sources().into_iter().find(|source| source.path == "src/lib.rs").expect("src/lib.rs exists");
    let declared: Vec<&str> = library
        .code
        .lines()
        .filter_map(|line| line.trim().trim_start_matches("pub ").strip_prefix("mod ")?.strip_suffix(';'))
        .collect();
    let unranked: Vec<_> = declared.iter().filter(|module| rank(module).is_none()).collect();
    assert!(unranked.is_empty(), "modules without a rank: {unranked:?}");
    let gone: Vec<_> =
        RANKS.iter().flat_map(|(_, modules)| *modules).filter(|module| !declared.contains(module)).collect();
    assert!(gone.is_empty(), "ranks without a module: {gone:?}");
}

#[test]
fn every_file_is_tidy() {
    let wrong: Vec<String> = sources().iter().flat_map(untidiness).collect();
    assert!(wrong.is_empty(), "untidy files:\n{}", wrong.join("\n"));
}

/// One file of `src`.
struct Source {
    /// Relative to the repository, with slashes.
    path: String,
    text: String,
    /// The text with comments and literals blanked, byte for byte.
    code: String,
    /// Declared as `#[cfg(test)] mod name;`, or named like that.
    only_tests: bool,
}

impl Source {
    fn new(path: &str, text: &str) -> Self {
        let only_tests = path.ends_with("/tests.rs") || path.contains("/tests/");
        Self { path: path.to_string(), text: text.to_string(), code: blank(text), only_tests }
    }

    /// The top-level module the file belongs to; none for `lib.rs`.
    fn module(&self) -> Option<&str> {
        let inner = self.path.strip_prefix("src/")?;
        let first = inner.split('/').next()?;
        let name = first.strip_suffix(".rs").unwrap_or(first);
        (name != "lib").then_some(name)
    }

    /// How many modules enclose the file's items: one for `a/mod.rs`, two for `a/b.rs`.
    fn depth(&self) -> usize {
        let slashes = self.path.matches('/').count();
        if self.path.ends_with("/mod.rs") { slashes - 1 } else { slashes }
    }

    fn line(&self, offset: usize) -> usize {
        self.code[..offset].matches('\n').count() + 1
    }

    /// Whether only tests live there: in the item after a `#[cfg(test)]`, or in a file of tests.
    fn is_test(&self, offset: usize) -> bool {
        self.only_tests || self.test_items().any(|item| item.contains(&offset))
    }

    fn test_items(&self) -> impl Iterator<Item = Range<usize>> {
        let starts = self.code.match_indices("#[cfg(test)]");
        starts.map(|(start, _)| start..item_end(&self.code, start))
    }

    /// The files of the modules that exist in tests only.
    fn test_files(&self) -> Vec<String> {
        let folder = match self.path.rsplit_once('/') {
            Some((folder, "mod.rs" | "lib.rs" | "main.rs")) => folder.to_string(),
            _ => self.path.trim_end_matches(".rs").to_string(),
        };
        let declared = self.test_items().filter_map(|item| {
            let declaration = self.code[item].trim_start_matches("#[cfg(test)]").trim();
            declaration.trim_start_matches("pub ").strip_prefix("mod ")?.strip_suffix(';').map(str::to_string)
        });
        declared.map(|name| format!("{folder}/{name}.rs")).collect()
    }
}

/// The end of the item that begins at `start`: its closing brace, or its semicolon.
fn item_end(code: &str, start: usize) -> usize {
    let mut depth = 0;
    for (offset, byte) in code.bytes().enumerate().skip(start) {
        match byte {
            b'{' => depth += 1,
            b'}' if depth == 1 => return offset + 1,
            b'}' => depth -= 1,
            b';' if depth == 0 => return offset + 1,
            _ => {}
        }
    }
    code.len()
}

fn sources() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files = Vec::new();
    collect(&root.join("src"), &mut files);
    files.sort();
    assert!(files.len() > 20, "the sources were not found");
    let read = |file: &PathBuf| {
        let path =
            file.strip_prefix(root).expect("the file is below the root").to_string_lossy().replace('\\', "/");
        Source::new(&path, &fs::read_to_string(file).expect("sources are readable text"))
    };
    let mut sources: Vec<Source> = files.iter().map(read).collect();
    let test_files: Vec<String> = sources.iter().flat_map(Source::test_files).collect();
    for source in &mut sources {
        source.only_tests |= test_files.contains(&source.path);
    }
    sources
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("the folder is readable") {
        let path = entry.expect("the entry is readable").path();
        if path.is_dir() {
            collect(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
}

fn rank_violations(source: &Source) -> Vec<String> {
    let Some(importer) = source.module() else { return Vec::new() };
    let own = if importer == "main" { Some(10) } else { rank(importer) };
    let allowed = |imported: &str| match (own, rank(imported)) {
        (Some(own), Some(other)) => imported == importer || other < own,
        // Items of `lib.rs` itself, or a module that `every_module_has_a_rank` reports.
        _ => true,
    };
    imports(source)
        .into_iter()
        .filter(|(_, imported)| !allowed(imported))
        .map(|(offset, imported)| {
            format!("{}:{}: `{importer}` must not import `{imported}`", source.path, source.line(offset))
        })
        .collect()
}

/// Every top-level module that the file's paths begin with, and where.
fn imports(source: &Source) -> Vec<(usize, String)> {
    let code = &source.code;
    let roots: &[&str] = if source.path == "src/main.rs" { &["crate::", "mab::"] } else { &["crate::"] };
    let mut found: Vec<(usize, String)> = Vec::new();
    for root in roots {
        for (offset, _) in code.match_indices(root).filter(|(offset, _)| starts_a_word(code, *offset)) {
            found.extend(path_heads(code, offset + root.len()));
        }
    }
    for (offset, _) in code.match_indices("super::").filter(|(offset, _)| starts_a_word(code, *offset)) {
        let rest = code[offset..].trim_start_matches("super::");
        let climbs = (code[offset..].len() - rest.len()) / "super::".len();
        let depth = source.depth() + usize::from(source.is_test(offset));
        if !code[..offset].ends_with("super::") && climbs >= depth.max(1) {
            found.extend(path_heads(code, code.len() - rest.len()));
        }
    }
    found.sort();
    found
}

fn starts_a_word(code: &str, offset: usize) -> bool {
    !code[..offset].ends_with(|before: char| before.is_alphanumeric() || before == '_')
}

/// The first names of the path or of the braces' paths at `start`.
fn path_heads(code: &str, start: usize) -> Vec<(usize, String)> {
    let name_at = |offset: usize| -> Option<(usize, String)> {
        let blanks = code[offset..].len() - code[offset..].trim_start().len();
        let offset = offset + blanks;
        let name: String = code[offset..].chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
        (!name.is_empty()).then_some((offset, name))
    };
    if !code[start..].starts_with('{') {
        return name_at(start).into_iter().collect();
    }
    let mut heads: Vec<_> = name_at(start + 1).into_iter().collect();
    let mut depth = 0;
    for (offset, byte) in code.bytes().enumerate().skip(start) {
        match byte {
            b'{' => depth += 1,
            b'}' if depth == 1 => break,
            b'}' => depth -= 1,
            b',' if depth == 1 => heads.extend(name_at(offset + 1)),
            _ => {}
        }
    }
    heads
}

fn untidiness(source: &Source) -> Vec<String> {
    let mut wrong = Vec::new();
    if !source.text.starts_with("//!") && source.path != "src/main.rs" {
        wrong.push(format!("{}:1: does not begin with `//!`", source.path));
    }
    let lines = source.text.lines().count();
    if lines > LONGEST_FILE {
        wrong.push(format!("{}:{lines}: is longer than {LONGEST_FILE} lines", source.path));
    }
    for word in ["TODO", "FIXME", "XXX", "todo!", "unimplemented!"] {
        let places =
            source.text.match_indices(word).filter(|(offset, _)| starts_a_word(&source.text, *offset));
        wrong.extend(
            places.map(|(offset, _)| format!("{}:{}: says `{word}`", source.path, source.line(offset))),
        );
    }
    let unwraps = source.code.match_indices(".unwrap()").filter(|(offset, _)| !source.is_test(*offset));
    wrong.extend(
        unwraps
            .map(|(offset, _)| format!("{}:{}: `unwrap()` outside tests", source.path, source.line(offset))),
    );
    wrong
}

/// Blanks comments and literals, keeping line ends and every offset.
fn blank(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut code = bytes.to_vec();
    let mut at = 0;
    while at < bytes.len() {
        let end = match bytes[at] {
            b'/' if bytes[at..].starts_with(b"//") => line_end(bytes, at),
            b'/' if bytes[at..].starts_with(b"/*") => comment_end(bytes, at),
            b'"' => string_end(bytes, at),
            b'r' if raw_hashes(bytes, at).is_some() && starts_a_word(text, at) => raw_string_end(bytes, at),
            b'\'' => character_end(text, at),
            _ => {
                at += 1;
                continue;
            }
        };
        for byte in &mut code[at..end] {
            if *byte != b'\n' {
                *byte = b' ';
            }
        }
        at = end;
    }
    String::from_utf8(code).expect("whole literals and comments were blanked")
}

fn line_end(bytes: &[u8], at: usize) -> usize {
    bytes[at..].iter().position(|byte| *byte == b'\n').map_or(bytes.len(), |length| at + length)
}

fn comment_end(bytes: &[u8], at: usize) -> usize {
    let (mut depth, mut end) = (0, at);
    while end < bytes.len() {
        if bytes[end..].starts_with(b"/*") {
            (depth, end) = (depth + 1, end + 2);
        } else if bytes[end..].starts_with(b"*/") {
            (depth, end) = (depth - 1, end + 2);
            if depth == 0 {
                break;
            }
        } else {
            end += 1;
        }
    }
    end
}

fn string_end(bytes: &[u8], at: usize) -> usize {
    let mut end = at + 1;
    while end < bytes.len() && bytes[end] != b'"' {
        end += if bytes[end] == b'\\' { 2 } else { 1 };
    }
    (end + 1).min(bytes.len())
}

/// The number of `#` of the raw string at `at`, if there is one.
fn raw_hashes(bytes: &[u8], at: usize) -> Option<usize> {
    let hashes = bytes[at + 1..].iter().take_while(|byte| **byte == b'#').count();
    (bytes.get(at + 1 + hashes) == Some(&b'"')).then_some(hashes)
}

fn raw_string_end(bytes: &[u8], at: usize) -> usize {
    let hashes = raw_hashes(bytes, at).unwrap_or(0);
    let closing = [b"\"".as_slice(), "#".repeat(hashes).as_bytes()].concat();
    let inner = at + 2 + hashes;
    let length = bytes[inner..].windows(closing.len()).position(|window| window == closing);
    length.map_or(bytes.len(), |length| inner + length + closing.len())
}

/// The end of a character literal, or just past the quote of a lifetime.
fn character_end(text: &str, at: usize) -> usize {
    let inner = &text[at + 1..];
    let mut characters = inner.char_indices();
    match (characters.next(), characters.next()) {
        (Some((_, '\\')), _) => inner[2..].find('\'').map_or(text.len(), |length| at + 3 + length + 1),
        (Some(_), Some((length, '\''))) => at + 1 + length + 1,
        _ => at + 1,
    }
}

fn check_imports(path: &str, text: &str, expected: &[&str]) {
    let found: Vec<String> = imports(&Source::new(path, text)).into_iter().map(|(_, name)| name).collect();
    assert_eq!(found, expected, "{text}");
}

#[test]
fn imports_are_found_in_every_spelling() {
    check_imports("src/ui/tty.rs", "use crate::base::{Digest, Platform};", &["base"]);
    check_imports(
        "src/ui/tty.rs",
        "pub use crate::{event::Event,\n    plan, run::{a, b}};",
        &["event", "plan", "run"],
    );
    check_imports("src/ui/tty.rs", "fn f() -> crate::engine::Job { crate::cli::main() }", &["engine", "cli"]);
    check_imports("src/ui/tty.rs", "use super::super::run::Run;\nuse super::plain;", &["run"]);
    check_imports("src/ui/mod.rs", "use super::run;\n#[cfg(test)]\nmod tests { use super::*; }", &["run"]);
    check_imports("src/main.rs", "fn main() { mab::cli::main() }", &["cli"]);
}

#[test]
fn comments_and_literals_are_not_imports() {
    check_imports("src/ui/tty.rs", "// crate::cli\n/* crate::a /* crate::b */ crate::c */", &[]);
    check_imports(
        "src/ui/tty.rs",
        r##"let x = ("crate::cli \" crate::a", r#"crate::"b"#, 'c', '\'', '"');"##,
        &[],
    );
    check_imports("src/ui/tty.rs", "fn f<'a>(x: &'a str) -> crate::base::B<'a> {}", &["base"]);
    check_imports("src/ui/tty.rs", "use other_crate::cli;", &[]);
}

#[test]
fn modules_of_tests_are_known_by_their_declaration() {
    let check = |path: &str, text: &str, expected: &[&str]| {
        assert_eq!(Source::new(path, text).test_files(), expected, "{text}");
    };
    check("src/ui/mod.rs", "#[cfg(test)]\nmod recorded;\nmod tty;", &["src/ui/recorded.rs"]);
    check("src/ui/tty.rs", "#[cfg(test)]\nmod recorded;", &["src/ui/tty/recorded.rs"]);
    check("src/ui/tty.rs", "#[cfg(test)]\nmod tests { mod inner; }", &[]);
}

#[test]
fn an_import_of_a_higher_rank_is_named_with_file_and_line() {
    let check = |path: &str, text: &str, expected: &[&str]| {
        assert_eq!(rank_violations(&Source::new(path, text)), expected, "{text}");
    };
    check("src/ui/tty.rs", "use crate::event::Event;\n", &[]);
    check("src/ui/tty.rs", "\nuse crate::run::Run;\n", &["src/ui/tty.rs:2: `ui` must not import `run`"]);
    check(
        "src/oci/index.rs",
        "use crate::diag::Problem;",
        &["src/oci/index.rs:1: `oci` must not import `diag`"],
    );
    check("src/oci/index.rs", "use crate::oci::media_type;", &[]);
    check(
        "src/base/mod.rs",
        "use crate::{\n    base::ids,\n    cli,\n};",
        &["src/base/mod.rs:3: `base` must not import `cli`"],
    );
}

#[test]
fn untidy_files_are_named_with_file_and_line() {
    let check = |text: &str, expected: &[&str]| {
        assert_eq!(untidiness(&Source::new("src/ui/tty.rs", text)), expected, "{text}");
    };
    check("//! What.\nfn f() {}\n", &[]);
    check("fn f() {}\n", &["src/ui/tty.rs:1: does not begin with `//!`"]);
    check("//! What.\n\n// TODO later\n", &["src/ui/tty.rs:3: says `TODO`"]);
    check("//! What.\nfn f() { g().unwrap() }\n", &["src/ui/tty.rs:2: `unwrap()` outside tests"]);
    check("//! What.\n#[cfg(test)]\nmod tests {\n    fn f() { g().unwrap() }\n}\n", &[]);
    check(
        "//! What.\n#[cfg(test)]\nfn f() {}\nfn g() { h().unwrap() }\n",
        &["src/ui/tty.rs:4: `unwrap()` outside tests"],
    );
    check(&format!("//! What.\n{}", "\n".repeat(600)), &["src/ui/tty.rs:601: is longer than 600 lines"]);
}
