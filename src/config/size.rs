//! Sizes in bytes as Docker writes them: `64m`, `1g`, `65536`; units are powers of 1024.

/// The bytes of `text`; `None` when it is not a whole number with a known unit, or too large.
pub fn parse(text: &str) -> Option<u64> {
    let text = text.trim();
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let shift = match unit.trim_start().to_ascii_lowercase().as_str() {
        "" | "b" => 0,
        "k" | "kb" | "kib" => 10,
        "m" | "mb" | "mib" => 20,
        "g" | "gb" | "gib" => 30,
        "t" | "tb" | "tib" => 40,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(1 << shift)
}

/// The size as Docker writes it: four digits and the largest unit that fits.
pub fn text(bytes: u64) -> String {
    const UNITS: [&str; 6] = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];
    let mut size = bytes as f64;
    let mut unit = 0;
    while size >= 1024.0 && unit + 1 < UNITS.len() {
        size /= 1024.0;
        unit += 1;
    }
    let places = if size >= 1000.0 {
        0
    } else if size >= 100.0 {
        1
    } else if size >= 10.0 {
        2
    } else {
        3
    };
    let digits = format!("{size:.places$}");
    let digits =
        if digits.contains('.') { digits.trim_end_matches('0').trim_end_matches('.') } else { &digits };
    format!("{digits}{}", UNITS[unit])
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn sizes_have_units() {
        for (text, expected) in [
            ("64m", Some(64 << 20)),
            ("1 GiB", Some(1 << 30)),
            ("512", Some(512)),
            ("2KB", Some(2048)),
            ("", None),
            ("m", None),
            ("-1m", None),
            ("1.5g", None),
            ("99999999999t", None),
        ] {
            assert_eq!(parse(text), expected, "{text}");
        }
    }
}
