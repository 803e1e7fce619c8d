//! eSTARGZ: a gzip layer that can be read in pieces, for hosts that start containers before they have pulled.
//!
//! ```text
//! member per file or part of one │ member with the table of contents │ footer
//! ```
//! The content of every file begins a gzip member of its own, after which stand the headers of what follows.
//! The table is the tar's last entry, `stargz.index.json`; the footer is an empty member that tells where it
//! is. Table and landmark are entries of the tar, so the diff id is another than the source's.
//! Format: stargz-snapshotter, docs/estargz.md. Which layers become one is not known here.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::Serialize;

use super::compress::{BlockCompressor, Compression};
use super::entry::{Entry, EntryKind};
use super::error::LayerError;
use super::pipeline::{Pipeline, Work, default_workers};
use super::read::LayerReader;
use super::tar_header::{self, TAR_END, padding};
use crate::base::{Digest, Hasher};

/// The descriptor's annotation with the digest of the table.
pub const TOC_DIGEST: &str = "containerd.io/snapshot/stargz/toc.digest";
/// The descriptor's annotation with the size of the tar.
pub const UNCOMPRESSED_SIZE: &str = "io.containers.estargz.uncompressed-size";

/// The most uncompressed bytes a member of the blob has.
const CHUNK_BYTES: usize = 1 << 20;
const TOC_NAME: &str = "stargz.index.json";
const LANDMARKS: [&str; 2] = [".prefetch.landmark", NO_PREFETCH];
/// Says that nothing is to be fetched ahead.
const NO_PREFETCH: &str = ".no.prefetch.landmark";
const LANDMARK_CONTENT: &[u8] = &[0x0f];

/// A layer that was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EstargzLayer {
    pub diff_id: Digest,
    pub digest: Digest,
    pub size: u64,
    pub uncompressed_size: u64,
    /// Of the table of contents.
    pub toc: Digest,
}

/// Writes the layer `blob` in this form to `out`, no file younger than `clamp_mtime`.
pub fn write_estargz(
    blob: impl Read,
    media_type: &str,
    out: File,
    level: u32,
    clamp_mtime: Option<i64>,
) -> Result<EstargzLayer, LayerError> {
    let mut reader = LayerReader::new(blob, media_type)?;
    let mut writer = Writer::new(out, level)?;
    let landmark = EntryKind::File { size: LANDMARK_CONTENT.len() as u64 };
    writer.append(&Entry::new(NO_PREFETCH, landmark, 0o644), &mut &LANDMARK_CONTENT[..])?;
    while let Some(mut entry) = reader.next_entry()? {
        // What made the layer an eSTARGZ before is not part of what is in it.
        if is_own(&entry.path) {
            continue;
        }
        entry.mtime = clamp_mtime.map_or(entry.mtime, |latest| entry.mtime.min(latest));
        writer.append(&entry, &mut reader)?;
    }
    writer.finish()
}

fn is_own(path: &[u8]) -> bool {
    path == TOC_NAME.as_bytes() || LANDMARKS.iter().any(|name| path == name.as_bytes())
}

struct Writer {
    pipeline: Pipeline,
    compressor: BlockCompressor,
    /// Members handed on.
    members: usize,
    member: Vec<u8>,
    size: u64,
    rows: Vec<(Row, Option<usize>)>,
}

/// One line of the table. Field order as the reference implementation writes it.
#[derive(Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct Row {
    name: String,
    #[serde(rename = "type")]
    kind: &'static str,
    #[serde(skip_serializing_if = "is_zero")]
    size: u64,
    #[serde(skip_serializing_if = "String::is_empty")]
    modtime: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    link_name: String,
    #[serde(skip_serializing_if = "is_zero")]
    mode: u64,
    #[serde(skip_serializing_if = "is_zero")]
    uid: u64,
    #[serde(skip_serializing_if = "is_zero")]
    gid: u64,
    #[serde(skip_serializing_if = "is_zero")]
    offset: u64,
    #[serde(skip_serializing_if = "is_zero")]
    dev_major: u64,
    #[serde(skip_serializing_if = "is_zero")]
    dev_minor: u64,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    xattrs: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    digest: Option<Digest>,
    #[serde(skip_serializing_if = "is_zero")]
    chunk_offset: u64,
    #[serde(skip_serializing_if = "is_zero")]
    chunk_size: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    chunk_digest: Option<Digest>,
}

#[derive(Serialize)]
struct Table {
    version: u32,
    entries: Vec<Row>,
}

