//! Wildcards as Go's `filepath.Match` has them, which is what COPY and ADD sources use.
//!
//! `*` is any run of characters but `/`, `?` one character but `/`, `[a-z]` and `[^a-z]` one of a class (a
//! negated class matches `/` too, as in Go), `\` takes the next character as it is. A pattern matches the
//! whole name. Names are bytes; where a character is asked for, a byte that is not UTF-8 is one.

/// A pattern that parsed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Glob {
    chunks: Vec<Chunk>,
}

/// What follows an optional star.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Chunk {
    after_star: bool,
    items: Vec<Item>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Item {
    Byte(u8),
    AnyCharacter,
    Class(Class),
}

/// A set of characters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Class {
    is_negated: bool,
    ranges: Vec<(char, char)>,
}

/// The pattern ends inside a class or an escape, or a class is empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("syntax error in pattern")]
pub struct PatternError;

impl Glob {
    pub fn parse(pattern: &[u8]) -> Result<Self, PatternError> {
        let mut chunks = Vec::new();
        let mut chunk = Chunk::default();
        let mut rest = pattern;
        while let Some((&byte, after)) = rest.split_first() {
            rest = after;
            match byte {
                b'*' if chunk.after_star && chunk.items.is_empty() => {}
                b'*' => {
                    chunks.push(std::mem::take(&mut chunk));
                    chunk.after_star = true;
                }
                b'?' => chunk.items.push(Item::AnyCharacter),
                b'[' => {
                    let (class, after) = Class::parse(rest)?;
                    chunk.items.push(Item::Class(class));
                    rest = after;
                }
                b'\\' => {
                    let (&escaped, after) = rest.split_first().ok_or(PatternError)?;
                    chunk.items.push(Item::Byte(escaped));
                    rest = after;
                }
                _ => chunk.items.push(Item::Byte(byte)),
            }
        }
        chunks.push(chunk);
        Ok(Self { chunks })
    }

    /// Takes time in proportion to the lengths of pattern and name multiplied, at most.
    pub fn matches(&self, name: &[u8]) -> bool {
        let mut rest = name;
        for (position, chunk) in self.chunks.iter().enumerate() {
            let is_last = position + 1 == self.chunks.len();
            match chunk.find(rest, is_last) {
                Some(after) => rest = after,
                None => return false,
            }
        }
        rest.is_empty()
    }

    /// Whether anything in the pattern is more than a plain character.
    pub fn is_wild(pattern: &[u8]) -> bool {
        pattern.iter().any(|byte| matches!(byte, b'*' | b'?' | b'[' | b'\\'))
    }
}

impl Chunk {
    /// What is left of the name after the first place the chunk matches at; the last chunk has to reach the
    /// end. Taking the first place is enough: whatever a later star could do from a later one, it can do
    /// from there.
    fn find<'a>(&self, name: &'a [u8], is_last: bool) -> Option<&'a [u8]> {
        let reach = match self.after_star {
            true => name.iter().position(|byte| *byte == b'/').unwrap_or(name.len()),
            false => 0,
        };
        if self.after_star && self.items.is_empty() {
            return (is_last && reach == name.len()).then_some(&name[reach..]);
        }
        (0..=reach)
            .filter_map(|start| self.match_at(&name[start..]))
            .find(|after| !is_last || after.is_empty())
    }

    fn match_at<'a>(&self, mut name: &'a [u8]) -> Option<&'a [u8]> {
        for item in &self.items {
            let (&first, after) = name.split_first()?;
            name = match item {
                Item::Byte(byte) if *byte == first => after,
                Item::Byte(_) => return None,
                Item::AnyCharacter if first == b'/' => return None,
                Item::AnyCharacter => &name[character(name).1..],
                Item::Class(class) => {
                    let (found, length) = character(name);
                    if !class.contains(found) {
                        return None;
                    }
                    &name[length..]
                }
            };
        }
        Some(name)
    }
}

impl Class {
    /// Parses what follows a `[`; also gives what follows the `]`.
    pub(super) fn parse(pattern: &[u8]) -> Result<(Self, &[u8]), PatternError> {
        let (is_negated, mut rest) = match pattern.strip_prefix(b"^") {
            Some(rest) => (true, rest),
            None => (false, pattern),
        };
        let mut ranges = Vec::new();
        loop {
            if let (Some(after), false) = (rest.strip_prefix(b"]"), ranges.is_empty()) {
                return Ok((Self { is_negated, ranges }, after));
            }
            let (low, after) = class_character(rest)?;
            let (high, after) = match after.strip_prefix(b"-") {
                Some(after) => class_character(after)?,
                None => (low, after),
            };
            ranges.push((low, high));
            rest = after;
        }
    }

