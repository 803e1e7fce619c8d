//! The contexts of a run: one walk for every root and set of rules, shared by all targets and platforms.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use super::Context;
use super::error::ContextError;
use super::ignore_file::IgnoreFile;
use crate::store::Store;

/// A root and the text of the rules applied to it.
type Key = (PathBuf, Option<Vec<u8>>);
type Walked = Arc<OnceLock<Result<Arc<Context>, Arc<ContextError>>>>;

/// A context as a build names it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Wanted {
    pub root: PathBuf,
    pub ignoring: Ignoring,
}

/// Which ignore file applies to a context.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Ignoring {
    Nothing,
    /// The one in the root.
    ByRoot,
    /// The one beside this Dockerfile, else the one in the root.
    ByDockerfile(PathBuf),
}

pub struct Contexts {
    store: Option<Store>,
    /// Ignore files are read once, too.
    wanted: Mutex<HashMap<Wanted, Walked>>,
    walked: Mutex<HashMap<Key, Walked>>,
}

impl Contexts {
    /// Without a store every file is read once per run.
    pub fn new(store: Option<Store>) -> Self {
        Self { store, wanted: Mutex::default(), walked: Mutex::default() }
    }

    /// The context, if it is walked already. Does not block.
    pub fn walked(&self, wanted: &Wanted) -> Option<Result<Arc<Context>, Arc<ContextError>>> {
        locked(&self.wanted).get(wanted)?.get().cloned()
    }

    /// The context. Blocks while it is walked, also by others.
    pub fn get(&self, wanted: &Wanted) -> Result<Arc<Context>, Arc<ContextError>> {
        let slot = locked(&self.wanted).entry(wanted.clone()).or_default().clone();
        let find = || {
            let ignore = match &wanted.ignoring {
                Ignoring::Nothing => Ok(None),
                Ignoring::ByRoot => IgnoreFile::find(&wanted.root, None),
                Ignoring::ByDockerfile(path) => IgnoreFile::find(&wanted.root, Some(path)),
            };
            self.walk(&wanted.root, ignore.map_err(Arc::new)?.as_ref())
        };
        slot.get_or_init(find).clone()
    }

    /// The context at `root` without what `ignore` names. Blocks while it is walked, also by others.
    pub fn walk(&self, root: &Path, ignore: Option<&IgnoreFile>) -> Result<Arc<Context>, Arc<ContextError>> {
        let key = (root.to_path_buf(), ignore.map(|file| file.text.clone()));
        let slot = locked(&self.walked).entry(key).or_default().clone();
        let walk = || Context::walk(root, ignore, self.store.clone()).map(Arc::new).map_err(Arc::new);
        slot.get_or_init(walk).clone()
    }

    /// Writes down what was learnt of files and contexts since the last time. To be called at the end of a run.
    pub fn save(&self) -> Result<(), ContextError> {
        let all: Vec<Walked> = locked(&self.walked).values().cloned().collect();
        all.iter().filter_map(|walked| walked.get()?.as_ref().ok()).try_for_each(|context| context.save())
    }

    /// Forgets everything. The entries of large trees are freed beside whatever comes next.
    pub fn clear(&self) {
        locked(&self.wanted).clear();
        let walked = std::mem::take(&mut *locked(&self.walked));
        let context = |walked: Walked| Arc::into_inner(Arc::into_inner(walked)?.into_inner()?.ok()?);
        // Without the store, which is closed where it is let go.
        let entries: Vec<_> =
            walked.into_values().filter_map(context).map(|context| context.entries).collect();
        // Where the system gives no further thread they are freed here.
        let _ = std::thread::Builder::new().spawn(move || drop(entries));
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
