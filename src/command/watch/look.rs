//! One look at everything that decides a bake's result on this machine: build files and what they include, the lock,
//! Dockerfiles, ignore files, secrets, layouts and archives, and of contexts what steps reach.
//!
//! What outputs write is not looked at, or a bake would be the reason of the next. What comes from elsewhere is looked
//! up in every bake and wakes none. What the triggers of base images take is known once a bake has found it out.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::recorder::Recorder;
use crate::base::Platform;
use crate::command::bake::BakeOptions;
use crate::command::build_files::{self, BuildFiles};
use crate::command::changed::reach::{Reach, copies};
use crate::command::clean;
use crate::command::project::{self, Loaded};
use crate::command::session;
use crate::config::{self, Files as _, import};
use crate::context::{Context as Walked, IgnoreFile};
use crate::diag::Source;
use crate::dockerfile::Dockerfile;
use crate::facts::{Facts, GitFacts};
use crate::lock;
use crate::model::{self, Context, Dest, Output, SecretSource, Variant};
use crate::plan;
use crate::steps::{CopyFrom, CopyOp};
use crate::store::Stamp;

/// All inputs, as they looked at one time.
#[derive(Clone, Debug, Default)]
pub struct Look {
    /// When it began and ended, in nanoseconds since the epoch.
    span: (i64, i64),
    seen: BTreeMap<PathBuf, Seen>,
    /// Where the build file asks for git.
    git: Option<GitFacts>,
    /// Where changes of all this show.
    pub folders: BTreeSet<PathBuf>,
    /// What is read from standard input.
    pub stdin: Option<&'static str>,
}

/// What the steps of images take, by target and platform.
pub type Learnt = BTreeMap<(String, Platform), Vec<CopyOp>>;

#[derive(Clone, Debug, PartialEq, Eq)]
enum Seen {
    Absent,
    /// Looked at, as it is.
    There(Stamp),
    /// The names in a directory.
    Names(BTreeSet<String>),
}

/// Times of changes are those of a clock that ticks this often at least: a change shortly before a look, or during it,
/// may be followed by one that leaves the same times.
pub const TICK: Duration = Duration::from_millis(20);

impl Look {
    pub fn take(options: &BakeOptions, facts: &mut Facts, learnt: &Learnt) -> Self {
        let begin = now();
        let look = Self::take_parts(options, facts, learnt);
        Self { span: (begin, now()), ..look }
    }

    /// Takes over which files a later look saw, as far as they have not changed in between.
    pub fn adopt(&mut self, later: Self) {
        // What is gone has changed, whoever takes it.
        self.seen.retain(|path, _| later.seen.contains_key(path) || fs::symlink_metadata(path).is_err());
        let doubtful = self.doubtful();
        let is_as_it_was = |seen: &Seen| !matches!(seen, Seen::There(stamp) if stamp.ctime >= doubtful);
        for (path, seen) in later.seen.into_iter().filter(|(_, seen)| is_as_it_was(seen)) {
            self.seen.entry(path).or_insert(seen);
        }
        self.folders.extend(later.folders);
    }

    fn take_parts(options: &BakeOptions, facts: &mut Facts, learnt: &Learnt) -> Self {
        let mut look = Self::default();
        let current = facts.directories.current.clone();
        let files = match build_files::find(&options.project, facts) {
            Ok(files) => files,
            Err(_) => {
                let usual = [config::FILE_NAME].into_iter().chain(import::DEFAULT_FILES);
                let named = options.project.files.iter().map(PathBuf::as_path);
                named.chain(usual.map(Path::new)).for_each(|name| look.file(&current.join(name)));
                return look;
            }
        };
        if let BuildFiles::Foreign(files) = &files {
            files.iter().for_each(|file| look.file(&current.join(&file.name)));
        }
        let recorder = Recorder::default();
        let loaded = project::load_from(files, &options.project, facts, &recorder);
        let asked = recorder.asked();
        asked.files.iter().for_each(|path| look.file(path));
        asked.directories.iter().for_each(|path| look.directory(path));
        if let Ok(loaded) = loaded {
            look.project(&loaded, options, facts, learnt);
        }
        look.git = facts.git.clone();
        if look.git.is_some() {
            let repository = current.ancestors().map(|folder| folder.join(".git")).find(|path| path.exists());
            look.folders.extend(repository);
        }
        look
    }

