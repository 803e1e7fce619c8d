//! Builds through caches equal builds without any: one project is edited at random, and after every edit it is baked
//! with a store that remembers all earlier states, and a cache that outlives it, and with a new store alone. Images,
//! or messages, must be the same. Now and then the old store is lost, as it is on a machine that was not there before.
//!
//! Edits keep sizes and times where they can, which is what a cache by metadata falls for: contents swapped by
//! renames, restored with their old times, changed within one tick of the clock. An epoch older than all files
//! makes equal images equal in bytes, since a cached layer keeps the times of the files that it was made of.
//!
//! A few seconds are spent by default; `MAB_SOUNDNESS_SECONDS=600` asks for more, `MAB_SOUNDNESS_SEED` for a certain
//! sequence.

#[path = "support/mod.rs"]
#[allow(dead_code, unused_imports, reason = "other tests use more of the vocabulary")]
mod support;

use std::fs::{self, File, Permissions};
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use support::Project;

/// Splitmix64, the same everywhere.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() % bound as u64).expect("it is below a usize")
    }

    fn pick<'a, T: ?Sized>(&mut self, of: &[&'a T]) -> &'a T {
        of[self.below(of.len())]
    }
}

const PATHS: [&str; 8] = ["a", "b", "c.txt", "e.txt", "d/a", "d/b", "d/e/a", "f/a"];
const CONTENTS: [&str; 4] = ["one", "two", "six", "ten"];
const TARGETS: [&str; 4] = ["b", "d/a", "../a", "nowhere"];
const IGNORED: [&str; 5] = ["", "b\n", "d\n!d/e\n", "**/a\n", "*.txt\n"];

const INSTRUCTIONS: [&str; 14] = [
    "COPY a /a",
    "COPY b c.txt /w/",
    "COPY d /d/",
    "COPY . /all/",
    "COPY *.txt /t/",
    "COPY d/* /flat/",
    "COPY --chmod=700 a /moded",
    "COPY --link a /linked/",
    "COPY --parents d/e ./ /p/",
    "COPY --exclude=a d /x/",
    "ADD f /f/",
    "WORKDIR /w/$V",
    "COPY <<file /here/\ntext $V\nfile",
    "ENV E=$V",
];

/// For a stage with a shell.
const COMMANDS: [&str; 7] = [
    "COPY d /d/",
    "COPY . /all/",
    "RUN echo $V > /value",
    "RUN --mount=type=bind,target=/m cd /m && find . -type f | sort | xargs cat > /seen",
    "RUN --mount=type=bind,source=d,target=/m ls -Rl /m | wc -l > /count",
    "RUN rm -rf /all/d && mkdir -p /all/new && ln -s new /all/link",
    "RUN --mount=type=cache,target=/kept echo $V >> /kept/values && echo kept > /kept-once",
];

struct Sandbox {
    project: Project,
    /// Of an image with a shell, if there is one here.
    base: Option<PathBuf>,
    random: Random,
    log: Vec<String>,
}

impl Sandbox {
    fn new(seed: u64) -> Self {
        let project = Project::new();
        let mut this = Self { project, base: support::base(), random: Random(seed), log: Vec::new() };
        for path in PATHS {
            this.project.write(&format!("src/{path}"), CONTENTS[0]);
        }
        this.configure();
        this.dockerfile();
        this
    }

    fn path(&self, path: &str) -> PathBuf {
        self.project.path("src").join(path)
    }

    /// Another value of the argument.
    fn configure(&mut self) {
        let value = self.random.pick(&["1", "2", "3"]);
        let base = self.base.as_ref().map_or(String::new(), |base| {
            format!("contexts = {{ shell = \"oci-layout://{}\" }}\n", base.display())
        });
        let file = format!(
            "[target.alone]\ncontext = \"src\"\ndockerfile = \"../Dockerfile\"\nargs = {{ V = \"{value}\" }}\n\
             platforms = [\"linux/amd64\", \"linux/arm64\"]\nverify = \"warn\"\n{base}\
             [target.sharing]\ninherits = [\"alone\"]\ncache = [\"shared\"]\n\
             [cache.shared]\ntype = \"local\"\npath = \"../shared-results\"\nmode = \"max\"\n"
        );
        self.project.write("multiarch.toml", file);
        self.log.push(format!("arg {value}"));
    }

