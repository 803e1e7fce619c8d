//! Shell patterns of `${x#p}` and its relatives: `*` and `?`, no brackets.
//!
//! Values are matched by following all possibilities at once, so that no pattern takes exponential time;
//! a budget of steps, one for all patterns of a word, bounds what is left. As in BuildKit, neither `*` nor `?` matches a line break.

use super::expand::ExpandReason;

/// What matching may still cost.
#[derive(Debug)]
pub(super) struct Steps(usize);

impl Default for Steps {
    /// Enough for any honest word, and a fraction of a second of work.
    fn default() -> Self {
        Self(1 << 22)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Piece {
    One(char),
    AnyOne,
    AnyRun,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Extent {
    Shortest,
    Longest,
}

/// A parsed pattern.
#[derive(Debug)]
pub(super) struct Pattern {
    text: String,
    pieces: Vec<Piece>,
}

impl Pattern {
    /// A backslash escapes `*`, `?` and itself; before `}` and `/` it only kept them from ending the
    /// substitution.
    pub(super) fn parse(text: &str) -> Result<Self, ExpandReason> {
        let mut pieces = Vec::new();
        let mut chars = text.chars();
        while let Some(char) = chars.next() {
            pieces.push(match char {
                '*' => Piece::AnyRun,
                '?' => Piece::AnyOne,
                '\\' => match chars.next() {
                    Some(escaped @ ('*' | '?' | '\\' | '}' | '/')) => Piece::One(escaped),
                    _ => return Err(ExpandReason::Pattern(text.to_string())),
                },
                other => Piece::One(other),
            });
        }
        pieces.dedup_by(|a, b| *a == Piece::AnyRun && *b == Piece::AnyRun);
        Ok(Self { text: text.to_string(), pieces })
    }

    /// `value` without the part at its start that matches.
    pub(super) fn without_prefix(
        &self,
        value: &str,
        extent: Extent,
        steps: &mut Steps,
    ) -> Result<String, ExpandReason> {
        let chars: Vec<char> = value.chars().collect();
        let end = self.matcher(&self.pieces, steps).end_of_match(&chars, extent)?.unwrap_or(0);
        Ok(chars[end..].iter().collect())
    }

    /// `value` without the part at its end that matches.
    pub(super) fn without_suffix(
        &self,
        value: &str,
        extent: Extent,
        steps: &mut Steps,
    ) -> Result<String, ExpandReason> {
        let reversed: Vec<char> = value.chars().rev().collect();
        let pieces: Vec<Piece> = self.pieces.iter().rev().copied().collect();
        let end = self.matcher(&pieces, steps).end_of_match(&reversed, extent)?.unwrap_or(0);
        Ok(reversed[end..].iter().rev().collect())
    }

    /// `value` with the first longest match replaced.
    pub(super) fn replace_first(
        &self,
        value: &str,
        replacement: &str,
        steps: &mut Steps,
    ) -> Result<String, ExpandReason> {
        let chars: Vec<char> = value.chars().collect();
        let mut matcher = self.matcher(&self.pieces, steps);
        for start in 0..=chars.len() {
            if let Some(length) = matcher.end_of_match(&chars[start..], Extent::Longest)? {
                let mut result: String = chars[..start].iter().collect();
                result.push_str(replacement);
                result.extend(&chars[start + length..]);
                return Ok(result);
            }
        }
        Ok(value.to_string())
    }

    /// `value` with every longest match replaced, left to right. An empty match counts unless it touches
    /// the match before it.
    pub(super) fn replace_all(
        &self,
        value: &str,
        replacement: &str,
        limit: usize,
        steps: &mut Steps,
    ) -> Result<String, ExpandReason> {
        let chars: Vec<char> = value.chars().collect();
        let mut matcher = self.matcher(&self.pieces, steps);
        let mut result = String::new();
        let (mut at, mut last_end) = (0, None);
        while at <= chars.len() {
            let length = matcher.end_of_match(&chars[at..], Extent::Longest)?;
            if length.is_some_and(|length| length > 0 || last_end != Some(at)) {
                result.push_str(replacement);
            }
            match length {
                Some(length) if length > 0 => {
                    at += length;
                    last_end = Some(at);
                }
                _ => {
                    result.extend(chars.get(at));
                    at += 1;
                }
            }
            if result.len() > limit {
                return Err(ExpandReason::TooLong);
            }
        }
        Ok(result)
    }

    fn matcher<'a>(&'a self, pieces: &'a [Piece], steps: &'a mut Steps) -> Matcher<'a> {
        Matcher {
            text: &self.text,
            pieces,
            steps,
            active: Vec::with_capacity(pieces.len() + 1),
            next: Vec::with_capacity(pieces.len() + 1),
        }
    }
}

struct Matcher<'a> {
    text: &'a str,
    pieces: &'a [Piece],
    steps: &'a mut Steps,
    /// Positions in `pieces` reached so far, in ascending order.
    active: Vec<usize>,
    next: Vec<usize>,
}

