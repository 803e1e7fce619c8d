//! The keys of `org.opencontainers.image` that say what an image was made of, and lines that add to them.

use super::expression::render_text;
use super::moment;
use super::names::Globals;
use super::occasion::{Occasion, Reference};

/// Keys with their values.
pub type Pairs = Vec<(String, String)>;

/// What is known of the repository, the commit and the version, and what `lines` say besides: `key=value`, with
/// expressions; the later of two wins. In the order of people.
pub fn pairs(
    occasion: &Occasion,
    reference: &Reference,
    version: Option<&str>,
    lines: &[&str],
) -> Result<Pairs, (usize, String)> {
    let globals = Globals { occasion, reference };
    let mut pairs: Pairs = generated(occasion, version);
    for (at, line) in lines.iter().enumerate() {
        let rendered = render_text(line, &globals).map_err(|message| (at, message))?;
        match rendered.split_once('=') {
            Some((key, value)) => put(&mut pairs, key, value),
            None if occasion.is_compatible => {}
            None => return Err((at, format!("`{line}` is not of the form `key=value`"))),
        }
    }
    pairs.sort_by_cached_key(|(key, _)| collation(key));
    Ok(pairs)
}

fn generated(occasion: &Occasion, version: Option<&str>) -> Pairs {
    let repository = &occasion.repository;
    let values = [
        ("title", repository.title.clone()),
        ("description", repository.description.clone()),
        ("url", repository.url.clone()),
        ("source", repository.url.clone()),
        ("version", version.unwrap_or_default().to_string()),
        ("created", moment::with_milliseconds(occasion.created)),
        ("revision", occasion.sha.clone()),
        ("licenses", repository.licence.clone()),
    ];
    // What nobody knows is empty there, and nothing is said of it here.
    let said = values.into_iter().filter(|(_, value)| occasion.is_compatible || !value.is_empty());
    said.map(|(key, value)| (format!("org.opencontainers.image.{key}"), value)).collect()
}

fn put(pairs: &mut Pairs, key: &str, value: &str) {
    match pairs.iter_mut().find(|(known, _)| known == key) {
        Some((_, old)) => *old = value.to_string(),
        None => pairs.push((key.to_string(), value.to_string())),
    }
}

/// The order of words in English dictionaries: punctuation, digits, letters, those in lower case before their capitals.
fn collation(key: &str) -> (Vec<u32>, Vec<bool>) {
    const PUNCTUATION: &str = "_-,;:!?.'\"()[]{}@*/\\&#%`^+<=>|~$";
    let weight = |letter: char| match letter {
        '0'..='9' => 100 + (letter as u32 - '0' as u32),
        'a'..='z' | 'A'..='Z' => 200 + (letter.to_ascii_lowercase() as u32 - 'a' as u32),
        _ => PUNCTUATION
            .chars()
            .position(|known| known == letter)
            .map_or(1000 + letter as u32, |at| u32::try_from(at).unwrap_or(0) + 1),
    };
    (key.chars().map(weight).collect(), key.chars().map(|letter| letter.is_ascii_uppercase()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_stand_as_in_a_dictionary() {
        let mut keys = ["b", "a.b", "a-b", "A", "a", "a1", "B.a", "ab", "org.x"];
        keys.sort_by_cached_key(|key| collation(key));
        assert_eq!(keys, ["a", "A", "a-b", "a.b", "a1", "ab", "b", "B.a", "org.x"]);
    }
}
