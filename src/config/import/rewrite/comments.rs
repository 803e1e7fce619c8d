//! What people have written beside their code.

use crate::diag::{Place, Source, Span};

/// The comment that ends in the line above `offset`.
pub fn above(source: &Source, offset: usize) -> Vec<String> {
    let start = source.text[..offset.min(source.text.len())].rfind('\n').map_or(0, |at| at + 1);
    let mut comments: Vec<String> = Vec::new();
    for line in source.text[..start].lines().rev() {
        let line = line.trim();
        let text = line.strip_prefix('#').or_else(|| line.strip_prefix("//"));
        let Some(text) = text else { break };
        comments.push(text.trim().to_string());
    }
    comments.reverse();
    // Directives of other tools mean nothing here.
    comments.retain(|comment| !comment.starts_with('!') && !comment.starts_with("syntax="));
    comments
}

/// The text of a place in one line that is not too long.
pub fn excerpt(source: &Source, span: &Span) -> String {
    const LONGEST: usize = 72;
    let text = source.text.get(span.clone()).unwrap_or_default();
    let words: Vec<&str> = text.split_whitespace().collect();
    let line = words.join(" ");
    match line.char_indices().nth(LONGEST) {
        Some((at, _)) => format!("{}…", &line[..at]),
        None => line,
    }
}

/// `file:line`, with the file's name as it was given.
pub fn at(place: &Place) -> String {
    place.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_above_a_line_are_found() {
        let check = |text: &str, expected: &[&str]| {
            let at = text.find("here").expect("the text says where");
            assert_eq!(above(&Source::new("f", text), at), expected, "{text}");
        };
        check("here", &[]);
        check("# a\n// b\nhere", &["a", "b"]);
        check("# a\n\nhere", &[]);
        check("x = 1 # a\n  # b\n  here", &["b"]);
    }
}
