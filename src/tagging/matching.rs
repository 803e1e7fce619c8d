//! Regular expressions of rules: JavaScript's, as far as they look and are told apart. Looking around and back
//! references work, and what would take forever is an error.

use fancy_regex::{Regex, RegexBuilder};

/// Steps that one match may go back.
const MOST_STEPS: usize = 20_000;
/// Bytes that a compiled expression may take.
const LARGEST: usize = 1 << 19;

/// A pattern that a rule compares with.
#[derive(Debug)]
pub struct Matcher {
    regex: Regex,
    /// As it was written.
    text: String,
    /// `/…/g` gives all matches in place of the groups of one.
    is_global: bool,
    /// `/…/y` matches where the text begins, or the last match ended.
    is_sticky: bool,
}

/// What a match gives, by number: the whole and its groups.
pub type Groups = Vec<Option<String>>;

impl Matcher {
    /// `text`, or `/text/flags` where that is a form of it.
    pub fn parse(text: &str, with_flags: bool) -> Result<Self, String> {
        let (pattern, flags) = if with_flags { split(text) } else { (text, "") };
        if let Some(unknown) = flags.chars().find(|flag| !"dgimsuvy".contains(*flag)) {
            return Err(format!("there is no flag `{unknown}` of regular expressions"));
        }
        let mut builder = RegexBuilder::new(&translated(pattern, flags.contains(['u', 'v'])));
        builder
            .case_insensitive(flags.contains('i'))
            .multi_line(flags.contains('m'))
            .dot_matches_new_line(flags.contains('s'))
            .backtrack_limit(MOST_STEPS)
            .delegate_size_limit(LARGEST)
            .delegate_dfa_size_limit(LARGEST);
        let regex = builder.build().map_err(|error| {
            let reason = error.to_string();
            let reason = reason.lines().last().unwrap_or_default().trim().to_string();
            format!("`{pattern}` is not a regular expression, or too large: {reason}")
        })?;
        Ok(Self {
            regex,
            text: text.to_string(),
            is_global: flags.contains('g'),
            is_sticky: flags.contains('y'),
        })
    }

    pub fn text(&self) -> &str {
        &self.text
    }

    /// How many groups there are, with the whole.
    pub fn groups(&self) -> usize {
        self.regex.captures_len()
    }

    pub fn find(&self, text: &str) -> Result<Option<Groups>, String> {
        let too_long = |_| "the regular expression takes too long".to_string();
        if self.is_global {
            let (mut all, mut end) = (Groups::new(), 0);
            for found in self.regex.find_iter(text).take(100) {
                let found = found.map_err(too_long)?;
                if self.is_sticky && found.start() != end {
                    break;
                }
                end = found.end();
                all.push(Some(found.as_str().to_string()));
            }
            return Ok((!all.is_empty()).then_some(all));
        }
        let found = self.regex.captures(text).map_err(too_long)?;
        let is_here =
            |found: &fancy_regex::Captures<'_, str>| found.get(0).is_some_and(|whole| whole.start() == 0);
        let found = found.filter(|found| !self.is_sticky || is_here(found));
        let group =
            |found: &fancy_regex::Captures<'_, str>, at| found.get(at).map(|part| part.as_str().to_string());
        Ok(found.map(|found| (0..found.len()).map(|at| group(&found, at)).collect()))
    }
}

/// The expression between the slashes, and the flags behind them.
fn split(text: &str) -> (&str, &str) {
    let inner = text.strip_prefix('/').and_then(|rest| rest.rsplit_once('/'));
    inner.filter(|(pattern, _)| !pattern.is_empty()).unwrap_or((text, ""))
}

/// The pattern in the words of the library. There digits and letters are those of all scripts, classes are sets of
/// classes, and a backslash gives more letters a meaning; in JavaScript they are ASCII's, and lists of letters.
/// `is_strict` is for its flags `u` and `v`, with which a backslash before a letter means something or is wrong.
fn translated(pattern: &str, is_strict: bool) -> String {
    let mut text = String::new();
    let mut in_class = false;
    let mut rest = pattern;
    while let Some(first) = rest.chars().next() {
        rest = &rest[first.len_utf8()..];
        match first {
            '\\' => rest = escape(rest, in_class, is_strict, pattern, &mut text),
            '[' if in_class => text.push_str("\\["),
            '&' | '~' if in_class => text.extend(['\\', first]),
            ']' if in_class => {
                in_class = false;
                text.push(']');
            }
            '[' => {
                let empty = [("^]", "[\\s\\S]"), ("]", "(?!)")];
                let empty = empty.iter().find_map(|(end, meant)| Some((rest.strip_prefix(end)?, meant)));
                match empty {
                    Some((after, meant)) => {
                        text.push_str(meant);
                        rest = after;
                    }
                    None => {
                        in_class = true;
                        text.push('[');
                    }
                }
            }
            other => text.push(other),
        }
    }
    text
}

