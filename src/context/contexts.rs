//! The contexts of a run: one walk for every root and set of rules, shared by all targets and platforms.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use super::Context;
use super::error::ContextError;
use super::ignore_file::IgnoreFile;
use crate::store::Store;

/// A root and the text of the rules applied to it.
type Key = (PathBuf, Option<Vec<u8>>);
type Walked = Arc<OnceLock<Result<Arc<Context>, Arc<ContextError>>>>;

pub struct Contexts {
    store: Option<Store>,
    walked: Mutex<HashMap<Key, Walked>>,
}

impl Contexts {
    /// Without a store every file is read once per run.
    pub fn new(store: Option<Store>) -> Self {
        Self { store, walked: Mutex::default() }
    }

    /// The context at `root` without what `ignore` names. Blocks while it is walked, also by others.
    pub fn walk(&self, root: &Path, ignore: Option<&IgnoreFile>) -> Result<Arc<Context>, Arc<ContextError>> {
        let key = (root.to_path_buf(), ignore.map(|file| file.text.clone()));
        let walked = {
            let mut all = self.walked.lock().unwrap_or_else(PoisonError::into_inner);
            all.entry(key).or_default().clone()
        };
        let walk = || {
            let rules = ignore.map(IgnoreFile::parse).transpose()?.unwrap_or_default();
            Context::walk(root, &rules, self.store.clone()).map(Arc::new)
        };
        walked.get_or_init(|| walk().map_err(Arc::new)).clone()
    }

    /// Writes down the digests of what was read in this run. Called once, at its end.
    pub fn save(&self) -> Result<(), ContextError> {
        let all = self.walked.lock().unwrap_or_else(PoisonError::into_inner);
        all.values().filter_map(|walked| walked.get()?.as_ref().ok()).try_for_each(|context| context.save())
    }
}
