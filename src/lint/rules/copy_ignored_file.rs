//! `CopyIgnoredFile`.

use crate::dockerfile::InstructionKind;
use crate::lint::finding::within;
use crate::lint::{Finding, Level, Rule, View};

pub const RULE: Rule = Rule {
    name: "CopyIgnoredFile",
    summary: "COPY names a file that the ignore file takes out of the context",
    level: Level::Warning,
    url: Some("https://docs.docker.com/go/dockerfile/rule/copy-ignored-file/"),
    why: "The file is not there for the build, and the COPY fails. An ignore file with exceptions (`!`) is not looked \
          at, since what it lets through depends on the files.",
    bad: "FROM scratch\nCOPY build/app /app\n--- .dockerignore\nbuild\n",
    good: "FROM scratch\nCOPY dist/app /app\n--- .dockerignore\nbuild\n",
    check,
};

fn check(view: &View<'_>) -> Vec<Finding> {
    let Some(file) = view.ignore else { return Vec::new() };
    let Ok(ignore) = file.parse() else { return Vec::new() };
    let text = String::from_utf8_lossy(&file.text);
    let rules = || text.lines().filter(|line| !line.starts_with('#')).map(str::trim);
    if ignore.is_empty() || rules().any(|rule| rule.starts_with('!')) {
        return Vec::new();
    }
    let ignores_all = rules().any(|rule| matches!(rule, "*" | "**" | "**/*" | "/*" | "/**"));
    let mut findings = Vec::new();
    for (_, _, at) in view.uses() {
        let sources = match &at.instruction.kind {
            InstructionKind::Copy(copy) if copy.from.is_none() => &copy.sources,
            InstructionKind::Add(add) => &add.sources,
            _ => continue,
        };
        for written in sources {
            let source = clean(at.value_of(written));
            let is_root = source == "." || source == "/";
            if is_remote(&source) || is_root && !ignores_all || !ignore.matches(source.as_bytes()) {
                continue;
            }
            findings.push(
                Finding::new(format!("`{source}` is taken out of the context by the ignore file"))
                    .at(within(at.place, written), "not there")
                    .help(format!("copy something else, or let it through in `{}`", file_name(&file.path))),
            );
        }
    }
    findings
}

fn file_name(path: &std::path::Path) -> String {
    path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}

fn is_remote(source: &str) -> bool {
    let schemes = ["http:/", "https:/", "git:/", "ssh:/", "git@"];
    schemes.iter().any(|scheme| source.starts_with(scheme)) || source.ends_with(".git")
}

/// Go's `filepath.Clean`.
fn clean(path: &str) -> String {
    let mut components: Vec<&str> = Vec::new();
    for component in path.split('/') {
        match component {
            "" | "." => {}
            ".." if components.last().is_some_and(|last| *last != "..") => {
                components.pop();
            }
            ".." if path.starts_with('/') => {}
            name => components.push(name),
        }
    }
    let joined = components.join("/");
    match (path.starts_with('/'), joined.is_empty()) {
        (true, _) => format!("/{joined}"),
        (false, true) => ".".to_string(),
        (false, false) => joined,
    }
}
