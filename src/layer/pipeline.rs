//! Blocks in, the compressed blob out in the same order, both digests taken on the way.
//!
//! ```text
//!            ┌▶ hash of the blocks ──────────────────────────────▶ diff id
//! push(block)┤
//!            └▶ queue of results, in order ─▶ hash and write one by one ─▶ digest, size
//!                   ▲ filled by workers, in any order
//! ```
//! The queue is bounded, so a slow disk holds back whoever pushes, and memory stays a few blocks per worker.
//! The bytes do not depend on the number of workers. A layer of one block never starts a thread.

use std::fs::File;
use std::io::{self, Write};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};

use super::compress::{BlockCompressor, Compression};
use super::reuse::{KnownBlock, Piece};
use crate::base::{Digest, HashState, Hasher, processors};

type Bytes = Arc<Vec<u8>>;

/// One block to be compressed, unless its compressed form is known.
pub(super) struct Work {
    pub(super) block: Vec<u8>,
    pub(super) known: Option<KnownBlock>,
}

/// More workers than this gain nothing: hashing is the limit by then.
const MAX_WORKERS: usize = 16;

/// What became of the blocks.
pub(super) struct Written {
    pub(super) diff_id: Digest,
    pub(super) digest: Digest,
    pub(super) size: u64,
    /// Where each block begins in the blob.
    pub(super) starts: Vec<u64>,
    /// Where hashing the uncompressed bytes stood then; for blobs that are not compressed.
    pub(super) states: Vec<HashState>,
    /// What the blob is made of, when known blocks were left where they are.
    pub(super) pieces: Option<Vec<Piece>>,
}

pub(super) fn default_workers() -> usize {
    processors().min(MAX_WORKERS)
}

pub(super) struct Pipeline {
    out: State,
    compression: Compression,
    workers: usize,
}

enum State {
    /// Nothing pushed yet, or one block, which may stay the only one.
    Idle(Box<Flushed>, Option<Work>),
    Running(Threads),
    Failed,
}

impl Pipeline {
    pub(super) fn new(out: File, compression: Compression, workers: usize) -> io::Result<Self> {
        // Refuses a wrong level before there is anything to lose.
        BlockCompressor::new(compression)?;
        Ok(Self { out: State::Idle(Box::new(Flushed::new(out, compression)), None), compression, workers })
    }

    /// Leaves known blocks where they are, from the first block on. The tar must be the blob.
    pub(super) fn compose(&mut self) {
        if let State::Idle(begun, _) = &mut self.out {
            begun.output.pieces = Some(Vec::new());
        }
    }

    /// Takes over a first block whose bytes need not be hashed, since where hashing stands after it is known.
    /// Before anything is pushed.
    pub(super) fn keep(&mut self, known: &KnownBlock, after: &HashState) -> io::Result<()> {
        let State::Idle(begun, None) = &mut self.out else {
            return Err(io::Error::other("a block is kept after others were written"));
        };
        begun.keep(known, after)
    }

    pub(super) fn push(&mut self, work: Work) -> io::Result<()> {
        match std::mem::replace(&mut self.out, State::Failed) {
            State::Idle(begun, None) => self.out = State::Idle(begun, Some(work)),
            State::Idle(begun, Some(first)) => {
                let threads = Threads::start(*begun, self.compression, self.workers)?;
                let threads = threads.push(first)?;
                self.out = State::Running(threads.push(work)?);
            }
            State::Running(threads) => self.out = State::Running(threads.push(work)?),
            State::Failed => return Err(io::Error::other("writing the layer has failed before")),
        }
        Ok(())
    }

    pub(super) fn finish(self) -> io::Result<Written> {
        self.flush().map(Flushed::finish)
    }

    /// Waits until every block is written.
    pub(super) fn flush(self) -> io::Result<Flushed> {
        match self.out {
            State::Idle(begun, work) => begun.write_alone(self.compression, work),
            State::Running(threads) => threads.flush(),
            State::Failed => Err(io::Error::other("writing the layer has failed before")),
        }
    }
}

