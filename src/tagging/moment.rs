//! Times written as Moment's formats say, which is what `{{date '…'}}` takes: `YYYYMMDD`, `[at] HH:mm`, `L`.
//! Words are English. Time zones come with the program, so that every machine has the same.

use std::sync::LazyLock;

use jiff::civil::Weekday;
use jiff::tz::{TimeZone, TimeZoneDatabase};
use jiff::{Timestamp, Zoned};

/// What a format may be made of, longest first.
const TOKENS: [&str; 63] = [
    "YYYYYY", "YYYYY", "Hmmss", "hmmss", "ggggg", "GGGGG", "NNNNN", "YYYY", "MMMM", "DDDD", "DDDo", "dddd",
    "gggg", "GGGG", "NNNN", "yyyy", "MMM", "DDD", "ddd", "Hmm", "hmm", "NNN", "yyy", "YY", "MM", "Mo", "DD",
    "Do", "dd", "do", "ww", "wo", "WW", "Wo", "Qo", "gg", "GG", "HH", "hh", "kk", "mm", "ss", "ZZ", "zz",
    "NN", "yy", "yo", "Y", "M", "D", "d", "e", "E", "w", "W", "Q", "H", "h", "k", "m", "s", "a", "y",
];
const SINGLE: [&str; 6] = ["A", "N", "X", "x", "Z", "z"];

/// Longer formats are none.
const LONGEST: usize = 256;

/// The time zone of that name, as the IANA has it.
pub fn zone(name: &str) -> Option<TimeZone> {
    static ZONES: LazyLock<TimeZoneDatabase> = LazyLock::new(TimeZoneDatabase::bundled);
    match name {
        "UTC" => Some(TimeZone::UTC),
        name => ZONES.get(name).ok(),
    }
}

/// ISO 8601, which is what a time without a format is.
pub fn iso(time: Timestamp, zone: &TimeZone) -> String {
    let time = time.to_zoned(zone.clone());
    match time.offset().seconds() {
        0 => format_zoned("YYYY-MM-DDTHH:mm:ss[Z]", &time),
        _ => format_zoned("YYYY-MM-DDTHH:mm:ssZ", &time),
    }
}

/// `2026-03-01T12:00:00.000Z`, as labels have it.
pub fn with_milliseconds(time: Timestamp) -> String {
    format_zoned("YYYY-MM-DDTHH:mm:ss.SSS[Z]", &time.to_zoned(TimeZone::UTC))
}

pub fn format(format: &str, time: Timestamp, zone: &TimeZone) -> Result<String, String> {
    if format.len() > LONGEST {
        return Err(format!("the format has more than {LONGEST} bytes"));
    }
    Ok(match format {
        "" => iso(time, zone),
        format => format_zoned(format, &time.to_zoned(zone.clone())),
    })
}

fn format_zoned(format: &str, time: &Zoned) -> String {
    let format = expanded(format);
    let mut text = String::new();
    let mut rest = format.as_str();
    while let Some(first) = rest.chars().next() {
        if let Some((inside, after)) = bracketed(rest) {
            text.push_str(inside);
            rest = after;
        } else if let Some(token) = token_at(rest) {
            text.push_str(&value(token, time));
            rest = &rest[token.len()..];
        } else if first == '\\' {
            // What follows stands for itself.
            let letter = || rest[1..].chars().next().map_or(0, char::len_utf8);
            let length = token_at(&rest[1..]).map_or_else(letter, str::len);
            text.push_str(&rest[1..1 + length]);
            rest = &rest[1 + length..];
        } else {
            text.push(first);
            rest = &rest[first.len_utf8()..];
        }
    }
    text
}

/// `[letters]`
fn bracketed(text: &str) -> Option<(&str, &str)> {
    let inside = text.strip_prefix('[')?;
    let end = inside.find([']', '[']).filter(|end| inside[*end..].starts_with(']'))?;
    Some((&inside[..end], &inside[end + 1..]))
}

fn token_at(text: &str) -> Option<&str> {
    let fraction = text.bytes().take_while(|byte| *byte == b'S').take(9).count();
    if fraction > 0 {
        return Some(&text[..fraction]);
    }
    let known = TOKENS.iter().chain(&SINGLE).find(|token| text.starts_with(**token))?;
    Some(&text[..known.len()])
}

/// The format with the long forms of a language written out.
fn expanded(format: &str) -> String {
    let long = [
        ("LTS", "h:mm:ss A"),
        ("LT", "h:mm A"),
        ("LLLL", "dddd, MMMM D, YYYY h:mm A"),
        ("LLL", "MMMM D, YYYY h:mm A"),
        ("LL", "MMMM D, YYYY"),
        ("L", "MM/DD/YYYY"),
        ("llll", "ddd, MMM D, YYYY h:mm A"),
        ("lll", "MMM D, YYYY h:mm A"),
        ("ll", "MMM D, YYYY"),
        ("l", "M/D/YYYY"),
    ];
    let mut text = String::new();
    let mut rest = format;
    while let Some(first) = rest.chars().next() {
        let length = if let Some((inside, _)) = bracketed(rest) {
            inside.len() + 2
        } else if first == '\\' {
            1 + rest[1..].chars().next().map_or(0, char::len_utf8)
        } else if let Some((form, meant)) = long.iter().find(|(form, _)| rest.starts_with(form)) {
            text.push_str(meant);
            rest = &rest[form.len()..];
            continue;
        } else {
            first.len_utf8()
        };
        text.push_str(&rest[..length]);
        rest = &rest[length..];
    }
    text
}

