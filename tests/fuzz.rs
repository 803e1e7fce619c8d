//! The functions of `fuzz/` under the normal suite: no text makes them panic, and none makes them take more
//! memory than is stated here. `MAB_FUZZ_CASES` is how many inputs each gets beside the committed seeds;
//! `MAB_FUZZ_SEED` chooses others than the usual ones.

#[path = "../fuzz/targets.rs"]
mod targets;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::Path;

use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

/// Counts what the current thread holds, holds at most, and was given in all.
struct Counting;

#[derive(Clone, Copy, Default)]
struct Count {
    held: usize,
    peak: usize,
    total: usize,
}

thread_local! {
    static COUNT: Cell<Count> = const { Cell::new(Count { held: 0, peak: 0, total: 0 }) };
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn count(change: impl FnOnce(&mut Count)) {
    // A thread that is ending has no counter any more, and nobody asks for it.
    let _ = COUNT.try_with(|cell| {
        let mut counted = cell.get();
        change(&mut counted);
        cell.set(counted);
    });
}

fn gained(size: usize) {
    count(|count| {
        count.held = count.held.wrapping_add(size);
        count.total = count.total.wrapping_add(size);
        count.peak = count.peak.max(count.held);
    });
}

fn lost(size: usize) {
    count(|count| count.held = count.held.saturating_sub(size));
}

// SAFETY: every call is handed on to the system's allocator unchanged; only numbers are kept beside it.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        gained(layout.size());
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        gained(layout.size());
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        lost(layout.size());
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        lost(layout.size());
        gained(size);
        unsafe { System.realloc(pointer, layout, size) }
    }
}

/// What an input of `length` bytes may cost: memory at one time, and all memory ever asked for, which stands
/// for the work done.
#[derive(Clone, Copy)]
struct Bound {
    peak: (usize, usize),
    total: (usize, usize),
}

const KIB: usize = 1 << 10;
const MIB: usize = 1 << 20;

impl Bound {
    /// A constant and so many bytes for each byte of input.
    const fn new(peak: (usize, usize), total: (usize, usize)) -> Self {
        Self { peak, total }
    }

    fn check(&self, input: &[u8], run: fn(&[u8])) {
        let before = COUNT.get();
        COUNT.set(Count { peak: before.held, total: 0, ..before });
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| run(input))) {
            eprintln!("the input was {:?}", String::from_utf8_lossy(input));
            resume_unwind(panic);
        }
        let after = COUNT.get();
        let limit = |(constant, factor): (usize, usize)| constant + factor * input.len();
        let (peak, total) = (after.peak - before.held, after.total);
        let shown = || String::from_utf8_lossy(&input[..input.len().min(2000)]).into_owned();
        assert!(peak <= limit(self.peak), "{peak} bytes at once for {} bytes: {:?}", input.len(), shown());
        assert!(total <= limit(self.total), "{total} bytes in all for {} bytes: {:?}", input.len(), shown());
    }
}

/// Runs `target` on its seeds, also cut short and repeated up to `longest` bytes, then on inputs made of `words` and parts of the seeds.
fn fuzz(target: &str, words: &'static [&'static str], longest: usize, bound: Bound, run: fn(&[u8])) {
    let seeds = seeds(target);
    for seed in &seeds {
        bound.check(seed, run);
        for end in (0..seed.len()).step_by(seed.len() / 64 + 1) {
            bound.check(&seed[..end], run);
        }
        bound.check(&seed.repeat(1 + longest / (seed.len() + 1)), run);
    }
    let config =
        Config { cases: number("MAB_FUZZ_CASES", 400), failure_persistence: None, ..Config::default() };
    let mut chosen = [0; 32];
    chosen[..4].copy_from_slice(&number("MAB_FUZZ_SEED", 1).to_le_bytes());
    let random = TestRng::from_seed(RngAlgorithm::ChaCha, &chosen);
    let mut runner = TestRunner::new_with_rng(config, random);
    let result = runner.run(&inputs(words, seeds), |input| {
        bound.check(&input, run);
        Ok(())
    });
    if let Err(failure) = result {
        panic!("{failure}");
    }
}

