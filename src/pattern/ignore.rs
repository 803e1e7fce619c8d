//! `.dockerignore`: which paths of a context are not there.
//!
//! The rules are those of moby's ignorefile and patternmatcher as BuildKit's client applies them while it
//! walks: every pattern is tried on a path and takes over the result its parent directory had; the last
//! pattern that matches decides, and `!` makes it an exception.

use super::glob::PatternError;
use super::wildcard::Pattern;

/// The patterns of an ignore file, or of several `--exclude` flags.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ignore {
    rules: Vec<Rule>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Rule {
    pattern: Pattern,
    is_exception: bool,
}

/// Which patterns matched a directory. Its children need it, for what matches a directory matches what is in it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Matched(Vec<bool>);

/// A line that is no pattern.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IgnoreError {
    #[error("`!` needs a pattern after it")]
    EmptyException { line: usize },
    #[error("`{pattern}` is not a pattern: a `[` or a `\\` is left open")]
    Pattern { line: usize, pattern: String },
}

impl IgnoreError {
    /// Counted from one.
    pub fn line(&self) -> usize {
        match self {
            Self::EmptyException { line } | Self::Pattern { line, .. } => *line,
        }
    }
}

impl Ignore {
    /// Parses the text of an ignore file.
    pub fn parse(text: &[u8]) -> Result<Self, IgnoreError> {
        let text = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text);
        let mut rules = Vec::new();
        for (index, line) in text.split(|byte| *byte == b'\n').enumerate() {
            if line.starts_with(b"#") {
                continue;
            }
            rules.extend(Rule::parse(&normalized(trim(line)), index + 1)?);
        }
        Ok(Self { rules })
    }

    /// As the lines of an ignore file, but a `#` or a leading `/` means itself.
    pub fn from_patterns<'a>(patterns: impl IntoIterator<Item = &'a [u8]>) -> Result<Self, IgnoreError> {
        let mut rules = Vec::new();
        for (index, pattern) in patterns.into_iter().enumerate() {
            rules.extend(Rule::parse(pattern, index + 1)?);
        }
        Ok(Self { rules })
    }

    pub fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    /// Whether the path, clean and relative to the root, is ignored.
    pub fn matches(&self, path: &[u8]) -> bool {
        let mut matched = Matched::default();
        let ends = path.iter().enumerate().filter(|(_, byte)| **byte == b'/').map(|(end, _)| end);
        for end in ends.collect::<Vec<_>>() {
            matched = self.check(&path[..end], &matched).1;
        }
        self.check(path, &matched).0
    }

    /// Whether the path is ignored, given what matched its parent directory ([`Matched::default`] in the root),
    /// and what matched the path itself.
    pub fn check(&self, path: &[u8], parent: &Matched) -> (bool, Matched) {
        let mut is_ignored = false;
        let mut matched = vec![false; self.rules.len()];
        for (index, rule) in self.rules.iter().enumerate() {
            // A pattern that could not change the result is not even tried, and so does not count for the
            // children either. That is how moby does it.
            let inherited = parent.0.get(index).copied().unwrap_or(false);
            if inherited || (rule.is_exception == is_ignored && rule.pattern.matches(path)) {
                matched[index] = true;
                is_ignored = !rule.is_exception;
            }
        }
        (is_ignored, Matched(matched))
    }

    /// Whether an exception might bring back something below an ignored directory.
    pub fn may_return_below(&self, directory: &[u8]) -> bool {
        self.rules.iter().any(|rule| rule.is_exception && rule.pattern.may_match_below(directory))
    }

    /// Whether a path below `directory` might match. `true` when in doubt.
    pub fn may_match_below(&self, directory: &[u8]) -> bool {
        self.rules.iter().any(|rule| !rule.is_exception && rule.pattern.may_match_below(directory))
    }
}

impl Rule {
    /// `None` for an empty line.
    fn parse(text: &[u8], line: usize) -> Result<Option<Self>, IgnoreError> {
        let text = trim(text);
        if text.is_empty() {
            return Ok(None);
        }
        let text = clean(text);
        let (is_exception, text) = match text.strip_prefix(b"!") {
            Some([]) => return Err(IgnoreError::EmptyException { line }),
            Some(rest) => (true, rest),
            None => (false, &text[..]),
        };
        let pattern = Pattern::parse(text).map_err(|PatternError| IgnoreError::Pattern {
            line,
            pattern: String::from_utf8_lossy(text).into_owned(),
        })?;
        Ok(Some(Self { pattern, is_exception }))
    }
}

/// What the ignore file's reader does to a line before the matcher sees it.
fn normalized(line: &[u8]) -> Vec<u8> {
    let (mark, pattern) = match line.strip_prefix(b"!") {
        Some(pattern) => (&b"!"[..], trim(pattern)),
        None => (&b""[..], line),
    };
    if pattern.is_empty() {
        return mark.to_vec();
    }
    let pattern = clean(pattern);
    let pattern = match pattern.strip_prefix(b"/") {
        Some(rest) if !rest.is_empty() => rest,
        _ => &pattern,
    };
    [mark, pattern].concat()
}

