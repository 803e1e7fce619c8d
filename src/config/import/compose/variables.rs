//! The variables of a Compose file, and which of the environment's it has asked for.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use crate::diag::Place;

/// Names with the places where they are asked for, as far as those are known.
pub type Asked = BTreeMap<String, Option<Place>>;

/// Clones know together what was asked for.
#[derive(Clone, Debug, Default)]
pub struct Variables {
    texts: BTreeMap<String, String>,
    /// Those whose text is the environment's.
    of_environment: BTreeSet<String>,
    asked: Rc<RefCell<Asked>>,
    /// Those that were asked for since somebody said where.
    recent: Rc<RefCell<BTreeSet<String>>>,
}

impl Variables {
    pub fn of_environment(environment: &BTreeMap<String, String>) -> Self {
        Self {
            texts: environment.clone(),
            of_environment: environment.keys().cloned().collect(),
            ..Self::default()
        }
    }

    /// The text for whoever writes it somewhere.
    pub fn get(&self, name: &str) -> Option<&String> {
        let found = self.texts.get(name);
        if self.of_environment.contains(name) {
            self.recent.borrow_mut().insert(name.to_string());
        }
        found
    }

    /// The text for whoever only wants to know it.
    pub fn peek(&self, name: &str) -> Option<&String> {
        self.texts.get(name)
    }

    pub fn insert(&mut self, name: String, text: String) {
        self.of_environment.remove(&name);
        self.texts.insert(name, text);
    }

    /// Unless there is one of that name.
    pub fn add(&mut self, name: String, text: String) {
        self.texts.entry(name).or_insert(text);
    }

    /// What was asked for since the last call was asked for here.
    pub fn asked_at(&self, place: Option<&Place>) {
        for name in std::mem::take(&mut *self.recent.borrow_mut()) {
            self.asked.borrow_mut().entry(name).or_insert_with(|| place.cloned());
        }
    }

    /// All that was asked for.
    pub fn asked(&self) -> Asked {
        self.asked_at(None);
        self.asked.borrow().clone()
    }
}

impl FromIterator<(String, String)> for Variables {
    fn from_iter<I: IntoIterator<Item = (String, String)>>(texts: I) -> Self {
        Self { texts: texts.into_iter().collect(), ..Self::default() }
    }
}
