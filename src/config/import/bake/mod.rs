//! docker-bake.hcl and docker-bake.json to targets and groups, as `docker buildx bake` reads them.

mod attributes;
mod definitions;
mod gathered;
mod matrix;
mod resolver;
mod variables;

pub use attributes::{TARGET_ATTRIBUTES, set_target};
pub use definitions::{BakeFile, BlockDefinition, BlockKind, Definitions, Syntax, VariableDefinition, read};
pub use resolver::{Locals, Resolver, open, resolve};
pub use variables::{Given, asked};