    /// How many files and directories were seen.
    pub fn files(&self) -> usize {
        self.seen.len()
    }

    /// What is not as it was. If that is nothing, what may not be, and else what is looked at for the first time, or no
    /// more.
    pub fn differences(&self, earlier: &Self) -> Vec<PathBuf> {
        let (mut changed, mut doubted, mut others) = (Vec::new(), Vec::new(), Vec::new());
        let paths: BTreeSet<&PathBuf> = self.seen.keys().chain(earlier.seen.keys()).collect();
        for path in paths {
            let list = match (self.seen.get(path), earlier.seen.get(path)) {
                (Some(now), Some(then)) if now != then => &mut changed,
                (Some(_), Some(Seen::There(stamp))) if earlier.doubts(stamp) => &mut doubted,
                (Some(Seen::There(stamp)), None) if stamp.ctime >= earlier.doubtful() => &mut changed,
                (None, Some(Seen::There(_))) if fs::symlink_metadata(path).is_err() => &mut changed,
                (Some(_), Some(_)) | (Some(Seen::Absent), None) | (None, Some(Seen::Absent)) => continue,
                (Some(_), None) | (None, Some(_)) | (None, None) => &mut others,
            };
            list.push(path.clone());
        }
        if self.git != earlier.git {
            changed.push(PathBuf::from(".git"));
        }
        [changed, doubted, others].into_iter().find(|list| !list.is_empty()).unwrap_or_default()
    }

    /// Whether a change after the look is bound to show in what was seen.
    pub fn is_settled(&self) -> bool {
        !self.seen.values().any(|seen| matches!(seen, Seen::There(stamp) if self.doubts(stamp)))
    }

    fn doubts(&self, stamp: &Stamp) -> bool {
        (self.doubtful()..=self.span.1).contains(&stamp.ctime)
    }

    /// Changes from then on may be followed by ones that look the same.
    fn doubtful(&self) -> i64 {
        self.span.0.saturating_sub(i64::try_from(TICK.as_nanos()).unwrap_or(i64::MAX))
    }

    fn file(&mut self, path: &Path) {
        let seen = match fs::metadata(path) {
            Ok(metadata) => Seen::There(stamp(&metadata)),
            Err(_) => Seen::Absent,
        };
        self.folders.extend(path.parent().map(Path::to_path_buf));
        // Where it is when it is reached through a link.
        let real = fs::canonicalize(path).ok();
        self.folders.extend(real.as_deref().and_then(Path::parent).map(Path::to_path_buf));
        self.seen.insert(path.to_path_buf(), seen);
    }

    fn directory(&mut self, path: &Path) {
        let entries = config::Disk.list(path).unwrap_or_default();
        let names = entries.into_iter().map(|entry| entry.name).collect();
        self.folders.insert(path.to_path_buf());
        self.seen.insert(path.join("*"), Seen::Names(names));
    }

    fn project(&mut self, loaded: &Loaded, options: &BakeOptions, facts: &Facts, learnt: &Learnt) {
        self.file(&loaded.folder.join(lock::FILE_NAME));
        let names = project::names_or_all(&loaded.project, &loaded.names);
        let Ok(selection) = plan::select(&loaded.project, &names) else { return };
        let mut trees = Trees::default();
        for target in selection.all() {
            for variant in &target.variants {
                let learnt = learnt.get(&(target.name.clone(), variant.platform.value.clone()));
                self.variant(variant, facts, learnt.map_or(&[], Vec::as_slice), &mut trees);
            }
        }
        let targets = selection.all().flat_map(|target| target.outputs.iter().map(|output| &output.value));
        let outputs = options.request.outputs.iter().flatten().chain(targets).filter_map(written);
        let metadata = options.metadata.iter().map(|path| facts.directories.current.join(path));
        let store = session::store_path(&options.session, facts).ok();
        let ours: Vec<PathBuf> = outputs.chain(metadata).chain(store).map(|path| real(&path)).collect();
        for ((root, dockerfile), reaches) in trees.0 {
            self.tree(&root, dockerfile.as_deref(), reaches.into_values().collect(), &ours);
        }
    }

