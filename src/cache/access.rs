//! Which caches one target reads and which it writes, and how much.

use std::sync::Arc;

use super::place::Place;
use crate::base::Reference;
use crate::model::CacheMode;

/// The caches of one target. Cheap to clone.
#[derive(Clone, Default)]
pub struct Access {
    lists: Arc<Lists>,
}

#[derive(Default)]
pub(super) struct Lists {
    /// In the order in which their answers count.
    pub read: Vec<Arc<Place>>,
    pub write: Vec<(Arc<Place>, CacheMode)>,
    /// The repositories of the target's own image: registry caches may take blobs from there.
    pub images: Vec<Reference>,
}

impl Access {
    /// Reads and writes nothing.
    pub fn none() -> Self {
        Self::default()
    }

    pub(super) fn new(lists: Lists) -> Self {
        Self { lists: Arc::new(lists) }
    }

    pub(super) fn lists(&self) -> &Lists {
        &self.lists
    }

    pub fn is_empty(&self) -> bool {
        !self.reads() && !self.writes()
    }

    pub fn reads(&self) -> bool {
        !self.lists.read.is_empty()
    }

    pub fn writes(&self) -> bool {
        !self.lists.write.is_empty()
    }

    /// Whether some cache takes more than results.
    pub fn writes_all_steps(&self) -> bool {
        self.lists.write.iter().any(|(_, mode)| *mode == CacheMode::Max)
    }
}

impl Lists {
    pub fn add_read(&mut self, places: &[Arc<Place>]) {
        for place in places {
            if !self.read.iter().any(|known| Arc::ptr_eq(known, place)) {
                self.read.push(place.clone());
            }
        }
    }

    /// A place that is named twice takes the more that one of them allows.
    pub fn add_write(&mut self, places: &[Arc<Place>], mode: CacheMode) {
        for place in places {
            match self.write.iter_mut().find(|(known, _)| Arc::ptr_eq(known, place)) {
                Some((_, known)) if mode == CacheMode::Max => *known = mode,
                Some(_) => {}
                None => self.write.push((place.clone(), mode)),
            }
        }
    }
}
