//! Sizes in bytes as Docker writes them: `64m`, `1g`, `65536`; units are powers of 1024.

/// The bytes of `text`, rounded down; `None` when it is not a number with a known unit, or too large.
pub fn parse(text: &str) -> Option<u64> {
    let text = text.trim();
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let unit = unit.strip_prefix(' ').unwrap_or(unit);
    let shift = match unit.to_ascii_lowercase().as_str() {
        "" | "b" => 0,
        "k" | "kb" | "kib" => 10,
        "m" | "mb" | "mib" => 20,
        "g" | "gb" | "gib" => 30,
        "t" | "tb" | "tib" => 40,
        "p" | "pb" | "pib" => 50,
        _ => return None,
    };
    let bytes = number.parse::<f64>().ok()? * (1_u64 << shift) as f64;
    (bytes < i64::MAX as f64).then_some(bytes as u64)
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
            ("1.5g", Some(1536 << 20)),
            (".5 GB", Some(512 << 20)),
            ("1.g", Some(1 << 30)),
            ("1.5", Some(1)),
            ("1.2.3g", None),
            (".g", None),
            ("5 g b", None),
            ("99999999999t", None),
            ("8191p", Some(8191 << 50)),
            ("8192p", None),
        ] {
            assert_eq!(parse(text), expected, "{text}");
        }
    }
}