/// A blob that holds all blocks so far, and may get an end of its own.
pub(super) struct Flushed {
    /// Of the uncompressed bytes.
    tar: TarHasher,
    output: Output,
}

impl Flushed {
    fn new(file: File, compression: Compression) -> Self {
        Self { tar: TarHasher::new(compression), output: Output::new(file, compression) }
    }

    /// Where each block begins in the blob.
    pub(super) fn starts(&self) -> &[u64] {
        &self.output.starts
    }

    pub(super) fn size(&self) -> u64 {
        self.output.size
    }

    /// Appends what is `tar` uncompressed.
    pub(super) fn add(&mut self, tar: &[u8], compressed: &[u8]) -> io::Result<()> {
        self.tar.hasher.update(tar);
        self.output.write(compressed)
    }

    fn keep(&mut self, known: &KnownBlock, after: &HashState) -> io::Result<()> {
        self.tar.states.push(self.tar.hasher.state());
        self.output.keep(known);
        let resumed = Hasher::resume(after, self.output.size);
        self.tar.hasher = resumed.ok_or_else(|| io::Error::other("a block of an odd length was kept"))?;
        Ok(())
    }

    fn write_alone(mut self, compression: Compression, work: Option<Work>) -> io::Result<Self> {
        let Work { block, known } = work.unwrap_or_else(|| Work { block: Vec::new(), known: None });
        let block = Arc::new(block);
        self.tar.update(&block);
        match known.filter(|_| self.output.pieces.is_some()) {
            Some(known) => self.output.keep(&known),
            None => self.output.write(&BlockCompressor::new(compression)?.compress(&block)?)?,
        }
        Ok(self)
    }

    pub(super) fn finish(self) -> Written {
        let TarHasher { hasher, states, .. } = self.tar;
        let diff_id = hasher.finish();
        let Output { hasher, size, starts, pieces, .. } = self.output;
        let digest = hasher.map_or(diff_id, Hasher::finish);
        Written { diff_id, digest, size, starts, states, pieces }
    }
}

/// Hashes the uncompressed bytes.
struct TarHasher {
    hasher: Hasher,
    keeps_states: bool,
    states: Vec<HashState>,
}

impl TarHasher {
    fn new(compression: Compression) -> Self {
        Self { hasher: Hasher::new(), keeps_states: compression == Compression::None, states: Vec::new() }
    }

    fn update(&mut self, block: &[u8]) {
        if self.keeps_states {
            self.states.push(self.hasher.state());
        }
        self.hasher.update(block);
    }
}

/// The blob as far as it is written.
struct Output {
    file: File,
    /// Not there for blobs that are not compressed: they are hashed as the tar they are.
    hasher: Option<Hasher>,
    size: u64,
    starts: Vec<u64>,
    /// There when known blocks are left where they are: the file then has only the others.
    pieces: Option<Vec<Piece>>,
}

impl Output {
    fn new(file: File, compression: Compression) -> Self {
        let hasher = (compression != Compression::None).then(Hasher::new);
        Self { file, hasher, size: 0, starts: Vec::new(), pieces: None }
    }

    fn write(&mut self, compressed: &[u8]) -> io::Result<()> {
        self.starts.push(self.size);
        self.file.write_all(compressed)?;
        if let Some(hasher) = &mut self.hasher {
            hasher.update(compressed);
        }
        self.size += compressed.len() as u64;
        if let Some(pieces) = &mut self.pieces {
            Piece::New(compressed.len() as u64).add_to(pieces);
        }
        Ok(())
    }

    fn keep(&mut self, known: &KnownBlock) {
        let range = known.range();
        self.starts.push(self.size);
        self.size += range.end - range.start;
        Piece::Earlier(range).add_to(self.pieces.get_or_insert_default());
    }
}

/// A block as it goes into the blob.
enum Ready {
    Bytes(Bytes),
    Kept(KnownBlock),
}