impl Matcher<'_> {
    /// How many chars at the start of `value` match, if any do.
    fn end_of_match(&mut self, value: &[char], extent: Extent) -> Result<Option<usize>, ExpandReason> {
        self.active.clear();
        reach(&mut self.active, self.pieces, 0);
        let mut found = self.accepted().then_some(0);
        for (index, char) in value.iter().enumerate() {
            if self.active.is_empty() || (found.is_some() && extent == Extent::Shortest) {
                break;
            }
            self.spend(self.active.len())?;
            self.next.clear();
            for &position in &self.active {
                match self.pieces.get(position) {
                    Some(Piece::One(wanted)) if wanted == char => {
                        reach(&mut self.next, self.pieces, position + 1)
                    }
                    Some(Piece::AnyOne) if *char != '\n' => reach(&mut self.next, self.pieces, position + 1),
                    Some(Piece::AnyRun) if *char != '\n' => reach(&mut self.next, self.pieces, position),
                    _ => {}
                }
            }
            std::mem::swap(&mut self.active, &mut self.next);
            if self.accepted() {
                found = Some(index + 1);
            }
        }
        Ok(found)
    }

    fn accepted(&self) -> bool {
        self.active.last() == Some(&self.pieces.len())
    }

    fn spend(&mut self, steps: usize) -> Result<(), ExpandReason> {
        self.steps.0 = self
            .steps
            .0
            .checked_sub(steps + 1)
            .ok_or_else(|| ExpandReason::PatternCost(self.text.to_string()))?;
        Ok(())
    }
}

/// Adds `position` and, behind a run that may be empty, the one after it. Positions arrive in ascending
/// order, so a repeated one is among the last two.
fn reach(positions: &mut Vec<usize>, pieces: &[Piece], position: usize) {
    let mut add = |position: usize| {
        if !positions.iter().rev().take(2).any(|known| *known == position) {
            positions.push(position);
        }
    };
    add(position);
    if pieces.get(position) == Some(&Piece::AnyRun) {
        add(position + 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_costly_pattern_ends() {
        let pattern = Pattern::parse(&"*a".repeat(2000)).unwrap();
        let value = "a".repeat(60_000);
        assert!(matches!(
            pattern.replace_all(&value, "", 1 << 20, &mut Steps::default()),
            Err(ExpandReason::PatternCost(_))
        ));
        let missing = Pattern::parse(&format!("{}b", "*a".repeat(2000))).unwrap();
        assert!(matches!(
            missing.replace_first(&value, "", &mut Steps::default()),
            Err(ExpandReason::PatternCost(_))
        ));
    }

    #[test]
    fn replacements_cannot_grow_past_the_limit() {
        let pattern = Pattern::parse("?").unwrap();
        assert_eq!(pattern.replace_all("abc", "xxxx", 4, &mut Steps::default()), Err(ExpandReason::TooLong));
    }
}
