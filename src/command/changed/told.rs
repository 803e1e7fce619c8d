//! What has changed, for people and for programs.

use serde_json::{Value, json};

use super::{Changed, Reason};

/// How many files are named of one target.
const MOST_FILES: usize = 3;

impl Changed {
    /// One line for each target, with its reasons.
    pub fn text(&self) -> String {
        let since = format!("{} ({})", self.revision, self.commit.get(..12).unwrap_or(&self.commit));
        if self.targets.is_empty() {
            return format!("nothing has changed since {since}\n{}", self.uncompared_text());
        }
        let mut text = format!("changed since {since}:\n");
        let width = self.targets.iter().map(|(name, _)| name.chars().count()).max().unwrap_or(0);
        for (name, reasons) in &self.targets {
            text.push_str(&format!("  {name:width$}  {}\n", in_words(reasons)));
        }
        text + &self.uncompared_text()
    }

    fn uncompared_text(&self) -> String {
        if self.uncompared.is_empty() {
            return String::new();
        }
        let mut text = "not compared, since git ignores it:\n".to_string();
        for (name, paths) in &self.uncompared {
            let mut words: Vec<String> =
                paths.iter().take(MOST_FILES).map(|path| path.display().to_string()).collect();
            if paths.len() > MOST_FILES {
                words.push(format!("{} more", paths.len() - MOST_FILES));
            }
            text.push_str(&format!("  {name}  takes {}\n", words.join(", ")));
        }
        text
    }

    pub fn json(&self) -> Value {
        let targets = self.targets.iter().map(|(name, reasons)| {
            json!({ "name": name, "reasons": reasons.iter().map(reason_json).collect::<Vec<_>>() })
        });
        let uncompared = self.uncompared.iter().map(|(name, paths)| {
            let paths: Vec<_> = paths.iter().map(|path| path.to_string_lossy()).collect();
            json!({ "name": name, "paths": paths })
        });
        json!({
            "revision": self.revision,
            "commit": self.commit,
            "targets": targets.collect::<Vec<_>>(),
            "uncompared": uncompared.collect::<Vec<_>>(),
        })
    }
}

fn in_words(reasons: &[Reason]) -> String {
    let is_file = |reason: &&Reason| matches!(reason, Reason::File { .. });
    let mut files: Vec<String> = Vec::new();
    for reason in reasons.iter().filter(is_file) {
        let words = reason.to_string();
        if !files.contains(&words) {
            files.push(words);
        }
    }
    let hidden = files.len().saturating_sub(MOST_FILES);
    files.truncate(MOST_FILES);
    if hidden > 0 {
        files.push(format!("{hidden} more files"));
    }
    let others = reasons.iter().filter(|reason| !is_file(reason)).map(ToString::to_string);
    others.chain(files).collect::<Vec<_>>().join(", ")
}

impl std::fmt::Display for Reason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::New => f.write_str("new in the build file"),
            Self::NoBuildFile => f.write_str("the build file could not be read as it was"),
            Self::File { path, .. } => write!(f, "{}", path.display()),
            Self::Dockerfile { path } => write!(f, "{} (its Dockerfile)", path.display()),
            Self::Triggers { base, path } => {
                write!(f, "{} (`{base}` is not known, and may have ONBUILD triggers)", path.display())
            }
            Self::IgnoreFile { path } => write!(f, "{} (what is ignored)", path.display()),
            Self::Value { key } => write!(f, "`{key}` in the build file"),
            Self::Target { name, is_context: true } => write!(f, "builds on `{name}`"),
            Self::Target { name, is_context: false } => write!(f, "needs `{name}`"),
        }
    }
}

fn reason_json(reason: &Reason) -> Value {
    match reason {
        Reason::New => json!({ "kind": "new" }),
        Reason::NoBuildFile => json!({ "kind": "no-build-file" }),
        Reason::File { path, step, place } => json!({
            "kind": "file",
            "path": path.to_string_lossy(),
            "step": step,
            "dockerfile": place.as_ref().map(|place| &place.source.name),
            "line": place.as_ref().map(|place| place.line()),
        }),
        Reason::Dockerfile { path } => json!({ "kind": "dockerfile", "path": path.to_string_lossy() }),
        Reason::Triggers { base, path } => {
            json!({ "kind": "triggers", "base": base, "path": path.to_string_lossy() })
        }
        Reason::IgnoreFile { path } => json!({ "kind": "ignore-file", "path": path.to_string_lossy() }),
        Reason::Value { key } => json!({ "kind": "value", "key": key }),
        Reason::Target { name, is_context: true } => json!({ "kind": "builds-on", "target": name }),
        Reason::Target { name, is_context: false } => json!({ "kind": "needs", "target": name }),
    }
}
