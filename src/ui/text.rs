//! Text made fit for a terminal: control characters neutralised, widths respected, figures for people.
//!
//! Whatever a command, a file or a registry wrote passes through [`clean`] before it is printed; nothing else
//! stands between build output and the user's terminal.

use std::time::Duration;

use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// Longer lines are cut: no reader wants more, and no terminal shows more.
const LONGEST_LINE: usize = 4096;

const RESET: &str = "\u{1b}[0m";

/// Whether colours that a command chose may stay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Colours {
    Keep,
    Drop,
}

/// One line without anything that moves the cursor, talks to the terminal or reorders text.
///
/// Colours (SGR, ECMA-48 §8.3.117) may stay and are ended at the end of the line. Other escape sequences go
/// as a whole; lone control characters become visible signs. After carriage returns only the last text
/// counts, as on a terminal, so that progress bars do not pile up.
pub fn clean(line: &str, colours: Colours) -> String {
    let line = line.trim_end_matches(['\r', '\n']);
    let line = line.rsplit('\r').next().unwrap_or(line);
    let mut text = String::with_capacity(line.len().min(LONGEST_LINE));
    let (mut rest, mut column, mut coloured) = (line, 0, false);
    while let Some(next) = rest.chars().next() {
        if text.len() >= LONGEST_LINE {
            text.push('…');
            break;
        }
        if next == '\u{1b}' || next == '\u{9b}' {
            let length = escape_length(rest);
            if colours == Colours::Keep && is_sgr(&rest[..length]) {
                text.push_str(&rest[..length]);
                coloured = true;
            }
            rest = &rest[length..];
            continue;
        }
        match next {
            '\t' => {
                let blanks = 8 - column % 8;
                text.extend(std::iter::repeat_n(' ', blanks));
                column += blanks;
            }
            other => {
                let shown = visible(other);
                text.push(shown);
                column += shown.width().unwrap_or(0);
            }
        }
        rest = &rest[next.len_utf8()..];
    }
    if coloured {
        text.push_str(RESET);
    }
    text
}

/// Several lines, each cleaned.
pub fn clean_lines(text: &str, colours: Colours) -> String {
    text.split('\n').map(|line| clean(line, colours)).collect::<Vec<_>>().join("\n")
}

/// The sign for a character that must not reach a terminal; others stand for themselves.
fn visible(character: char) -> char {
    match character {
        '\0'..='\u{1f}' => char::from_u32(0x2400 + character as u32).unwrap_or('�'),
        '\u{7f}' => '␡',
        '\u{80}'..='\u{9f}' => '�',
        // Embeddings, overrides and isolates, which make text read other than it is (CVE-2021-42574).
        '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{2028}' | '\u{2029}' => '�',
        other => other,
    }
}

/// How long the escape sequence at the start of `text` is (ECMA-48 §5.4 and §5.6); at least one character.
fn escape_length(text: &str) -> usize {
    let Some(introducer) = text.chars().next() else { return 0 };
    let after = &text[introducer.len_utf8()..];
    let (skipped, body) = match (introducer, after.chars().next()) {
        ('\u{9b}', _) => (introducer.len_utf8(), after),
        (_, Some('[')) => (introducer.len_utf8() + 1, &after[1..]),
        (_, Some(']' | 'P' | 'X' | '^' | '_')) => {
            return introducer.len_utf8() + 1 + string_length(&after[1..]);
        }
        (_, Some(' '..='/')) => {
            let intermediates = after.find(|c: char| !matches!(c, ' '..='/')).unwrap_or(after.len());
            let end = after[intermediates..].chars().next().filter(|c| matches!(c, '0'..='~'));
            return introducer.len_utf8() + intermediates + end.map_or(0, char::len_utf8);
        }
        (_, Some(second)) if second.is_ascii() && !second.is_control() => return introducer.len_utf8() + 1,
        _ => return introducer.len_utf8(),
    };
    let parameters = body.find(|c: char| !matches!(c, ' '..='?')).unwrap_or(body.len());
    let end = body[parameters..].chars().next().filter(|c| matches!(c, '@'..='~'));
    skipped + parameters + end.map_or(0, char::len_utf8)
}

/// The length of a control string up to and with its terminator: BEL, or escape and a backslash.
fn string_length(text: &str) -> usize {
    let bell = text.find('\u{7}').map(|at| at + 1);
    let terminator = text.find("\u{1b}\\").map(|at| at + 2);
    bell.into_iter().chain(terminator).min().unwrap_or(text.len())
}

fn is_sgr(sequence: &str) -> bool {
    let parameters = sequence.strip_prefix("\u{1b}[").and_then(|body| body.strip_suffix('m'));
    parameters
        .is_some_and(|body| body.bytes().all(|byte| byte.is_ascii_digit() || matches!(byte, b';' | b':')))
}

/// How many columns `text` takes; it must be clean and without colours.
pub fn width(text: &str) -> usize {
    text.width()
}

