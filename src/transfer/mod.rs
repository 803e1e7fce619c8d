//! Images from one place to another, and indexes put together from images of many places.
//!
//! A [`Delivery`] brings what it was told to a [`Destination`]: blobs first, then what names them, then what refers to
//! them, and the names at the end, so that a name never leads to something that is not whole. What is there is not
//! sent; what another repository of the same registry has is mounted. `compose` edits indexes without any input or
//! output. Nothing is built here, and documents keep their bytes.

pub mod compose;
mod delivery;
mod destination;
mod error;
mod referrers;

pub use delivery::{Delivered, Delivery, Part, TransferEvent, TransferReport};
pub use destination::Destination;
pub use error::TransferError;
pub use referrers::Referrer;
