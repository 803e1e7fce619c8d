//! multiarch.toml as text, in the one form that it is written in: sections in their order, single spaces, no line
//! longer than need be, a line break at the end. Formatters leave it as it is.

mod document;
mod tree;

pub use document::{Document, Item, Kind, Section, Written};
pub use tree::{Tree, escaped};
