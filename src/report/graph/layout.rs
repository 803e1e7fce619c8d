//! Where the cards of a picture stand: columns by level, in each column the order and the heights that keep
//! lines short. Knows of sizes and links, not of what is drawn.

/// Space between two cards of a column.
const GAP: f64 = 14.0;
/// Rounds of pulling cards towards what they are linked to.
const ROUNDS: usize = 24;

/// A card before it has a place.
pub struct Card {
    pub level: usize,
    pub height: f64,
}

/// The top of each card. `links` are pairs of cards; the topmost card begins at nought.
pub fn tops(cards: &[Card], links: &[(usize, usize)]) -> Vec<f64> {
    let levels = cards.iter().map(|card| card.level + 1).max().unwrap_or(0);
    let mut columns: Vec<Vec<usize>> = vec![Vec::new(); levels];
    for (index, card) in cards.iter().enumerate() {
        columns[card.level].push(index);
    }
    let mut linked: Vec<Vec<usize>> = vec![Vec::new(); cards.len()];
    for (one, other) in links {
        linked[*one].push(*other);
        linked[*other].push(*one);
    }
    let mut middles = vec![0.0; cards.len()];
    for column in &columns {
        stack(column, cards, &mut middles);
    }
    for round in 0..ROUNDS {
        let order: Vec<usize> =
            if round % 2 == 0 { (0..levels).collect() } else { (0..levels).rev().collect() };
        for level in order {
            pull(&mut columns[level], cards, &linked, &mut middles);
        }
    }
    let top = |card: usize, middles: &[f64]| middles[card] - cards[card].height / 2.0;
    let first = (0..cards.len()).map(|card| top(card, &middles)).fold(f64::INFINITY, f64::min);
    (0..cards.len()).map(|card| top(card, &middles) - first).collect()
}

/// One below the other.
fn stack(column: &[usize], cards: &[Card], middles: &mut [f64]) {
    let mut y = 0.0;
    for card in column {
        middles[*card] = y + cards[*card].height / 2.0;
        y += cards[*card].height + GAP;
    }
}

/// Puts a column in the order of what its cards are linked to, each as near to that as the others let it.
fn pull(column: &mut [usize], cards: &[Card], linked: &[Vec<usize>], middles: &mut [f64]) {
    let wish = |card: usize, middles: &[f64]| {
        let others = &linked[card];
        if others.is_empty() {
            return middles[card];
        }
        others.iter().map(|other| middles[*other]).sum::<f64>() / others.len() as f64
    };
    let mut wished: Vec<(f64, usize)> = column.iter().map(|card| (wish(*card, middles), *card)).collect();
    wished.sort_by(|one, other| one.0.total_cmp(&other.0).then(one.1.cmp(&other.1)));
    // Cards that would lie over each other become one block, whose place is the mean of their wishes.
    let mut blocks: Vec<Block> = Vec::new();
    for (slot, (wish, card)) in column.iter_mut().zip(&wished) {
        *slot = *card;
        let mut block = Block::new(*card, *wish, cards[*card].height);
        while let Some(before) = blocks.pop_if(|before| before.bottom() + GAP > block.top()) {
            block = before.joined(block);
        }
        blocks.push(block);
    }
    for block in blocks {
        let mut y = block.top();
        for card in block.cards {
            middles[card] = y + cards[card].height / 2.0;
            y += cards[card].height + GAP;
        }
    }
}

/// Cards that stand close together.
struct Block {
    cards: Vec<usize>,
    height: f64,
    /// The sum of the tops that each card wishes for the block.
    wishes: f64,
}

impl Block {
    fn new(card: usize, middle: f64, height: f64) -> Self {
        Self { cards: vec![card], height, wishes: middle - height / 2.0 }
    }

    fn top(&self) -> f64 {
        self.wishes / self.cards.len() as f64
    }

    fn bottom(&self) -> f64 {
        self.top() + self.height
    }

    fn joined(mut self, below: Self) -> Self {
        let offset = self.height + GAP;
        self.wishes += below.wishes - offset * below.cards.len() as f64;
        self.height = offset + below.height;
        self.cards.extend(below.cards);
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cards(levels: &[usize]) -> Vec<Card> {
        levels.iter().map(|level| Card { level: *level, height: 20.0 }).collect()
    }

    #[test]
    fn cards_of_a_column_keep_their_distance() {
        let cards = cards(&[0, 1, 1, 1, 2]);
        let links = [(0, 1), (0, 2), (0, 3), (1, 4), (2, 4), (3, 4)];
        let tops = tops(&cards, &links);
        let mut column = [tops[1], tops[2], tops[3]];
        column.sort_by(f64::total_cmp);
        assert!(column.windows(2).all(|pair| pair[1] - pair[0] >= 34.0 - 1e-6), "{tops:?}");
        assert!((tops[0] - column[1]).abs() < 1.0, "the one before three stands in their middle: {tops:?}");
        assert!((tops[4] - column[1]).abs() < 1.0, "{tops:?}");
    }

    #[test]
    fn lines_do_not_cross_where_they_need_not() {
        let cards = cards(&[0, 0, 1, 1]);
        let tops = tops(&cards, &[(0, 3), (1, 2)]);
        assert!((tops[0] < tops[1]) == (tops[3] < tops[2]), "{tops:?}");
    }
}
