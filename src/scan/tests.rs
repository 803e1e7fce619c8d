//! Files as they come, and as nobody should make them.

use super::*;
use std::io::Read;

fn found(bytes: &[u8]) -> Option<Found> {
    scan(&mut Probe::default(), bytes.len() as u64, &mut &bytes[..]).expect("memory can be read")
}

/// This test as a file.
fn own_program() -> Vec<u8> {
    std::fs::read(std::env::current_exe().expect("a test has a file")).expect("it can be read")
}

/// A header for an architecture without anything behind it.
fn header(class: u8, order: u8, kind: u16, machine: u16, flags: u32) -> Vec<u8> {
    let mut file = vec![0x7f, b'E', b'L', b'F', class, order, 1];
    file.resize(if class == 2 { 64 } else { 52 }, 0);
    let mut put = |at: usize, bytes: &[u8]| {
        let bytes: Vec<u8> = if order == 2 { bytes.iter().rev().copied().collect() } else { bytes.to_vec() };
        file[at..at + bytes.len()].copy_from_slice(&bytes);
    };
    put(16, &kind.to_le_bytes());
    put(18, &machine.to_le_bytes());
    put(if class == 2 { 48 } else { 36 }, &flags.to_le_bytes());
    file
}

#[test]
fn a_real_program_is_known_with_what_it_needs() {
    let Some(Found::Elf(elf)) = found(&own_program()) else { panic!("this test is a program") };
    assert_eq!(elf.machine.architecture(), Some(crate::base::Platform::host().architecture.as_str()));
    assert!(elf.is_dynamic && elf.is_for_linux());
    assert!(elf.interpreter.is_some_and(|loader| loader.starts_with("/lib")));
    assert!(elf.needed.iter().any(|name| name.starts_with("libc.")), "{:?}", elf.needed);
}

#[test]
fn bytes_that_come_in_pieces_tell_the_same() {
    let program = own_program();
    let whole = found(&program);
    let mut probe = Probe::default();
    for size in [1, 7, 4096, 1 << 20] {
        probe.begin(program.len() as u64);
        program.chunks(size).take_while(|_| true).for_each(|chunk| probe.feed(chunk));
        assert_eq!(probe.end(), whole, "in pieces of {size}");
    }
}

#[test]
fn a_look_reads_no_further_than_it_has_to() {
    for bytes in
        [&b"plain text, and more of it than a header has, which nobody needs to read to its end"[..], b"#!"]
    {
        let mut content = bytes.chain(std::io::repeat(b'x'));
        let mut counted = Counted { inner: &mut content, count: 0 };
        scan(&mut Probe::default(), 1 << 40, &mut counted).expect("memory can be read");
        assert!(counted.count <= 256, "{} bytes were read", counted.count);
    }
}

struct Counted<'a> {
    inner: &'a mut dyn Read,
    count: usize,
}

impl Read for Counted<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.count += count;
        Ok(count)
    }
}

#[test]
fn processors_have_the_names_of_platforms() {
    let check = |class, order, machine, flags, expected: Option<&str>| {
        let Some(Found::Elf(elf)) = found(&header(class, order, 2, machine, flags)) else {
            panic!("{machine}")
        };
        assert_eq!(elf.machine.architecture(), expected, "machine {machine}");
    };
    check(2, 1, 62, 0, Some("amd64"));
    check(1, 1, 62, 0, Some("amd64p32"));
    check(1, 1, 3, 0, Some("386"));
    check(2, 1, 183, 0, Some("arm64"));
    check(1, 1, 40, 0x0500_0400, Some("arm"));
    check(2, 1, 21, 2, Some("ppc64le"));
    check(2, 2, 21, 1, Some("ppc64"));
    check(2, 2, 22, 0, Some("s390x"));
    check(2, 1, 243, 0, Some("riscv64"));
    check(2, 1, 258, 0, Some("loong64"));
    check(2, 1, 8, 0, Some("mips64le"));
    check(1, 1, 8, 0, Some("mipsle"));
    check(1, 1, 8, 0x20, Some("mips64p32le"));
    check(2, 1, 247, 0, None);
    check(2, 1, 190, 0, None);
}

#[test]
fn arm_says_how_it_passes_numbers() {
    let check = |flags, expected| {
        let Some(Found::Elf(elf)) = found(&header(1, 1, 2, 40, flags)) else { panic!("it is a program") };
        assert_eq!(elf.is_hard_float(), expected, "{flags:x}");
    };
    check(0x0500_0400, Some(true));
    check(0x0500_0200, Some(false));
    check(0x0500_0000, None);
    check(0, None);
}

