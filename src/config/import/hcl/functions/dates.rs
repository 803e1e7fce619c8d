//! Times: RFC 3339 texts and seconds since 1970.

use jiff::civil::Weekday;
use jiff::tz::Offset;
use jiff::{SignedDuration, Timestamp};

use super::super::number::Number as Decimal;
use super::super::value::{Entries, Value};
use super::Parameter::{Any, Number, Text};
use super::{Failure, Function, Outcome, Surroundings, blame, fixed, text};

pub const FUNCTIONS: &[Function] = &[
    fixed("formatdate", &[Text, Text], |values, _| formatted(text(values, 0), &moment(values, 1)?)),
    fixed("formattimestamp", &[Text, Any], format_timestamp),
    fixed("timeadd", &[Text, Text], add),
    fixed("timestamp", &[], |_, world| Ok(Value::from(Moment::utc(world.now)?.rfc3339()))),
    fixed("unixtimestampparse", &[Number], parse_unix),
];

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
const DAYS: [&str; 7] = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];

/// A time with the offset it was written with.
struct Moment {
    time: jiff::Zoned,
    offset: Offset,
}

impl Moment {
    fn at(timestamp: Timestamp, offset: Offset) -> Self {
        Self {
            time: offset
                .to_time_zone()
                .to_datetime(timestamp)
                .to_zoned(offset.to_time_zone())
                .unwrap_or_else(|_| timestamp.to_zoned(jiff::tz::TimeZone::UTC)),
            offset,
        }
    }

    fn utc(timestamp: Timestamp) -> Result<Self, Failure> {
        let seconds = Timestamp::from_second(timestamp.as_second());
        Ok(Self::at(seconds.map_err(|error| Failure::from(error.to_string()))?, Offset::UTC))
    }

    /// `YYYY-MM-DDTHH:MM:SS` with `Z` or an offset, as strict as RFC 3339 is.
    fn parse(written: &str) -> Option<Self> {
        let bytes = written.as_bytes();
        let shape_is_right = bytes.len() >= 20
            && bytes[10] == b'T'
            && bytes[..19].iter().enumerate().all(|(at, byte)| match at {
                4 | 7 => *byte == b'-',
                10 => true,
                13 | 16 => *byte == b':',
                _ => byte.is_ascii_digit(),
            });
        if !shape_is_right {
            return None;
        }
        let zone_at = written[19..].find(['Z', '+', '-'])? + 19;
        let offset = match &written[zone_at..] {
            "Z" => Offset::UTC,
            zone => parse_offset(zone)?,
        };
        let timestamp: Timestamp = written.parse().ok()?;
        Some(Self::at(timestamp, offset))
    }

    fn rfc3339(&self) -> String {
        let civil = self.time.datetime();
        let zone = if self.offset == Offset::UTC { "Z".to_string() } else { self.zone(true) };
        format!(
            "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}{zone}",
            civil.year(),
            civil.month(),
            civil.day(),
            civil.hour(),
            civil.minute(),
            civil.second()
        )
    }

    fn zone(&self, with_colon: bool) -> String {
        let seconds = self.offset.seconds();
        let sign = if seconds < 0 { '-' } else { '+' };
        let minutes = seconds.unsigned_abs() / 60;
        let colon = if with_colon { ":" } else { "" };
        format!("{sign}{:02}{colon}{:02}", minutes / 60, minutes % 60)
    }

    fn weekday(&self) -> usize {
        usize::try_from(self.time.weekday().to_sunday_zero_offset()).unwrap_or(0)
    }
}

fn parse_offset(zone: &str) -> Option<Offset> {
    let (hours, minutes) = zone.get(1..)?.split_once(':')?;
    if hours.len() != 2 || minutes.len() != 2 {
        return None;
    }
    let (hours, minutes): (i32, i32) = (hours.parse().ok()?, minutes.parse().ok()?);
    let seconds = hours * 3600 + minutes * 60;
    Offset::from_seconds(if zone.starts_with('-') { -seconds } else { seconds }).ok()
}

fn moment(values: &[Value], argument: usize) -> Result<Moment, Failure> {
    let written = text(values, argument);
    Moment::parse(written).ok_or_else(|| blame(argument, format!("`{written}` is not a time of RFC 3339")))
}

fn unix_moment(values: &[Value], argument: usize) -> Result<Moment, Failure> {
    let Value::Number(number) = &values[argument] else {
        return Err(blame(argument, "a time or a number of seconds is required"));
    };
    let seconds = number.to_i64().ok_or_else(|| blame(argument, "a whole number of seconds is required"))?;
    let timestamp = Timestamp::from_second(seconds).map_err(|error| blame(argument, error.to_string()))?;
    Moment::utc(timestamp)
}

fn format_timestamp(values: &[Value], _: &Surroundings) -> Outcome {
    let moment = match &values[1] {
        Value::String(_) => moment(values, 1)?,
        _ => unix_moment(values, 1)?,
    };
    match text(values, 0) {
        "X" => Ok(Value::from(moment.time.timestamp().as_second().to_string())),
        format => formatted(format, &moment),
    }
}

