//! A pattern taken apart into letters and tags.

pub enum Token {
    Letters(String),
    /// What stands between the braces, and whether there were three.
    Tag {
        inside: String,
        is_raw: bool,
    },
}

/// Letters and tags, with the white space gone that a `~` takes.
pub fn tokens(text: &str) -> Result<Vec<Token>, String> {
    let mut tokens = Vec::new();
    let mut letters = String::new();
    let mut rest = text;
    let mut trims_next = false;
    while let Some(at) = rest.find("{{") {
        let before = &rest[..at];
        // A backslash keeps the braces, two keep themselves.
        if before.ends_with('\\') && !before.ends_with("\\\\") {
            letters.push_str(trimmed_start(&before[..at - 1], &mut trims_next));
            let end = rest[at + 2..].find("{{").map_or(rest.len(), |next| at + 2 + next);
            letters.push_str(&rest[at..end]);
            rest = &rest[end..];
            continue;
        }
        let before = before.strip_suffix('\\').unwrap_or(before);
        letters.push_str(trimmed_start(before, &mut trims_next));
        let (inside, is_raw, after) = tag_at(&rest[at..])?;
        let inside = inside.strip_prefix('~').map_or(inside, |inside| {
            letters.truncate(letters.trim_end().len());
            inside
        });
        trims_next = inside.ends_with('~');
        let inside = inside.strip_suffix('~').unwrap_or(inside).trim().to_string();
        if !letters.is_empty() {
            tokens.push(Token::Letters(std::mem::take(&mut letters)));
        }
        if !inside.starts_with('!') {
            tokens.push(Token::Tag { inside, is_raw });
        }
        rest = after;
    }
    letters.push_str(trimmed_start(rest, &mut trims_next));
    if !letters.is_empty() {
        tokens.push(Token::Letters(letters));
    }
    Ok(tokens)
}

fn trimmed_start<'t>(text: &'t str, trims: &mut bool) -> &'t str {
    if std::mem::take(trims) { text.trim_start() } else { text }
}

/// The inside of the tag that `text` begins with, and what is after it. Braces may stand in quotes.
fn tag_at(text: &str) -> Result<(&str, bool, &str), String> {
    let is_raw = text.starts_with("{{{");
    let (opening, closing) = if is_raw { (3, "}}}") } else { (2, "}}") };
    if let Some(comment) = text[2..].trim_start_matches('~').strip_prefix("!--") {
        let end = comment.find("--").ok_or("a comment is not closed")?;
        let after = &comment[end..];
        let close = after.find("}}").ok_or("a comment is not closed")?;
        return Ok(("!", false, &after[close + 2..]));
    }
    let inside = &text[opening..];
    let mut quote = None;
    let mut is_kept = false;
    let is_comment = inside.starts_with('!');
    for (at, letter) in inside.char_indices() {
        let follows_backslash = std::mem::replace(&mut is_kept, letter == '\\');
        match quote {
            Some(open) if open == letter && follows_backslash => {}
            Some(open) if open == letter => quote = None,
            Some(_) => {}
            None if matches!(letter, '"' | '\'') && !is_comment => quote = Some(letter),
            None if inside[at..].starts_with(closing) => {
                return Ok((&inside[..at], is_raw, &inside[at + closing.len()..]));
            }
            None => {}
        }
    }
    let shown: String = text.chars().take(32).collect();
    Err(format!("`{{{{` is not closed in `{shown}`"))
}