/// Adds what a backslash before `rest` means; what is left of it.
fn escape<'t>(rest: &'t str, in_class: bool, is_strict: bool, pattern: &str, text: &mut String) -> &'t str {
    let Some(escaped) = rest.chars().next() else {
        text.push('\\');
        return rest;
    };
    let after = &rest[escaped.len_utf8()..];
    match (escaped, in_class) {
        ('d', true) => text.push_str("0-9"),
        ('d', false) => text.push_str("[0-9]"),
        ('D', _) => text.push_str("[^0-9]"),
        ('w', true) => text.push_str("0-9A-Za-z_"),
        ('w', false) => text.push_str("[0-9A-Za-z_]"),
        ('W', _) => text.push_str("[^0-9A-Za-z_]"),
        ('b', true) => text.push_str("\\x08"),
        ('x', _) if hexadecimal(after, 2).is_some() => text.push_str("\\x"),
        ('u', _) if hexadecimal(after, 4).is_some() => text.push_str("\\u"),
        ('k', false) if pattern.contains("(?<") => text.push_str("\\k"),
        ('f' | 'n' | 'r' | 's' | 'S' | 't' | 'v', _) | ('b' | 'B', false) => text.extend(['\\', escaped]),
        // Other letters are themselves.
        (letter, _) if letter.is_ascii_alphabetic() && !is_strict => text.push(letter),
        (other, _) => text.extend(['\\', other]),
    }
    after
}

/// As many digits as are wanted, if `text` begins with them.
fn hexadecimal(text: &str, digits: usize) -> Option<&str> {
    text.get(..digits).filter(|found| found.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_matched_is_given_by_number() {
        let find = |pattern: &str, text: &str, at: usize| {
            let groups = Matcher::parse(pattern, true).unwrap().find(text).unwrap();
            groups.map(|groups| groups.get(at).cloned().flatten().unwrap_or_else(|| "-".to_string()))
        };
        for (pattern, text, group, expected) in [
            (r"\d.\d.\d", "v2.0.8-beta.67", 0, Some("2.0.8")),
            (r"v(.*)", "v1.2.3", 1, Some("1.2.3")),
            (r"/v(.*)/i", "V1", 1, Some("1")),
            (r"/\d+/g", "1.22.3", 1, Some("22")),
            (r"(?<=v)\d+(?!\.)", "v12", 0, Some("12")),
            (r"(a)|(b)", "b", 1, Some("-")),
            (r"(a)", "a", 7, Some("-")),
            ("x", "v1", 0, None),
            (r"\d", "\u{663}", 0, None),
            (r"^[\w.]+$", "caf\u{e9}", 0, None),
            (r"\W[^\W\d]", "\u{e9}a", 0, Some("\u{e9}a")),
            (r"[^]+", "a\nb", 0, Some("a\nb")),
            ("[]", "a", 0, None),
            (r"[[a-z&&b]+\]", "&[]", 0, Some("&[]")),
            (r"\[\d]", "[1]", 0, Some("[1]")),
            ("//", "a//", 0, Some("//")),
            ("/1/y", "v1", 0, None),
            ("/v|1/y", "v1", 0, Some("v")),
            ("/\\d/gy", "12a3", 1, Some("2")),
            ("/\\d/gy", "12a3", 2, Some("-")),
            (r"\h\z", "hz", 0, Some("hz")),
            (r"\x31\u0031\x", "11x", 0, Some("11x")),
            (r"\p{L}", "v", 0, None),
            (r"/\p{L}/u", "v", 0, Some("v")),
            (r"(?<n>\d)\k<n>", "122", 0, Some("22")),
            (r"v{x}", "v{x}", 0, Some("v{x}")),
        ] {
            assert_eq!(find(pattern, text, group).as_deref(), expected, "{pattern} {text}");
        }
        assert!(Matcher::parse("/a/q", true).unwrap_err().contains("no flag `q`"));
        assert!(Matcher::parse("(", true).unwrap_err().starts_with("`(` is not a regular expression"));
        let slow = Matcher::parse("(?=(a+)+$)(a|a)*b\\1", true).unwrap().find(&"a".repeat(64));
        assert_eq!(slow, Err("the regular expression takes too long".to_string()));
    }
}