#[test]
fn other_files_are_told_apart_by_how_they_begin() {
    let script = |interpreter: &str, argument: Option<&str>| {
        let argument = argument.map(str::to_string);
        Some(Found::Script(Script { interpreter: interpreter.to_string(), argument }))
    };
    assert_eq!(found(b"#!/bin/sh\necho"), script("/bin/sh", None));
    assert_eq!(found(b"#! /usr/bin/env -S python3 -u \n"), script("/usr/bin/env", Some("-S python3 -u")));
    assert_eq!(found(b"#!/bin/sh\r\n"), script("/bin/sh\r", None));
    assert_eq!(found(b"#!\n"), None);
    assert_eq!(found(b"\xcf\xfa\xed\xfe\x07\0\0\x01"), Some(Found::MachO));
    assert_eq!(found(b"\xca\xfe\xba\xbe\0\0\0\x02"), Some(Found::MachO));
    assert_eq!(found(b"\xca\xfe\xba\xbe\0\0\0\x41"), None, "a class of Java");
    let mut pe = b"MZ".to_vec();
    pe.resize(64, 0);
    assert_eq!(found(&pe), None, "a program for DOS");
    pe[0x3c] = 0x80;
    assert_eq!(found(&pe), Some(Found::Pe));
    assert_eq!((found(b""), found(b"\x7fELF"), found(b"MZ"), found(b"PK\x03\x04")), (None, None, None, None));
}

#[test]
fn env_is_asked_for_the_first_word_that_is_a_command() {
    let check = |line: &[u8], expected: Option<&str>| {
        let Some(Found::Script(script)) = found(line) else { panic!("it is a script") };
        assert_eq!(script.searched(), expected);
    };
    check(b"#!/usr/bin/env python3\n", Some("python3"));
    check(b"#!/usr/bin/env -S A=1 node --flag\n", Some("node"));
    check(b"#!/usr/bin/env\n", None);
    check(b"#!/bin/sh env\n", None);
}

#[test]
fn the_first_program_of_a_static_library_speaks_for_all() {
    let member = |name: &str, content: &[u8]| {
        let mut bytes = format!("{name:<16}{:<32}{:<10}`\n", "", content.len()).into_bytes();
        bytes.extend_from_slice(content);
        bytes
    };
    let object = header(2, 1, 1, 183, 0);
    let library = [b"!<arch>\n".to_vec(), member("/", &[0; 8]), member("a.o/", &object)].concat();
    let Some(Found::Archive(members)) = found(&library) else { panic!("it is a library") };
    assert_eq!(members[0].machine.architecture(), Some("arm64"));
    assert!(!members[0].is_library);
    let tables = [b"!<arch>\n".to_vec(), member("/", b"").repeat(50_000)].concat();
    assert_eq!(found(&tables), None);
}

/// Lengths, offsets and counts that lead nowhere.
#[test]
fn hostile_headers_are_bounded() {
    let program = own_program();
    for end in (0..2048).chain([1 << 16, program.len() / 2]) {
        found(&program[..end.min(program.len())]);
    }
    for at in 0..512 {
        for value in [0, 1, 0x7f, 0xff] {
            let mut damaged = program[..1 << 16].to_vec();
            damaged[at] = value;
            found(&damaged);
            damaged[at..at + 8].fill(value);
            found(&damaged);
        }
    }
    let mut probe = Probe::default();
    let mut huge = header(2, 1, 3, 62, 0);
    huge[32..40].fill(0xff);
    huge[54..58].copy_from_slice(&[56, 0, 0xff, 0xff]);
    let mut content = huge.chain(std::io::repeat(0));
    assert!(scan(&mut probe, u64::MAX, &mut content).expect("memory can be read").is_some());
}

#[test]
fn a_layer_keeps_only_so_much() {
    let elf = header(2, 1, 2, 62, 0);
    let Some(Found::Elf(mut elf)) = found(&elf) else { panic!("it is a program") };
    elf.needed = vec!["x".repeat(255); 256];
    let mut programs = Programs::default();
    for position in 0..2000 {
        programs.insert(position, Found::Elf(elf.clone()));
    }
    assert!(programs.is_full());
    assert!(programs.iter().count() < 1000);
    let again = Programs::from_bytes(&programs.to_bytes()).expect("it was just written");
    assert!(again.is_full() && again.iter().eq(programs.iter()));
    assert_eq!(Programs::from_bytes(b"{}"), None);
}
