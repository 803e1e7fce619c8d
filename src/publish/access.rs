//! Whether every repository of a publication takes what is pushed, tried before anything is built.

use std::collections::BTreeMap;

use futures_util::future::join_all;

use crate::base::Reference;
use crate::diag::Problem;
use crate::registry::Registry;

/// Begins an upload in every repository and drops it; the answer is what all of them have against it.
pub async fn refusals<'a>(registry: &Registry, names: impl Iterator<Item = &'a Reference>) -> Vec<Problem> {
    let repositories: BTreeMap<String, &Reference> = names.map(|name| (name.name(), name)).collect();
    let tried = join_all(repositories.values().map(|repository| registry.check_push(repository))).await;
    tried.into_iter().filter_map(Result::err).map(|error| error.problem()).collect()
}