struct Job {
    block: Bytes,
    known: Option<KnownBlock>,
    done: SyncSender<io::Result<Ready>>,
}

/// The running pipeline. Its threads end when the queues close, which dropping it does.
struct Threads {
    hash: SyncSender<Bytes>,
    hasher: JoinHandle<TarHasher>,
    jobs: SyncSender<Job>,
    results: SyncSender<Receiver<io::Result<Ready>>>,
    output: JoinHandle<io::Result<Output>>,
}

impl Threads {
    fn start(begun: Flushed, compression: Compression, workers: usize) -> io::Result<Self> {
        let Flushed { tar, output } = begun;
        let keeps = output.pieces.is_some();
        let workers = if compression == Compression::None { 1 } else { workers.max(1) };
        let depth = 2 * workers;
        let (jobs, queue) = sync_channel(depth);
        let (results, ordered) = sync_channel(depth);
        let (hash, blocks) = sync_channel(depth);
        let hasher = spawn("layer-hash", move || hash_blocks(tar, &blocks))?;
        let output = spawn("layer-write", move || write_results(output, &ordered))?;
        let queue = Arc::new(Mutex::new(queue));
        for _ in 0..workers {
            let queue = Arc::clone(&queue);
            let mut compressor = BlockCompressor::new(compression)?;
            spawn("layer-compress", move || compress_jobs(&mut compressor, &queue, keeps))?;
        }
        Ok(Self { hash, hasher, jobs, results, output })
    }

    /// Waits while the queue is full. When the blob cannot be written, says why and is gone.
    fn push(self, work: Work) -> io::Result<Self> {
        let block = Arc::new(work.block);
        let (done, result) = sync_channel(1);
        let accepted = self.results.send(result).is_ok()
            && self.jobs.send(Job { block: Arc::clone(&block), known: work.known, done }).is_ok()
            && self.hash.send(block).is_ok();
        if accepted {
            return Ok(self);
        }
        match self.flush() {
            Err(error) => Err(error),
            Ok(_) => Err(io::Error::other("a thread writing the layer ended early")),
        }
    }

    fn flush(self) -> io::Result<Flushed> {
        let Self { hash, hasher, jobs, results, output } = self;
        drop((hash, jobs, results));
        let tar = join(hasher);
        let output = join(output)??;
        Ok(Flushed { tar: tar?, output })
    }
}

fn spawn<T: Send + 'static>(
    name: &str,
    run: impl FnOnce() -> T + Send + 'static,
) -> io::Result<JoinHandle<T>> {
    thread::Builder::new().name(name.to_string()).spawn(run)
}

fn join<T>(handle: JoinHandle<T>) -> io::Result<T> {
    handle.join().map_err(|_| io::Error::other("a thread writing the layer panicked"))
}

fn hash_blocks(mut tar: TarHasher, blocks: &Receiver<Bytes>) -> TarHasher {
    for block in blocks {
        tar.update(&block);
    }
    tar
}

fn compress_jobs(compressor: &mut BlockCompressor, queue: &Mutex<Receiver<Job>>, keeps: bool) {
    loop {
        let next = queue.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(Job { block, known, done }) = next else { return };
        // Nobody waits for the result any more when writing has failed, which the writer reports itself.
        let _ = done.send(match known {
            Some(known) if keeps => Ok(Ready::Kept(known)),
            Some(known) => known.read().map(Arc::new).map(Ready::Bytes),
            None => compressor.compress(&block).map(Ready::Bytes),
        });
    }
}

fn write_results(mut output: Output, results: &Receiver<Receiver<io::Result<Ready>>>) -> io::Result<Output> {
    for result in results {
        match result.recv().map_err(|_| io::Error::other("a compressing thread ended early"))?? {
            Ready::Bytes(compressed) => output.write(&compressed)?,
            Ready::Kept(known) => output.keep(&known),
        }
    }
    Ok(output)
}