    fn dockerfile(&mut self) {
        let mut text = "FROM scratch AS first\nARG V\n".to_string();
        self.instructions(&mut text, &INSTRUCTIONS, 3);
        let runs = self.base.is_some() && self.random.below(2) == 0;
        if runs {
            text.push_str("FROM --platform=$BUILDPLATFORM shell AS second\nARG V\n");
            self.instructions(&mut text, &COMMANDS, 3);
        }
        text.push_str("FROM scratch\nARG V\nCOPY --from=first / /first/\n");
        if runs {
            text.push_str("COPY --from=second / /second/\n");
        }
        self.instructions(&mut text, &INSTRUCTIONS, 2);
        text.push_str("LABEL v=$V\n");
        self.project.write("Dockerfile", &text);
        self.log.push(format!("Dockerfile\n{text}"));
    }

    fn instructions(&mut self, text: &mut String, of: &[&str], count: usize) {
        for _ in 0..count {
            text.push_str(self.random.pick(of));
            text.push('\n');
        }
    }

    /// Changes one thing, and leaves no more traces than it must.
    fn edit(&mut self) {
        let path = self.random.pick(&PATHS);
        let other = self.random.pick(&PATHS);
        let content = self.random.pick(&CONTENTS);
        let what = self.random.below(13);
        let (at, to) = (self.path(path), self.path(other));
        let told = match what {
            0 | 1 => {
                put(&at, |at| fs::write(at, content));
                format!("write {path} {content}")
            }
            2 | 3 => {
                let times = modified(&at);
                put(&at, |at| fs::write(at, content));
                times.into_iter().for_each(|time| set_modified(&at, time));
                format!("write {path} {content}, its time kept")
            }
            4 => {
                overwrite(&at, content);
                format!("overwrite {path} {content} in place, its time kept")
            }
            5 => {
                swap(&at, &to, &self.project.path("swapped"));
                format!("swap {path} and {other}")
            }
            6 => {
                let times = modified(&at);
                if at.is_file() && at != to {
                    let bytes = fs::read(&at).expect("it is a file");
                    put(&to, |to| fs::write(to, &bytes));
                    times.into_iter().for_each(|time| set_modified(&to, time));
                }
                format!("copy {path} to {other} with its time")
            }
            7 => {
                remove(&at);
                format!("remove {path}")
            }
            8 => {
                let mode = [0o644, 0o755, 0o600, 0o4755][self.random.below(4)];
                if at.symlink_metadata().is_ok_and(|metadata| metadata.is_file()) {
                    fs::set_permissions(&at, Permissions::from_mode(mode)).expect("it is ours");
                }
                format!("mode {mode:o} of {path}")
            }
            9 => {
                let target = self.random.pick(&TARGETS);
                put(&at, |at| symlink(target, at));
                format!("link {path} to {target}")
            }
            10 => {
                put(&at, |at| fs::create_dir(at));
                format!("folder {path}")
            }
            11 => {
                let rules = self.random.pick(&IGNORED);
                self.project.write("src/.dockerignore", rules);
                format!("ignore {rules:?}")
            }
            _ => return if self.random.below(2) == 0 { self.configure() } else { self.dockerfile() },
        };
        self.log.push(told);
    }

    /// What a bake comes to: the image's digest, or the message.
    fn bake(&self, target: &str, store: &Path) -> Result<String, String> {
        let bake = self.project.mab(&["bake", target, "--metadata-file", "metadata.json"]);
        let bake = bake.with_env("MAB_STORE", store).with_env("SOURCE_DATE_EPOCH", "1");
        let ran = bake.run();
        match ran.code {
            Some(0) => {
                let text = self.project.read("metadata.json");
                let metadata: serde_json::Value = serde_json::from_str(&text).expect("it is JSON");
                Ok(metadata[target]["containerimage.digest"].as_str().expect("an image").to_string())
            }
            // Which platform fails first is a matter of chance.
            code => {
                let messages = ran.stderr.lines().filter(|line| line.contains('×'));
                let mut messages: Vec<&str> = messages.map(str::trim).collect();
                messages.sort_unstable();
                messages.dedup();
                Err(format!("{code:?} {messages:?}"))
            }
        }
    }
}