    pub(super) fn contains(&self, character: char) -> bool {
        let is_listed = self.ranges.iter().any(|(low, high)| (*low..=*high).contains(&character));
        is_listed != self.is_negated
    }
}

fn class_character(pattern: &[u8]) -> Result<(char, &[u8]), PatternError> {
    let rest = match pattern.first() {
        None | Some(b'-' | b']') => return Err(PatternError),
        Some(b'\\') => &pattern[1..],
        Some(_) => pattern,
    };
    if rest.is_empty() {
        return Err(PatternError);
    }
    match character(rest) {
        (char::REPLACEMENT_CHARACTER, 1) => Err(PatternError),
        (found, length) => match &rest[length..] {
            [] => Err(PatternError),
            after => Ok((found, after)),
        },
    }
}

/// The first character of some bytes, which are not empty, and its length.
pub(super) fn character(bytes: &[u8]) -> (char, usize) {
    let longest = &bytes[..bytes.len().min(4)];
    let valid = match std::str::from_utf8(longest) {
        Ok(text) => text,
        Err(error) => std::str::from_utf8(&longest[..error.valid_up_to()]).unwrap_or_default(),
    };
    valid.chars().next().map_or((char::REPLACEMENT_CHARACTER, 1), |found| (found, found.len_utf8()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(pattern: &str, name: &str, expected: Option<bool>) {
        let found = Glob::parse(pattern.as_bytes()).ok().map(|glob| glob.matches(name.as_bytes()));
        assert_eq!(found, expected, "{pattern} on {name}");
    }

    #[test]
    fn patterns_match_as_in_go() {
        for (pattern, name, expected) in [
            ("", "", true),
            ("abc", "abc", true),
            ("*", "abc", true),
            ("*", "", true),
            ("*c", "abc", true),
            ("a*", "a", true),
            ("a*", "ab/c", false),
            ("a*/b", "abc/b", true),
            ("a*/b", "a/c/b", false),
            ("a*b*c*d*e*/f", "axbxcxdxe/f", true),
            ("a*b*c*d*e*/f", "axbxcxdxexxx/f", true),
            ("a*b*c*d*e*/f", "axbxcxdxe/xxx/f", false),
            ("a*b?c*x", "abxbbxdbxebxczzx", true),
            ("a*b?c*x", "abxbbxdbxebxczzy", false),
            ("ab[c]", "abc", true),
            ("ab[b-d]", "abc", true),
            ("ab[^c]", "abc", false),
            ("ab[^e-g]", "abc", true),
            (r"a\*b", "a*b", true),
            (r"a\*b", "ab", false),
            ("a?b", "a☺b", true),
            ("a[^a]b", "a☺b", true),
            ("a???b", "a☺b", false),
            ("[a-ζ]*", "α", true),
            ("*[a-ζ]", "A", false),
            ("a?b", "a/b", false),
            ("a*b", "a/b", false),
            ("a[^x]b", "a/b", true),
            (r"[\]a]", "]", true),
            (r"[\-x]", "-", true),
            ("*x", "xxx", true),
            ("**", "ab", true),
            (".*", ".env", true),
            ("*", ".env", true),
        ] {
            check(pattern, name, Some(expected));
        }
        for pattern in ["[]a]", "[-]", "[x-]", "[a-b-c]", "[", "[^", "[^bc", "a[", "a\\", "[a-]", "[^]"] {
            check(pattern, "a", None);
        }
    }

    #[test]
    fn bytes_that_are_not_text_are_characters() {
        let matches = |pattern: &[u8], name: &[u8]| Glob::parse(pattern).unwrap().matches(name);
        assert!(matches(b"a?b", b"a\xffb"));
        assert!(matches(b"a\xffb", b"a\xffb"));
        assert!(!matches(b"a\xfeb", b"a\xffb"));
        assert!(Glob::parse(b"[\xff]").is_err());
    }

    #[test]
    fn many_stars_take_no_longer() {
        let glob = Glob::parse("a*".repeat(500).as_bytes()).unwrap();
        assert!(!glob.matches(&[b"a".repeat(5000), b"/".to_vec()].concat()));
    }
}
