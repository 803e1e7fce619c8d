//! Secrets in what a command prints: `***` stands for them, and for their base64 forms, which is how programs print
//! headers and tokens.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::prelude::{BASE64_STANDARD_NO_PAD, BASE64_URL_SAFE_NO_PAD};

use crate::base::Secret;

const STARS: &[u8] = b"***";
/// Shorter lines of a secret of several lines, such as `{`, say nothing and are everywhere.
const SHORTEST_LINE: usize = 4;
/// Fewer characters of base64 may be anything.
const SHORTEST_ENCODED: usize = 8;
/// Secrets of more bytes are not looked for in lines of base64.
const LONGEST_ENCODED: usize = 16 << 10;
/// What a line of base64 holds as `base64` and as `openssl` write it, in bytes.
const LINES: [usize; 2] = [57, 48];

/// Hides the values of secrets.
#[derive(Clone, Default)]
pub struct Mask {
    /// Longest first, so that a secret that holds another is hidden whole.
    words: Vec<Vec<u8>>,
    /// The words that begin with each byte, by their places.
    by_first: BTreeMap<u8, Vec<usize>>,
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
            let lines: Vec<&[u8]> = lines.into_iter().filter(|line| line.len() >= shortest).collect();
            words.extend(lines.iter().flat_map(|line| encoded(line)));
            words.extend(encoded_lines(secret.expose()));
            words.extend(lines.into_iter().map(<[u8]>::to_vec));
        }
        words.sort_by(|a, b| b.len().cmp(&a.len()).then_with(|| a.cmp(b)));
        words.dedup();
        let mut by_first: BTreeMap<u8, Vec<usize>> = BTreeMap::new();
        for (place, word) in words.iter().enumerate() {
            by_first.entry(word[0]).or_default().push(place);
        }
        Self { words, by_first }
    }

    /// The text without secrets.
    pub fn hide(&self, text: &[u8]) -> Vec<u8> {
        let mut shown = Vec::with_capacity(text.len());
        let mut rest = text;
        while let Some((first, after)) = rest.split_first() {
            let words = self.by_first.get(first).into_iter().flatten().map(|place| &self.words[*place]);
            match words.into_iter().find(|word| rest.starts_with(word)) {
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

/// The characters of base64 that say nothing but of `bytes`, wherever they stand in what is encoded, in both alphabets. The
/// whole with its padding as well.
fn encoded(bytes: &[u8]) -> Vec<Vec<u8>> {
    let mut words = Vec::new();
    if bytes.len() < SHORTEST_ENCODED * 6 / 8 {
        return words;
    }
    for before in 0..3_usize {
        let shifted = [&[0; 2][..before], bytes].concat();
        // Six bits a character.
        let own = (before * 8).div_ceil(6)..shifted.len() * 8 / 6;
        for engine in [BASE64_STANDARD_NO_PAD, BASE64_URL_SAFE_NO_PAD] {
            let text = engine.encode(&shifted);
            words.push(text.as_bytes()[own.clone()].to_vec());
            if before == 0 {
                let mut padded = text.clone().into_bytes();
                padded.resize(text.len().next_multiple_of(4), b'=');
                words.extend([text.into_bytes(), padded]);
            }
        }
    }
    words.retain(|word| word.len() >= SHORTEST_ENCODED);
    words
}

/// The whole of a longer secret, in lines.
fn encoded_lines(bytes: &[u8]) -> Vec<Vec<u8>> {
    if bytes.len() <= LINES[1] || bytes.len() > LONGEST_ENCODED {
        return Vec::new();
    }
    let lines = LINES.iter().flat_map(|length| bytes.chunks(*length));
    let mut words: Vec<Vec<u8>> =
        lines.map(|line| BASE64_STANDARD_NO_PAD.encode(line).into_bytes()).collect();
    words.retain(|word| word.len() >= SHORTEST_ENCODED);
    words
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
    fn base64_forms_are_hidden() {
        use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE};
        let secret = "hunter2-\u{fe}\u{ff}?>~~";
        let mask = mask(&[secret, "tiny"]);
        let hidden = |text: &str| String::from_utf8(mask.hide(text.as_bytes())).unwrap();
        for before in ["", "x", "user:", "Basic!"] {
            for after in ["", "\n", "@host"] {
                let text = format!("{before}{secret}{after}");
                for engine in [BASE64_STANDARD, BASE64_URL_SAFE] {
                    let shown = hidden(&engine.encode(&text));
                    // What is left has at most the bits that a neighbour shares.
                    let own = before.len().div_ceil(3) * 4 + after.len().div_ceil(3) * 4 + STARS.len();
                    assert!(shown.contains("***") && shown.len() <= own + 2, "{text:?}: {shown}");
                }
            }
        }
        assert_eq!(hidden(&format!("={}.", BASE64_STANDARD.encode(secret))), "=***.");
        assert_eq!(hidden(&BASE64_STANDARD.encode("tiny")), "dGlueQ==", "too short to tell from other text");
    }

    #[test]
    fn long_secrets_are_hidden_in_every_line_of_base64() {
        let secret: String = (0..40).map(|line| format!("line {line} of a key\n")).collect();
        let mask = mask(&[&secret]);
        let text = base64::prelude::BASE64_STANDARD.encode(&secret);
        for length in [76, 64] {
            for line in text.as_bytes().chunks(length) {
                let shown = mask.hide(line);
                assert!(shown.len() <= STARS.len() + 2, "{}", String::from_utf8_lossy(&shown));
            }
        }
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
