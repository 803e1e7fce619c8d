//! How long a command takes on each platform: as a table, as JSON, and as Kubernetes Jobs for real nodes.

use std::fmt::Write as _;
use std::time::Duration;

use serde_json::{Value, json};

use crate::base::Platform;

/// The rounds of one platform.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rounds {
    pub platform: Platform,
    pub is_emulated: bool,
    /// From the command's start to its end, in the order they ran; not empty.
    pub elapsed: Vec<Duration>,
    /// What the processors worked for it.
    pub processor: Vec<Duration>,
}

/// The middle and what lies around it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Spread {
    pub least: Duration,
    pub lower_quartile: Duration,
    pub median: Duration,
    pub upper_quartile: Duration,
    pub most: Duration,
}

impl Spread {
    /// Of at least one time.
    pub fn of(times: &[Duration]) -> Self {
        let mut sorted = times.to_vec();
        sorted.sort_unstable();
        // Linear between the two nearest, as most tools have it.
        let quantile = |quarters: usize| {
            let place = (sorted.len() - 1) * quarters;
            let (below, part) = (sorted[place / 4], place % 4);
            match part {
                0 => below,
                part => below + (sorted[place / 4 + 1] - below) * part as u32 / 4,
            }
        };
        Self {
            least: quantile(0),
            lower_quartile: quantile(1),
            median: quantile(2),
            upper_quartile: quantile(3),
            most: quantile(4),
        }
    }
}

/// A line for each platform; ratios are those to the first that runs natively.
pub fn text(results: &[Rounds]) -> String {
    let native = results.iter().find(|rounds| !rounds.is_emulated);
    let native = native.map(|rounds| Spread::of(&rounds.elapsed).median);
    let mut rows = vec![
        ["platform", "median", "middle half", "all", "processor", "to native"].map(str::to_string).to_vec(),
    ];
    for rounds in results {
        let (spread, worked) = (Spread::of(&rounds.elapsed), Spread::of(&rounds.processor));
        let ratio = native.map_or("-".to_string(), |native| format!("{:.2}×", ratio(spread.median, native)));
        rows.push(vec![
            rounds.platform.to_string(),
            time(spread.median),
            format!("{} … {}", time(spread.lower_quartile), time(spread.upper_quartile)),
            format!("{} … {}", time(spread.least), time(spread.most)),
            time(worked.median),
            if rounds.is_emulated { format!("{ratio} emulated") } else { ratio },
        ]);
    }
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..rows[0].len()).map(width).collect();
    let mut text = String::new();
    for row in &rows {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}"));
        let _ = writeln!(text, "{}", cells.collect::<Vec<_>>().join("   ").trim_end());
    }
    text
}

fn ratio(time: Duration, native: Duration) -> f64 {
    time.as_secs_f64() / native.as_secs_f64().max(f64::MIN_POSITIVE)
}

/// With three digits that count.
fn time(time: Duration) -> String {
    let seconds = time.as_secs_f64();
    let (number, unit) = match seconds {
        seconds if seconds >= 1.0 => (seconds, "s"),
        seconds if seconds >= 0.001 => (seconds * 1e3, "ms"),
        seconds => (seconds * 1e6, "µs"),
    };
    match number {
        number if number >= 100.0 => format!("{number:.0} {unit}"),
        number if number >= 10.0 => format!("{number:.1} {unit}"),
        number => format!("{number:.2} {unit}"),
    }
}

pub fn json(image: &str, command: &[String], results: &[Rounds]) -> Value {
    let native = results.iter().find(|rounds| !rounds.is_emulated);
    let native = native.map(|rounds| Spread::of(&rounds.elapsed).median);
    let one = |rounds: &Rounds| {
        let (spread, worked) = (Spread::of(&rounds.elapsed), Spread::of(&rounds.processor));
        json!({
            "platform": rounds.platform,
            "emulated": rounds.is_emulated,
            "median": spread.median.as_secs_f64(),
            "quartiles": [spread.lower_quartile.as_secs_f64(), spread.upper_quartile.as_secs_f64()],
            "min": spread.least.as_secs_f64(),
            "max": spread.most.as_secs_f64(),
            "processor": worked.median.as_secs_f64(),
            "to-native": native.map(|native| ratio(spread.median, native)),
            "seconds": rounds.elapsed.iter().map(Duration::as_secs_f64).collect::<Vec<_>>(),
        })
    };
    let results: Vec<Value> = results.iter().map(one).collect();
    json!({ "version": 1, "image": image, "command": command, "platforms": results })
}

/// What the Jobs of several nodes run.
pub struct Jobs<'a> {
    pub image: &'a str,
    pub entrypoint: Option<&'a [String]>,
    pub arguments: &'a [String],
    pub env: &'a [String],
    pub rounds: u32,
    pub platforms: &'a [Platform],
}

