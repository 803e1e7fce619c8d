//! Docker Engines: where they are, and how they are spoken to. Images go in and
//! come out as archives; what they are for is others' matter.

mod address;
mod contexts;
mod engine;
mod error;
mod images;

pub use address::{EngineAddress, Surroundings};
pub use engine::{About, DockerEngine};
pub use error::EngineError;
pub use images::{LoadedImage, LoadedLayer};