impl Writer {
    fn new(out: File, level: u32) -> io::Result<Self> {
        let compression = Compression::Gzip { level };
        Ok(Self {
            pipeline: Pipeline::new(out, compression, default_workers())?,
            compressor: BlockCompressor::new(compression)?,
            members: 0,
            member: Vec::new(),
            size: 0,
            rows: Vec::new(),
        })
    }

    fn append(&mut self, entry: &Entry, content: &mut dyn Read) -> Result<(), LayerError> {
        // Headers between two files' contents stay in one member, which must not grow without bound.
        if self.member.len() >= CHUNK_BYTES {
            self.end_member()?;
        }
        tar_header::encode(entry, &mut self.member)?;
        let mut row = row(entry)?;
        let EntryKind::File { size } = entry.kind else {
            self.rows.push((row, None));
            return Ok(());
        };
        let first = self.rows.len();
        let mut whole = Hasher::new();
        let mut written = 0;
        while written < size {
            self.end_member()?;
            let part = (size - written).min(CHUNK_BYTES as u64);
            let read = content.take(part).read_to_end(&mut self.member)? as u64;
            if read < part {
                return Err(LayerError::Truncated("a file"));
            }
            whole.update(&self.member);
            row.chunk_digest = Some(Digest::of(&self.member));
            row.chunk_offset = written;
            // The last part goes to the file's end, and needs no size.
            row.chunk_size = if written + part < size { part } else { 0 };
            let next = Row { name: row.name.clone(), kind: "chunk", ..Row::default() };
            self.rows.push((std::mem::replace(&mut row, next), Some(self.members)));
            written += part;
        }
        if size == 0 {
            self.rows.push((row, None));
        }
        self.rows[first].0.digest = Some(whole.finish());
        self.member.resize(self.member.len() + padding(size), 0);
        Ok(())
    }

    fn end_member(&mut self) -> io::Result<()> {
        if self.member.is_empty() {
            return Ok(());
        }
        let block = std::mem::take(&mut self.member);
        self.members += 1;
        self.size += block.len() as u64;
        self.pipeline.push(Work { block, known: None })
    }

    fn finish(mut self) -> Result<EstargzLayer, LayerError> {
        self.end_member()?;
        let mut written = self.pipeline.flush()?;
        let table = Table { version: 1, entries: placed(self.rows, written.starts()) };
        let table = serde_json::to_vec(&table).map_err(io::Error::from)?;
        let mut block = Vec::new();
        let kind = EntryKind::File { size: table.len() as u64 };
        tar_header::encode(&Entry::new(TOC_NAME, kind, 0), &mut block)?;
        block.extend_from_slice(&table);
        block.resize(block.len() + padding(table.len() as u64), 0);
        block.extend_from_slice(&TAR_END);
        let uncompressed_size = self.size + block.len() as u64;
        let at = written.size();
        let block = Arc::new(block);
        written.add(&block, &self.compressor.compress(&block)?)?;
        written.add(&[], &footer(at))?;
        let written = written.finish();
        Ok(EstargzLayer {
            diff_id: written.diff_id,
            digest: written.digest,
            size: written.size,
            uncompressed_size,
            toc: Digest::of(&table),
        })
    }
}

/// The rows, now that it is known where each member begins.
fn placed(rows: Vec<(Row, Option<usize>)>, starts: &[u64]) -> Vec<Row> {
    let place = |(row, member): (Row, Option<usize>)| Row {
        offset: member.map_or(0, |member| starts[member]),
        ..row
    };
    rows.into_iter().map(place).collect()
}

fn row(entry: &Entry) -> Result<Row, LayerError> {
    let text = |bytes: &[u8]| {
        let refused = |_| LayerError::entry(&entry.path, "has a name that is not UTF-8, which eSTARGZ wants");
        String::from_utf8(bytes.to_vec()).map_err(refused)
    };
    let (kind, link): (_, &[u8]) = match &entry.kind {
        EntryKind::File { .. } | EntryKind::Whiteout | EntryKind::Opaque => ("reg", b""),
        EntryKind::Directory => ("dir", b""),
        EntryKind::Symlink { target } => ("symlink", target),
        EntryKind::HardLink { target } => ("hardlink", target),
        EntryKind::CharDevice { .. } => ("char", b""),
        EntryKind::BlockDevice { .. } => ("block", b""),
        EntryKind::Fifo => ("fifo", b""),
    };
    let (major, minor) = match entry.kind {
        EntryKind::CharDevice { major, minor } | EntryKind::BlockDevice { major, minor } => (major, minor),
        _ => (0, 0),
    };
    let is_mark = matches!(entry.kind, EntryKind::Whiteout | EntryKind::Opaque);
    let xattrs = entry.xattrs.iter().map(|(name, value)| Ok((text(name)?, BASE64.encode(value))));
    Ok(Row {
        name: text(&tar_header::tar_name(entry))?,
        kind,
        size: entry.size(),
        modtime: if is_mark { String::new() } else { time(entry.mtime) },
        link_name: text(link)?,
        mode: entry.mode.into(),
        uid: entry.uid.into(),
        gid: entry.gid.into(),
        dev_major: major.into(),
        dev_minor: minor.into(),
        xattrs: xattrs.collect::<Result<_, LayerError>>()?,
        digest: is_mark.then(|| Digest::of("")),
        ..Row::default()
    })
}

