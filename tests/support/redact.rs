//! Takes out of a text what differs between machines and runs: paths, digests, times, ports.

use std::path::Path;

use super::surroundings::repository;

/// A digest's first letters are twelve at least where `mab` prints any.
const SHORTEST_DIGEST: usize = 12;

#[derive(Clone)]
pub struct Redactor {
    replacements: Vec<(String, &'static str)>,
}

impl Redactor {
    pub fn new(folder: &Path) -> Self {
        let mut replacements = Vec::new();
        for (name, word) in [("work", "PROJECT"), ("store", "STORE"), ("home", "HOME"), ("", "FOLDER")] {
            replacements
                .push((folder.join(name).display().to_string().trim_end_matches('/').to_string(), word));
        }
        if let Some(base) = std::env::var_os("MAB_TEST_BASE") {
            replacements.push((Path::new(&base).display().to_string(), "BASE"));
        }
        replacements.push((repository().join(".base/busybox").display().to_string(), "BASE"));
        if let Ok(registry) = std::env::var("MAB_TEST_REGISTRY") {
            replacements.push((registry, "REGISTRY"));
        }
        Self { replacements }
    }

    pub fn redact(&self, text: &str) -> String {
        let mut text = text.to_string();
        for (from, to) in &self.replacements {
            text = text.replace(from, to);
        }
        let lines: Vec<String> = text.lines().map(redact_line).collect();
        lines.join("\n")
    }
}

fn redact_line(line: &str) -> String {
    redact_times(&redact_digests(line))
}

/// `sha256:0123…` and its short form.
fn redact_digests(line: &str) -> String {
    let is_hex = |c: char| c.is_ascii_digit() || ('a'..='f').contains(&c);
    let mut result = String::new();
    let mut rest = line;
    while let Some(start) = rest.find(is_hex) {
        let (before, from) = rest.split_at(start);
        let end = from.find(|c| !is_hex(c)).unwrap_or(from.len());
        let (word, after) = from.split_at(end);
        result.push_str(before);
        result.push_str(if word.len() >= SHORTEST_DIGEST { "DIGEST" } else { word });
        rest = after;
    }
    result + rest
}

/// `12 ms`, `1.5 s`, `2 min 3 s`.
fn redact_times(line: &str) -> String {
    let words: Vec<&str> = line.split(' ').collect();
    let is_number = |word: &str| word.parse::<f64>().is_ok();
    let unit = |word: &str| word.trim_end_matches(|c: char| !c.is_alphanumeric()).to_string();
    let mut result: Vec<String> = Vec::new();
    for (at, word) in words.iter().enumerate() {
        let before_unit =
            words.get(at + 1).is_some_and(|next| ["ms", "s", "min"].contains(&unit(next).as_str()));
        if is_number(word) && before_unit {
            continue;
        }
        let after_number = at > 0 && is_number(words[at - 1]);
        if after_number && ["ms", "s", "min"].contains(&unit(word).as_str()) {
            let tail = &word[unit(word).len()..];
            result.push(format!("TIME{tail}"));
            continue;
        }
        result.push(word.to_string());
    }
    result.join(" ")
}
