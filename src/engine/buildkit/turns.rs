//! How much each worker has to do, and who waits for one: jobs that find no slot are woken by every one that is freed.

use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use super::route::{Best, Load};

/// The loads of all workers of a builder.
pub(super) struct Turns {
    loads: Mutex<Vec<Load>>,
    freed: Notify,
}

/// A slot of a worker, until it is dropped.
pub(super) struct Turn<'a> {
    turns: &'a Turns,
    pub place: usize,
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.turns.loads()[self.place].jobs -= 1;
        self.turns.freed.notify_waiters();
    }
}

impl Turns {
    /// With the slots of each worker.
    pub fn new(slots: impl Iterator<Item = usize>) -> Self {
        let loads = slots.map(|slots| Load { jobs: 0, slots, is_lost: false }).collect();
        Self { loads: Mutex::new(loads), freed: Notify::new() }
    }

    /// Waits until `choose` has somebody, and takes the slot; none when there is nobody to wait for.
    pub async fn take(&self, choose: impl Fn(&[Load]) -> Best<usize>) -> Option<Turn<'_>> {
        loop {
            // Listening begins before anybody is looked at: what is freed in between is heard.
            let mut freed = std::pin::pin!(self.freed.notified());
            freed.as_mut().enable();
            {
                let mut loads = self.loads();
                match choose(&loads) {
                    Best::Worker(place) => {
                        loads[place].jobs += 1;
                        return Some(Turn { turns: self, place });
                    }
                    Best::Nobody => return None,
                    Best::Busy => {}
                }
            }
            freed.await;
        }
    }

    /// Leaves a worker alone as long as there are others, or not any more.
    pub fn set_lost(&self, place: usize, is_lost: bool) {
        self.loads()[place].is_lost = is_lost;
        self.freed.notify_waiters();
    }

    fn loads(&self) -> MutexGuard<'_, Vec<Load>> {
        self.loads.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn whoever_runs_dry_takes_what_waits() {
        let turns = Turns::new([1, 1].into_iter());
        let either = |loads: &[Load]| {
            let free = loads.iter().position(|load| load.jobs < load.slots);
            free.map_or(Best::Busy, Best::Worker)
        };
        let first = turns.take(either).await.unwrap();
        let second = turns.take(either).await.unwrap();
        assert_eq!((first.place, second.place), (0, 1));
        let (third, ()) = tokio::join!(turns.take(either), async { drop(second) });
        assert_eq!(third.unwrap().place, 1);
        assert!(turns.take(|_| Best::Nobody).await.is_none());
    }
}
