//! The files among ADD's sources that are archives, open, with what is in them.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read, Seek};

use super::fault;
use super::file_source::FileSource;
use super::file_step::at_step;
use crate::diag::Problem;
use crate::layer::{ArchiveReader, LayerError, NodeRef, is_archive};
use crate::steps::{Archives, Selection, Step};

#[derive(Default)]
pub(super) struct OpenArchives {
    files: BTreeMap<NodeRef, File>,
    pub members: Archives,
}

impl OpenArchives {
    /// Looks into every file that is a source itself. What does not begin as a tar is copied as it is.
    pub fn find(step: &Step, selection: &Selection, source: &FileSource<'_>) -> Result<Self, Problem> {
        let unreadable = |error: io::Error| *fault::io("read a file to be added", &error);
        let mut archives = Self::default();
        for item in selection.items.iter().filter(|item| !item.is_directory) {
            if archives.files.contains_key(&item.node) {
                continue;
            }
            let mut file = source.open(item.node).map_err(unreadable)?;
            if !is_archive(&file) {
                continue;
            }
            file.rewind().map_err(unreadable)?;
            let members = ArchiveReader::new(&file)
                .and_then(ArchiveReader::entries)
                .map_err(|error| broken(step, &item.name, &error))?;
            archives.members.insert(item.node, members);
            archives.files.insert(item.node, file);
        }
        Ok(archives)
    }

    /// Calls `visit` with the content of an archive's members at these positions, which ascend.
    pub fn visit(
        &self,
        archive: NodeRef,
        positions: &[u32],
        source: &FileSource<'_>,
        mut visit: impl FnMut(u32, &mut dyn Read) -> io::Result<()>,
    ) -> io::Result<()> {
        let mut file = &self.files[&archive];
        file.rewind()?;
        ArchiveReader::new(file)?.visit(positions, |position, content| Ok(visit(position, content)?))?;
        source.verify(archive, file)
    }
}

fn broken(step: &Step, name: &[u8], error: &LayerError) -> Problem {
    let name = String::from_utf8_lossy(name);
    at_step(step, &format!("`{name}` cannot be unpacked: {error}"))
        .help("make the archive anew, or keep it as a file with `--unpack=false` or COPY")
}
