//! What came of tests: as text, as JSON, and as JUnit's XML for CI systems.

use std::fmt::Write as _;
use std::time::Duration;

use serde_json::{Value, json};

use crate::base::Platform;

/// How one test ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TestResult {
    pub target: String,
    pub platform: Platform,
    pub name: String,
    pub end: TestEnd,
    pub elapsed: Duration,
    /// It ran so often; never, where it passed before.
    pub attempts: u32,
    pub is_emulated: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TestEnd {
    Passed,
    /// What was wrong, and the end of what was said.
    Failed {
        reasons: Vec<String>,
        output: String,
    },
}

impl TestResult {
    fn is_passed(&self) -> bool {
        self.end == TestEnd::Passed
    }

    /// It passed before, and nothing that decides it has changed.
    fn is_reused(&self) -> bool {
        self.attempts == 0
    }
}

/// In an order that does not depend on which was faster.
fn sorted(results: &[TestResult]) -> Vec<&TestResult> {
    let mut sorted: Vec<&TestResult> = results.iter().collect();
    let key =
        |result: &&TestResult| (result.target.clone(), result.platform.to_string(), result.name.clone());
    sorted.sort_by_key(key);
    sorted
}

/// A line for each test, and how many there are.
pub fn text(results: &[TestResult]) -> String {
    let mut text = String::new();
    let sorted = sorted(results);
    let name = |result: &TestResult| format!("{} {} {}", result.target, result.platform, result.name);
    let width = sorted.iter().map(|result| name(result).chars().count()).max().unwrap_or(0);
    for result in &sorted {
        let word = if result.is_passed() { "ok    " } else { "failed" };
        let mut notes = Vec::new();
        match result.is_reused() {
            true => notes.push("as before".to_string()),
            false => notes.push(format!("{:.1}s", result.elapsed.as_secs_f64())),
        }
        if result.is_emulated {
            notes.push("emulated".to_string());
        }
        if result.attempts > 1 {
            notes.push(format!("attempt {}", result.attempts));
        }
        let _ = writeln!(text, "{word}  {:width$}  {}", name(result), notes.join(", "));
        if let TestEnd::Failed { reasons, .. } = &result.end {
            for reason in reasons {
                let _ = writeln!(text, "        {reason}");
            }
        }
    }
    let failed = sorted.iter().filter(|result| !result.is_passed()).count();
    let reused = sorted.iter().filter(|result| result.is_reused()).count();
    let _ = writeln!(text, "{} passed ({reused} as before), {failed} failed", sorted.len() - failed);
    text
}

pub fn json(results: &[TestResult]) -> Value {
    let one = |result: &&TestResult| {
        let mut value = json!({
            "target": result.target,
            "platform": result.platform,
            "test": result.name,
            "passed": result.is_passed(),
            "reused": result.is_reused(),
            "emulated": result.is_emulated,
            "attempts": result.attempts,
            "seconds": result.elapsed.as_secs_f64(),
        });
        if let TestEnd::Failed { reasons, output } = &result.end {
            value["reasons"] = json!(reasons);
            value["output"] = json!(output);
        }
        value
    };
    json!({ "version": 1, "tests": sorted(results).iter().map(one).collect::<Vec<_>>() })
}

/// One suite for each target and platform, in the schema that Jenkins, GitLab and their kin read.
pub fn junit(results: &[TestResult]) -> String {
    let sorted = sorted(results);
    let failed = |results: &[&TestResult]| results.iter().filter(|result| !result.is_passed()).count();
    let seconds =
        |results: &[&TestResult]| results.iter().map(|result| result.elapsed.as_secs_f64()).sum::<f64>();
    let totals = |results: &[&TestResult]| {
        let (all, failed, seconds) = (results.len(), failed(results), seconds(results));
        format!("tests=\"{all}\" failures=\"{failed}\" errors=\"0\" skipped=\"0\" time=\"{seconds:.3}\"")
    };
    let mut xml = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
    let _ = writeln!(xml, "<testsuites name=\"mab\" {}>", totals(&sorted));
    for suite in
        sorted.chunk_by(|one, other| (&one.target, &one.platform) == (&other.target, &other.platform))
    {
        let name = escaped(&format!("{} {}", suite[0].target, suite[0].platform));
        let _ = writeln!(xml, "  <testsuite name=\"{name}\" {}>", totals(suite));
        for result in suite {
            let time = result.elapsed.as_secs_f64();
            let _ = write!(
                xml,
                "    <testcase classname=\"{name}\" name=\"{}\" time=\"{time:.3}\"",
                escaped(&result.name)
            );
            match &result.end {
                TestEnd::Passed => xml.push_str("/>\n"),
                TestEnd::Failed { reasons, output } => {
                    let message = escaped(&reasons.join("; "));
                    let _ = writeln!(
                        xml,
                        ">\n      <failure message=\"{message}\" type=\"failed\">{message}</failure>"
                    );
                    if !output.is_empty() {
                        let _ = writeln!(xml, "      <system-out>{}</system-out>", escaped(output));
                    }
                    xml.push_str("    </testcase>\n");
                }
            }
        }
        xml.push_str("  </testsuite>\n");
    }
    xml.push_str("</testsuites>\n");
    xml
}

/// XML has no way to write most control characters.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\n' | '\t' => escaped.push(letter),
            letter if letter.is_control() || matches!(letter, '\u{fffe}' | '\u{ffff}') => {
                escaped.push('\u{fffd}')
            }
            letter => escaped.push(letter),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    fn results() -> Vec<TestResult> {
        let result = |name: &str, platform: &str, end, attempts| TestResult {
            target: "api".into(),
            platform: platform.parse().unwrap(),
            name: name.into(),
            end,
            elapsed: Duration::from_millis(if attempts == 0 { 0 } else { 1500 }),
            attempts,
            is_emulated: platform == "linux/arm64",
        };
        let reasons =
            vec!["it ended with exit code 1 instead of 0".to_string(), "nothing matches `<a&b>`".into()];
        vec![
            result(
                "starts",
                "linux/arm64",
                TestEnd::Failed { reasons, output: "a \u{1b}[0m\n<b>".into() },
                2,
            ),
            result("starts", "linux/amd64", TestEnd::Passed, 0),
        ]
    }

    #[test]
    fn a_person_reads_lines() {
        let expected = "ok      api linux/amd64 starts  as before\n\
                        failed  api linux/arm64 starts  1.5s, emulated, attempt 2\n        \
                        it ended with exit code 1 instead of 0\n        nothing matches `<a&b>`\n\
                        1 passed (1 as before), 1 failed\n";
        assert_eq!(text(&results()), expected);
    }

    #[test]
    fn a_ci_system_reads_junit() {
        let expected = r#"<?xml version="1.0" encoding="UTF-8"?>
<testsuites name="mab" tests="2" failures="1" errors="0" skipped="0" time="1.500">
  <testsuite name="api linux/amd64" tests="1" failures="0" errors="0" skipped="0" time="0.000">
    <testcase classname="api linux/amd64" name="starts" time="0.000"/>
  </testsuite>
  <testsuite name="api linux/arm64" tests="1" failures="1" errors="0" skipped="0" time="1.500">
    <testcase classname="api linux/arm64" name="starts" time="1.500">
      <failure message="it ended with exit code 1 instead of 0; nothing matches `&lt;a&amp;b&gt;`" type="failed">it ended with exit code 1 instead of 0; nothing matches `&lt;a&amp;b&gt;`</failure>
      <system-out>a �[0m
&lt;b&gt;</system-out>
    </testcase>
  </testsuite>
</testsuites>
"#;
        assert_eq!(junit(&results()), expected);
    }
}
