//! Plans and results as documents.

pub mod bake_json;
pub mod bench;
pub mod explain;
pub mod graph;
pub mod metadata;
pub mod outline;
pub mod tags;
pub mod test_results;
pub mod verdicts;
mod words_json;
