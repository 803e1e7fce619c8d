//! Whether what comes keeps a pace: what never falls silent can still take for ever.

use std::time::Duration;

/// Over how long it is judged, as a multiple of how long a connection may be silent.
const WINDOW: u32 = 5;

/// How fast a body has come since it was last judged. Only time spent waiting for it counts.
#[derive(Debug)]
pub struct Pace {
    window: Duration,
    waited: Duration,
    moved: u64,
}

impl Pace {
    /// Bytes a second; who has less is better asked again over another connection.
    pub const LEAST: u64 = 256;

    pub fn new(stall: Duration) -> Self {
        Self { window: stall * WINDOW, waited: Duration::ZERO, moved: 0 }
    }

    /// Whether it is still fast enough after so many bytes more, which were waited for so long.
    pub fn keeps(&mut self, waited: Duration, bytes: usize) -> bool {
        self.waited += waited;
        self.moved = self.moved.saturating_add(bytes as u64);
        if self.waited < self.window {
            return true;
        }
        let least =
            u64::try_from(self.waited.as_millis()).unwrap_or(u64::MAX).saturating_mul(Self::LEAST) / 1000;
        let keeps = self.moved >= least;
        (self.waited, self.moved) = (Duration::ZERO, 0);
        keeps
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_is_judged_by_what_came_while_it_was_waited_for() {
        let second = Duration::from_secs(1);
        let check = |steps: &[(Duration, usize)], expected: &[bool]| {
            let mut pace = Pace::new(second);
            let kept: Vec<bool> = steps.iter().map(|(waited, bytes)| pace.keeps(*waited, *bytes)).collect();
            assert_eq!(kept, expected, "{steps:?}");
        };
        check(&[(second, 1); 6], &[true, true, true, true, false, true]);
        check(&[(second, 256); 6], &[true; 6]);
        // Who is slow to take them does not make them slow to come.
        check(&[(Duration::from_millis(1), 1); 100], &[true; 100]);
        // What came fast before does not make up for what comes slowly now.
        check(&[(5 * second, 1 << 20), (5 * second, 100)], &[true, false]);
        check(&[(Duration::MAX / 2, 0)], &[false]);
    }
}
