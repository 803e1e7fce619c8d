//! `HEALTHCHECK`: its forms, and durations as Go writes them.

use super::flags::{FlagKind, FlagSpec, Flags};
use super::instruction::{ReadResult, ShellOrExec, missing_argument, one, shell_or_exec};
use super::parse::Reader;
use crate::diag::Problem;

/// The shortest duration but none, in nanoseconds.
const SHORTEST: i64 = 1_000_000;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Healthcheck {
    /// `HEALTHCHECK NONE`: the base image's probe is switched off.
    None,
    Probe(Probe),
}

/// How a container's health is found out. Durations are nanoseconds, as image configs have them; 0 means
/// the runtime's default.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Probe {
    pub command: ShellOrExec,
    pub interval: i64,
    pub timeout: i64,
    pub start_period: i64,
    pub start_interval: i64,
    pub retries: u32,
}

const FLAGS: [FlagSpec; 5] = [
    ("interval", FlagKind::Text),
    ("timeout", FlagKind::Text),
    ("start-period", FlagKind::Text),
    ("start-interval", FlagKind::Text),
    ("retries", FlagKind::Text),
];

pub(super) fn read(reader: &Reader<'_>) -> ReadResult<Healthcheck> {
    let arguments = reader.command.arguments;
    let (form, rest) = arguments.split_once(char::is_whitespace).unwrap_or((arguments, ""));
    let rest = rest.trim_start();
    let flags = Flags::read(reader, &FLAGS)?;
    let problem =
        |message: String| reader.problem_at(&reader.arguments_range(), "dockerfile::healthcheck", message);
    match form.to_ascii_uppercase().as_str() {
        "" => Err(missing_argument(reader)),
        "NONE" if rest.is_empty() => Ok(Healthcheck::None),
        "NONE" => Err(one(problem("HEALTHCHECK NONE takes no arguments".to_string()))),
        "CMD" => {
            let command = shell_or_exec(reader, rest)?;
            if rest.is_empty() || command == ShellOrExec::Exec(Vec::new()) {
                return Err(one(problem("HEALTHCHECK CMD needs a command".to_string())));
            }
            read_probe(reader, &flags, command).map(Healthcheck::Probe)
        }
        _ => {
            let message = format!("`{form}` is not a form of HEALTHCHECK");
            Err(one(problem(message).help("write `HEALTHCHECK CMD command` or `HEALTHCHECK NONE`")))
        }
    }
}

fn read_probe(reader: &Reader<'_>, flags: &Flags, command: ShellOrExec) -> ReadResult<Probe> {
    let mut problems = Vec::new();
    let mut duration = |name: &str| match read_duration(reader, flags, name) {
        Ok(duration) => duration,
        Err(problem) => {
            problems.push(problem);
            0
        }
    };
    let mut probe = Probe {
        command,
        interval: duration("interval"),
        timeout: duration("timeout"),
        start_period: duration("start-period"),
        start_interval: duration("start-interval"),
        retries: 0,
    };
    if let Some((text, range)) = flags.text_at("retries").filter(|(text, _)| !text.is_empty()) {
        match text.parse::<i32>().ok().and_then(|retries| u32::try_from(retries).ok()) {
            Some(retries) => probe.retries = retries,
            None => {
                let message = format!("flag `--retries` of HEALTHCHECK is a number from 0 on, not `{text}`");
                problems.push(reader.problem_at(range, "dockerfile::healthcheck", message));
            }
        }
    }
    if problems.is_empty() { Ok(probe) } else { Err(problems) }
}

fn read_duration(reader: &Reader<'_>, flags: &Flags, name: &str) -> Result<i64, Problem> {
    let Some((text, range)) = flags.text_at(name).filter(|(text, _)| !text.is_empty()) else { return Ok(0) };
    let problem = |message: String| {
        let problem = reader.problem_at(range, "dockerfile::healthcheck", message);
        problem.help("write a duration such as `30s`, `1m30s` or `500ms`")
    };
    match parse_duration(text) {
        Ok(duration) if duration == 0 || duration >= SHORTEST => Ok(duration),
        Ok(_) => Err(problem(format!("flag `--{name}` of HEALTHCHECK is at least 1ms, or 0"))),
        Err(error) => Err(problem(format!("flag `--{name}` of HEALTHCHECK: {error}"))),
    }
}

/// Why a text is not a duration.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a duration")]
pub struct ParseDurationError(pub String);

/// A duration in the syntax of Go's `time.ParseDuration`, in nanoseconds.
pub fn parse_duration(text: &str) -> Result<i64, ParseDurationError> {
    parse_signed(text).ok_or_else(|| ParseDurationError(text.to_string()))
}

fn parse_signed(text: &str) -> Option<i64> {
    let (sign, mut rest) = match text.strip_prefix('-') {
        Some(rest) => (-1, rest),
        None => (1, text.strip_prefix('+').unwrap_or(text)),
    };
    if rest == "0" {
        return Some(0);
    }
    if rest.is_empty() {
        return None;
    }
    let mut total: i128 = 0;
    while !rest.is_empty() {
        let number_end = rest.find(|char: char| !char.is_ascii_digit() && char != '.').unwrap_or(rest.len());
        let (number, behind) = rest.split_at(number_end);
        let unit_end = behind.find(|char: char| char.is_ascii_digit() || char == '.').unwrap_or(behind.len());
        let (unit, behind) = behind.split_at(unit_end);
        total += part(number, unit_nanoseconds(unit)?)?;
        if total > i128::from(i64::MAX) {
            return None;
        }
        rest = behind;
    }
    i64::try_from(sign * total).ok()
}

fn unit_nanoseconds(unit: &str) -> Option<i128> {
    Some(match unit {
        "ns" => 1,
        "us" | "µs" | "μs" => 1_000,
        "ms" => 1_000_000,
        "s" => 1_000_000_000,
        "m" => 60_000_000_000,
        "h" => 3_600_000_000_000,
        _ => return None,
    })
}

fn part(number: &str, unit: i128) -> Option<i128> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if (whole.is_empty() && fraction.is_empty()) || fraction.contains('.') {
        return None;
    }
    // Digits behind the eighteenth are far below a nanosecond.
    let fraction = &fraction[..fraction.len().min(18)];
    let digits = |text: &str| if text.is_empty() { Some(0) } else { text.parse::<i128>().ok() };
    let scale = 10_i128.pow(u32::try_from(fraction.len()).ok()?);
    let whole = digits(whole)?.checked_mul(unit)?;
    whole.checked_add(digits(fraction)?.checked_mul(unit)? / scale)
}

#[cfg(test)]
mod tests {
    use super::parse_duration;

    #[test]
    fn durations_are_gos() {
        for (text, expected) in [
            ("30s", Some(30_000_000_000)),
            ("1m30s", Some(90_000_000_000)),
            ("1.5h", Some(5_400_000_000_000)),
            (".5s", Some(500_000_000)),
            ("1.s", Some(1_000_000_000)),
            ("2us", Some(2_000)),
            ("2µs", Some(2_000)),
            ("0", Some(0)),
            ("-1s", Some(-1_000_000_000)),
            ("+1s", Some(1_000_000_000)),
            ("0.1234567890123456789s", Some(123_456_789)),
            ("2562047h", Some(9_223_369_200_000_000_000)),
            ("2562048h", None),
            ("99999999999999999999999999999999999999999h", None),
            ("1", None),
            ("", None),
            ("-", None),
            ("s", None),
            (".s", None),
            ("1.2.3s", None),
            ("1d", None),
            ("1 s", None),
        ] {
            assert_eq!(parse_duration(text).ok(), expected, "{text}");
        }
    }
}