/// A Job for each platform, bound to nodes of it: one Pod after the other, each of them a round. The times are those
/// of the Pods' containers.
pub fn kubernetes(jobs: &Jobs<'_>) -> String {
    let mut yaml = String::from(
        "# kubectl apply -f FILE; then\n\
         # kubectl get pods -l app.kubernetes.io/managed-by=mab -L kubernetes.io/arch -o custom-columns='JOB:.metadata.labels.job-name,\
         START:.status.containerStatuses[0].state.terminated.startedAt,END:.status.containerStatuses[0].state.terminated.finishedAt'\n",
    );
    for platform in jobs.platforms {
        let name = format!("mab-bench-{}", platform.to_string().replace('/', "-"));
        let _ = write!(
            yaml,
            "---\napiVersion: batch/v1\nkind: Job\nmetadata:\n  name: {name}\n  labels:\n    app.kubernetes.io/managed-by: mab\n\
             spec:\n  completions: {}\n  parallelism: 1\n  backoffLimit: 0\n  template:\n    metadata:\n      labels:\n        app.kubernetes.io/managed-by: mab\n\
             \u{20}   spec:\n      restartPolicy: Never\n      nodeSelector:\n        kubernetes.io/os: {}\n        kubernetes.io/arch: {}\n\
             \u{20}     containers:\n        - name: bench\n          image: {}\n",
            jobs.rounds,
            quoted(&platform.os),
            quoted(&platform.architecture),
            quoted(jobs.image),
        );
        for (key, words) in
            [("command", jobs.entrypoint), ("args", (!jobs.arguments.is_empty()).then_some(jobs.arguments))]
        {
            if let Some(words) = words {
                let words: Vec<String> = words.iter().map(|word| quoted(word)).collect();
                let _ = writeln!(yaml, "          {key}: [{}]", words.join(", "));
            }
        }
        let env: Vec<(&str, &str)> = jobs.env.iter().filter_map(|entry| entry.split_once('=')).collect();
        if !env.is_empty() {
            yaml.push_str("          env:\n");
        }
        for (name, value) in env {
            let _ = writeln!(yaml, "            - {{ name: {}, value: {} }}", quoted(name), quoted(value));
        }
    }
    yaml
}

/// JSON's strings are YAML's.
fn quoted(text: &str) -> String {
    Value::from(text).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rounds(platform: &str, is_emulated: bool, milliseconds: &[u64]) -> Rounds {
        let elapsed: Vec<Duration> = milliseconds.iter().map(|time| Duration::from_millis(*time)).collect();
        Rounds { platform: platform.parse().unwrap(), is_emulated, processor: elapsed.clone(), elapsed }
    }

    #[test]
    fn medians_and_quartiles_lie_between_the_nearest_times() {
        let check = |milliseconds: &[u64], expected: [u64; 5]| {
            let spread = Spread::of(&rounds("linux/amd64", false, milliseconds).elapsed);
            let found =
                [spread.least, spread.lower_quartile, spread.median, spread.upper_quartile, spread.most];
            assert_eq!(found, expected.map(Duration::from_micros), "{milliseconds:?}");
        };
        check(&[7], [7000; 5]);
        check(&[4, 2], [2000, 2500, 3000, 3500, 4000]);
        check(&[5, 1, 3, 2, 4], [1000, 2000, 3000, 4000, 5000]);
    }

    #[test]
    fn a_table_marks_what_is_emulated() {
        let results = [rounds("linux/arm64", true, &[30, 20, 25]), rounds("linux/amd64", false, &[2, 2, 3])];
        let expected = "\
platform      median    middle half           all                   processor   to native
linux/arm64   25.0 ms   22.5 ms … 27.5 ms     20.0 ms … 30.0 ms     25.0 ms     12.50× emulated
linux/amd64   2.00 ms   2.00 ms … 2.50 ms     2.00 ms … 3.00 ms     2.00 ms     1.00×
";
        let squeezed = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
        assert_eq!(squeezed(&text(&results)), squeezed(expected));
    }

    #[test]
    fn a_job_is_bound_to_the_nodes_of_its_platform() {
        let platforms = ["linux/arm/v7".parse().unwrap()];
        let (arguments, env) = (["a b".to_string(), "\"".to_string()], ["A=1:2".to_string()]);
        let jobs = Jobs {
            image: "r/x:1",
            entrypoint: None,
            arguments: &arguments,
            env: &env,
            rounds: 5,
            platforms: &platforms,
        };
        let expected = r#"---
apiVersion: batch/v1
kind: Job
metadata:
  name: mab-bench-linux-arm-v7
  labels:
    app.kubernetes.io/managed-by: mab
spec:
  completions: 5
  parallelism: 1
  backoffLimit: 0
  template:
    metadata:
      labels:
        app.kubernetes.io/managed-by: mab
    spec:
      restartPolicy: Never
      nodeSelector:
        kubernetes.io/os: "linux"
        kubernetes.io/arch: "arm"
      containers:
        - name: bench
          image: "r/x:1"
          args: ["a b", "\""]
          env:
            - { name: "A", value: "1:2" }
"#;
        let yaml = kubernetes(&jobs);
        assert_eq!(yaml.split_once("---").map(|(_, rest)| format!("---{rest}")), Some(expected.to_string()));
    }
}