    fn variant(&mut self, variant: &Variant, facts: &Facts, learnt: &[CopyOp], trees: &mut Trees) {
        for context in std::iter::once(&variant.context).chain(variant.contexts.values()) {
            match &context.value {
                Context::Archive(path) => self.file(path),
                Context::OciLayout { path, .. } => self.file(&path.join("index.json")),
                Context::Stdin => self.stdin = Some("a context"),
                Context::Directory(_) | Context::Image(_) | Context::Target(_) | Context::Remote { .. } => {}
            }
        }
        for secret in variant.secrets.values() {
            match &secret.value {
                SecretSource::File(path) | SecretSource::ById(path) => self.file(path),
                SecretSource::Env(_) | SecretSource::Variable { .. } => {}
            }
        }
        let text = match (&variant.dockerfile, &variant.context.value) {
            (model::Dockerfile::Inline(text), _) => Some((None, text.value.clone())),
            (model::Dockerfile::File(file), Context::Directory(root)) => {
                let path = clean(&root.join(&file.value));
                self.file(&path);
                fs::read_to_string(&path).ok().map(|text| (Some(path), text))
            }
            (model::Dockerfile::Stdin, _) => {
                self.stdin = Some("a Dockerfile");
                None
            }
            (model::Dockerfile::File(_), _) => None,
        };
        let Some((path, text)) = text else { return };
        // What is wrong with it is the bake's to say, and mended in the file.
        let Ok(dockerfile) = Dockerfile::parse(&Source::new("Dockerfile", text)) else { return };
        let copies = copies(&dockerfile, variant, &session::build_platform(facts)).unwrap_or_default();
        for copy in copies.iter().chain(learnt) {
            trees.add(copy, variant, path.as_deref());
        }
    }

    /// What steps reach of a context, and all of its folders.
    fn tree(&mut self, root: &Path, dockerfile: Option<&Path>, reaches: Vec<Reach>, ours: &[PathBuf]) {
        if let Some(dockerfile) = dockerfile {
            self.file(&PathBuf::from(format!("{}.dockerignore", dockerfile.display())));
        }
        self.file(&root.join(".dockerignore"));
        self.folders.insert(root.to_path_buf());
        let walk = || {
            let ignore = IgnoreFile::find(root, dockerfile)?;
            Walked::walk(root, ignore.as_ref(), None)
        };
        let Ok(walked) = walk() else { return };
        for entry in walked.entries() {
            let path = walked.root().join(std::ffi::OsStr::from_bytes(&entry.path));
            if ours.iter().any(|ours| path.starts_with(ours)) {
                continue;
            }
            let is_directory = entry.is_directory();
            let relative = Path::new(std::ffi::OsStr::from_bytes(&entry.path));
            if reaches.iter().any(|reach| reach.has(relative, is_directory)) {
                let stamp = match is_directory {
                    // What is in it shows in the names of what is seen.
                    true => Stamp { size: 0, mtime: 0, ctime: 0, ..entry.stamp },
                    false => entry.stamp,
                };
                self.seen.insert(path.clone(), Seen::There(stamp));
            }
            if is_directory {
                self.folders.insert(path);
            }
        }
    }
}

/// Directories that are contexts, each with the Dockerfile whose ignore file counts, and what steps take of them; equal
/// steps once.
#[derive(Default)]
struct Trees(BTreeMap<(PathBuf, Option<PathBuf>), BTreeMap<ReachKey, Reach>>);

