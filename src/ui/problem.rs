//! Problems in the printers' clothes: cleaned, since details hold what commands wrote, then rendered.

use super::style::Style;
use super::text::{Colours, clean_lines};
use crate::diag::{Problem, Severity, render};

/// `problem` with everything that might steer a terminal taken out of its texts; of sources, the excerpts are clean.
fn cleaned(problem: &Problem) -> Problem {
    let tidy = |text: &str| clean_lines(text, Colours::Drop);
    let mut cleaned = problem.clone();
    cleaned.message = tidy(&problem.message);
    cleaned.details = problem.details.as_deref().map(tidy);
    cleaned.help = problem.help.as_deref().map(tidy);
    for label in &mut cleaned.labels {
        label.text = tidy(&label.text);
    }
    cleaned
}

/// The whole report, with the excerpts of the sources. `tail` stands in for details the problem lacks.
pub fn report(problem: &Problem, tail: &[String], style: Style, columns: usize) -> String {
    let mut problem = cleaned(problem);
    if problem.details.is_none() && !tail.is_empty() {
        problem.details = Some(tail.join("\n"));
    }
    render(&problem, style.colour, columns)
}

/// A notice in a line or two, with the places it is about.
pub fn notice(problem: &Problem, prefix: &str, style: Style) -> String {
    let problem = cleaned(problem);
    let severity = match problem.severity {
        Severity::Warning => style.warn("warning"),
        Severity::Error => style.bad("error"),
    };
    let mut text = format!("{prefix}{severity}: {}\n", problem.message);
    for label in &problem.labels {
        let place = clean_lines(&label.place.to_string(), Colours::Drop);
        text.push_str(&format!("  at {place}: {}\n", label.text));
    }
    if let Some(help) = &problem.help {
        text.push_str(&format!("  help: {}\n", help.replace('\n', "\n        ")));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diag::{Place, Source};

    const STYLE: Style = Style { colour: false };

    #[test]
    fn reports_hold_no_control_characters() {
        let source = Source::new("Dockerfile", "FROM a\nRUN \u{1b}]0;x\u{7}make\n");
        let problem = Problem::input("build::failed", "it \u{1b}[2Jfailed")
            .at(Place::new(&source, 7..20), "ran \u{7} here")
            .details("a\u{1b}[1;1Hb\nc")
            .help("look\u{8}");
        let text = report(&problem, &[], STYLE, 80) + &notice(&problem, "", STYLE);
        assert!(!text.contains(|c: char| c.is_control() && c != '\n'), "{text:?}");
        assert!(text.contains("it failed") && text.contains("RUN ?]0;x?make"), "{text}");
    }

    #[test]
    fn the_log_stands_in_for_missing_details() {
        let tail = ["cc main.c".to_string(), "no such thing".to_string()];
        let text = report(&Problem::input("build::failed", "failed"), &tail, STYLE, 80);
        assert!(text.contains("no such thing"), "{text}");
    }

    #[test]
    fn a_notice_is_short() {
        let source = Source::new("multiarch.toml", "x = 1\n");
        let problem =
            Problem::warning("config::x", "`x` is odd").at(Place::new(&source, 0..1), "this").help("y");
        assert_eq!(
            notice(&problem, "[api] ", STYLE),
            "[api] warning: `x` is odd\n  at multiarch.toml:1: this\n  help: y\n"
        );
    }
}