fn number(name: &str, usual: u32) -> u32 {
    std::env::var(name).map_or(usual, |text| text.parse().expect("a number"))
}

fn seeds(target: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds").join(target);
    let mut paths: Vec<_> =
        fs::read_dir(folder).expect("there are seeds").map(|entry| entry.expect("readable").path()).collect();
    paths.sort();
    assert!(!paths.is_empty(), "{target} has no seeds");
    paths.iter().map(|path| fs::read(path).expect("a seed is readable")).collect()
}

/// Pieces in any order: words of the language, parts of seeds, bytes. Now and then one of them many times, or a
/// seed with a few bytes changed.
fn inputs(words: &'static [&'static str], seeds: Vec<Vec<u8>>) -> impl Strategy<Value = Vec<u8>> {
    let change = (any::<prop::sample::Index>(), prop_oneof![any::<u8>(), 0x2e..0x3a_u8]);
    let changed = (prop::sample::select(seeds.clone()), prop::collection::vec(change, 1..12));
    let changed = changed.prop_map(|(mut seed, changes)| {
        for (at, byte) in changes {
            let at = at.index(seed.len());
            seed[at] = byte;
        }
        seed
    });
    let part = (prop::sample::select(seeds), any::<prop::sample::Index>(), any::<prop::sample::Index>());
    let part = part.prop_map(|(seed, from, to)| {
        let (from, to) = (from.index(seed.len() + 1), to.index(seed.len() + 1));
        seed[from.min(to)..from.max(to)].to_vec()
    });
    let word = || prop::sample::select(words).prop_map(|word| word.as_bytes().to_vec());
    let piece = prop_oneof![
        6 => word(),
        2 => part,
        1 => prop::collection::vec(any::<u8>(), 0..8),
        1 => any::<char>().prop_map(|char| char.to_string().into_bytes()),
        1 => (word(), 1..400_usize).prop_map(|(word, times)| word.repeat(times)),
    ];
    let pieces = prop::collection::vec(piece, 0..40).prop_map(|pieces| pieces.concat());
    prop_oneof![2 => pieces, 1 => changed]
}

#[test]
fn dockerfiles() {
    const WORDS: &[&str] = &[
        "FROM ",
        "FROM a\n",
        "RUN ",
        "COPY ",
        "ADD ",
        "ENV ",
        "ARG ",
        "LABEL ",
        "ONBUILD ",
        "HEALTHCHECK ",
        "CMD ",
        "SHELL ",
        "EXPOSE ",
        "VOLUME ",
        "STOPSIGNAL ",
        "WORKDIR ",
        "USER ",
        "a ",
        " AS b",
        "--from=",
        "--mount=",
        "type=cache,",
        "--link ",
        "--",
        "<<EOF",
        "<< E",
        "<<-'E F'",
        "EOF\n",
        "E\n",
        "[\"",
        "\"]",
        "${",
        "}",
        ":-",
        "$x",
        "# escape=`\n",
        "# check=",
        "# syntax=",
        "skip=all",
        "\n",
        "\n",
        "\n",
        "\r\n",
        "\\\n",
        "`\n",
        " ",
        "\t",
        "'",
        "\"",
        "\\",
        "`",
        "=",
        ",",
        "#",
        "$",
        "/",
        "*",
        "\u{feff}",
        "\u{a0}",
        "#!",
    ];
    fuzz("dockerfile", WORDS, 20_000, Bound::new((256 * KIB, 400), (MIB, 4000)), targets::dockerfile);
}

#[test]
fn expansions() {
    const WORDS: &[&str] = &[
        "$", "${", "}", ":-", "-", ":+", ":?", "?", "#", "##", "%", "%%", "/", "//", "*", "x", "${x", "y",
        "'", "\"", "\\", "`", " ", "\n", "abc", "<<", "{", "_", "1", "@", "é", "\u{a0}",
    ];
    // A result may have 16 MiB, and is made from one of that size.
    fuzz("expansion", WORDS, 2_000, Bound::new((128 * MIB, 400), (1024 * MIB, 4000)), targets::expansion);
}

