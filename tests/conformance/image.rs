//! A built image as text: what a record holds, and what is compared, line by line.
//!
//! It is also the list of what may differ between two builders of the same image, since that is what the
//! text leaves out:
//! - times that no file and no epoch told: `created`, and those of folders that were made or got new
//!   entries, and of what a RUN wrote;
//! - `ArgsEscaped`, which says something about Windows only;
//! - digests, compression, the order of a layer's entries and the form of their headers;
//! - whether a folder that was emptied is one opaque marker or a whiteout for each of its entries;
//! - which one of several hard links holds the content;
//! - extended attributes, but `security.capability`;
//! - the base's layers and history, as long as they are the base's.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Read as _;
use std::ops::Range;
use std::path::{Path, PathBuf};

use flate2::read::MultiGzDecoder;
use serde_json::Value;

use crate::record::Record;
use crate::support::image::sha256;

/// Times from here on were not told by anybody: context files are older, and so are epochs.
const NOBODY_TOLD: u64 = 1_400_000_000;

/// Times of contexts' entries: a multiple of a hundred that is the case's, and what is the entry's.
const OF_CONTEXTS: Range<u64> = 1_000_000_000..1_300_000_100;

/// Where blobs are looked for: folders of OCI layouts, in this order.
pub struct Blobs(pub Vec<PathBuf>);

impl Blobs {
    fn bytes(&self, digest: &str) -> Vec<u8> {
        let name = digest.strip_prefix("sha256:").expect("digests are of SHA-256");
        let mut places = self.0.iter().map(|layout| layout.join("blobs/sha256").join(name));
        let found = places.find_map(|path| fs::read(path).ok());
        found.unwrap_or_else(|| panic!("no blob {digest}"))
    }

    fn json(&self, digest: &str) -> Value {
        serde_json::from_slice(&self.bytes(digest)).expect("manifests and configs are JSON")
    }

    /// The manifests below a document, through indexes, attestations left out.
    pub fn manifests(&self, document: &Value) -> Vec<Value> {
        let Some(children) = document["manifests"].as_array() else { return vec![document.clone()] };
        let is_image = |child: &&Value| child["platform"]["architecture"] != "unknown";
        let digests =
            children.iter().filter(is_image).map(|child| child["digest"].as_str().expect("a digest"));
        digests.flat_map(|digest| self.manifests(&self.json(digest))).collect()
    }

    pub fn manifests_of(&self, digest: &str) -> Vec<Value> {
        self.manifests(&self.json(digest))
    }
}

/// What every image of the base begins with, by architecture.
pub struct Base {
    configs: Vec<Value>,
}

impl Base {
    pub fn read(layout: &Path) -> Self {
        let blobs = Blobs(vec![layout.to_path_buf()]);
        let configs = manifests_in(layout).iter().map(|manifest| config_of(manifest, &blobs)).collect();
        Self { configs }
    }

    /// How many layers and how many entries of the history `config` has from the base.
    fn share(&self, config: &Value) -> (usize, usize) {
        let starts_with = |pointer: &str| {
            let own = list(config, pointer);
            let mut lengths = self.configs.iter().filter_map(|base| {
                let base = list(base, pointer);
                own.starts_with(&base).then_some(base.len())
            });
            lengths.find(|length| *length > 0).unwrap_or(0)
        };
        (starts_with("/rootfs/diff_ids"), starts_with("/history"))
    }
}

fn list(config: &Value, pointer: &str) -> Vec<Value> {
    config.pointer(pointer).and_then(Value::as_array).cloned().unwrap_or_default()
}

fn config_of(manifest: &Value, blobs: &Blobs) -> Value {
    blobs.json(manifest["config"]["digest"].as_str().expect("a digest"))
}

/// The image manifests of a layout.
pub fn manifests_in(layout: &Path) -> Vec<Value> {
    let index = fs::read(layout.join("index.json")).expect("a layout has an index");
    let index = serde_json::from_slice(&index).expect("an index is JSON");
    Blobs(vec![layout.to_path_buf()]).manifests(&index)
}

/// What `manifests` hold, by platform.
pub fn record(manifests: &[Value], blobs: &Blobs, base: &Base) -> Record {
    let described = manifests.iter().map(|manifest| {
        let config = config_of(manifest, blobs);
        (platform_of(&config), describe(manifest, &config, blobs, base))
    });
    Record(described.collect())
}

fn platform_of(config: &Value) -> String {
    let names = ["os", "os.version", "architecture", "variant"];
    let parts: Vec<&str> = names.iter().filter_map(|name| config[*name].as_str()).collect();
    parts.join("/")
}

