//! Signals by name or number, for `STOPSIGNAL`, as moby's `signal` package has them for Linux.

const NAMES: [(&str, i32); 34] = [
    ("ABRT", 6),
    ("ALRM", 14),
    ("BUS", 7),
    ("CHLD", 17),
    ("CLD", 17),
    ("CONT", 18),
    ("FPE", 8),
    ("HUP", 1),
    ("ILL", 4),
    ("INT", 2),
    ("IO", 29),
    ("IOT", 6),
    ("KILL", 9),
    ("PIPE", 13),
    ("POLL", 29),
    ("PROF", 27),
    ("PWR", 30),
    ("QUIT", 3),
    ("SEGV", 11),
    ("STKFLT", 16),
    ("STOP", 19),
    ("SYS", 31),
    ("TERM", 15),
    ("TRAP", 5),
    ("TSTP", 20),
    ("TTIN", 21),
    ("TTOU", 22),
    ("URG", 23),
    ("USR1", 10),
    ("USR2", 12),
    ("VTALRM", 26),
    ("WINCH", 28),
    ("XCPU", 24),
    ("XFSZ", 25),
];

const REAL_TIME_FIRST: i32 = 34;
const REAL_TIME_LAST: i32 = 64;

/// The number of `signal`: a number other than 0, or a name in any case, with or without `SIG`.
pub fn signal_number(signal: &str) -> Option<i32> {
    if let Ok(number) = signal.parse::<i32>() {
        return (number != 0).then_some(number);
    }
    let name = signal.to_ascii_uppercase();
    let name = name.strip_prefix("SIG").unwrap_or(&name);
    if let Some((_, number)) = NAMES.iter().find(|(known, _)| *known == name) {
        return Some(*number);
    }
    real_time(name)
}

/// `RTMIN`, `RTMIN+1` to `RTMIN+15`, `RTMAX-14` to `RTMAX-1`, `RTMAX`.
fn real_time(name: &str) -> Option<i32> {
    let offset = |text: &str, largest: i32| {
        text.parse::<i32>().ok().filter(|offset| (1..=largest).contains(offset) && !text.starts_with('+'))
    };
    match name {
        "RTMIN" => Some(REAL_TIME_FIRST),
        "RTMAX" => Some(REAL_TIME_LAST),
        _ => match (name.strip_prefix("RTMIN+"), name.strip_prefix("RTMAX-")) {
            (Some(up), _) => offset(up, 15).map(|offset| REAL_TIME_FIRST + offset),
            (_, Some(down)) => offset(down, 14).map(|offset| REAL_TIME_LAST - offset),
            _ => None,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::signal_number;

    #[test]
    fn names_and_numbers_are_signals() {
        for (text, expected) in [
            ("SIGTERM", Some(15)),
            ("term", Some(15)),
            ("9", Some(9)),
            ("SIGRTMIN+3", Some(37)),
            ("RTMAX-1", Some(63)),
            ("RTMAX-15", None),
            ("SIGRTMIN++3", None),
            ("0", None),
            ("SIGNOPE", None),
            ("", None),
        ] {
            assert_eq!(signal_number(text), expected, "{text}");
        }
    }
}
