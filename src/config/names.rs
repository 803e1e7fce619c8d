//! The names an expression asks for: `vars.go`, `git.sha`.
//!
//! Found letter by letter rather than by minijinja's `undeclared_variables`, which overlooks what is
//! sliced (3.0.5: `git.sha[:7]` asks for nothing). A name too many costs a lookup; one too few would let
//! a value of one target be taken for another's.

use crate::diag::Span;

const WORDS: [&str; 12] =
    ["and", "else", "false", "False", "if", "in", "is", "none", "None", "not", "or", "true"];

/// The dotted names in `expression`, in its order; not those of filters, tests, functions and keyword
/// arguments.
pub fn names(expression: &str) -> Vec<Span> {
    let bytes = expression.as_bytes();
    let mut names = Vec::new();
    let mut at = 0;
    // What stands before a name decides whether it is one.
    let mut before = Before::Other;
    while at < bytes.len() {
        let start = at;
        match bytes[at] {
            quote @ (b'"' | b'\'') => {
                at = after_string(bytes, at, quote);
                before = Before::Other;
            }
            byte if is_word(byte) => {
                at = after_name(bytes, at);
                let name = &expression[start..at];
                let next =
                    bytes[at..].iter().position(|byte| !byte.is_ascii_whitespace()).map(|skip| at + skip);
                let is_called = next.is_some_and(|next| {
                    bytes[next] == b'(' || (bytes[next] == b'=' && bytes.get(next + 1) != Some(&b'='))
                });
                let is_plain =
                    !byte.is_ascii_digit() && !is_called && !WORDS.contains(&name) && name != "True";
                if is_plain && before == Before::Other {
                    names.push(start..at);
                }
                before = match (name, before) {
                    ("is", _) | ("not", Before::Test) => Before::Test,
                    _ => Before::Other,
                };
            }
            byte => {
                at += 1;
                before = match byte {
                    b'|' => Before::Filter,
                    b'.' => Before::Member,
                    byte if byte.is_ascii_whitespace() => before,
                    _ => Before::Other,
                };
            }
        }
    }
    names
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Before {
    Filter,
    Test,
    Member,
    Other,
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || !byte.is_ascii()
}

/// The end of a name with its members: `a.b.c`.
fn after_name(bytes: &[u8], start: usize) -> usize {
    let mut at = start;
    loop {
        while bytes.get(at).is_some_and(|byte| is_word(*byte)) {
            at += 1;
        }
        let goes_on = bytes.get(at) == Some(&b'.') && bytes.get(at + 1).is_some_and(|byte| is_word(*byte));
        if !goes_on {
            return at;
        }
        at += 1;
    }
}

fn after_string(bytes: &[u8], start: usize, quote: u8) -> usize {
    let mut at = start + 1;
    while at < bytes.len() {
        match bytes[at] {
            b'\\' => at += 2,
            byte if byte == quote => return at + 1,
            _ => at += 1,
        }
    }
    bytes.len()
}

#[cfg(test)]
mod tests {
    use super::names;

    #[test]
    fn names_are_found_wherever_they_stand() {
        for (expression, expected) in [
            ("git.sha[:7]", "git.sha"),
            ("vars.a ~ vars [ 'b' ]", "vars.a vars"),
            ("(target.name | slug | default(vars.x))[:3]", "target.name vars.x"),
            ("'target' if platform.os == \"x\\\"target\" else env('A', b)", "platform.os b"),
            ("a is not defined and b is divisibleby(c)", "a b c"),
            ("x | int(base=16) + 1.5 * 1e5", "x"),
            ("{'k': [target.name]}.k.member", "target.name"),
            ("none or True", ""),
        ] {
            let found: Vec<&str> = names(expression).into_iter().map(|span| &expression[span]).collect();
            assert_eq!(found.join(" "), expected, "{expression}");
        }
    }

    #[test]
    fn any_text_is_survived() {
        for text in ["'", "\"\\", "é.ü", "..", "a.", ".a", "1.", "|"] {
            names(text);
        }
    }
}
