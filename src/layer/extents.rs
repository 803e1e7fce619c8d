//! A blob's bytes wherever they are: in a file of its own, or in ranges of several files.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;

/// More parts than this are better written into one file again.
const MOST_PARTS: usize = 256;

/// Ranges of files, one after the other.
pub struct Extents {
    parts: Vec<Part>,
    length: u64,
    /// All bytes of the files that the ranges are of.
    stored: u64,
}

struct Part {
    /// Where the part begins in the whole.
    start: u64,
    file: Arc<File>,
    range: Range<u64>,
}

impl Extents {
    pub fn new(ranges: Vec<(Arc<File>, Range<u64>)>) -> io::Result<Self> {
        let mut extents = Self { parts: Vec::with_capacity(ranges.len()), length: 0, stored: 0 };
        let mut counted: Vec<*const File> = Vec::new();
        for (file, range) in ranges {
            if !counted.contains(&Arc::as_ptr(&file)) {
                counted.push(Arc::as_ptr(&file));
                extents.stored += file.metadata()?.len();
            }
            let start = extents.length;
            extents.length += range.end.saturating_sub(range.start);
            extents.parts.push(Part { start, file, range });
        }
        Ok(extents)
    }

    /// A whole file.
    pub fn whole(file: File) -> io::Result<Self> {
        let length = file.metadata()?.len();
        Self::new(vec![(Arc::new(file), 0..length)])
    }

    pub fn len(&self) -> u64 {
        self.length
    }

    pub fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// Whether there are so many ranges, or so little of their files is left in them, that a file of its own
    /// is better.
    pub fn is_worn(&self) -> bool {
        self.parts.len() > MOST_PARTS || self.stored / 2 > self.length
    }

    pub fn read_exact_at(&self, mut buffer: &mut [u8], mut offset: u64) -> io::Result<()> {
        let mut place = self.parts.partition_point(|part| part.start <= offset).saturating_sub(1);
        while !buffer.is_empty() {
            let part = self.parts.get(place).ok_or(io::ErrorKind::UnexpectedEof)?;
            let at = part.range.start + (offset - part.start);
            let left = part.range.end.saturating_sub(at);
            let count = usize::try_from(left).unwrap_or(usize::MAX).min(buffer.len());
            let (now, later) = buffer.split_at_mut(count);
            part.file.read_exact_at(now, at)?;
            (buffer, offset, place) = (later, offset + count as u64, place + 1);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    fn file(text: &str) -> Arc<File> {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(text.as_bytes()).unwrap();
        Arc::new(file)
    }

    #[test]
    fn ranges_read_as_one() {
        let (one, two) = (file("abcdef"), file("0123456789"));
        let ranges = vec![(one.clone(), 1..3), (two, 0..0), (one.clone(), 5..6), (file("xyz"), 0..2)];
        let extents = Extents::new(ranges).unwrap();
        let read = |from: u64, length: usize| {
            let mut bytes = vec![0; length];
            extents.read_exact_at(&mut bytes, from).map(|()| String::from_utf8(bytes).unwrap())
        };
        assert_eq!(extents.len(), 5);
        assert_eq!(read(0, 5).unwrap(), "bcfxy");
        assert_eq!(read(1, 3).unwrap(), "cfx");
        assert_eq!(read(5, 0).unwrap(), "");
        assert!(read(3, 3).is_err());
        assert!(extents.is_worn(), "19 bytes are kept for 5");
        assert!(!Extents::new(vec![(one, 0..5)]).unwrap().is_worn());
    }
}
