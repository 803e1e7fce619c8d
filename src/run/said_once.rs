//! Passes events on, and each notice only the first time.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use crate::event::{Event, EventSink};

/// What ten nodes notice is told once.
pub struct SaidOnce {
    inner: Arc<dyn EventSink>,
    said: Mutex<BTreeSet<(&'static str, String)>>,
}

impl SaidOnce {
    pub fn new(inner: Arc<dyn EventSink>) -> Self {
        Self { inner, said: Mutex::default() }
    }
}

impl EventSink for SaidOnce {
    fn emit(&self, event: Event) {
        if let Event::Notice { problem, .. } = &event {
            let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
            if !said.insert((problem.code, problem.message.clone())) {
                return;
            }
        }
        self.inner.emit(event);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::NodeId;
    use crate::diag::Problem;

    #[derive(Default)]
    struct Count(Mutex<usize>);

    impl EventSink for Count {
        fn emit(&self, _: Event) {
            *self.0.lock().unwrap() += 1;
        }
    }

    #[test]
    fn only_notices_are_held_back_and_only_equal_ones() {
        let count = Arc::new(Count::default());
        let sink = SaidOnce::new(count.clone());
        for message in ["a", "a", "b"] {
            sink.emit(Event::Notice { node: None, problem: Arc::new(Problem::warning("x::y", message)) });
            sink.emit(Event::NodeStarted { node: NodeId(0) });
        }
        assert_eq!(*count.0.lock().unwrap(), 5);
    }
}
