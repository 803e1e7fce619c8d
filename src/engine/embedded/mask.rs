//! Secrets in what a command prints: `***` stands for them.

use crate::base::Secret;

const STARS: &[u8] = b"***";
/// Shorter lines of a secret of several lines, such as `{`, say nothing and are everywhere.
const SHORTEST_LINE: usize = 4;

/// Hides the values of secrets.
#[derive(Clone, Default)]
pub struct Mask {
    /// Longest first, so that a secret that holds another is hidden whole.
    words: Vec<Vec<u8>>,
}

impl Mask {
    /// Hides these, line by line: commands print lines.
    pub fn new<'a>(secrets: impl IntoIterator<Item = &'a Secret>) -> Self {
        let mut words: Vec<Vec<u8>> = Vec::new();
        for secret in secrets {
            let lines: Vec<&[u8]> =
                secret.expose().split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii).collect();
            let lines: Vec<&[u8]> = lines.into_iter().filter(|line| !line.is_empty()).collect();
            let shortest = if lines.len() > 1 { SHORTEST_LINE } else { 1 };
            words.extend(lines.into_iter().filter(|line| line.len() >= shortest).map(<[u8]>::to_vec));
        }
        words.sort_by(|a, b| b.len().cmp(&a.len()).then_with(|| a.cmp(b)));
        words.dedup();
        Self { words }
    }

    /// The text without secrets.
    pub fn hide(&self, text: &[u8]) -> Vec<u8> {
        let mut shown = Vec::with_capacity(text.len());
        let mut rest = text;
        while let Some((first, after)) = rest.split_first() {
            match self.words.iter().find(|word| rest.starts_with(word)) {
                Some(word) => {
                    shown.extend_from_slice(STARS);
                    rest = &rest[word.len()..];
                }
                None => {
                    shown.push(*first);
                    rest = after;
                }
            }
        }
        shown
    }

    /// How many bytes at the end of a text that goes on may be the beginning of a secret.
    pub fn undecided(&self, text: &[u8]) -> usize {
        let longest = self.words.first().map_or(0, Vec::len).saturating_sub(1).min(text.len());
        let may_begin =
            |end: &[u8]| self.words.iter().any(|word| word.len() > end.len() && word.starts_with(end));
        (1..=longest).rev().find(|length| may_begin(&text[text.len() - length..])).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mask(secrets: &[&str]) -> Mask {
        let secrets: Vec<Secret> = secrets.iter().map(|text| Secret::new(text.as_bytes())).collect();
        Mask::new(&secrets)
    }

    #[test]
    fn values_are_hidden_and_nothing_else() {
        let check = |secrets: &[&str], text: &str, expected: &str| {
            assert_eq!(String::from_utf8(mask(secrets).hide(text.as_bytes())).unwrap(), expected);
        };
        check(&["hunter2"], "a hunter2b hunter", "a ***b hunter");
        check(&["hunter2\n"], "hunter2", "***");
        check(&["a", "abc"], "abcd a", "***d ***");
        check(&["{\n  \"key\": \"v\"\n}"], "{ \"key\": \"v\" }", "{ *** }");
        check(&[""], "text", "text");
        check(&[], "text", "text");
    }

    #[test]
    fn what_may_become_a_secret_waits() {
        let check =
            |text: &str, expected: usize| assert_eq!(mask(&["hunter2"]).undecided(text.as_bytes()), expected);
        check("a hunt", 4);
        check("hh", 1);
        check("hunter2", 0);
        check("x", 0);
        check("", 0);
    }
}