fn value(token: &str, time: &Zoned) -> String {
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
    let (hour, minute, second) = (time.hour(), time.minute(), time.second());
    let half = if hour % 12 == 0 { 12 } else { hour % 12 };
    let month = MONTHS[usize::from(time.month().unsigned_abs()).saturating_sub(1).min(11)];
    let quarter = (time.month() - 1) / 3 + 1;
    match token {
        "YYYYYY" => format!("{:+07}", time.year()),
        "YYYYY" => format!("{:05}", time.year()),
        "YYYY" => format!("{:04}", time.year()),
        "YY" => format!("{:02}", time.year().rem_euclid(100)),
        "Y" | "y" | "yy" | "yyy" | "yyyy" => time.year().to_string(),
        "yo" => ordinal(time.year().into()),
        "N" | "NN" | "NNN" | "NNNNN" => "AD".to_string(),
        "NNNN" => "Anno Domini".to_string(),
        "MMMM" => month.to_string(),
        "MMM" => month[..3].to_string(),
        "MM" => format!("{:02}", time.month()),
        "Mo" => ordinal(time.month().into()),
        "M" => time.month().to_string(),
        "DDDD" => format!("{:03}", time.day_of_year()),
        "DDDo" => ordinal(time.day_of_year().into()),
        "DDD" => time.day_of_year().to_string(),
        "DD" => format!("{:02}", time.day()),
        "Do" => ordinal(time.day().into()),
        "D" => time.day().to_string(),
        "Q" => quarter.to_string(),
        "Qo" => ordinal(quarter.into()),
        "HH" => format!("{hour:02}"),
        "H" => hour.to_string(),
        "hh" => format!("{half:02}"),
        "h" => half.to_string(),
        "kk" => format!("{:02}", if hour == 0 { 24 } else { hour }),
        "k" => (if hour == 0 { 24 } else { hour }).to_string(),
        "Hmm" => format!("{hour}{minute:02}"),
        "Hmmss" => format!("{hour}{minute:02}{second:02}"),
        "hmm" => format!("{half}{minute:02}"),
        "hmmss" => format!("{half}{minute:02}{second:02}"),
        "mm" => format!("{minute:02}"),
        "m" => minute.to_string(),
        "ss" => format!("{second:02}"),
        "s" => second.to_string(),
        "A" => (if hour < 12 { "AM" } else { "PM" }).to_string(),
        "a" => (if hour < 12 { "am" } else { "pm" }).to_string(),
        "X" => time.timestamp().as_second().to_string(),
        "x" => time.timestamp().as_millisecond().to_string(),
        "Z" => offset(time, ":"),
        "ZZ" => offset(time, ""),
        "z" | "zz" => time.time_zone().to_offset_info(time.timestamp()).abbreviation().to_string(),
        _ if token.starts_with('S') => fraction(time, token.len()),
        _ => of_week(token, time),
    }
}

/// Weeks begin on Sunday, and the first has the first of January; those of ISO 8601 are in capitals.
fn of_week(token: &str, time: &Zoned) -> String {
    const DAYS: [&str; 7] = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];
    let weekday = i64::from(time.weekday().to_sunday_zero_offset());
    let day = DAYS[usize::try_from(weekday).unwrap_or(0).min(6)];
    let iso = time.date().iso_week_date();
    let (year, week) = week(time);
    match token {
        "dddd" => day.to_string(),
        "ddd" => day[..3].to_string(),
        "dd" => day[..2].to_string(),
        "do" => ordinal(weekday),
        "d" | "e" => weekday.to_string(),
        "E" => time.weekday().to_monday_one_offset().to_string(),
        "ww" => format!("{week:02}"),
        "wo" => ordinal(week),
        "w" => week.to_string(),
        "WW" => format!("{:02}", iso.week()),
        "Wo" => ordinal(iso.week().into()),
        "W" => iso.week().to_string(),
        "ggggg" => format!("{year:05}"),
        "GGGGG" => format!("{:05}", iso.year()),
        "gggg" => format!("{year:04}"),
        "gg" => format!("{:02}", year.rem_euclid(100)),
        "GGGG" => format!("{:04}", iso.year()),
        "GG" => format!("{:02}", iso.year().rem_euclid(100)),
        other => other.to_string(),
    }
}

