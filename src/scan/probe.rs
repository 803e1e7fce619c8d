//! Looks at the beginning of a file as its bytes pass, as far as it has to.

use std::io::{self, Read};

use super::{Found, archive, elf, script};

/// The most of one file that is kept in memory. What lies beyond in an ELF file stays unknown.
pub const MOST_BYTES: usize = 32 << 20;

/// Enough for most to be told apart.
const FIRST: usize = 64;

/// What a look at the bytes so far came to.
pub(super) enum Look {
    /// As many bytes from the beginning are needed to say more.
    More(usize),
    Done(Option<Found>),
}

/// What is still to be seen.
#[derive(Clone, Copy, Default)]
enum Want {
    #[default]
    Nothing,
    /// As many bytes from the beginning.
    Head(usize),
    /// So many from a place far behind, nothing of what lies before it.
    Far { start: u64, length: usize },
}

/// A file whose bytes pass by. Its memory serves one file after the other.
#[derive(Default)]
pub struct Probe {
    head: Vec<u8>,
    far: Vec<u8>,
    /// How many bytes have passed.
    position: u64,
    size: u64,
    want: Want,
    found: Option<Found>,
}

impl Probe {
    /// Begins with another file, of that many bytes.
    pub fn begin(&mut self, size: u64) {
        self.head.clear();
        self.far.clear();
        self.position = 0;
        self.size = size;
        self.found = None;
        self.want = match size {
            0 => Want::Nothing,
            size => Want::Head(FIRST.min(usize::try_from(size).unwrap_or(FIRST))),
        };
    }

    /// The bytes that follow those of before.
    pub fn feed(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() && !self.is_done() {
            let count = self.take(bytes);
            bytes = &bytes[count..];
        }
    }

    /// Whether more bytes would tell no more.
    pub fn is_done(&self) -> bool {
        matches!(self.want, Want::Nothing)
    }

    /// What the file is, if that is of interest. It may have ended early.
    pub fn end(&mut self) -> Option<Found> {
        match self.want {
            Want::Nothing => {}
            // Shorter than it said: what is there has to do.
            Want::Head(_) => {
                self.size = self.position;
                self.look();
                self.want = Want::Nothing;
            }
            Want::Far { .. } => self.found = elf::settle(&self.head, &[]),
        }
        self.want = Want::Nothing;
        self.found.take()
    }

    /// Takes some of the bytes; how many.
    fn take(&mut self, bytes: &[u8]) -> usize {
        let count = match self.want {
            Want::Nothing => bytes.len(),
            Want::Head(wanted) => {
                let count = (wanted - self.head.len()).min(bytes.len());
                self.head.extend_from_slice(&bytes[..count]);
                count
            }
            Want::Far { start, .. } if self.position < start => {
                usize::try_from(start - self.position).unwrap_or(usize::MAX).min(bytes.len())
            }
            Want::Far { length, .. } => {
                let count = (length - self.far.len()).min(bytes.len());
                self.far.extend_from_slice(&bytes[..count]);
                count
            }
        };
        self.position += count as u64;
        self.advance();
        count
    }

    /// Looks, once all is there that was wanted.
    fn advance(&mut self) {
        match self.want {
            Want::Head(wanted) if self.head.len() == wanted => self.look(),
            Want::Far { length, .. } if self.far.len() == length => {
                self.found = elf::settle(&self.head, &self.far);
                self.want = Want::Nothing;
            }
            Want::Nothing | Want::Head(_) | Want::Far { .. } => {}
        }
    }

    fn look(&mut self) {
        let most = usize::try_from(self.size).unwrap_or(MOST_BYTES).min(MOST_BYTES);
        self.want = match look(&self.head, self.size) {
            Look::Done(found) => {
                self.found = found;
                Want::Nothing
            }
            Look::More(wanted) if wanted > self.head.len() && wanted <= most => Want::Head(wanted),
            Look::More(_) if self.head.len() < most => Want::Head(most),
            Look::More(_) => self.look_far(),
        };
    }

    /// What is wanted lies behind all that is kept.
    fn look_far(&mut self) -> Want {
        let is_ahead = |start: u64, length: usize| {
            start >= self.position && start.checked_add(length as u64).is_some_and(|end| end <= self.size)
        };
        match elf::far(&self.head).filter(|(start, length)| is_ahead(*start, *length)) {
            Some((start, length)) => Want::Far { start, length },
            None => {
                self.found = settle(&self.head);
                Want::Nothing
            }
        }
    }
}

/// What content of `size` bytes is, read no further than that takes.
pub fn scan(probe: &mut Probe, size: u64, content: &mut dyn Read) -> io::Result<Option<Found>> {
    probe.begin(size);
    while !probe.is_done() {
        let read = match probe.want {
            Want::Nothing => break,
            Want::Head(wanted) => {
                let missing = (wanted - probe.head.len()) as u64;
                content.take(missing).read_to_end(&mut probe.head)? as u64
            }
            Want::Far { start, .. } if probe.position < start => {
                io::copy(&mut content.take(start - probe.position), &mut io::sink())?
            }
            Want::Far { length, .. } => {
                let missing = (length - probe.far.len()) as u64;
                content.take(missing).read_to_end(&mut probe.far)? as u64
            }
        };
        probe.position += read;
        probe.advance();
        if read == 0 {
            break;
        }
    }
    Ok(probe.end())
}

fn look(head: &[u8], size: u64) -> Look {
    match head {
        [0x7f, b'E', b'L', b'F', ..] => elf::look(head),
        [b'#', b'!', ..] => match head.len() < script::LONGEST_LINE && (head.len() as u64) < size {
            true => Look::More(script::LONGEST_LINE),
            false => Look::Done(script::parse(head).map(Found::Script)),
        },
        [b'P', b'K', 3, 4, ..] | [b'!', b'<', b'a', b'r', b'c', b'h', b'>', b'\n', ..] => {
            archive::look(head, size)
        }
        [b'M', b'Z', ..] => Look::Done(is_pe(head).then_some(Found::Pe)),
        [0xfe, 0xed, 0xfa, 0xce | 0xcf, ..] | [0xce | 0xcf, 0xfa, 0xed, 0xfe, ..] => {
            Look::Done(Some(Found::MachO))
        }
        // A universal binary, by the few architectures it has; Java's classes begin alike, with a version there.
        [0xca, 0xfe, 0xba, 0xbe | 0xbf, 0, 0, 0, 1..=16, ..] => Look::Done(Some(Found::MachO)),
        _ => Look::Done(None),
    }
}

/// What can be said without what lies beyond.
fn settle(head: &[u8]) -> Option<Found> {
    match head {
        [0x7f, b'E', b'L', b'F', ..] => elf::settle(head, &[]),
        [b'#', b'!', ..] => script::parse(head).map(Found::Script),
        _ => None,
    }
}

/// Programs for DOS begin like those for Windows; the latter say at 0x3c where they really begin.
fn is_pe(head: &[u8]) -> bool {
    head.get(0x3c..0x40).is_some_and(|at| at != [0; 4])
}
