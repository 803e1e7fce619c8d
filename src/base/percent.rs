//! The text of URLs: what is percent-encoded in them, and what of them nobody must see.

/// `text` with its `%xx` decoded; what is no such encoding stays.
pub fn decoded(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut position = 0;
    while position < bytes.len() {
        let encoded = bytes.get(position..position + 3).filter(|encoded| encoded[0] == b'%');
        let value =
            encoded.and_then(|encoded| std::str::from_utf8(&encoded[1..]).ok()).filter(|hex| is_hex(hex));
        match value.and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            Some(byte) => {
                decoded.push(byte);
                position += 3;
            }
            None => {
                decoded.push(bytes[position]);
                position += 1;
            }
        }
    }
    String::from_utf8_lossy(&decoded).into_owned()
}

fn is_hex(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// Names and values of a query, decoded; a name alone has an empty value.
pub fn query_pairs(query: &str) -> Vec<(String, String)> {
    let plain = |text: &str| decoded(&text.replace('+', " "));
    let pairs = query.split('&').filter(|pair| !pair.is_empty());
    pairs
        .map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            (plain(name), plain(value))
        })
        .collect()
}

/// `text` with the credentials of every URL in it masked, as BuildKit masks them. The name in an ssh URL is no
/// secret.
pub fn redacted(text: &str) -> String {
    let mut redacted = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find("://") {
        let (before, after) = rest.split_at(start + 3);
        redacted.push_str(before);
        let (authority, behind) = after.split_at(end_of_authority(after));
        match authority.rsplit_once('@') {
            Some((user, host)) if user.contains(':') || !before.to_ascii_lowercase().ends_with("ssh://") => {
                let mask = if user.contains(':') { "xxxxx:xxxxx" } else { "xxxxx" };
                redacted.push_str(&format!("{mask}@{host}"));
            }
            _ => redacted.push_str(authority),
        }
        rest = behind;
    }
    redacted + rest
}

/// Where host and credentials end. What stands before a colon and is followed by no port is a name, so there is
/// a password, and in it may be what should have been encoded.
fn end_of_authority(text: &str) -> usize {
    let first = |ends: &str| text.find(|c: char| c.is_whitespace() || ends.contains(c)).unwrap_or(text.len());
    let end = first("/?#'\"`");
    let is_port = |port: &str| port.bytes().all(|byte| byte.is_ascii_digit());
    let has_password = text[..end]
        .split_once(':')
        .is_some_and(|(name, rest)| !name.starts_with('[') && !rest.contains('@') && !is_port(rest));
    match text[..first("'\"`")].rfind('@').filter(|at| has_password && *at > end) {
        Some(at) => at + text[at..].find(['/', '?', '#']).unwrap_or(text.len() - at),
        None => end,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn encoded_bytes_are_decoded() {
        for (text, expected) in [
            ("a%20b", "a b"),
            ("100%", "100%"),
            ("%zz", "%zz"),
            ("%2", "%2"),
            ("%c3%a4", "ä"),
            ("%+1", "%+1"),
        ] {
            assert_eq!(decoded(text), expected);
        }
        assert_eq!(
            query_pairs("a=b+c&&d&e=f%3D"),
            [("a", "b c"), ("d", ""), ("e", "f=")].map(|(n, v)| (n.into(), v.into()))
        );
    }

    #[test]
    fn credentials_of_urls_are_masked_wherever_they_stand() {
        for (text, expected) in [
            ("https://u:p@h/x", "https://xxxxx:xxxxx@h/x"),
            ("https://u:p@ss@h/x", "https://xxxxx:xxxxx@h/x"),
            ("ADD https://token@h/x /y", "ADD https://xxxxx@h/x /y"),
            ("fatal: 'https://u:p@h' and https://h/a@b", "fatal: 'https://xxxxx:xxxxx@h' and https://h/a@b"),
            ("https://u:p/a?b@h/x", "https://xxxxx:xxxxx@h/x"),
            ("http://h:80/a@b http://[::1]/a@b", "http://h:80/a@b http://[::1]/a@b"),
            ("ssh://git@h/x ssh://git:p@h/x", "ssh://git@h/x ssh://xxxxx:xxxxx@h/x"),
            ("no url", "no url"),
        ] {
            assert_eq!(redacted(text), expected);
        }
    }
}
