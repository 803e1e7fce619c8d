//! A git repository of a test's own, with a bare copy that a server can serve.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use tempfile::TempDir;

pub struct Repository {
    folder: TempDir,
    name: String,
}

impl Repository {
    pub fn new(name: &str) -> Self {
        let folder =
            tempfile::Builder::new().prefix("mab-test-").tempdir().expect("there is a place for files");
        let this = Self { folder, name: name.to_string() };
        fs::create_dir_all(this.work()).expect("the folder is new");
        this.git(&["init", "--quiet", "--initial-branch=main"]);
        this
    }

    fn work(&self) -> PathBuf {
        self.folder.path().join("work")
    }

    /// The folder that holds the bare copy, `NAME.git`.
    pub fn served(&self) -> PathBuf {
        self.folder.path().join("served")
    }

    pub fn file(&self, path: &str, text: &str) -> &Self {
        let path = self.work().join(path);
        fs::create_dir_all(path.parent().expect("below the repository")).expect("it is writable");
        fs::write(path, text).expect("it is writable");
        self
    }

    pub fn path(&self, path: &str) -> PathBuf {
        self.work().join(path)
    }

    /// Commits everything at a time of its own, and returns the commit's name.
    pub fn commit(&self, time: i64) -> String {
        self.git(&["add", "--all", "--force"]);
        self.git_at(time, &["commit", "--quiet", "--allow-empty", "--message=change"]);
        self.publish();
        self.git(&["rev-parse", "HEAD"])
    }

    /// Brings the bare copy up to date.
    pub fn publish(&self) {
        let bare = self.served().join(format!("{}.git", self.name));
        if !bare.exists() {
            fs::create_dir_all(self.served()).expect("the folder is ours");
            let bare = bare.to_str().expect("a Unicode path");
            self.git(&["clone", "--quiet", "--bare", ".", bare]);
        }
        self.git(&["push", "--quiet", "--force", "--mirror", bare.to_str().expect("a Unicode path")]);
        run(Command::new("git").arg("--git-dir").arg(&bare).arg("update-server-info"));
    }

    pub fn git(&self, arguments: &[&str]) -> String {
        self.git_at(1_500_000_000, arguments)
    }

    fn git_at(&self, time: i64, arguments: &[&str]) -> String {
        let date = format!("{time} +0000");
        let mut command = Command::new("git");
        command.args(["-c", "protocol.file.allow=always"]).args(arguments).current_dir(self.work());
        command.env("GIT_AUTHOR_DATE", &date).env("GIT_COMMITTER_DATE", &date);
        run(&mut command)
    }
}

fn run(command: &mut Command) -> String {
    for who in ["AUTHOR", "COMMITTER"] {
        command.env(format!("GIT_{who}_NAME"), "Test").env(format!("GIT_{who}_EMAIL"), "test@example.com");
    }
    command.env("GIT_CONFIG_NOSYSTEM", "1").env("GIT_CONFIG_GLOBAL", "/dev/null");
    let output = command.output().expect("git is installed");
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).trim().to_string()
}
