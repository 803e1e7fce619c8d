//! YAML, line by line: what people read has comments, which no serializer writes.

/// A text that grows by lines.
#[derive(Default)]
pub(super) struct Lines(String);

impl Lines {
    /// A line, indented by so many steps of two spaces; an empty one separates.
    pub fn add(&mut self, depth: usize, line: impl AsRef<str>) -> &mut Self {
        let line = line.as_ref();
        if !line.is_empty() {
            self.0.push_str(&"  ".repeat(depth));
            self.0.push_str(line);
        }
        self.0.push('\n');
        self
    }

    /// Several lines of one depth.
    pub fn all(&mut self, depth: usize, lines: &[impl AsRef<str>]) -> &mut Self {
        for line in lines {
            self.add(depth, line);
        }
        self
    }

    pub fn text(self) -> String {
        self.0
    }
}

/// A scalar, quoted where it could be read as something else. JSON's strings are YAML's.
pub(super) fn scalar(text: &str) -> String {
    let is_plain = text.starts_with(|first: char| first.is_ascii_alphabetic())
        && text.chars().all(|one| one.is_ascii_alphanumeric() || "_./-".contains(one))
        && !matches!(
            text.to_ascii_lowercase().as_str(),
            "yes" | "no" | "on" | "off" | "true" | "false" | "null" | "y" | "n"
        );
    if is_plain { text.to_string() } else { serde_json::Value::from(text).to_string() }
}

/// A word of a shell command.
pub(super) fn word(text: &str) -> String {
    let is_plain = |one: char| one.is_ascii_alphanumeric() || "_./:=,@%+-".contains(one);
    match !text.is_empty() && text.chars().all(is_plain) {
        true => text.to_string(),
        false => format!("'{}'", text.replace('\'', r"'\''")),
    }
}
