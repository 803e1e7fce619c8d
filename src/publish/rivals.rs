//! Which tag of a repository is a version above one that would have a floating tag: `1.4` goes by what begins with 1.4,
//! `latest` by all. What stands before and behind the numbers (`v`, `-alpine`) has to be the same.

/// A tag as what stands before its numbers, these, and the rest.
struct Parts<'a> {
    before: &'a str,
    numbers: Vec<u64>,
    behind: &'a str,
}

/// The highest of `tags` above `version` that has a right to `tag`.
pub fn highest<'a>(tag: &str, version: &str, tags: &'a [String]) -> Option<&'a str> {
    let own = parts(version)?;
    let floating = parts(tag).filter(|floating| floating.before == own.before);
    let fits = |rival: &Parts<'_>| {
        let behind = match &floating {
            Some(floating) => rival.behind == floating.behind,
            None => rival.behind.is_empty() || rival.behind == own.behind,
        };
        let family = floating.as_ref().map(|floating| floating.numbers.as_slice()).unwrap_or_default();
        behind
            && rival.before == own.before
            && rival.numbers.len() >= own.numbers.len()
            && rival.numbers.starts_with(family)
            && is_above(rival, &own)
    };
    let rivals = tags.iter().filter_map(|rival| Some((parts(rival)?, rival)));
    let highest = rivals.filter(|(rival, _)| fits(rival)).max_by(|(one, _), (other, _)| {
        (&one.numbers, one.behind.is_empty()).cmp(&(&other.numbers, other.behind.is_empty()))
    });
    highest.map(|(_, rival)| rival.as_str())
}

/// A version is above what came before it as `-rc.1`.
fn is_above(rival: &Parts<'_>, own: &Parts<'_>) -> bool {
    let is_ready = rival.behind.is_empty() && own.behind.starts_with('-');
    rival.numbers > own.numbers || (rival.numbers == own.numbers && is_ready)
}

fn parts(tag: &str) -> Option<Parts<'_>> {
    let begin = tag.find(|letter: char| letter.is_ascii_digit())?;
    let rest = &tag[begin..];
    let end = rest.find(|letter: char| !letter.is_ascii_digit() && letter != '.').unwrap_or(rest.len());
    let text = rest[..end].trim_end_matches('.');
    let numbers = text.split('.').map(|number| number.parse().ok()).collect::<Option<_>>()?;
    // One repository may have `v1.4.0` beside `1.4.0`.
    let before = tag[..begin].strip_suffix('v').unwrap_or(&tag[..begin]);
    Some(Parts { before, numbers, behind: &rest[text.len()..] })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn floating_tags_go_by_their_family() {
        let tags = |words: &str| words.split(' ').map(str::to_string).collect::<Vec<_>>();
        for (tag, version, known, expected) in [
            ("latest", "1.4.1", "1.4.0 1.5.0 1.10.0 edge sha-1234567", Some("1.10.0")),
            ("latest", "1.10.0", "1.9.0 1.10.0", None),
            ("1.4", "1.4.1", "1.4.2 1.5.0", Some("1.4.2")),
            ("1.4", "1.4.1", "1.4.0 1.5.0 1.40.0", None),
            ("1", "1.4.1", "1.5.0 2.0.0 1.6", Some("1.5.0")),
            ("1", "1.4.1", "1.5.0-rc.1 1.5.0-alpine", None),
            ("1-alpine", "1.4.1-alpine", "1.5.0 1.4.2-alpine", Some("1.4.2-alpine")),
            ("latest", "1.4.1-alpine", "1.5.0-alpine", Some("1.5.0-alpine")),
            ("latest", "v1.4.1", "1.5.0", Some("1.5.0")),
            ("api-1", "api-1.4.1", "api-1.5.0 web-1.6.0 1.7.0", Some("api-1.5.0")),
            ("1.4", "1.4.0-rc.1", "1.4.0", Some("1.4.0")),
            ("latest", "24.1", "24.2 25", Some("24.2")),
            ("latest", "main", "1.0.0", None),
            ("latest", "1.4.1", "99999999999999999999999.0.0 ...", None),
        ] {
            assert_eq!(highest(tag, version, &tags(known)), expected, "{tag} {version} {known}");
        }
    }
}
