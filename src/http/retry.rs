//! When a failed exchange is tried again, and after what pause.
//!
//! Exponential pauses with full jitter, so that the nodes of one build do not return in step. A server that
//! says `Retry-After` is obeyed, up to a limit; beyond it waiting would look like hanging, and the error is
//! handed on.

use std::future::Future;
use std::time::{Duration, SystemTime};

/// An error that may pass.
pub trait Transient {
    /// Whether the same exchange may succeed later.
    fn is_transient(&self) -> bool;
    /// Nobody answered at all.
    fn is_unreachable(&self) -> bool;
    fn retry_after(&self) -> Option<Duration>;
}

/// How patient a client is. Zero pauses are for tests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Retries {
    /// How often one exchange is tried in all.
    pub attempts: u32,
    /// The pause before the second try, which doubles from then on.
    pub first_pause: Duration,
    pub longest_pause: Duration,
    /// The longest `Retry-After` that is obeyed.
    pub longest_retry_after: Duration,
}

impl Default for Retries {
    fn default() -> Self {
        Self {
            attempts: 6,
            first_pause: Duration::from_millis(500),
            longest_pause: Duration::from_secs(20),
            longest_retry_after: Duration::from_secs(120),
        }
    }
}

/// A host that cannot be connected to is mostly misspelt or offline, so its user hears of it soon.
const CONNECT_ATTEMPTS: u32 = 3;

impl Retries {
    /// The pause after `failed` failed tries, or `None` when `error` is final.
    pub fn pause(&self, failed: u32, error: &impl Transient, random: u64) -> Option<Duration> {
        let attempts = match error.is_unreachable() {
            true => self.attempts.min(CONNECT_ATTEMPTS),
            false => self.attempts,
        };
        if !error.is_transient() || failed >= attempts {
            return None;
        }
        match error.retry_after() {
            Some(asked) => (asked <= self.longest_retry_after).then_some(asked),
            None => Some(self.jittered(failed, random)),
        }
    }

    /// Half the doubled pause, and a random part of the other half.
    fn jittered(&self, failed: u32, random: u64) -> Duration {
        let doubled = self.first_pause.saturating_mul(1 << failed.saturating_sub(1).min(16));
        let half = doubled.min(self.longest_pause) / 2;
        half + half.mul_f64(random as f64 / u64::MAX as f64)
    }
}

/// Counts the failures of one exchange.
pub struct Attempts<'a> {
    retries: &'a Retries,
    failed: u32,
}

impl<'a> Attempts<'a> {
    pub fn new(retries: &'a Retries) -> Self {
        Self { retries, failed: 0 }
    }

    /// How many failures are borne in all, as a multiple of those without progress.
    pub fn patience(&self, factor: u32) -> u32 {
        self.retries.attempts.saturating_mul(factor)
    }

    /// Progress was made: the next failure counts as the first.
    pub fn reset(&mut self) {
        self.failed = 0;
    }

    /// Pauses after a failure, or returns it when there is nothing to hope for.
    pub async fn after<E: Transient>(&mut self, error: E) -> Result<(), E> {
        self.failed += 1;
        // Without a source of randomness the pause is the shortest one, which is still a pause.
        let random = getrandom::u64().unwrap_or(0);
        match self.retries.pause(self.failed, &error, random) {
            Some(pause) if pause.is_zero() => Ok(()),
            Some(pause) => {
                tokio::time::sleep(pause).await;
                Ok(())
            }
            None => Err(error),
        }
    }
}

/// Runs `exchange` until it succeeds or fails for good.
pub async fn retrying<T, E: Transient, F>(retries: &Retries, mut exchange: impl FnMut() -> F) -> Result<T, E>
where
    F: Future<Output = Result<T, E>>,
{
    let mut attempts = Attempts::new(retries);
    loop {
        match exchange().await {
            Ok(value) => return Ok(value),
            Err(error) => attempts.after(error).await?,
        }
    }
}

/// Reads `Retry-After`, which is seconds or an HTTP date (RFC 9110, section 10.2.3).
pub fn parse_retry_after(value: &str, now: SystemTime) -> Option<Duration> {
    let value = value.trim();
    if let Ok(seconds) = value.parse::<u64>() {
        return Some(Duration::from_secs(seconds));
    }
    let date = jiff::fmt::rfc2822::parse(value).ok()?.timestamp();
    Some(SystemTime::from(date).duration_since(now).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Seconds of `Retry-After`.
    enum Failure {
        Unavailable(Option<u64>),
        Unreachable,
        Final,
    }

    impl Transient for Failure {
        fn is_transient(&self) -> bool {
            !matches!(self, Self::Final)
        }

        fn is_unreachable(&self) -> bool {
            matches!(self, Self::Unreachable)
        }

        fn retry_after(&self) -> Option<Duration> {
            match self {
                Self::Unavailable(seconds) => seconds.map(Duration::from_secs),
                Self::Unreachable | Self::Final => None,
            }
        }
    }

    #[test]
    fn pauses_double_up_to_a_limit_and_end() {
        let retries = Retries::default();
        let seconds = |failed, error: &Failure, random| {
            retries.pause(failed, error, random).map(|pause| pause.as_secs_f64())
        };
        for (failed, error, random, expected) in [
            (1, Failure::Unavailable(None), 0, Some(0.25)),
            (1, Failure::Unavailable(None), u64::MAX, Some(0.5)),
            (3, Failure::Unavailable(None), u64::MAX, Some(2.0)),
            (6, Failure::Unavailable(None), 0, None),
            (2, Failure::Unreachable, 0, Some(0.5)),
            (3, Failure::Unreachable, 0, None),
            (1, Failure::Unavailable(Some(7)), 0, Some(7.0)),
            (1, Failure::Unavailable(Some(3600)), 0, None),
            (1, Failure::Final, 0, None),
        ] {
            assert_eq!(seconds(failed, &error, random), expected, "{failed}");
        }
        let patient = Retries { attempts: 100, ..retries };
        assert_eq!(patient.pause(60, &Failure::Unavailable(None), u64::MAX), Some(Duration::from_secs(20)));
    }

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777);
        for (text, expected) in [
            ("0", Some(0)),
            (" 120 ", Some(120)),
            ("Sun, 06 Nov 1994 08:49:47 GMT", Some(10)),
            ("Sun, 06 Nov 1994 08:00:00 GMT", Some(0)),
            ("soon", None),
            ("-1", None),
        ] {
            assert_eq!(parse_retry_after(text, now), expected.map(Duration::from_secs), "{text}");
        }
    }
}
