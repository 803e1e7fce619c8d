//! `date`: a time written as a format says, in UTC.

use jiff::Timestamp;
use jiff::fmt::strtime;
use jiff::tz::TimeZone;
use minijinja::value::{Value, ValueKind};
use minijinja::{Error, ErrorKind};

/// Fields of a format can be widened, so that formats are short.
const LONGEST_FORMAT: usize = 128;

/// `value` is an RFC 3339 text, as `git.commit_date`, or seconds since 1970, as `git.commit_time`; without a
/// format it comes out as a day.
pub fn date(value: &Value, format: Option<String>) -> Result<String, Error> {
    let wrong = |message: String| Error::new(ErrorKind::InvalidOperation, message);
    let time = timestamp(value).ok_or_else(|| {
        wrong("`date` needs a time such as `git.commit_date`, or seconds since 1970".to_string())
    })?;
    let format = format.unwrap_or_else(|| "%Y-%m-%d".to_string());
    if format.len() > LONGEST_FORMAT {
        return Err(wrong(format!("the format has more than {LONGEST_FORMAT} bytes")));
    }
    strtime::format(&format, &time.to_zoned(TimeZone::UTC))
        .map_err(|error| wrong(format!("`{format}` is not a format of strftime: {error}")))
}

fn timestamp(value: &Value) -> Option<Timestamp> {
    match value.kind() {
        ValueKind::Number => Timestamp::from_second(i64::try_from(value.clone()).ok()?).ok(),
        ValueKind::String => {
            let text = value.as_str()?;
            let of_seconds = || Timestamp::from_second(text.parse().ok()?).ok();
            text.parse().ok().or_else(of_seconds)
        }
        _ => None,
    }
}
