//! Bytes that turn out to be those of a descriptor when they have been read, or fail.

use std::io::{self, Read};

use crate::base::Hasher;
use crate::oci::Descriptor;

pub struct Verified<R> {
    inner: R,
    hasher: Option<Hasher>,
    left: u64,
    blob: Descriptor,
}

impl<R: Read> Verified<R> {
    pub fn new(inner: R, blob: &Descriptor) -> Self {
        Self { inner, hasher: Some(Hasher::new()), left: blob.size, blob: blob.clone() }
    }

    /// At the end of the bytes.
    fn verify(&mut self) -> io::Result<()> {
        let Some(hasher) = self.hasher.take() else { return Ok(()) };
        if self.left > 0 || hasher.finish() != self.blob.digest {
            let message = format!("{} has other bytes than its digest says", self.blob.digest);
            return Err(io::Error::new(io::ErrorKind::InvalidData, message));
        }
        Ok(())
    }
}

impl<R: Read> Read for Verified<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        if count as u64 > self.left {
            let message = format!("{} has more bytes than are stated", self.blob.digest);
            return Err(io::Error::new(io::ErrorKind::InvalidData, message));
        }
        self.left -= count as u64;
        if let Some(hasher) = &mut self.hasher {
            hasher.update(&buffer[..count]);
        }
        if count == 0 && !buffer.is_empty() {
            self.verify()?;
        }
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_bytes_are_not_read_to_their_end() {
        let blob = Descriptor::of("x", b"abc");
        for (bytes, is_right) in [("abc", true), ("abd", false), ("ab", false), ("abcd", false)] {
            let read = io::read_to_string(Verified::new(bytes.as_bytes(), &blob));
            assert_eq!(read.is_ok(), is_right, "{bytes}");
        }
    }
}
