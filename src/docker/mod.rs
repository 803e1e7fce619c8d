//! Docker Engines: where they are, and how they are spoken to. What is asked of them is others' matter.

mod address;
mod contexts;
mod engine;
mod error;

pub use address::{EngineAddress, Surroundings};
pub use engine::{About, DockerEngine};
pub use error::EngineError;
