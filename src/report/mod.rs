//! Plans and results as documents.

pub mod bake_json;
pub mod explain;
pub mod graph;
pub mod metadata;
pub mod outline;
pub mod tags;
pub mod verdicts;
mod words_json;
