//! The clock, against those of registries, or, where none answered, against the time this program was written.

use std::time::{Duration, SystemTime};

use super::{Check, Finding, Level, Trouble};

/// Tokens of registries last minutes; certificates know days.
const TOLERANCE: Duration = Duration::from_secs(120);

/// Judges `now` by what others said the time was, each with where it is from.
pub fn clock(
    now: SystemTime,
    others: &[(String, SystemTime)],
    program_written: Option<SystemTime>,
) -> Finding {
    let apart = |other: SystemTime| now.duration_since(other).unwrap_or_else(|error| error.duration());
    if let Some((place, other)) = others.iter().min_by_key(|(_, other)| apart(*other)) {
        let seconds = apart(*other).as_secs();
        if apart(*other) <= TOLERANCE {
            return Finding::good(Check::Clock, format!("within {} seconds of `{place}`", seconds.max(1)));
        }
        let way = if *other > now { "slow" } else { "fast" };
        let test = format!("`{place}` gave another time in its answer");
        return wrong(format!("{seconds} seconds {way}"), test);
    }
    match program_written {
        Some(written) if now + TOLERANCE < written => {
            let seconds = apart(written).as_secs();
            wrong(format!("{seconds} seconds before mab was installed"), "the file of mab is younger".into())
        }
        _ => Finding::good(Check::Clock, "plausible; no registry was asked"),
    }
}

fn wrong(said: String, test: String) -> Finding {
    let symptom = "certificates and tokens of registries are refused as expired or not valid yet, and images carry \
                   wrong times";
    let trouble = Trouble::new(symptom, test, "sudo timedatectl set-ntp true");
    Finding::bad(Level::Warning, Check::Clock, said, trouble)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_clock_counts() {
        let at = |seconds: u64| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
        let others = |times: &[u64]| -> Vec<(String, SystemTime)> {
            times.iter().map(|seconds| (format!("r{seconds}"), at(*seconds))).collect()
        };
        for (now, asked, written, level, said) in [
            (1000, others(&[990, 5000]), None, Level::Good, "within 10 seconds of `r990`"),
            (1000, others(&[5000]), None, Level::Warning, "4000 seconds slow"),
            (9000, others(&[5000]), None, Level::Warning, "4000 seconds fast"),
            (1000, others(&[]), Some(at(5000)), Level::Warning, "4000 seconds before mab was installed"),
            (1000, others(&[]), Some(at(900)), Level::Good, "plausible; no registry was asked"),
        ] {
            let found = clock(at(now), &asked, written);
            assert_eq!((found.level, found.said.as_str()), (level, said));
        }
    }
}