fn trim(line: &[u8]) -> &[u8] {
    match std::str::from_utf8(line) {
        Ok(text) => text.trim().as_bytes(),
        Err(_) => line.trim_ascii(),
    }
}

/// Go's `path.Clean`.
pub(super) fn clean(path: &[u8]) -> Vec<u8> {
    let is_rooted = path.starts_with(b"/");
    let mut kept: Vec<&[u8]> = Vec::new();
    for component in path.split(|byte| *byte == b'/') {
        match component {
            b"" | b"." => {}
            b".." if kept.last().is_some_and(|last| *last != b"..") => {
                kept.pop();
            }
            b".." if is_rooted => {}
            _ => kept.push(component),
        }
    }
    let joined = kept.join(&b'/');
    match (is_rooted, joined.is_empty()) {
        (true, _) => [b"/", &joined[..]].concat(),
        (false, true) => b".".to_vec(),
        (false, false) => joined,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn ignore(text: &str) -> Ignore {
        Ignore::parse(text.as_bytes()).unwrap()
    }

    fn check(text: &str, path: &str, expected: bool) {
        assert_eq!(ignore(text).matches(path.as_bytes()), expected, "{text:?} on {path}");
    }

    #[test]
    fn one_pattern() {
        for (pattern, path, expected) in [
            ("**", "file", true),
            ("**", "a/b", true),
            ("**/", "file", true),
            ("**/**", "dir/file", true),
            ("dir/**", "dir/file", true),
            ("dir/**", "dir", false),
            ("dir/**", "dir2/file", false),
            ("**/dir", "dir", true),
            ("**/dir", "a/b/dir", true),
            ("**/dir", "adir", false),
            ("**/dir2/*", "dir/dir2/file", true),
            ("**/dir2/*", "dir2/file", true),
            ("**/dir2/**", "dir/dir2/dir2/file", true),
            ("**file", "file", true),
            ("**file", "dir/afile", true),
            ("**/*.txt", "a/b.txt", true),
            ("**/*.txt", "b.txt", true),
            ("**/*.txt", "b.txtx", false),
            ("a**/*.txt", "a/dir/file.txt", true),
            ("a**/*.txt", "afile.txt", true),
            ("a**b", "ab", true),
            ("a**b", "axb", false),
            ("a**b", "ax/y/b", true),
            ("a**", "ab/c", true),
            ("a/*/b", "a//b", true),
            ("a/*/b", "a/x/b", true),
            ("a/*/b", "a/x/y/b", false),
            ("*", "a/b/c", true),
            ("*/b", "a/b/c", true),
            ("foo", "foo/bar", true),
            ("foo", "foobar", false),
            ("/foo", "foo", true),
            ("foo/", "foo", true),
            ("./foo", "foo", true),
            ("a/../foo", "foo", true),
            ("../foo", "foo", false),
            (".", "foo", false),
            ("/", "foo", false),
            ("a.b", "axb", false),
            ("a(b)+{c}$|d", "a(b)+{c}$|d", true),
            ("a(b)+{c}$|d*", "a(b)+{c}$|de", true),
            (r"a\*", "ab", false),
            (r"a\*", "a*", true),
            (r"\!a", "!a", true),
            (r"\#a", "#a", true),
            ("[a-c]x", "bx", true),
            ("[^a-c]x", "bx", false),
            ("a?", "a☺", true),
            ("a?", "a/", false),
            ("日本*", "日本語", true),
            ("***", "a", true),
            ("**/.git", "x/.git/config", true),
            ("A", "a", false),
        ] {
            check(pattern, path, expected);
        }
    }

    #[test]
    fn the_last_match_wins_and_parents_count() {
        for (text, path, expected) in [
            ("*\n!keep", "keep", false),
            ("*\n!keep", "keep/below", false),
            ("*\n!keep\nkeep/not", "keep/not/x", true),
            ("!keep\n*", "keep", true),
            ("a\n!a/b", "a/b", false),
            ("a\n!a/b", "a/c", true),
            ("a\n!a/b/c", "a/b", true),
            ("a\n!a/b/c", "a/b/c/d", false),
            ("**/*.md\n!README.md", "README.md", false),
            ("**/*.md\n!README.md", "x/README.md", true),
            ("**\n!**/*.go", "a/b/c.go", false),
            // The exception is not tried on `foo`, which nothing ignored, and so does not reach its children.
            ("*/x\n!foo", "foo/x", true),
            ("foo\n*/x\n!foo", "foo/x", false),
            ("node_modules\n!node_modules/keep/**", "node_modules/keep/a/b", false),
        ] {
            check(text, path, expected);
        }
    }

    #[test]
    fn lines_are_read_as_moby_reads_them() {
        for (text, path, expected) in [
            ("\u{feff}foo", "foo", true),
            ("\u{feff}#foo\nbar", "#foo", false),
            ("#foo", "#foo", false),
            (" #foo", "#foo", true),
            ("  foo\t\r\nbar", "foo", true),
            ("/ foo", "foo", true),
            ("\n\n  \nbar", "bar", true),
            ("*\n!  foo ", "foo", false),
            ("*\n!/foo", "foo", false),
            ("\u{a0}foo", "foo", true),
        ] {
            check(text, path, expected);
        }
        for (text, line) in [("!", 1), ("a\n ! \n", 2), ("a\n\nb[", 3), ("!/", 1), ("\\", 1), ("[]", 1)] {
            assert_eq!(Ignore::parse(text.as_bytes()).unwrap_err().line(), line, "{text:?}");
        }
    }

    #[test]
    fn ignored_directories_are_entered_only_for_exceptions_below() {
        for (text, directory, expected) in [
            ("*", "a", false),
            ("*\n!a/b", "a", true),
            ("*\n!a/b", "a/b", false),
            ("*\n!a/b", "ab", false),
            ("*\n!a/*.md", "a", true),
            ("*\n!a/*.md", "a/b", false),
            ("*\n!a/*.md", "b", false),
            ("*\n!*", "a", false),
            ("*\n!**/*.md", "a/b/c", true),
            ("*\n!a/**", "a/b/c", true),
            ("*\n!a/**", "b", false),
            ("*\n!a**", "ab", true),
            ("*\n!a[^x]b", "a", true),
        ] {
            assert_eq!(
                ignore(text).may_return_below(directory.as_bytes()),
                expected,
                "{text:?} in {directory}"
            );
        }
    }

    /// Answers of moby/patternmatcher v0.6.1 to ignore files made at random: `ignorefile.ReadAll`, then
    /// `MatchesUsingParentResults` from the root down. A line without paths is one that it refuses.
    #[test]
    fn moby_decides_the_same() {
        for line in include_str!("../../tests/corpus/ignore.jsonl").lines() {
            let case: serde_json::Value = serde_json::from_str(line).unwrap();
            let text = case["ignore"].as_str().unwrap();
            let found = Ignore::parse(text.as_bytes());
            assert_eq!(found.is_ok(), case.get("ignored").is_some(), "{text:?}: {found:?}");
            for (name, expected) in [("ignored", true), ("kept", false)] {
                for path in case.get(name).and_then(|paths| paths.as_array()).into_iter().flatten() {
                    check(text, path.as_str().unwrap(), expected);
                }
            }
        }
    }

    #[test]
    fn exclude_flags_keep_what_an_ignore_file_strips() {
        let ignore = Ignore::from_patterns([&b"#a"[..], b"**/*.md", b"!x.md"]).unwrap();
        let found = ["#a", "a.md", "x.md", "b"].map(|path| ignore.matches(path.as_bytes()));
        assert_eq!(found, [true, true, false, false]);
    }

    #[test]
    fn paths_are_cleaned_as_in_go() {
        for (path, expected) in [
            ("", "."),
            ("a//b/", "a/b"),
            ("a/./b/../c", "a/c"),
            ("/../a", "/a"),
            ("../../a", "../../a"),
            ("a/..", "."),
            ("/", "/"),
        ] {
            assert_eq!(clean(path.as_bytes()), expected.as_bytes(), "{path}");
        }
    }

    #[test]
    fn many_stars_take_no_longer() {
        let text = format!("{}b\n{}b", "*a".repeat(40), "**/a".repeat(40));
        assert!(!ignore(&text).matches("a/".repeat(100).as_bytes()));
        assert!(!ignore(&text).matches("a".repeat(1000).as_bytes()));
    }

    proptest! {
        #[test]
        fn any_bytes_parse_or_fail_and_never_panic(
            text in proptest::collection::vec(any::<u8>(), 0..60),
            path in proptest::collection::vec(any::<u8>(), 0..40),
        ) {
            if let Ok(ignore) = Ignore::parse(&text) {
                ignore.matches(&path);
            }
        }

        #[test]
        fn nothing_returns_below_a_directory_that_is_not_entered(
            text in "([!]?[ab*?/]{1,6}\n){1,5}",
            path in "[ab]{1,2}(/[ab]{1,2}){1,3}",
        ) {
            let Ok(ignore) = Ignore::parse(text.as_bytes()) else { return Ok(()) };
            for (end, _) in path.match_indices('/') {
                let directory = &path.as_bytes()[..end];
                if ignore.matches(directory) && !ignore.may_return_below(directory) {
                    prop_assert!(ignore.matches(path.as_bytes()), "{text:?} {path}");
                }
            }
        }
    }
}
