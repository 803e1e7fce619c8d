//! Near misses.

/// The candidate that `word` is most likely a slip for, if one is close enough.
pub fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let length = word.chars().count();
    // Every letter is one slip away from every other.
    let allowed = (length / 3).max(1).min(length.saturating_sub(1));
    candidates
        .into_iter()
        .map(|candidate| (strsim::damerau_levenshtein(word, candidate), candidate))
        .filter(|(distance, _)| *distance <= allowed)
        .min()
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::nearest;

    #[test]
    fn slips_are_found_and_strangers_are_not() {
        let keys = ["platforms", "contexts", "context", "tags"];
        assert_eq!(nearest("platfroms", keys), Some("platforms"));
        assert_eq!(nearest("tag", keys), Some("tags"));
        assert_eq!(nearest("volumes", keys), None);
        assert_eq!(nearest("A", ["B"]), None);
    }
}
