//! How large a TOML text may be: its parser keeps every token at once, some 50 bytes for each and for each 8 of text.

/// No file that people or programs write for this is near it.
const MOST_BYTES: usize = 8 << 20;
const MOST_TOKENS: usize = 1_500_000;

/// What the text has too much of, such as `more than 1500000 tokens`, if it is too large to be parsed.
pub fn excess(text: &str) -> Option<String> {
    if text.len() > MOST_BYTES {
        return Some(format!("more than {} MiB", MOST_BYTES >> 20));
    }
    let may_have_too_many = text.len() > MOST_TOKENS;
    let has_too_many = || toml_parser::Source::new(text).lex().nth(MOST_TOKENS).is_some();
    (may_have_too_many && has_too_many()).then(|| format!("more than {MOST_TOKENS} tokens"))
}