/// `text` cut to `columns`, with an ellipsis where something is missing; it must be clean and without colours.
pub fn fit(text: &str, columns: usize) -> String {
    if text.width() <= columns {
        return text.to_string();
    }
    let mut fitted = String::new();
    let mut used = 0;
    for character in text.chars() {
        let wide = character.width().unwrap_or(0);
        if used + wide + 1 > columns {
            break;
        }
        fitted.push(character);
        used += wide;
    }
    if columns > 0 {
        fitted.push('…');
    }
    fitted
}

/// `text` filled with blanks up to `columns`.
pub fn pad(text: &str, columns: usize) -> String {
    let blanks = columns.saturating_sub(text.width());
    format!("{text}{:blanks$}", "")
}

/// A span of time for people: `18 ms`, `4.2 s`, `3m 05s`, `1h 02m`.
pub fn span(time: Duration) -> String {
    let seconds = time.as_secs();
    match seconds {
        0 => format!("{} ms", time.as_millis()),
        1..60 => format!("{}.{} s", seconds, time.subsec_millis() / 100),
        60..3600 => format!("{}m {:02}s", seconds / 60, seconds % 60),
        _ => format!("{}h {:02}m", seconds / 3600, seconds / 60 % 60),
    }
}

/// A running clock: `00:12`, `1:02:03`.
pub fn clock(time: Duration) -> String {
    let seconds = time.as_secs();
    match seconds / 3600 {
        0 => format!("{:02}:{:02}", seconds / 60, seconds % 60),
        hours => format!("{hours}:{:02}:{:02}", seconds / 60 % 60, seconds % 60),
    }
}

/// A number of bytes for people, in powers of a thousand as registries count.
pub fn bytes(count: u64) -> String {
    const UNITS: [&str; 4] = ["kB", "MB", "GB", "TB"];
    if count < 1000 {
        return format!("{count} B");
    }
    let mut tenths = count / 100;
    let mut unit = 0;
    while tenths >= 10_000 && unit + 1 < UNITS.len() {
        tenths /= 1000;
        unit += 1;
    }
    format!("{}.{} {}", tenths / 10, tenths % 10, UNITS[unit])
}

/// `1 image`, `3 images`.
pub fn count(number: usize, noun: &str) -> String {
    if number == 1 { format!("1 {noun}") } else { format!("{number} {noun}s") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_a_command_writes_steers_the_terminal() {
        let check = |line: &str, expected: &str| assert_eq!(clean(line, Colours::Drop), expected, "{line:?}");
        check("plain text", "plain text");
        check("a\tb", "a       b");
        check("10%\r50%\r100%", "100%");
        check("windows line end\r", "windows line end");
        check("\u{1b}[2J\u{1b}[Hcleared", "cleared");
        check("\u{1b}]0;title\u{7}x\u{1b}]8;;http://a\u{1b}\\link", "xlink");
        check("\u{1b}]52;c;never ended", "");
        check("\u{1b}P+q544e\u{1b}\\x", "x");
        check("\u{9b}31mred", "red");
        check("\u{1b}(Bx\u{1b}(", "x");
        check("\u{1b}", "");
        check("\u{1b}[", "");
        check("\u{1b}[31", "");
        check("\u{1b}cé\u{1b}é", "éé");
        check("bell\u{7} back\u{8} nul\0 del\u{7f} c1\u{85}", "bell␇ back␈ nul␀ del␡ c1�");
        check("abc\u{202e}cba", "abc�cba");
        check("\u{1b}[31mred\u{1b}[0m", "red");
    }

    #[test]
    fn colours_stay_on_request_and_end_with_the_line() {
        let check = |line: &str, expected: &str| assert_eq!(clean(line, Colours::Keep), expected, "{line:?}");
        check("\u{1b}[1;31mred", "\u{1b}[1;31mred\u{1b}[0m");
        check("\u{1b}[38:5:200mx\u{1b}[2Ky", "\u{1b}[38:5:200mxy\u{1b}[0m");
        check("\u{1b}[?25mx", "x");
    }

    #[test]
    fn endless_lines_are_cut() {
        assert_eq!(clean(&"x".repeat(10_000), Colours::Drop).len(), LONGEST_LINE + '…'.len_utf8());
    }

    #[test]
    fn texts_fit_their_columns() {
        let check = |text: &str, columns: usize, expected: &str| assert_eq!(fit(text, columns), expected);
        check("narrow", 6, "narrow");
        check("narrow", 5, "narr…");
        check("narrow", 1, "…");
        check("narrow", 0, "");
        check("日本語", 6, "日本語");
        check("日本語", 5, "日本…");
        check("日本語", 4, "日…");
    }

    #[test]
    fn figures_are_short() {
        let check = |millis: u64, expected: &str| assert_eq!(span(Duration::from_millis(millis)), expected);
        check(0, "0 ms");
        check(999, "999 ms");
        check(4_260, "4.2 s");
        check(59_999, "59.9 s");
        check(185_000, "3m 05s");
        check(3_720_000, "1h 02m");
        for (count, expected) in
            [(0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (999_999, "999.9 kB"), (1_000_000, "1.0 MB")]
        {
            assert_eq!(bytes(count), expected);
        }
        assert_eq!(bytes(u64::MAX), "18446744.0 TB");
        assert_eq!(clock(Duration::from_secs(12)), "00:12");
        assert_eq!(clock(Duration::from_secs(3723)), "1:02:03");
    }
}