/// Nothing for the epoch, which readers take where nothing stands.
fn time(seconds: i64) -> String {
    let time = jiff::Timestamp::from_second(seconds).ok().filter(|_| seconds != 0);
    time.map(|time| time.to_string()).unwrap_or_default()
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// An empty gzip member whose extra field says where the table's member begins.
fn footer(table: u64) -> Vec<u8> {
    let place = format!("{table:016x}STARGZ");
    let mut footer = vec![0x1f, 0x8b, 8, 4, 0, 0, 0, 0, 0, 0xff];
    footer.extend_from_slice(&(place.len() as u16 + 4).to_le_bytes());
    footer.extend_from_slice(b"SG");
    footer.extend_from_slice(&(place.len() as u16).to_le_bytes());
    footer.extend_from_slice(place.as_bytes());
    // One stored block without content, the last; then the checksum and size of nothing.
    footer.extend_from_slice(&[1, 0, 0, 0xff, 0xff]);
    footer.extend_from_slice(&[0; 8]);
    footer
}

#[cfg(test)]
mod tests {
    use std::io::Seek as _;

    use flate2::read::GzDecoder;
    use serde_json::Value;

    use super::*;
    use crate::layer::{EntrySink as _, LayerOptions, LayerWriter};
    use crate::oci::media_type::OCI_LAYER_GZIP;

    type Files = Vec<(Entry, Vec<u8>)>;

    fn file(path: &str, size: usize) -> (Entry, Vec<u8>) {
        let entry = Entry::new(path, EntryKind::File { size: size as u64 }, 0o640);
        (Entry { mtime: 1_700_000_000, uid: 7, ..entry }, (0..size).map(|at| (at * 7 % 251) as u8).collect())
    }

    fn other(path: &str, kind: EntryKind) -> (Entry, Vec<u8>) {
        (Entry::new(path, kind, 0o755), Vec::new())
    }

    fn files() -> Files {
        let mut capable = file("bin/ping", 10);
        capable.0.xattrs.insert(b"security.capability".to_vec(), vec![1, 0, 255]);
        vec![
            other("bin", EntryKind::Directory),
            capable,
            other("bin/gone", EntryKind::Whiteout),
            file("empty", 0),
            file("large", 2_500_000),
            other("link", EntryKind::Symlink { target: b"bin/ping".to_vec() }),
            other("name", EntryKind::HardLink { target: b"large".to_vec() }),
            other("null", EntryKind::CharDevice { major: 1, minor: 3 }),
            other("opaque", EntryKind::Directory),
            other("opaque", EntryKind::Opaque),
        ]
    }

    fn bytes_of(mut file: File) -> Vec<u8> {
        let mut bytes = Vec::new();
        file.rewind().unwrap();
        file.read_to_end(&mut bytes).unwrap();
        bytes
    }

    fn layer(files: &Files) -> Vec<u8> {
        let out = tempfile::tempfile().unwrap();
        let mut writer = LayerWriter::create(out.try_clone().unwrap(), LayerOptions::default()).unwrap();
        files.iter().try_for_each(|(entry, content)| writer.append(entry, &mut &content[..])).unwrap();
        writer.finish().unwrap();
        bytes_of(out)
    }

    fn estargz(blob: &[u8], clamp_mtime: Option<i64>) -> (EstargzLayer, Vec<u8>) {
        let out = tempfile::tempfile().unwrap();
        let copy = out.try_clone().unwrap();
        (write_estargz(blob, OCI_LAYER_GZIP, copy, 1, clamp_mtime).unwrap(), bytes_of(out))
    }

    fn member(bytes: &[u8]) -> Vec<u8> {
        let mut content = Vec::new();
        GzDecoder::new(bytes).read_to_end(&mut content).unwrap();
        content
    }

    /// The table, found as readers find it: from the blob's last bytes.
    fn table(bytes: &[u8]) -> (Vec<u8>, Vec<Value>) {
        let footer = &bytes[bytes.len() - 51..];
        assert_eq!(&footer[12..14], b"SG");
        assert_eq!(&footer[32..38], b"STARGZ");
        let at = u64::from_str_radix(std::str::from_utf8(&footer[16..32]).unwrap(), 16).unwrap();
        assert_eq!(member(footer), b"");
        let tar = member(&bytes[at as usize..]);
        let mut archive = tar::Archive::new(&tar[..]);
        let mut entry = archive.entries().unwrap().next().unwrap().unwrap();
        assert_eq!(entry.path_bytes(), TOC_NAME.as_bytes());
        let mut json = Vec::new();
        entry.read_to_end(&mut json).unwrap();
        let parsed: Value = serde_json::from_slice(&json).unwrap();
        assert_eq!(parsed["version"], 1);
        (json, parsed["entries"].as_array().unwrap().clone())
    }

    #[test]
    fn every_file_is_found_where_the_table_says() {
        let (made, bytes) = estargz(&layer(&files()), None);
        assert_eq!((Digest::of(&bytes), bytes.len() as u64), (made.digest, made.size));
        let (json, rows) = table(&bytes);
        assert_eq!(Digest::of(&json), made.toc);
        for (entry, content) in files().iter().filter(|(entry, _)| entry.size() > 0) {
            let name = String::from_utf8(entry.path.clone()).unwrap();
            let mut found = Vec::new();
            for row in rows.iter().filter(|row| row["name"] == *name) {
                assert_eq!(row["chunkOffset"].as_u64().unwrap_or(0), found.len() as u64);
                let rest = content.len() as u64 - found.len() as u64;
                let size = row["chunkSize"].as_u64().unwrap_or(rest) as usize;
                let part = &member(&bytes[row["offset"].as_u64().unwrap() as usize..])[..size];
                assert_eq!(row["chunkDigest"], Digest::of(part).to_string());
                found.extend_from_slice(part);
            }
            assert!(found == *content, "{name}");
        }
    }

    #[test]
    fn the_table_says_what_the_tar_says() {
        let (_, bytes) = estargz(&layer(&files()), Some(1_600_000_000));
        let (_, rows) = table(&bytes);
        let names: Vec<&str> = rows.iter().map(|row| row["name"].as_str().unwrap()).collect();
        let expected = [
            ".no.prefetch.landmark",
            "bin/",
            "bin/ping",
            "bin/.wh.gone",
            "empty",
            "large",
            "large",
            "large",
            "link",
            "name",
            "null",
            "opaque/",
            "opaque/.wh..wh..opq",
        ];
        assert_eq!(names, expected);
        let ping = serde_json::json!({
            "name": "bin/ping", "type": "reg", "size": 10, "modtime": "2020-09-13T12:26:40Z", "mode": 0o640,
            "uid": 7, "offset": rows[2]["offset"], "xattrs": { "security.capability": "AQD/" },
            "digest": Digest::of(&files()[1].1).to_string(),
            "chunkDigest": Digest::of(&files()[1].1).to_string(),
        });
        assert_eq!(rows[2], ping);
        let kinds: Vec<&str> = rows[8..12].iter().map(|row| row["type"].as_str().unwrap()).collect();
        assert_eq!(kinds, ["symlink", "hardlink", "char", "dir"]);
        assert_eq!((&rows[8]["linkName"], &rows[9]["linkName"]), (&"bin/ping".into(), &"large".into()));
        assert_eq!((&rows[10]["devMajor"], &rows[10]["devMinor"]), (&1.into(), &3.into()));
    }

    #[test]
    fn it_is_a_layer_like_others() {
        let (made, bytes) = estargz(&layer(&files()), None);
        let mut reader = LayerReader::new(&bytes[..], OCI_LAYER_GZIP).unwrap();
        let mut paths = Vec::new();
        while let Some(entry) = reader.next_entry().unwrap() {
            paths.push(entry.path);
        }
        assert_eq!(paths.len(), files().len() + 2);
        assert_eq!(reader.finish().unwrap(), made.diff_id);
        // Made of one that is one already, it is the same.
        assert_eq!(estargz(&bytes, None).0, made);
    }

    #[test]
    fn bytes_stay_what_they_are() {
        let (made, _) = estargz(&layer(&files()), None);
        assert_eq!(
            (made.diff_id.short().as_str(), made.digest.short().as_str()),
            ("d8471f98d605", "f762d3b255ad")
        );
    }
}
