//! The files of an image, as its layers leave them, and how they differ from another's.
//!
//! Layers are read one after the other, once each; of a file its metadata and its content's digest are kept. Times of
//! change are no difference.

use std::collections::{BTreeMap, HashMap};
use std::io::{self, BufReader};

use crate::base::{Digest, HashingReader};
use crate::command::Failure;
use crate::command::inspect::failed;
use crate::diag::Problem;
use crate::image::{Image, Source};
use crate::layer::{Entry, EntryKind, LayerReader, MAX_ENTRIES, Origin, Tree};
use crate::oci::Descriptor;

/// A file that is in one image only, or another one in each.
#[derive(Clone, Debug)]
pub struct FileChange {
    pub path: String,
    pub old: Option<FileState>,
    pub new: Option<FileState>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileState {
    /// `file`, `directory`, `symlink`, …
    pub kind: &'static str,
    pub size: u64,
    pub mode: u32,
    pub owner: (u32, u32),
    /// Of a file's content.
    pub digest: Option<Digest>,
    /// Where a link leads, or a device's numbers.
    pub target: Option<String>,
    xattrs: BTreeMap<Vec<u8>, Vec<u8>>,
}

pub struct Files(BTreeMap<Vec<u8>, FileState>);

impl Files {
    pub async fn read(source: &Source, image: &Image) -> Result<Self, Failure> {
        let mut tree = Tree::new();
        let mut contents: HashMap<Origin, Digest> = HashMap::new();
        let mut entries: u64 = 0;
        for (number, layer) in (0..).zip(&image.manifest.layers) {
            let blob = source.open_blob(layer).await.map_err(failed)?;
            let read = |tree: &mut Tree, contents: &mut HashMap<Origin, Digest>, entries: &mut u64| {
                let mut reader = LayerReader::new(BufReader::new(blob), &layer.media_type)
                    .map_err(|error| unreadable(layer, &error))?;
                for position in 0.. {
                    let next = reader.next_entry().map_err(|error| unreadable(layer, &error))?;
                    let Some(entry) = next else { break };
                    *entries += 1;
                    if *entries > MAX_ENTRIES {
                        return Err(unreadable(layer, &"the image has more files than are compared"));
                    }
                    let origin = Origin { layer: number, position };
                    if matches!(entry.kind, EntryKind::File { .. }) {
                        let mut content = HashingReader::new(&mut reader);
                        io::copy(&mut content, &mut io::sink()).map_err(|error| unreadable(layer, &error))?;
                        contents.insert(origin, content.finish().0);
                    }
                    tree.put(&entry, origin).map_err(|error| unreadable(layer, &error))?;
                }
                // Up to its end, since only then it is known to be what its digest says.
                reader.finish().map(drop).map_err(|error| unreadable(layer, &error))
            };
            tokio::task::block_in_place(|| read(&mut tree, &mut contents, &mut entries))?;
        }
        let nodes = tree.walk(tree.root()).skip(1).map(|node| {
            let content = tree.origin(node).and_then(|origin| contents.get(&origin).copied());
            (tree.path(node).to_vec(), FileState::of(tree.entry(node), content))
        });
        Ok(Self(nodes.collect()))
    }

    /// In the order of paths.
    pub fn changes_to(&self, new: &Self) -> Vec<FileChange> {
        let paths: std::collections::BTreeSet<&Vec<u8>> = self.0.keys().chain(new.0.keys()).collect();
        let changed = paths.into_iter().filter(|path| self.0.get(*path) != new.0.get(*path));
        changed
            .map(|path| FileChange {
                path: format!("/{}", String::from_utf8_lossy(path)),
                old: self.0.get(path).cloned(),
                new: new.0.get(path).cloned(),
            })
            .collect()
    }
}

impl FileState {
    fn of(entry: &Entry, digest: Option<Digest>) -> Self {
        let text = |bytes: &[u8]| Some(String::from_utf8_lossy(bytes).into_owned());
        let (kind, target) = match &entry.kind {
            EntryKind::File { .. } => ("file", None),
            EntryKind::Directory => ("directory", None),
            EntryKind::Symlink { target } => ("symlink", text(target)),
            EntryKind::HardLink { target } => ("hard link", text(target)),
            EntryKind::CharDevice { major, minor } => ("character device", Some(format!("{major}:{minor}"))),
            EntryKind::BlockDevice { major, minor } => ("block device", Some(format!("{major}:{minor}"))),
            EntryKind::Fifo => ("pipe", None),
            EntryKind::Whiteout | EntryKind::Opaque => ("mark", None),
        };
        Self {
            kind,
            size: entry.size(),
            mode: entry.mode,
            owner: (entry.uid, entry.gid),
            digest,
            target,
            xattrs: entry.xattrs.clone(),
        }
    }

    /// Whether attributes differ, which have no short form.
    pub fn has_other_attributes(&self, other: &Self) -> bool {
        self.xattrs != other.xattrs
    }
}

fn unreadable(layer: &Descriptor, cause: &dyn std::fmt::Display) -> Failure {
    let message = format!("layer {} cannot be read: {cause}", layer.digest);
    vec![Problem::input("diff::layer", message).help("`--no-files` compares what needs no layers")]
}
