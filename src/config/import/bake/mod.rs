//! docker-bake.hcl and docker-bake.json to targets and groups, as `docker buildx bake` reads them.

mod attributes;
mod definitions;
mod matrix;
mod resolver;
mod variables;

pub use definitions::{BakeFile, Syntax, read};
pub use resolver::resolve;
pub use variables::Given;