fn describe(manifest: &Value, config: &Value, blobs: &Blobs, base: &Base) -> String {
    let mut text = describe_config(config);
    let (base_layers, base_history) = base.share(config);
    for entry in &list(config, "/history")[base_history..] {
        text.push_str(&describe_history(entry));
    }
    let layers = list(manifest, "/layers");
    let diff_ids = list(config, "/rootfs/diff_ids");
    assert_eq!(layers.len(), diff_ids.len(), "one diff id for each layer");
    let mut paths = BTreeSet::new();
    for (index, (layer, diff_id)) in layers.iter().zip(&diff_ids).enumerate() {
        let tar = uncompressed(&blobs.bytes(layer["digest"].as_str().expect("a digest")));
        assert_eq!(&sha256(&tar), diff_id, "the layer has its diff id");
        let lines = describe_layer(&tar, &mut paths);
        if index >= base_layers {
            text.push_str(&format!("layer {}\n", index - base_layers + 1));
            lines.iter().for_each(|line| text.push_str(&format!("  {line}\n")));
        }
    }
    text
}

fn describe_config(config: &Value) -> String {
    let mut text = String::new();
    let mut put = |name: &str, value: &Value| {
        if !value.is_null() {
            text.push_str(&format!("{name} {value}\n"));
        }
    };
    let known = ["architecture", "variant", "os", "os.version", "rootfs", "history", "config", "created"];
    put("created", &told(&config["created"]));
    for (name, value) in sorted(config) {
        if !known.contains(&name.as_str()) {
            put(name, value);
        }
    }
    for (name, value) in sorted(&config["config"]) {
        if name != "ArgsEscaped" {
            put(&format!("config.{name}"), value);
        }
    }
    text
}

fn sorted(object: &Value) -> BTreeMap<&String, &Value> {
    object.as_object().into_iter().flatten().collect()
}

/// A time in a document, if somebody told it.
fn told(time: &Value) -> Value {
    let is_told = time.as_str().is_some_and(|text| text < "2014");
    if is_told { time.clone() } else { Value::Null }
}

fn describe_history(entry: &Value) -> String {
    let mut notes = Vec::new();
    if entry["empty_layer"] == true {
        notes.push("empty".to_string());
    }
    if entry["comment"] != "buildkit.dockerfile.v0" {
        notes.push(format!("comment={}", entry["comment"]));
    }
    notes.extend(entry["author"].as_str().map(|author| format!("author={author:?}")));
    let created = told(&entry["created"]);
    notes.extend(created.as_str().map(|created| format!("created={created}")));
    let note = if notes.is_empty() { String::new() } else { format!("({}) ", notes.join(", ")) };
    format!("history {note}{}\n", entry["created_by"])
}

/// One line per entry, sorted by path; `paths` is what is there, before and then after the layer.
fn describe_layer(tar: &[u8], paths: &mut BTreeSet<Vec<u8>>) -> Vec<String> {
    let mut entries = Layer::default();
    let mut archive = tar::Archive::new(tar);
    for entry in archive.entries().expect("a layer is a tar archive") {
        entries.add(&mut entry.expect("a layer is a tar archive"));
    }
    entries.finish(paths)
}

#[derive(Default)]
struct Layer {
    lines: BTreeMap<Vec<u8>, String>,
    folders: BTreeSet<Vec<u8>>,
    links: BTreeMap<Vec<u8>, Vec<u8>>,
    gone: BTreeSet<Vec<u8>>,
    opaque: BTreeSet<Vec<u8>>,
}

impl Layer {
    fn add(&mut self, entry: &mut tar::Entry<'_, &[u8]>) {
        use tar::EntryType;
        let path = plain_path(&entry.path_bytes());
        let (folder, name) = split(&path);
        if name == b".wh..wh..opq" {
            self.opaque.insert(folder.to_vec());
            return;
        }
        if let Some(name) = name.strip_prefix(b".wh.") {
            self.gone.insert([folder, name].join(&b"/"[..usize::from(!folder.is_empty())]));
            return;
        }
        let capability = capability_of(entry);
        let header = entry.header().clone();
        let kind = match header.entry_type() {
            EntryType::Directory => {
                self.folders.insert(path.clone());
                "dir "
            }
            EntryType::Link => {
                self.links.insert(path, plain_path(&entry.link_name_bytes().expect("a link has a target")));
                return;
            }
            EntryType::Symlink => "link",
            EntryType::Char => "char",
            EntryType::Block => "block",
            EntryType::Fifo => "fifo",
            EntryType::Regular | EntryType::Continuous | EntryType::GNUSparse => "file",
            other => panic!("{other:?} in a layer"),
        };
        let mode = header.mode().expect("a mode") & 0o7777;
        let (uid, gid) = (header.uid().expect("an owner"), header.gid().expect("a group"));
        let mut line = format!("{kind} {mode:04o} {uid}:{gid} {}", shown(&path));
        match kind {
            "file" => line.push_str(&content(entry)),
            "link" => line
                .push_str(&format!(" -> {}", shown(&entry.link_name_bytes().expect("a link has a target")))),
            "char" | "block" => {
                let number = |number: std::io::Result<Option<u32>>| number.expect("a header").unwrap_or(0);
                let (major, minor) = (number(header.device_major()), number(header.device_minor()));
                line.push_str(&format!(" {major}:{minor}"));
            }
            _ => {}
        }
        line.push_str(&capability);
        line.push_str(&time(header.mtime().expect("a time"), kind));
        assert!(self.lines.insert(path, line).is_none(), "an entry is in a layer once");
    }