/// Puts something in the place of whatever is there.
fn put(at: &Path, make: impl FnOnce(&Path) -> std::io::Result<()>) {
    let parent = at.parent().expect("it is in the context");
    // A link on the way would lead elsewhere.
    if !parent.symlink_metadata().is_ok_and(|metadata| metadata.is_dir()) {
        remove(parent);
        if let Some(above) = parent.parent().filter(|above| !above.is_dir() || above.is_symlink()) {
            remove(above);
        }
        fs::create_dir_all(parent).expect("nothing is in its way");
    }
    remove(at);
    make(at).expect("nothing is in its way");
}

fn remove(at: &Path) {
    match at.symlink_metadata() {
        Ok(metadata) if metadata.is_dir() => fs::remove_dir_all(at).expect("it is ours"),
        Ok(_) => fs::remove_file(at).expect("it is ours"),
        Err(_) => {}
    }
}

fn modified(at: &Path) -> Option<SystemTime> {
    at.symlink_metadata().ok().filter(fs::Metadata::is_file)?.modified().ok()
}

fn set_modified(at: &Path, time: SystemTime) {
    File::options().write(true).open(at).and_then(|file| file.set_modified(time)).expect("it is ours");
}

/// The same inode with other bytes of the same number.
fn overwrite(at: &Path, content: &str) {
    let Some(time) = modified(at) else { return };
    let file = File::options().write(true).open(at).expect("it is ours");
    std::os::unix::fs::FileExt::write_all_at(&file, content.as_bytes(), 0).expect("it is ours");
    file.set_modified(time).expect("it is ours");
}

/// By renames alone, which change no file's times.
fn swap(one: &Path, other: &Path, aside: &Path) {
    let is_apart = !one.starts_with(other) && !other.starts_with(one);
    if !is_apart || one.symlink_metadata().is_err() || other.symlink_metadata().is_err() {
        return;
    }
    let renamed =
        fs::rename(one, aside).and_then(|()| fs::rename(other, one)).and_then(|()| fs::rename(aside, other));
    renamed.expect("they are ours");
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

#[test]
fn a_build_through_caches_equals_one_without() {
    let seed = number("MAB_SOUNDNESS_SEED").unwrap_or(1);
    let budget = Duration::from_secs(number("MAB_SOUNDNESS_SECONDS").unwrap_or(12));
    let mut sandbox = Sandbox::new(seed);
    let begin = Instant::now();
    let (mut rounds, mut images, mut machine) = (0, 0, 0);
    while begin.elapsed() < budget {
        for _ in 0..=sandbox.random.below(3) {
            sandbox.edit();
        }
        if sandbox.random.below(6) == 0 {
            machine += 1;
            sandbox.log.push("another machine".to_string());
        }
        let cached = sandbox.bake("sharing", &sandbox.project.folder().join(format!("machine-{machine}")));
        let fresh = sandbox.project.folder().join(format!("fresh-{rounds}"));
        let without = sandbox.bake("alone", &fresh);
        // What commands made may belong to others than this user; it goes with the project's folder.
        let _ = fs::remove_dir_all(&fresh);
        let last = sandbox.log.iter().rev().take(12).rev().cloned().collect::<Vec<_>>().join("\n");
        assert_eq!(cached, without, "seed {seed}, round {rounds}, after:\n{last}");
        rounds += 1;
        images += usize::from(cached.is_ok());
    }
    println!("{rounds} edits, {images} images");
    assert!(images * 4 > rounds, "too few of {rounds} builds made an image: {images}");
}
