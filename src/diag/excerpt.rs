//! Texts as problems show them: lines that are too long are cut around what is pointed at.

use super::Span;

/// Nobody reads further, and the renderer cannot count further than 65535 columns.
const LONGEST_LINE: usize = 2000;
/// How much of a long line is shown on either side.
const AROUND: usize = 200;
/// How much of what is pointed at is shown.
const LONGEST_SPAN: usize = 1000;

/// The text to show, and where in it the spans are.
pub fn excerpt(text: &str, spans: &[Span]) -> (String, Vec<Span>) {
    if text.split('\n').all(|line| line.len() <= LONGEST_LINE) {
        return (text.to_string(), spans.to_vec());
    }
    let (mut shown, mut kept) = (String::new(), Vec::<Kept>::new());
    let mut start = 0;
    for line in text.split_inclusive('\n') {
        let window = window(line, start, spans);
        if window.start > 0 {
            shown.push('…');
        }
        kept.push(Kept { start: start + window.start, end: start + window.end, shown: shown.len() });
        shown.push_str(&line[window.clone()]);
        if window.end < line.len() {
            shown.push_str(if line.ends_with('\n') { "…\n" } else { "…" });
        }
        start += line.len();
    }
    let place = |at: usize| {
        let index = kept.partition_point(|kept| kept.start <= at).saturating_sub(1);
        kept.get(index).map_or(0, |kept| kept.shown + at.clamp(kept.start, kept.end) - kept.start)
    };
    let spans = spans.iter().map(|span| place(span.start)..place(span.end.min(span.start + LONGEST_SPAN)));
    (shown, spans.collect())
}

/// A part of the text, and where it is in what is shown.
struct Kept {
    start: usize,
    end: usize,
    shown: usize,
}

/// What is shown of a line that begins at `start`.
fn window(line: &str, start: usize, spans: &[Span]) -> Span {
    if line.len() <= LONGEST_LINE {
        return 0..line.len();
    }
    let begins = spans.iter().map(|span| span.start).filter(|at| (start..start + line.len()).contains(at));
    let first = begins.min().map_or(0, |at| at - start);
    let from = line.floor_char_boundary(first.saturating_sub(AROUND));
    from..line.floor_char_boundary((first + LONGEST_SPAN + AROUND).min(line.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_lines_are_cut_around_what_is_meant() {
        let text = format!("first\n{}NEEDLE{}\nlast\n", "é".repeat(50_000), "b".repeat(100_000));
        let at = text.find("NEEDLE").unwrap();
        let (shown, spans) = excerpt(&text, &[at..at + 6, 0..5, text.len() - 5..text.len() - 1]);
        let words: Vec<&str> = spans.into_iter().map(|span| &shown[span]).collect();
        assert_eq!(words, ["NEEDLE", "first", "last"]);
        assert!(shown.len() < 3000 && shown.lines().count() == 3, "{} bytes", shown.len());
    }

    #[test]
    fn other_texts_stay_as_they_are() {
        let spans = [2..4, 0..0];
        assert_eq!(excerpt("a\nbc\n", &spans), ("a\nbc\n".to_string(), spans.to_vec()));
    }
}