type ReachKey = (Vec<String>, Vec<String>, bool, bool);

impl Trees {
    fn add(&mut self, copy: &CopyOp, variant: &Variant, dockerfile: Option<&Path>) {
        let (context, dockerfile) = match &copy.from {
            CopyFrom::MainContext => (Some(&variant.context), dockerfile),
            CopyFrom::Context(name) => (variant.contexts.get(name), None),
            CopyFrom::Remote(_) | CopyFrom::Step(_) => return,
        };
        let Some(Context::Directory(root)) = context.map(|context| &context.value) else { return };
        let reaches = self.0.entry((root.clone(), dockerfile.map(Path::to_path_buf))).or_default();
        let key = (copy.sources.clone(), copy.exclude.clone(), copy.parents, copy.is_mounted);
        reaches.entry(key).or_insert_with(|| Reach::of(copy, root));
    }
}

/// The path that an output writes.
fn written(output: &Output) -> Option<PathBuf> {
    match output {
        Output::Oci { dest: Dest::Path(path), .. }
        | Output::Docker { dest: Some(Dest::Path(path)), .. }
        | Output::Tar { dest: Dest::Path(path), .. }
        | Output::Local { dest: path, .. } => Some(path.clone()),
        Output::Oci { dest: Dest::Stdout, .. }
        | Output::Docker { dest: None | Some(Dest::Stdout), .. }
        | Output::Tar { dest: Dest::Stdout, .. }
        | Output::Image { .. }
        | Output::CacheOnly => None,
    }
}

/// The path without links, also of what is not there yet.
fn real(path: &Path) -> PathBuf {
    let resolved = |path: &Path| fs::canonicalize(path);
    resolved(path).unwrap_or_else(|_| match (path.parent(), path.file_name()) {
        (Some(parent), Some(name)) => {
            resolved(parent).map_or_else(|_: io::Error| clean(path), |parent| parent.join(name))
        }
        _ => clean(path),
    })
}

fn stamp(metadata: &fs::Metadata) -> Stamp {
    let time =
        |seconds: i64, nanoseconds: i64| seconds.saturating_mul(1_000_000_000).saturating_add(nanoseconds);
    Stamp {
        device: metadata.dev(),
        inode: metadata.ino(),
        size: metadata.size(),
        mtime: time(metadata.mtime(), metadata.mtime_nsec()),
        ctime: time(metadata.ctime(), metadata.ctime_nsec()),
        mode: u16::try_from(metadata.mode() & 0xffff).unwrap_or(0),
    }
}

fn now() -> i64 {
    let passed = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |passed| passed.as_nanos());
    i64::try_from(passed).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_that_are_taken_from_now_on_or_no_more_have_not_changed() {
        let folder = tempfile::tempdir().unwrap();
        let [taken, dropped, new, gone, changed] =
            ["taken", "dropped", "new", "gone", "changed"].map(|name| folder.path().join(name));
        for path in [&taken, &dropped, &new, &changed] {
            fs::write(path, "").unwrap();
        }
        let begin = 1_000_000_000;
        let stamp = |ctime| Seen::There(Stamp { device: 1, inode: 1, size: 0, mtime: 0, ctime, mode: 0 });
        let look = |span: i64, seen: &[(&PathBuf, i64)]| Look {
            span: (span, span),
            seen: seen.iter().map(|(path, ctime)| ((*path).clone(), stamp(*ctime))).collect(),
            ..Look::default()
        };
        let mut last = look(begin, &[(&taken, 1), (&dropped, 1)]);
        let later = look(2 * begin, &[(&taken, 1), (&new, 1)]);
        last.adopt(later.clone());
        assert_eq!(later.differences(&last), Vec::<PathBuf>::new());

        let mut last = look(begin, &[(&taken, 1), (&gone, 1)]);
        let later = look(2 * begin, &[(&taken, 1), (&changed, begin + 1)]);
        last.adopt(later.clone());
        assert_eq!(later.differences(&last), [changed, gone]);
    }
}
