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
