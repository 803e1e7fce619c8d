//! What is fuzzed, as plain functions: each takes any bytes and comes back, without a panic, having checked
//! what must hold of the answer. The fuzzers of this folder call them, and so does `tests/fuzz.rs`, which also
//! counts what they allocate.
#![allow(dead_code, reason = "each fuzzer calls one of them")]

use std::cell::Cell;
use std::io::Read;

use mab::diag::{Place, Source};
use mab::dockerfile::{
    Dockerfile, Expansion, InstructionKind, Stage, StageGraph, expand_heredoc, expand_word, expand_words,
    parse_duration, parse_instruction_line, parse_ports, signal_number,
};
use mab::layer::LayerReader;
use mab::pattern::{Glob, Ignore, Matched};
use mab::scan::{Probe, Programs, scan};

/// How much content of a layer is read: what a few bytes of a compressed one can stand for is no secret.
const MOST_CONTENT: u64 = 1 << 20;

/// Paths of file systems are not longer than a few of these.
const LONGEST_PATH: usize = 256;

/// A whole Dockerfile, and the same text as a trigger.
pub fn dockerfile(data: &[u8]) {
    let text = String::from_utf8_lossy(data).into_owned();
    let source = Source::new("Dockerfile", text.as_str());
    let stands_inside = |place: &Place| assert!(place.source.text.get(place.span.clone()).is_some());
    match Dockerfile::parse(&source) {
        Ok(file) => {
            assert!(!file.stages.is_empty(), "a Dockerfile has a stage");
            file.warnings
                .iter()
                .flat_map(|warning| &warning.labels)
                .for_each(|label| stands_inside(&label.place));
            for instruction in file.stages.iter().flat_map(|stage| &stage.instructions) {
                stands_inside(&instruction.place);
                if let InstructionKind::Run(run) = &instruction.kind {
                    run.script();
                }
            }
            let base_of = |stage: &Stage| stage.from.image.value.clone();
            if let Ok(graph) = StageGraph::new(&file, &base_of, &|name| name.starts_with('c')) {
                let last = file.stages.len() - 1;
                assert_eq!(graph.reachable(last).last(), Some(&last), "a stage is built after what it needs");
            }
        }
        Err(problems) => {
            assert!(!problems.is_empty(), "a refusal has a reason");
            for problem in &problems {
                assert!(!problem.labels.is_empty(), "a problem has a place: {}", problem.message);
                assert!(problem.help.is_some(), "a problem has a next step: {}", problem.message);
                problem.labels.iter().for_each(|label| stands_inside(&label.place));
            }
        }
    }
    let _ = parse_instruction_line(&source);
}

/// A word, behind a line that says what `$x` is worth.
pub fn expansion(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let (value, word) = text.split_once('\n').unwrap_or(("", &text));
    let asked = Cell::new(0);
    let lookup = |name: &str| {
        asked.set(asked.get() + 1);
        (name == "x").then(|| value.to_string())
    };
    for escape in ['\\', '`'] {
        let joined = expand_word(word, escape, &lookup);
        let split = expand_words(word, escape, &lookup);
        match (joined, split) {
            (Ok(Expansion { used, .. }), Ok(words)) => {
                assert_eq!(used, words.used, "both ways ask for the same names");
                for word in &words.words {
                    let _ = (parse_ports(word), parse_duration(word), signal_number(word));
                }
            }
            (Err(joined), Err(split)) => {
                assert_eq!(joined, split, "both ways fail alike");
                assert!(word.get(joined.at).is_some(), "an error points into the word");
            }
            (joined, split) => panic!("{joined:?} but {split:?}"),
        }
    }
    let _ = expand_heredoc(word, &lookup);
    assert!(asked.get() <= 5 * (word.len() + 1), "{} questions about {} bytes", asked.get(), word.len());
}

/// An ignore file, then a zero byte, then a path.
pub fn ignore(data: &[u8]) {
    let (rules, path) = match data.iter().position(|byte| *byte == 0) {
        Some(end) => (&data[..end], &data[end + 1..]),
        None => (data, &b"a/b"[..]),
    };
    if let Ok(glob) = Glob::parse(rules) {
        glob.matches(&path[..path.len().min(LONGEST_PATH)]);
    }
    let Ok(ignore) = Ignore::parse(rules) else { return };
    let path = &path[..path.len().min(LONGEST_PATH)];
    if path.is_empty() {
        return;
    }
    let mut is_entered = true;
    let (mut is_ignored, mut matched) = (false, Matched::default());
    let ends = path.iter().enumerate().filter(|(_, byte)| **byte == b'/').map(|(end, _)| end);
    for end in ends.chain([path.len()]).filter(|end| *end > 0) {
        (is_ignored, matched) = ignore.check(&path[..end], &matched);
        assert!(is_entered || is_ignored, "what is below a directory that is not entered is ignored");
        is_entered &= !is_ignored || ignore.may_return_below(&path[..end]);
    }
    assert!(path.starts_with(b"/") || ignore.matches(path) == is_ignored, "step by step it is the same");
}

/// A layer, compressed or not, whose root is an entry of its own or not; once more with every header's checksum put right.
pub fn layer(data: &[u8]) {
    read_layer(data);
    let mut corrected = data.to_vec();
    for header in corrected.chunks_exact_mut(512).filter(|block| &block[257..262] == b"ustar") {
        header[148..156].fill(b' ');
        let sum: u32 = header.iter().copied().map(u32::from).sum();
        header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    }
    read_layer(&corrected);
}

fn read_layer(data: &[u8]) {
    for media_type in [
        "application/vnd.oci.image.layer.v1.tar",
        "application/vnd.oci.image.layer.v1.tar+gzip",
        "application/vnd.oci.image.layer.v1.tar+zstd",
    ] {
        let Ok(mut reader) = LayerReader::new(data, media_type) else { continue };
        let mut read = 0;
        while let Ok(Some(entry)) = reader.next_entry() {
            let mut components = entry.path.split(|byte| *byte == b'/');
            let is_clean =
                entry.path.is_empty() || components.all(|component| !matches!(component, b".." | b"." | b""));
            assert!(is_clean, "{:?}", String::from_utf8_lossy(&entry.path));
            let left = MOST_CONTENT - read;
            read += std::io::copy(&mut (&mut reader).take(left), &mut std::io::sink()).unwrap_or(left);
            if read >= MOST_CONTENT {
                break;
            }
        }
        if read < MOST_CONTENT {
            let _ = reader.finish();
        }
    }
}

/// A file of a layer, whole and in pieces; and what was found, written down and read again.
pub fn program(data: &[u8]) {
    let mut probe = Probe::default();
    let found = scan(&mut probe, data.len() as u64, &mut &data[..]).expect("memory can be read");
    probe.begin(data.len() as u64);
    data.chunks(13).for_each(|piece| probe.feed(piece));
    assert_eq!(probe.end(), found, "pieces tell the same");
    // A file that is longer than what is there.
    let _ = scan(&mut probe, u64::MAX, &mut &data[..]);
    let mut programs = Programs::default();
    if let Some(found) = found {
        programs.insert(0, found);
    }
    assert_eq!(Programs::from_bytes(&programs.to_bytes()), Some(programs));
    let _ = Programs::from_bytes(data);
}
