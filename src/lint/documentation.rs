//! Rules as text: one in full, or all of them in a list.

use super::rule::{Level, Rule};
use super::rules::RULES;

/// Everything there is to say about one rule.
pub fn explanation(rule: &Rule) -> String {
    let mut text = format!("{} ({})\n{}.\n\n{}\n", rule.name, level(rule), rule.summary, rule.why.trim());
    for (title, example) in [("Instead of", rule.bad), ("write", rule.good)] {
        text.push_str(&format!("\n{title}:\n\n"));
        for line in example.trim_end().lines() {
            text.push_str(format!("    {line}").trim_end());
            text.push('\n');
        }
    }
    if let Some(url) = rule.url {
        text.push_str(&format!("\nBuildKit's documentation: {url}\n"));
    }
    text.push_str(&format!(
        "\nTo skip it, put `# check=skip={}` at the top of the file or above the instruction.\n",
        rule.name
    ));
    text
}

/// One line for each rule.
pub fn list() -> String {
    let width = RULES.iter().map(|rule| rule.name.len()).max().unwrap_or(0);
    let mut text = String::new();
    for (title, is_buildkit) in [("BuildKit's rules", true), ("Rules for several platforms", false)] {
        text.push_str(&format!("{title}\n"));
        for rule in RULES.iter().filter(|rule| rule.is_buildkit() == is_buildkit) {
            let level = match rule.level {
                Level::Warning => String::new(),
                Level::Error | Level::Experimental => format!(" ({})", level(rule)),
            };
            text.push_str(&format!("  {:width$}  {}{level}\n", rule.name, rule.summary));
        }
    }
    text
}

fn level(rule: &Rule) -> &'static str {
    match rule.level {
        Level::Experimental => "experimental",
        Level::Warning => "warning",
        Level::Error => "error",
    }
}
