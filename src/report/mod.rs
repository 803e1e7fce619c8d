//! Plans and results as documents.

pub mod bake_json;
pub mod graph;
pub mod metadata;
