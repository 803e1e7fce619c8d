//! What a template may ask for: names with their values, most of them the same for all targets.

use std::sync::Arc;

use minijinja::value::{Enumerator, Object, Value};

/// Names that all scopes of a run have.
pub type Shared = Arc<[(&'static str, Value)]>;

/// The names that expressions begin with.
pub struct Scope {
    root: Value,
}

impl Scope {
    pub fn new(members: impl IntoIterator<Item = (&'static str, Value)>) -> Self {
        Self::within(&Shared::default(), members.into_iter().collect())
    }

    /// What all have, and `own`.
    pub fn within(shared: &Shared, own: Vec<(&'static str, Value)>) -> Self {
        Self { root: Value::from_object(Names { own, shared: shared.clone() }) }
    }

    /// The scope as the value that expressions look names up in.
    pub fn root(&self) -> &Value {
        &self.root
    }

    pub fn has(&self, name: &str) -> bool {
        self.root.get_attr(name).is_ok_and(|value| !value.is_undefined())
    }

    /// What a dotted name stands for; `None` when there is no such value.
    pub fn value(&self, path: &str) -> Option<Value> {
        let mut value = self.root.clone();
        for name in path.split('.') {
            value = value.get_attr(name).ok().filter(|member| !member.is_undefined())?;
        }
        Some(value)
    }
}

#[derive(Debug)]
struct Names {
    own: Vec<(&'static str, Value)>,
    shared: Shared,
}

impl Object for Names {
    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        self.get_value_by_str(key.as_str()?)
    }

    fn get_value_by_str(self: &Arc<Self>, key: &str) -> Option<Value> {
        let found = self.own.iter().chain(&*self.shared).find(|(name, _)| *name == key);
        found.map(|(_, value)| value.clone())
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        let mut names: Vec<&str> = self.own.iter().chain(&*self.shared).map(|(name, _)| *name).collect();
        names.sort_unstable();
        Enumerator::Values(names.into_iter().map(Value::from).collect())
    }
}
