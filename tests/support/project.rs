//! A project of its own for one test: files, a store, a home, all below one temporary folder.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use super::account::{self, Account};
use super::mab::Mab;
use super::surroundings::{PATH, repository};

pub struct Project {
    folder: TempDir,
    account: Option<Account>,
}

impl Project {
    pub fn new() -> Self {
        let folder =
            tempfile::Builder::new().prefix("mab-test-").tempdir().expect("there is a place for files");
        for name in ["work", "home", "tmp"] {
            fs::create_dir(folder.path().join(name)).expect("the folder is new");
        }
        Self { folder, account: None }
    }

    /// A project with this build file.
    pub fn of(multiarch: &str) -> Self {
        Self::new().file("multiarch.toml", multiarch)
    }

    /// One target, `app`, for both platforms, with this Dockerfile; its base is the named context `busybox`.
    pub fn app(base: &Path, dockerfile: &str) -> Self {
        Self::of(&app_file(base, "linux/amd64\", \"linux/arm64")).file("Dockerfile", dockerfile)
    }

    /// The same for this machine's platform only.
    pub fn native_app(base: &Path, dockerfile: &str) -> Self {
        Self::of(&app_file(base, &native())).file("Dockerfile", dockerfile)
    }

    /// The example monorepo, with the build file at its root.
    pub fn shop(base: &Path) -> Self {
        let project = Self::new();
        copy_tree(&repository().join("examples/shop"), &project.path("examples/shop"));
        let text = fs::read_to_string(repository().join("multiarch.toml")).expect("the example has a file");
        project.file("multiarch.toml", &text.replace(".base/busybox", base.to_str().expect("a Unicode path")))
    }

    pub fn file(self, path: &str, text: &str) -> Self {
        self.write(path, text);
        self
    }

    pub fn write(&self, path: &str, text: impl AsRef<[u8]>) {
        let path = self.path(path);
        fs::create_dir_all(path.parent().expect("below the project")).expect("the folder is writable");
        fs::write(path, text).expect("the folder is writable");
    }

    /// Runs git in the project's folder, as somebody of no account; what it said.
    pub fn git(&self, arguments: &[&str]) -> String {
        let mut git = Command::new("git");
        git.arg("-C").arg(self.path("."));
        git.args(["-c", "user.name=a", "-c", "user.email=a@example.com", "-c", "commit.gpgsign=false"]);
        // One time for all: commits of the same content have the same name.
        git.env("GIT_COMMITTER_DATE", "2026-01-02T03:04:05Z").env("GIT_CONFIG_GLOBAL", "/dev/null");
        let ran = git.args(arguments).output().expect("git starts");
        assert!(ran.status.success(), "git {arguments:?}: {}", String::from_utf8_lossy(&ran.stderr));
        String::from_utf8_lossy(&ran.stdout).trim().to_string()
    }

    /// Replaces text in a file, which must hold it.
    pub fn edit(&self, path: &str, from: &str, to: &str) {
        let text = self.read(path);
        assert!(text.contains(from), "{path} has no `{from}`");
        self.write(path, text.replace(from, to));
    }

    pub fn read(&self, path: &str) -> String {
        fs::read_to_string(self.path(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
    }

    /// Gives everything to another account, and runs `mab` as it from now on.
    pub fn owned_by(mut self, account: Account) -> Self {
        account::give(self.folder.path());
        self.account = Some(account);
        self
    }

    /// A path in the project's working directory.
    pub fn path(&self, path: &str) -> PathBuf {
        self.folder.path().join("work").join(path)
    }

    /// The folder that holds all of the project: `work`, `home`, `store`, `tmp`.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub fn store(&self) -> PathBuf {
        self.folder.path().join("store")
    }

    /// A run of `mab` here, with an environment of nothing but what it must have.
    pub fn mab(&self, arguments: &[&str]) -> Mab {
        let mut mab = Mab::new(self.folder.path(), self.account.as_ref());
        mab.arguments(arguments).env("PATH", PATH).env("MAB_STORE", self.store());
        // Wide enough that where a line breaks does not depend on the folder's name.
        mab.env("COLUMNS", "500");
        mab.env("HOME", self.folder.path().join("home")).env("TMPDIR", self.folder.path().join("tmp"));
        mab
    }

    /// `mab bake` with these further arguments, which must succeed.
    pub fn bake(&self, arguments: &[&str]) -> super::Ran {
        self.mab(&["bake"]).with(arguments).run().succeeded()
    }
}

impl Drop for Project {
    fn drop(&mut self) {
        // Trees in the store may hold folders without the right to look into them.
        make_removable(self.folder.path());
    }
}

fn make_removable(folder: &Path) {
    use std::os::unix::fs::PermissionsExt as _;
    let Ok(metadata) = fs::symlink_metadata(folder) else { return };
    if !metadata.is_dir() {
        return;
    }
    if metadata.permissions().mode() & 0o700 != 0o700 {
        let _ = fs::set_permissions(folder, fs::Permissions::from_mode(0o700));
    }
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        make_removable(&entry.path());
    }
}

/// This machine's platform as build files name it.
pub fn native() -> String {
    let architecture = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    };
    format!("linux/{architecture}")
}

fn app_file(base: &Path, platforms: &str) -> String {
    format!(
        "[target.app]\ncontext = \".\"\nplatforms = [\"{platforms}\"]\n\
         contexts = {{ busybox = \"oci-layout://{}\" }}\n",
        base.display()
    )
}

pub fn copy_tree(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("the target is writable");
    for entry in fs::read_dir(from).expect("the source is there") {
        let entry = entry.expect("the source is readable");
        let (from, to) = (entry.path(), to.join(entry.file_name()));
        if entry.file_type().expect("the source is readable").is_dir() {
            copy_tree(&from, &to);
        } else {
            fs::copy(&from, &to).expect("the target is writable");
        }
    }
}
