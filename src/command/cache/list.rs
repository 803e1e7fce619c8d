//! `mab cache ls`: which cache mounts the store has.

use crate::command::Failure;
use crate::command::session::{self, SessionOptions};
use crate::engine::embedded::{CacheFiles, StoredCache, stored_caches};
use crate::facts::Facts;

/// A cache mount, with the bytes of its files.
#[derive(Clone, Debug)]
pub struct ListedCache {
    pub cache: StoredCache,
    pub bytes: u64,
}

/// The cache mounts of the store, by id and platform.
pub async fn list(session: &SessionOptions, facts: &Facts) -> Result<Vec<ListedCache>, Failure> {
    let store = session::open_store(session, facts).map_err(|problem| vec![*problem])?;
    let caches = stored_caches(&store).map_err(|problem| vec![*problem])?;
    if caches.is_empty() {
        return Ok(Vec::new());
    }
    let files = CacheFiles::open(&store).await.map_err(|problem| vec![*problem])?;
    let mut listed = Vec::with_capacity(caches.len());
    for cache in caches {
        let bytes = files.measure(&cache).await.map_err(|problem| vec![*problem])?;
        listed.push(ListedCache { cache, bytes });
    }
    Ok(listed)
}
