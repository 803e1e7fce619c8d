//! The project as the build file of a revision says it, with today's surroundings: what then differs is what the
//! file says. Files that have not changed since are read from disk.

use std::io;
use std::path::Path;
use std::sync::Arc;

use crate::command::build_files::{self, BuildFiles};
use crate::command::project::{self, ProjectOptions};
use crate::config::{Disk, Entry, Files};
use crate::diag::Source;
use crate::dockerfile::Dockerfile;
use crate::facts::{Changes, Facts};
use crate::model::{Project, Target, Variant};

pub struct Earlier {
    /// `None` when the file was not there, or was wrong.
    pub project: Option<Project>,
}

impl Earlier {
    pub fn read(changes: &Changes, options: &ProjectOptions, facts: &mut Facts) -> Self {
        let disk = AtRevision(changes);
        let files = build_files::find(options, facts).map(|files| match files {
            BuildFiles::Own(file) => BuildFiles::Own(file),
            BuildFiles::Foreign(files) => BuildFiles::Foreign(build_files::read_again(files, &disk, facts)),
        });
        let loaded = files.and_then(|files| project::load_from(files, options, facts, &disk));
        Self { project: loaded.ok().map(|loaded| loaded.project) }
    }

    pub fn dockerfile(&self, changes: &Changes, path: &Path) -> Option<Arc<Dockerfile>> {
        let text = changes.read(path).ok()?;
        Dockerfile::parse(&Source::new(path.display().to_string(), text)).ok().map(Arc::new)
    }

    /// The same platform of the same target.
    pub fn variant(&self, target: &Target, variant: &Variant) -> Option<&Variant> {
        self.project.as_ref()?.targets.get(&target.name)?.variant(&variant.platform.value)
    }
}

/// The disk as it was.
struct AtRevision<'a>(&'a Changes);

impl Files for AtRevision<'_> {
    fn read(&self, path: &Path) -> io::Result<String> {
        if self.0.has(path) { self.0.read(path) } else { Disk.read(path) }
    }

    fn list(&self, directory: &Path) -> io::Result<Vec<Entry>> {
        if self.0.within(directory).next().is_none() {
            return Disk.list(directory);
        }
        let entries = self.0.list(directory)?;
        Ok(entries.into_iter().map(|(name, is_directory)| Entry { name, is_directory }).collect())
    }
}