    fn finish(mut self, paths: &mut BTreeSet<Vec<u8>>) -> Vec<String> {
        for folder in &self.opaque {
            let below = [folder.as_slice(), b"/"].concat();
            let children = paths.iter().filter_map(|path| {
                let rest = path.strip_prefix(below.as_slice())?;
                (!rest.contains(&b'/')).then(|| path.clone())
            });
            self.gone.extend(children);
        }
        self.gone.retain(|path| !self.lines.contains_key(path) && !self.links.contains_key(path));
        self.name_links();
        for path in &self.gone {
            self.lines.insert(path.clone(), format!("gone {}", shown(path)));
        }
        paths.retain(|path| !self.gone.iter().any(|gone| is_at_or_below(path, gone)));
        paths.extend(self.lines.keys().filter(|path| !self.gone.contains(*path)).cloned());
        self.lines.into_values().collect()
    }

    /// Of several names of a file the first one by name holds it, whichever did in the archive.
    fn name_links(&mut self) {
        let mut groups: BTreeMap<Vec<u8>, BTreeSet<Vec<u8>>> = BTreeMap::new();
        for (path, target) in &self.links {
            let mut target = target;
            while let Some(next) = self.links.get(target) {
                target = next;
            }
            groups.entry(target.clone()).or_default().insert(path.clone());
        }
        for (holder, mut names) in groups {
            let line = self.lines.remove(&holder);
            names.insert(holder.clone());
            let first = names.pop_first().expect("the holder is in it");
            let line = line.expect("hard links name entries of their layer");
            self.lines.insert(first.clone(), line.replacen(&shown(&holder), &shown(&first), 1));
            for name in names {
                self.lines.insert(name.clone(), format!("hard {} = {}", shown(&name), shown(&first)));
            }
        }
    }
}

/// A time that somebody told. A folder that was there before, or that no context has, has any time.
fn time(seconds: u64, kind: &str) -> String {
    match seconds {
        _ if OF_CONTEXTS.contains(&seconds) => format!(" @+{}", seconds % 100),
        _ if kind != "dir " && seconds < NOBODY_TOLD => format!(" @{seconds}"),
        _ => String::new(),
    }
}

fn is_at_or_below(path: &[u8], folder: &[u8]) -> bool {
    path.strip_prefix(folder).is_some_and(|rest| rest.is_empty() || rest[0] == b'/')
}

fn plain_path(path: &[u8]) -> Vec<u8> {
    let path = path.strip_prefix(b"./").or(path.strip_prefix(b"/")).unwrap_or(path);
    path.strip_suffix(b"/").unwrap_or(path).to_vec()
}

fn split(path: &[u8]) -> (&[u8], &[u8]) {
    match path.iter().rposition(|byte| *byte == b'/') {
        Some(at) => (&path[..at], &path[at + 1..]),
        None => (b"", path),
    }
}

fn shown(bytes: &[u8]) -> String {
    bytes.escape_ascii().to_string()
}

fn content(entry: &mut tar::Entry<'_, &[u8]>) -> String {
    const SHORT: usize = 120;
    let mut bytes = Vec::new();
    entry.read_to_end(&mut bytes).expect("the archive is whole");
    if bytes.len() <= SHORT {
        return format!(" \"{}\"", shown(&bytes));
    }
    format!(" {} bytes {:.23}", bytes.len(), sha256(&bytes))
}

fn capability_of(entry: &mut tar::Entry<'_, &[u8]>) -> String {
    let extensions = entry.pax_extensions().expect("the archive is whole").into_iter().flatten();
    let capability = extensions.flatten().find_map(|extension| {
        let key = extension.key().ok()?;
        (key == "SCHILY.xattr.security.capability").then(|| extension.value_bytes().to_vec())
    });
    capability.map_or(String::new(), |value| {
        let hex: String = value.iter().map(|byte| format!("{byte:02x}")).collect();
        format!(" capability={hex}")
    })
}

fn uncompressed(bytes: &[u8]) -> Vec<u8> {
    if !bytes.starts_with(&[0x1f, 0x8b]) {
        return bytes.to_vec();
    }
    let mut tar = Vec::new();
    MultiGzDecoder::new(bytes).read_to_end(&mut tar).expect("it is gzip");
    tar
}
