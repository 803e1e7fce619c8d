//! Programs as files: the headers that say what they are for and what they need, and nothing that runs.

/// An ELF file.
#[derive(Clone)]
pub struct Elf {
    machine: u16,
    is_64_bit: bool,
    is_big_endian: bool,
    kind: u16,
    flags: u32,
    interpreter: Option<String>,
    needed: Vec<String>,
    search: Option<String>,
}

const BASE: u64 = 0x40_0000;

impl Elf {
    /// A static program for an architecture, as platforms call it.
    pub fn program(architecture: &str) -> Self {
        let (machine, is_64_bit, is_big_endian, flags) = match architecture {
            "386" => (3, false, false, 0),
            "amd64" => (62, true, false, 0),
            "arm" => (40, false, false, 0x0500_0400),
            "arm-soft" => (40, false, false, 0x0500_0200),
            "arm64" => (183, true, false, 0),
            "ppc64le" => (21, true, false, 2),
            "riscv64" => (243, true, false, 5),
            "s390x" => (22, true, true, 0),
            "bpf" => (247, true, false, 0),
            other => panic!("no program is for {other}"),
        };
        let (interpreter, needed, search) = (None, Vec::new(), None);
        Self { machine, is_64_bit, is_big_endian, kind: 2, flags, interpreter, needed, search }
    }

    pub fn library(architecture: &str) -> Self {
        Self { kind: 3, needed: vec!["libc.so.6".to_string()], ..Self::program(architecture) }
    }

    pub fn object(architecture: &str) -> Self {
        Self { kind: 1, ..Self::program(architecture) }
    }

    pub fn started_by(self, interpreter: &str) -> Self {
        Self { interpreter: Some(interpreter.to_string()), ..self }
    }

    pub fn needing(self, needed: &[&str]) -> Self {
        Self { needed: needed.iter().map(ToString::to_string).collect(), ..self }
    }

    /// With a RUNPATH.
    pub fn searching(self, path: &str) -> Self {
        Self { search: Some(path.to_string()), ..self }
    }

    pub fn bytes(&self) -> Vec<u8> {
        let (header, entry) = if self.is_64_bit { (64, 56) } else { (52, 32) };
        let is_dynamic = self.interpreter.is_some() || !self.needed.is_empty();
        let count = 1 + usize::from(self.interpreter.is_some()) + usize::from(is_dynamic);
        let start = header + count * entry;
        let mut content = Vec::new();
        let mut segments = Vec::new();
        if let Some(interpreter) = &self.interpreter {
            segments.push((3, start + content.len(), interpreter.len() + 1));
            content.extend_from_slice(interpreter.as_bytes());
            content.push(0);
        }
        if is_dynamic {
            let strings = start + content.len();
            content.push(0);
            let mut dynamic = Vec::new();
            // As linkers do, an equal name stands there once.
            let mut known: Vec<(&String, u64)> = Vec::new();
            for name in &self.needed {
                if let Some((_, place)) = known.iter().find(|(other, _)| *other == name) {
                    self.pair(&mut dynamic, 1, *place);
                    continue;
                }
                let place = (start + content.len() - strings) as u64;
                known.push((name, place));
                self.pair(&mut dynamic, 1, place);
                content.extend_from_slice(name.as_bytes());
                content.push(0);
            }
            if let Some(path) = &self.search {
                self.pair(&mut dynamic, 29, (start + content.len() - strings) as u64);
                content.extend_from_slice(path.as_bytes());
                content.push(0);
            }
            self.pair(&mut dynamic, 5, BASE + strings as u64);
            self.pair(&mut dynamic, 0, 0);
            segments.push((2, start + content.len(), dynamic.len()));
            content.extend(dynamic);
        }
        segments.insert(0, (1, 0, start + content.len()));
        let mut file = self.header(header as u16, entry as u16, count as u16);
        for (kind, offset, size) in segments {
            self.segment(&mut file, kind, offset as u64, size as u64);
        }
        file.extend(content);
        file
    }

    fn header(&self, header: u16, entry: u16, count: u16) -> Vec<u8> {
        let order = if self.is_big_endian { 2 } else { 1 };
        let mut file = vec![0x7f, b'E', b'L', b'F', if self.is_64_bit { 2 } else { 1 }, order, 1];
        file.resize(16, 0);
        self.number(&mut file, self.kind.into(), 2);
        self.number(&mut file, self.machine.into(), 2);
        self.number(&mut file, 1, 4);
        for address in [BASE, header.into(), 0] {
            self.address(&mut file, address);
        }
        self.number(&mut file, self.flags.into(), 4);
        for half in [header, entry, count, 0, 0, 0] {
            self.number(&mut file, half.into(), 2);
        }
        file
    }

    fn segment(&self, file: &mut Vec<u8>, kind: u32, offset: u64, size: u64) {
        self.number(file, kind.into(), 4);
        if self.is_64_bit {
            self.number(file, 5, 4);
        }
        for address in [offset, BASE + offset, BASE + offset, size, size] {
            self.address(file, address);
        }
        if !self.is_64_bit {
            self.number(file, 5, 4);
        }
        self.address(file, 8);
    }

    fn pair(&self, file: &mut Vec<u8>, tag: u64, value: u64) {
        self.address(file, tag);
        self.address(file, value);
    }

    fn address(&self, file: &mut Vec<u8>, value: u64) {
        self.number(file, value, if self.is_64_bit { 8 } else { 4 });
    }

    fn number(&self, file: &mut Vec<u8>, value: u64, size: usize) {
        match self.is_big_endian {
            true => file.extend_from_slice(&value.to_be_bytes()[8 - size..]),
            false => file.extend_from_slice(&value.to_le_bytes()[..size]),
        }
    }
}

/// A zip file with members that are not compressed.
pub fn zip(members: &[(&str, Vec<u8>)]) -> Vec<u8> {
    let (mut file, mut directory) = (Vec::new(), Vec::new());
    for (name, content) in members {
        let sizes = (content.len() as u32).to_le_bytes();
        let at = (file.len() as u32).to_le_bytes();
        file.extend_from_slice(b"PK\x03\x04\x0a\0\0\0\0\0\0\0\0\0\0\0\0\0");
        file.extend([sizes, sizes].concat());
        file.extend((name.len() as u16).to_le_bytes());
        file.extend([0, 0]);
        file.extend_from_slice(name.as_bytes());
        file.extend_from_slice(content);
        directory.extend_from_slice(b"PK\x01\x02\x0a\0\x0a\0\0\0\0\0\0\0\0\0\0\0\0\0");
        directory.extend([sizes, sizes].concat());
        directory.extend((name.len() as u16).to_le_bytes());
        directory.extend([0; 12]);
        directory.extend(at);
        directory.extend_from_slice(name.as_bytes());
    }
    let (size, at) = ((directory.len() as u32).to_le_bytes(), (file.len() as u32).to_le_bytes());
    let count = (members.len() as u16).to_le_bytes();
    file.extend(directory);
    file.extend_from_slice(b"PK\x05\x06\0\0\0\0");
    file.extend([count, count].concat());
    file.extend([size, at].concat());
    file.extend([0, 0]);
    file
}