/// Letters are verbs, repeated for their width; text in quotes stands for itself.
fn formatted(format: &str, moment: &Moment) -> Outcome {
    let mut written = String::new();
    let mut rest = format;
    while let Some(first) = rest.chars().next() {
        if first == '\'' {
            let (quoted, after) = quoted(rest).ok_or_else(|| blame(0, "a quote is not closed"))?;
            written.push_str(&quoted);
            rest = after;
            continue;
        }
        let is_verb = first.is_ascii_alphabetic();
        let end = if is_verb {
            rest.find(|c| c != first).unwrap_or(rest.len())
        } else {
            rest.find(|c: char| c == '\'' || c.is_ascii_alphabetic()).unwrap_or(rest.len())
        };
        let token = &rest[..end];
        if is_verb {
            let verb = verb(token, moment);
            written.push_str(&verb.ok_or_else(|| blame(0, format!("there is no format `{token}`")))?);
        } else {
            written.push_str(token);
        }
        rest = &rest[end..];
    }
    Ok(Value::from(written))
}

/// The text of a quoted part at the beginning, and what follows; a doubled quote is one.
fn quoted(rest: &str) -> Option<(String, &str)> {
    if let Some(after) = rest.strip_prefix("''") {
        return Some(("'".to_string(), after));
    }
    let mut text = String::new();
    let mut characters = rest.char_indices().skip(1).peekable();
    while let Some((at, c)) = characters.next() {
        if c != '\'' {
            text.push(c);
        } else if characters.peek().is_some_and(|(_, next)| *next == '\'') {
            text.push('\'');
            characters.next();
        } else {
            return Some((text, &rest[at + 1..]));
        }
    }
    None
}

fn verb(token: &str, moment: &Moment) -> Option<String> {
    let civil = moment.time.datetime();
    let number = |value: i8| match token.len() {
        1 => Some(value.to_string()),
        2 => Some(format!("{value:02}")),
        _ => None,
    };
    let name = |name: &str| Some(name.to_string());
    let month = MONTHS.get(usize::try_from(civil.month() - 1).unwrap_or(0))?;
    let day = DAYS.get(moment.weekday())?;
    match (token.as_bytes()[0], token.len()) {
        (b'Y', 2) => Some(format!("{:02}", civil.year() % 100)),
        (b'Y', 4) => Some(format!("{:04}", civil.year())),
        (b'M', 3) => name(&month[..3]),
        (b'M', 4) => name(month),
        (b'M', _) => number(civil.month()),
        (b'D', _) => number(civil.day()),
        (b'E', 3) => name(&day[..3]),
        (b'E', 4) => name(day),
        (b'h', _) => number(civil.hour()),
        (b'H', _) => number(if civil.hour() % 12 == 0 { 12 } else { civil.hour() % 12 }),
        (b'A', 2) => name(if civil.hour() < 12 { "AM" } else { "PM" }),
        (b'a', 2) => name(if civil.hour() < 12 { "am" } else { "pm" }),
        (b'm', _) => number(civil.minute()),
        (b's', _) => number(civil.second()),
        (b'Z', 1) if moment.offset == Offset::UTC => name("Z"),
        (b'Z', 3) if moment.offset == Offset::UTC => name("UTC"),
        (b'Z', 1 | 5) => Some(moment.zone(true)),
        (b'Z', 3 | 4) => Some(moment.zone(false)),
        _ => None,
    }
}

fn add(values: &[Value], _: &Surroundings) -> Outcome {
    let moment = moment(values, 0)?;
    let duration = duration(text(values, 1))
        .ok_or_else(|| blame(1, format!("`{}` is not a duration such as `1h30m`", text(values, 1))))?;
    let later = moment.time.timestamp().checked_add(duration).map_err(|error| blame(1, error.to_string()))?;
    Ok(Value::from(Moment::at(later, moment.offset).rfc3339()))
}

/// Numbers with units, such as `-1.5h10m`.
fn duration(written: &str) -> Option<SignedDuration> {
    let (sign, mut rest) = match written.strip_prefix('-') {
        Some(rest) => (-1.0, rest),
        None => (1.0, written.strip_prefix('+').unwrap_or(written)),
    };
    if rest == "0" {
        return Some(SignedDuration::ZERO);
    }
    let mut seconds = 0.0;
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let number: f64 = rest[..end].parse().ok()?;
        rest = &rest[end..];
        let units =
            [("ns", 1e-9), ("us", 1e-6), ("µs", 1e-6), ("ms", 1e-3), ("s", 1.0), ("m", 60.0), ("h", 3600.0)];
        let (unit, scale) = units.into_iter().find(|(unit, _)| rest.starts_with(unit))?;
        rest = &rest[unit.len()..];
        seconds += number * scale;
    }
    SignedDuration::try_from_secs_f64(sign * seconds).ok()
}

fn parse_unix(values: &[Value], _: &Surroundings) -> Outcome {
    let moment = unix_moment(values, 0)?;
    let civil = moment.time.datetime();
    let week = civil.date().iso_week_date();
    let number = |value: i64| Value::Number(Decimal::from(value));
    let month = MONTHS[usize::try_from(civil.month() - 1).unwrap_or(0)];
    let weekday = match moment.time.weekday() {
        Weekday::Sunday => 0,
        day => i64::from(day.to_monday_one_offset()),
    };
    let entries = [
        ("year", number(civil.year().into())),
        ("year_day", number(civil.day_of_year().into())),
        ("day", number(civil.day().into())),
        ("month", number(civil.month().into())),
        ("month_name", Value::from(month)),
        ("weekday", number(weekday)),
        ("weekday_name", Value::from(DAYS[moment.weekday()])),
        ("hour", number(civil.hour().into())),
        ("minute", number(civil.minute().into())),
        ("second", number(civil.second().into())),
        ("rfc3339", Value::from(moment.rfc3339())),
        ("iso_year", number(week.year().into())),
        ("iso_week", number(week.week().into())),
    ];
    Ok(Value::object(entries.into_iter().map(|(name, value)| (name.into(), value)).collect::<Entries>()))
}