#[test]
fn ignore_patterns() {
    const WORDS: &[&str] = &[
        "*", "**", "**/", "/", "!", "?", "[", "]", "[^", "a-z", "-", "\\", ".", "..", "#", "a", "b", "\n",
        "\r\n", " ", "\0", "\0a/b", "é", "|", "^", "$", "\u{feff}",
    ];
    fuzz("ignore", WORDS, 4_000, Bound::new((256 * KIB, 400), (64 * MIB, 100_000)), targets::ignore);
}

#[test]
fn layers() {
    const WORDS: &[&str] = &[
        "\0",
        "ustar",
        "ustar  \0",
        "0",
        "7777777",
        "./",
        "../",
        "/",
        ".wh.",
        ".wh..wh..opq",
        "path=",
        "GNU.sparse.",
        "11 path=a/b\n",
        "size=",
        "\u{1f}",
        "(",
    ];
    fuzz("layer", WORDS, 20_000, Bound::new((48 * MIB, 400), (256 * MIB, 4000)), targets::layer);
}

#[test]
fn programs() {
    const WORDS: &[&str] = &[
        "\u{7f}ELF",
        "\u{2}",
        "\u{1}",
        "\0",
        "\0\0\0\0",
        "\u{7f}\u{7f}",
        "PK\u{3}\u{4}",
        "PK\u{1}\u{2}",
        "PK\u{5}\u{6}",
        "!<arch>\n",
        "/               ",
        "`\n",
        "#!",
        "/usr/bin/env",
        "\n",
        "MZ",
        ".so",
        "8",
    ];
    fuzz("program", WORDS, 20_000, Bound::new((2 * MIB, 40), (96 * MIB, 4000)), targets::program);
}

/// A zip file with one member, which its directory names so often.
fn zip(name: &str, method: u16, content: &[u8], times: usize) -> Vec<u8> {
    let mut file = b"PK\x03\x04\x14\0\0\0".to_vec();
    file.extend(method.to_le_bytes());
    file.extend([0; 16]);
    file.extend((name.len() as u16).to_le_bytes());
    file.extend([0, 0]);
    file.extend(name.as_bytes());
    file.extend(content);
    let start = file.len() as u32;
    for _ in 0..times {
        file.extend(b"PK\x01\x02\x14\0\x14\0\0\0");
        file.extend(method.to_le_bytes());
        file.extend([0; 16]);
        file.extend((name.len() as u16).to_le_bytes());
        file.extend([0; 16]);
        file.extend(name.as_bytes());
    }
    file.extend(b"PK\x05\x06\0\0\0\0");
    file.extend((times as u16).to_le_bytes());
    file.extend((times as u16).to_le_bytes());
    file.extend((file.len() as u32 - 12 - start).to_le_bytes());
    file.extend(start.to_le_bytes());
    file.extend([0, 0]);
    file
}

#[test]
fn archives_in_archives_and_bombs_are_bounded() {
    use std::io::Write as _;
    let bound = Bound::new((2 * MIB, 40), (96 * MIB, 4000));
    let mut deflated = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::best());
    let zeros = vec![0; MIB];
    (0..64).for_each(|_| deflated.write_all(&zeros).expect("memory takes it"));
    let bomb = deflated.finish().expect("memory takes it");
    assert!(bomb.len() < 128 * KIB, "64 MiB in {} bytes", bomb.len());
    bound.check(&zip("lib.so", 8, &bomb, 1), targets::program);
    // Many names for one content.
    bound.check(&zip("lib.so", 8, &bomb, 60_000), targets::program);
    let mut nested = zip("lib.so", 8, &bomb, 1);
    for _ in 0..100 {
        nested = zip("inner.so", 0, &nested, 1);
    }
    bound.check(&nested, targets::program);
    // An archive whose member is itself, as far as its directory says.
    let mut own = zip("lib.so", 0, b"", 2);
    let length = own.len();
    own.extend_from_within(..length);
    bound.check(&own, targets::program);
}
