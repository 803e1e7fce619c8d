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
    /// Those of them that keep cache mounts, too.
    pub read_mounts: Vec<Arc<Place>>,
    pub write_mounts: Vec<Arc<Place>>,
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

    /// The same for a build that must make everything itself.
    pub fn without_reading(&self) -> Self {
        let Lists { write, write_mounts, images, .. } = &*self.lists;
        Self::new(Lists {
            write: write.clone(),
            write_mounts: write_mounts.clone(),
            images: images.clone(),
            ..Lists::default()
        })
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

    /// Whether some cache may have cache mounts.
    pub fn reads_mounts(&self) -> bool {
        !self.lists.read_mounts.is_empty()
    }

    /// Whether some cache takes cache mounts.
    pub fn writes_mounts(&self) -> bool {
        !self.lists.write_mounts.is_empty()
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

    /// Cache mounts are large, so a cache keeps them only where it says so.
    pub fn add_mounts(&mut self, places: &[Arc<Place>], may_read: bool) {
        self.write_mounts.extend_from_slice(places);
        if may_read {
            self.read_mounts.extend_from_slice(places);
        }
    }

    pub fn keeps_mounts(&self, place: &Arc<Place>) -> bool {
        self.write_mounts.iter().any(|known| Arc::ptr_eq(known, place))
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
