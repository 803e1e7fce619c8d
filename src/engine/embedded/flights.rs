//! Equal work under way is done once: whoever asks second waits for the first one's result.
//!
//! The work belongs to all who wait: it goes on while one of them does, and stops when the last is dropped.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Mutex, PoisonError};

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Shared, WeakShared};

/// Work in flight, by key.
pub struct Flights<K, T: Clone> {
    flying: Mutex<HashMap<K, WeakShared<BoxFuture<'static, T>>>>,
}

impl<K, T: Clone> Default for Flights<K, T> {
    fn default() -> Self {
        Self { flying: Mutex::default() }
    }
}

/// A result, and whether somebody else had begun the work already.
pub struct Landed<T> {
    pub value: T,
    pub joined: bool,
}

impl<K: Eq + Hash + Clone, T: Clone + Send + Sync + 'static> Flights<K, T> {
    /// The result of the work named `key`: begun now, or joined.
    pub async fn fly(&self, key: K, work: impl FnOnce() -> BoxFuture<'static, T>) -> Landed<T> {
        let (flight, joined) = self.board(&key, work);
        let value = flight.clone().await;
        // The next one to ask finds the result in the store, or tries again after a failure. Somebody may
        // have begun that already, while this one waited to be told.
        let mut flying = self.lock();
        if flying.get(&key).and_then(WeakShared::upgrade).is_none_or(|known| known.ptr_eq(&flight)) {
            flying.remove(&key);
        }
        drop(flying);
        Landed { value, joined }
    }

    fn board(
        &self,
        key: &K,
        work: impl FnOnce() -> BoxFuture<'static, T>,
    ) -> (Shared<BoxFuture<'static, T>>, bool) {
        let mut flying = self.lock();
        if let Some(flight) = flying.get(key).and_then(WeakShared::upgrade) {
            return (flight, true);
        }
        let flight = work().shared();
        if let Some(weak) = flight.downgrade() {
            flying.insert(key.clone(), weak);
        }
        (flight, false)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<K, WeakShared<BoxFuture<'static, T>>>> {
        // The map is whole at every moment, so a panic elsewhere does not spoil it.
        self.flying.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[tokio::test]
    async fn equal_work_runs_once_and_later_work_again() {
        let (flights, runs) = (Flights::<u8, usize>::default(), Arc::new(AtomicUsize::new(0)));
        let work = || {
            let runs = runs.clone();
            async move {
                tokio::task::yield_now().await;
                runs.fetch_add(1, Ordering::SeqCst)
            }
            .boxed()
        };
        let (first, second) = tokio::join!(flights.fly(1, work), flights.fly(1, work));
        assert_eq!((first.value, first.joined, second.value, second.joined), (0, false, 0, true));
        assert_eq!(flights.fly(1, work).await.value, 1);
    }

    #[tokio::test]
    async fn work_goes_on_when_the_first_of_two_is_dropped() {
        let (flights, (send, receive)) = (Flights::<u8, u8>::default(), tokio::sync::oneshot::channel());
        let mut first = Box::pin(flights.fly(1, || async { receive.await.unwrap() }.boxed()));
        let mut second = Box::pin(flights.fly(1, || async { unreachable!("it is under way") }.boxed()));
        assert!(futures_util::poll!(&mut first).is_pending());
        assert!(futures_util::poll!(&mut second).is_pending());
        drop(first);
        send.send(7).unwrap();
        let landed = second.await;
        assert_eq!((landed.value, landed.joined), (7, true));
    }

    #[tokio::test]
    async fn one_who_is_told_late_leaves_the_next_flight_alone() {
        let flights = Flights::<u8, u8>::default();
        let (send, receive) = tokio::sync::oneshot::channel();
        let mut first = Box::pin(flights.fly(1, || async { receive.await.unwrap() }.boxed()));
        let mut late = Box::pin(flights.fly(1, || async { 0 }.boxed()));
        assert!(futures_util::poll!(&mut first).is_pending());
        assert!(futures_util::poll!(&mut late).is_pending());
        send.send(1).unwrap();
        assert_eq!(first.await.value, 1);
        let (again, receive) = tokio::sync::oneshot::channel();
        let mut next = Box::pin(flights.fly(1, || async { receive.await.unwrap() }.boxed()));
        assert!(futures_util::poll!(&mut next).is_pending());
        assert_eq!(late.await.value, 1);
        let mut joining = Box::pin(flights.fly(1, || async { 0 }.boxed()));
        assert!(futures_util::poll!(&mut joining).is_pending());
        again.send(2).unwrap();
        assert_eq!((next.await.value, joining.await.value), (2, 2));
    }
}
