//! Failures of the machine and of layers, as problems.

use std::io;

use crate::base::Digest;
use crate::diag::Problem;
use crate::engine::io_problem;
use crate::layer::LayerError;

pub use crate::engine::blocking;

/// A failed act of the machine; `action` is a phrase after "cannot".
pub fn io(action: &str, error: &io::Error) -> Box<Problem> {
    Box::new(io_problem(action, error))
}

/// A layer that cannot be used.
pub fn layer(digest: &Digest, error: &LayerError) -> Box<Problem> {
    if let LayerError::Io(error) = error {
        return io(&format!("read the layer {digest}"), error);
    }
    Box::new(
        Problem::input("layer::damaged", format!("layer {digest}: {error}")).help(
            "the image was not made as the OCI image specification says, or is hostile; use another base",
        ),
    )
}
