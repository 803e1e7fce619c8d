//! Locks between processes: `flock`s, which the kernel releases when their holder dies.

use std::fs::{File, OpenOptions};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use rustix::fs::{FlockOperation, flock};
use rustix::io::{Errno, retry_on_intr};

use super::StoreError;

/// The store's gate: shared while somebody looks something up and protects it, exclusive while things go.
pub(super) struct Gate {
    path: PathBuf,
    /// A `flock` belongs to the open file, so threads share it: the first who comes takes it, the last lets it go.
    shared: Mutex<Shared>,
}

struct Shared {
    file: File,
    holders: usize,
}

impl Gate {
    pub(super) fn open(store: &Path) -> Result<Self, StoreError> {
        let path = store.join("lock");
        let file = open_lock(&path).map_err(|source| StoreError::unusable(store, source))?;
        Ok(Self { path, shared: Mutex::new(Shared { file, holders: 0 }) })
    }

    /// Not to be nested in [`Gate::exclusive`].
    pub(super) fn shared<T>(&self, work: impl FnOnce() -> Result<T, StoreError>) -> Result<T, StoreError> {
        let _held = self.hold()?;
        work()
    }

    fn hold(&self) -> Result<Held<'_>, StoreError> {
        let mut shared = locked(&self.shared);
        if shared.holders == 0 {
            self.take(&shared.file, FlockOperation::LockShared)?;
        }
        shared.holders += 1;
        Ok(Held(self))
    }

    /// As [`Gate::shared`] for work that takes long: this process's other threads do not wait for it.
    pub(super) fn shared_long<T>(
        &self,
        work: impl FnOnce() -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        self.with_own_file(FlockOperation::LockShared, work)
    }

    pub(super) fn exclusive<T>(&self, work: impl FnOnce() -> Result<T, StoreError>) -> Result<T, StoreError> {
        self.with_own_file(FlockOperation::LockExclusive, work)
    }

    fn with_own_file<T>(
        &self,
        operation: FlockOperation,
        work: impl FnOnce() -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let file = open_lock(&self.path).map_err(|source| StoreError::io("open", &self.path, source))?;
        self.take(&file, operation)?;
        work()
    }

    fn take(&self, file: &File, operation: FlockOperation) -> Result<(), StoreError> {
        wait_for(file, operation).map_err(|source| StoreError::io("lock", &self.path, source))
    }
}

/// One of those who share the gate.
struct Held<'a>(&'a Gate);

impl Drop for Held<'_> {
    fn drop(&mut self) {
        let mut shared = locked(&self.0.shared);
        shared.holders -= 1;
        if shared.holders == 0 {
            // It was taken, so letting it go cannot fail; the kernel does where the file is closed.
            let _ = wait_for(&shared.file, FlockOperation::Unlock);
        }
    }
}

pub(super) fn open_lock(path: &Path) -> std::io::Result<File> {
    OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)
}

pub(super) fn wait_for(file: &File, operation: FlockOperation) -> rustix::io::Result<()> {
    retry_on_intr(|| flock(file, operation))
}

/// Whether the lock could be taken without waiting.
pub(super) fn try_lock(file: &File) -> rustix::io::Result<bool> {
    match retry_on_intr(|| flock(file, FlockOperation::NonBlockingLockExclusive)) {
        Ok(()) => Ok(true),
        Err(Errno::WOULDBLOCK) => Ok(false),
        Err(error) => Err(error),
    }
}

/// A panic elsewhere leaves nothing half done behind these mutexes, so poison is ignored.
pub(super) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_who_shares_the_gate_lets_it_go() {
        let store = tempfile::tempdir().unwrap();
        let gate = Gate::open(store.path()).unwrap();
        let other = open_lock(&store.path().join("lock")).unwrap();
        let (first, second) = (gate.hold().unwrap(), gate.hold().unwrap());
        drop(first);
        assert!(!try_lock(&other).unwrap(), "the second holds it still");
        drop(second);
        assert!(try_lock(&other).unwrap());
    }
}