/// The year and the number of the week that begins on Sunday.
fn week(time: &Zoned) -> (i16, i64) {
    let starts = |year: i16| {
        let first = jiff::civil::date(year, 1, 1);
        let back = i64::from(first.weekday().since(Weekday::Sunday));
        // The first week begins so many days before the year does.
        -back
    };
    let day = i64::from(time.day_of_year()) - 1;
    let days = i64::from(time.days_in_year());
    let next = time.year().checked_add(1).filter(|year| *year <= 9999);
    if let Some(next) = next
        && day >= days + starts(next)
    {
        return (next, 1);
    }
    (time.year(), (day - starts(time.year())) / 7 + 1)
}

fn ordinal(number: i64) -> String {
    let ending = match (number % 100, number % 10) {
        (11..=13, _) => "th",
        (_, 1) => "st",
        (_, 2) => "nd",
        (_, 3) => "rd",
        _ => "th",
    };
    format!("{number}{ending}")
}

fn offset(time: &Zoned, between: &str) -> String {
    let seconds = time.offset().seconds();
    let sign = if seconds < 0 { '-' } else { '+' };
    let minutes = seconds.abs() / 60;
    format!("{sign}{:02}{between}{:02}", minutes / 60, minutes % 60)
}

/// Moment knows milliseconds; further digits are zeros.
fn fraction(time: &Zoned, digits: usize) -> String {
    let milliseconds = format!("{:03}000000", time.millisecond());
    milliseconds[..digits.min(9)].to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_are_those_of_moment() {
        let time: Timestamp = "2020-01-10T00:30:05.067Z".parse().unwrap();
        for (text, name, expected) in [
            ("YYYYMMDD", "UTC", "20200110"),
            ("YYYYMMDD-HHmmss", "Asia/Tokyo", "20200110-093005"),
            ("YYYYMMDD", "America/New_York", "20200109"),
            ("YY.M.D", "UTC", "20.1.10"),
            ("[v]YYYY[YYYY]", "UTC", "v2020YYYY"),
            ("\\YYYYY D", "UTC", "YYYYY 10"),
            ("dddd ddd dd d E e", "UTC", "Friday Fri Fr 5 5 5"),
            ("MMMM MMM Mo Do DDD DDDD DDDo", "UTC", "January Jan 1st 10th 10 010 10th"),
            ("w ww wo W WW gggg GGGG gg GG", "UTC", "2 02 2nd 2 02 2020 2020 20 20"),
            ("Q Qo", "UTC", "1 1st"),
            ("H HH h hh k kk A a", "UTC", "0 00 12 12 24 24 AM am"),
            ("Hmm Hmmss hmm hmmss", "UTC", "030 03005 1230 123005"),
            ("m s S SS SSS SSSS", "UTC", "30 5 0 06 067 0670"),
            ("X x", "UTC", "1578616205 1578616205067"),
            ("Z ZZ z", "Asia/Tokyo", "+09:00 +0900 JST"),
            ("Z ZZ z", "America/New_York", "-05:00 -0500 EST"),
            ("Z z", "UTC", "+00:00 UTC"),
            (
                "L LL LT LTS l ll",
                "UTC",
                "01/10/2020 January 10, 2020 12:30 AM 12:30:05 AM 1/10/2020 Jan 10, 2020",
            ),
            ("LLL|LLLL", "UTC", "January 10, 2020 12:30 AM|Friday, January 10, 2020 12:30 AM"),
            ("YYYY-[Q]Q é ü", "UTC", "2020-Q1 é ü"),
            ("ggggg GGGGG y yyyy yo", "UTC", "02020 02020 2020 2020 2020th"),
            ("N NNNN", "UTC", "AD Anno Domini"),
            ("\\[YYYY] [x]YYYY[D", "UTC", "[2020] x2020[10"),
            ("", "UTC", "2020-01-10T00:30:05Z"),
        ] {
            assert_eq!(format(text, time, &zone(name).unwrap()).as_deref(), Ok(expected), "{text} {name}");
        }
        assert_eq!(iso(time, &TimeZone::UTC), "2020-01-10T00:30:05Z");
        assert_eq!(iso(time, &zone("asia/tokyo").unwrap()), "2020-01-10T09:30:05+09:00");
        assert_eq!(with_milliseconds(time), "2020-01-10T00:30:05.067Z");
        assert!(zone("Moon/Base").is_none());
    }

    #[test]
    fn weeks_at_the_ends_of_years() {
        for (day, expected) in [
            ("2021-01-01T12:00:00Z", "1 2021 53 2020"),
            ("2022-12-31T12:00:00Z", "53 2022 52 2022"),
            ("2024-12-29T12:00:00Z", "1 2025 52 2024"),
            ("2024-12-28T12:00:00Z", "52 2024 52 2024"),
            ("2023-01-01T12:00:00Z", "1 2023 52 2022"),
        ] {
            let time: Timestamp = day.parse().unwrap();
            assert_eq!(format("w gggg W GGGG", time, &TimeZone::UTC).as_deref(), Ok(expected), "{day}");
        }
    }
}
