//! A value of multiarch.toml and how it is written: one space around everything, quotes as few as can be.

/// Lines are broken, and tables get a header of their own, beyond this many columns.
pub const WIDEST: usize = 100;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Tree {
    Text(String),
    Flag(bool),
    /// A number as it is written.
    Number(String),
    List(Vec<Tree>),
    /// In the order in which it is written.
    Table(Vec<(String, Tree)>),
}

impl Tree {
    pub fn text(text: impl Into<String>) -> Self {
        Self::Text(text.into())
    }

    pub fn texts<S: Into<String>>(texts: impl IntoIterator<Item = S>) -> Self {
        Self::List(texts.into_iter().map(Self::text).collect())
    }

    pub fn of_json(value: &serde_json::Value) -> Option<Self> {
        use serde_json::Value as Json;
        Some(match value {
            Json::Null => return None,
            Json::Bool(flag) => Self::Flag(*flag),
            Json::Number(number) => Self::Number(number.to_string()),
            Json::String(text) => Self::text(text),
            Json::Array(members) => Self::List(members.iter().filter_map(Self::of_json).collect()),
            Json::Object(members) => Self::Table(
                members
                    .iter()
                    .filter_map(|(key, value)| Some((key.clone(), Self::of_json(value)?)))
                    .collect(),
            ),
        })
    }

    /// In one line.
    pub fn inline(&self) -> String {
        match self {
            Self::Text(text) => quoted(text),
            Self::Flag(flag) => flag.to_string(),
            Self::Number(number) => number.clone(),
            Self::List(members) => {
                let members: Vec<String> = members.iter().map(Self::inline).collect();
                format!("[{}]", members.join(", "))
            }
            Self::Table(members) if members.is_empty() => "{}".to_string(),
            Self::Table(members) => {
                let members: Vec<String> = members
                    .iter()
                    .map(|(key, value)| format!("{} = {}", name(key), value.inline()))
                    .collect();
                format!("{{ {} }}", members.join(", "))
            }
        }
    }

    /// In as many lines as are good to read; `before` columns stand in front of the first.
    pub fn lines(&self, before: usize) -> String {
        match self {
            Self::Text(text) if text.trim_end_matches('\n').contains('\n') => block(text),
            Self::List(members) if !members.is_empty() && before + self.inline().chars().count() > WIDEST => {
                let members: String =
                    members.iter().map(|member| format!("  {},\n", member.inline())).collect();
                format!("[\n{members}]")
            }
            _ => self.inline(),
        }
    }

    /// Whether a string of it is a template.
    pub fn has_template(&self) -> bool {
        match self {
            Self::Text(text) => text.contains("{{"),
            Self::Flag(_) | Self::Number(_) => false,
            Self::List(members) => members.iter().any(Self::has_template),
            Self::Table(members) => members.iter().any(|(_, member)| member.has_template()),
        }
    }

    /// With `change` done to every string.
    pub fn map(&self, change: &impl Fn(&str) -> String) -> Self {
        match self {
            Self::Text(text) => Self::Text(change(text)),
            Self::Flag(_) | Self::Number(_) => self.clone(),
            Self::List(members) => Self::List(members.iter().map(|member| member.map(change)).collect()),
            Self::Table(members) => {
                Self::Table(members.iter().map(|(key, member)| (key.clone(), member.map(change))).collect())
            }
        }
    }
}

/// A key, in quotes where it needs them.
pub fn name(key: &str) -> String {
    let is_bare = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
    if !key.is_empty() && key.bytes().all(is_bare) { key.to_string() } else { quoted(key) }
}

/// Single quotes where the other ones would need escapes.
fn quoted(text: &str) -> String {
    let is_plain = text.chars().all(|c| !c.is_control());
    if is_plain && text.contains(['"', '\\']) && !text.contains('\'') {
        return format!("'{text}'");
    }
    let mut written = String::from("\"");
    escape_into(&mut written, text, false);
    written.push('"');
    written
}

/// A text of several lines.
fn block(text: &str) -> String {
    let is_plain = text.chars().all(|c| c == '\n' || c == '\t' || !c.is_control());
    if is_plain && text.contains('\\') && !text.contains("'''") && !text.ends_with('\'') {
        return format!("'''\n{text}'''");
    }
    let mut written = String::from("\"\"\"\n");
    escape_into(&mut written, text, true);
    written.push_str("\"\"\"");
    written
}

fn escape_into(written: &mut String, text: &str, keeps_lines: bool) {
    for (at, c) in text.char_indices() {
        let is_last = at + c.len_utf8() == text.len();
        match c {
            '\n' if keeps_lines => written.push('\n'),
            '\t' if keeps_lines => written.push('\t'),
            '"' if keeps_lines && !is_last && !text[at + 1..].starts_with('"') => written.push('"'),
            '"' => written.push_str("\\\""),
            '\\' => written.push_str("\\\\"),
            '\n' => written.push_str("\\n"),
            '\t' => written.push_str("\\t"),
            '\r' => written.push_str("\\r"),
            c if c.is_control() => written.push_str(&format!("\\u{:04X}", u32::from(c))),
            c => written.push(c),
        }
    }
}

/// A text that stands for itself where templates are read.
pub fn escaped(text: &str) -> String {
    let mut written = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = ["{{", "{%", "{#"].into_iter().filter_map(|opening| rest.find(opening)).min() {
        written.push_str(&rest[..at]);
        written.push_str(&format!("{{{{ '{}' }}}}", &rest[at..at + 2]));
        rest = &rest[at + 2..];
    }
    written.push_str(rest);
    written
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_again() {
        for text in [
            "",
            "plain",
            "with \"quotes\"",
            "both ' and \"",
            "back\\slash",
            "a\nb",
            "a\nb\n",
            "tab\there\n\"\"\"\n",
            "\\n\nx'",
            "\\'''\nx\"",
            "bell\u{7}\n\u{7f}",
            "carriage\r\nreturn",
        ] {
            let document = format!("key = {}\n", Tree::text(text).lines(6));
            let read: toml::Table = document.parse().unwrap_or_else(|error| panic!("{document}: {error}"));
            assert_eq!(read["key"].as_str(), Some(text), "{document}");
        }
    }

    #[test]
    fn braces_stand_for_themselves() {
        for (text, expected) in
            [("a", "a"), ("{{ .Version }}", "{{ '{{' }} .Version }}"), ("{%{#", "{{ '{%' }}{{ '{#' }}")]
        {
            assert_eq!(escaped(text), expected);
        }
    }
}
