//! Paths to values, as `--set` and `mab explain` take them: names with dots between them, quoted where a name has
//! a dot itself.

use crate::diag::Span;

/// Bake's words for our keys.
const ALIASES: [(&str, &str); 11] = [
    ("annotation", "annotations"),
    ("arg", "args"),
    ("entitlement", "entitlements"),
    ("extra-host", "extra-hosts"),
    ("label", "labels"),
    ("no-cache-filters", "no-cache-filter"),
    ("platform", "platforms"),
    ("secrets", "secret"),
    ("tag", "tags"),
    ("target", "stage"),
    ("ulimit", "ulimits"),
];

/// A key as our files spell it.
pub fn our_key(name: &str) -> &str {
    ALIASES.iter().find(|(theirs, _)| *theirs == name).map_or(name, |(_, ours)| *ours)
}

/// Of keys that say the same in two ways, the one that layers are asked for.
pub fn one_spelling(key: &str) -> &str {
    match key {
        "image" => "images",
        "dockerfile-inline" => "dockerfile",
        other => other,
    }
}

/// One name of a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Segment {
    /// Without its quotes.
    pub name: String,
    /// With its quotes.
    pub span: Span,
}

/// Where `wanted` stands in `text` for the first time outside of quotes.
pub fn find(text: &str, wanted: char) -> Option<usize> {
    let mut quote = None;
    for (at, c) in text.char_indices() {
        match quote {
            None if c == wanted => return Some(at),
            None if matches!(c, '"' | '\'') => quote = Some(c),
            Some(open) if c == open => quote = None,
            None | Some(_) => {}
        }
    }
    None
}

/// The names of `text`, of which there is at least one.
pub fn segments(text: &str) -> Vec<Segment> {
    let mut segments = Vec::new();
    let mut start = 0;
    loop {
        let end = find(&text[start..], '.').map_or(text.len(), |at| start + at);
        segments.push(Segment { name: unquoted(&text[start..end]).to_string(), span: start..end });
        if end == text.len() {
            return segments;
        }
        start = end + 1;
    }
}

/// What is left of `text` from `segment` on, as one name: the last name of a path may have dots.
pub fn rest(text: &str, segment: &Segment) -> Segment {
    let span = segment.span.start..text.len();
    Segment { name: unquoted(&text[span.clone()]).to_string(), span }
}

/// A name without the quotes around all of it.
pub fn unquoted(name: &str) -> &str {
    let inner = |quote: char| {
        let inner = name.strip_prefix(quote)?.strip_suffix(quote)?;
        (!inner.contains(quote)).then_some(inner)
    };
    inner('"').or_else(|| inner('\'')).unwrap_or(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_cut_at_dots_outside_of_quotes() {
        let check = |text: &str, expected: &[&str]| {
            let names: Vec<String> = segments(text).into_iter().map(|segment| segment.name).collect();
            assert_eq!(names, expected, "{text}");
        };
        check("api", &["api"]);
        check("api.args.GO", &["api", "args", "GO"]);
        check("api.labels.\"org.x.y\"", &["api", "labels", "org.x.y"]);
        check("api.on.'linux/arm64'.args.X", &["api", "on", "linux/arm64", "args", "X"]);
        check("a..b.", &["a", "", "b", ""]);
        check("a.\"b.c", &["a", "\"b.c"]);
    }

    #[test]
    fn the_last_name_may_have_dots() {
        let text = "api.labels.org.x.y";
        assert_eq!(rest(text, &segments(text)[2]), Segment { name: "org.x.y".into(), span: 11..18 });
        let text = "api.labels.\"org.x\"";
        assert_eq!(rest(text, &segments(text)[2]).name, "org.x");
        assert_eq!(find("a.\"b=c\"=d", '='), Some(7));
    }
}
