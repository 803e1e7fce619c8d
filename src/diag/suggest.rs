//! Near misses.

/// Longer words are not compared, and no more of those that might be near.
const LONGEST: usize = 200;
const MOST_COMPARED: usize = 1_000;

/// The candidate that `word` is most likely a slip for, if one is close enough.
pub fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let length = word.chars().count();
    // Every letter is one slip away from every other.
    let allowed = (length / 3).max(1).min(length.saturating_sub(1));
    if length > LONGEST {
        return None;
    }
    let letters = letters(word);
    candidates
        .into_iter()
        .filter(|candidate| candidate.len() <= 4 * LONGEST && is_near(&letters, length, candidate, allowed))
        .take(MOST_COMPARED)
        .map(|candidate| (strsim::damerau_levenshtein(word, candidate), candidate))
        .filter(|(distance, _)| *distance <= allowed)
        .min()
        .map(|(_, candidate)| candidate)
}

/// How often each letter is in a word; letters beyond ASCII share what is left.
fn letters(word: &str) -> [u8; 128] {
    let mut counts = [0; 128];
    for letter in word.chars() {
        counts[slot(letter)] += 1;
    }
    counts
}

fn slot(letter: char) -> usize {
    usize::try_from(u32::from(letter)).unwrap_or(127).min(127)
}

/// Whether so few slips can make one word of the other: each changes the count of two letters at most.
fn is_near(letters: &[u8; 128], length: usize, candidate: &str, allowed: usize) -> bool {
    let mut left = *letters;
    let (mut missing, mut added) = (length, 0);
    for letter in candidate.chars() {
        let count = &mut left[slot(letter)];
        if *count > 0 {
            *count -= 1;
            missing -= 1;
        } else {
            added += 1;
            if added > 2 * allowed {
                return false;
            }
        }
    }
    missing + added <= 2 * allowed
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
