//! What cases fetch: pages of a web server and repositories, served on this machine to both builders. Commits and times
//! are the same each time; the server's address is not, and is left out of records.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use crate::case::Case;
use crate::context;
use crate::support::{Repository, Web};

/// What pages say of when they are.
const PAGES: &str = "Sun, 06 Nov 1994 08:49:47 GMT";
/// When commits are of: times that records leave out, since files of a repository have them here, and those of its
/// fetching in BuildKit.
const FIRST: i64 = 1_500_000_200;
const SECOND: i64 = 1_500_000_300;

/// What the server is called in records.
const NOWHERE: &str = "elsewhere.example";

pub struct Elsewhere {
    web: Web,
    /// Repositories by the names they are served under.
    folder: PathBuf,
    repositories: Mutex<Vec<Repository>>,
}

/// Where a case finds what is served for it.
pub struct Served {
    web: String,
    git: String,
}

impl Elsewhere {
    /// `folder` is made, to serve repositories from.
    pub fn new(folder: PathBuf) -> Self {
        fs::create_dir_all(&folder).expect("the project is writable");
        let web = Web::start();
        web.repositories(&folder, None);
        Self { web, folder, repositories: Mutex::default() }
    }

    /// Serves what a case describes, if it describes anything.
    pub fn serve(&self, case: &Case) -> Option<Served> {
        let (pages, repository) = (case.text("pages"), case.text("repository"));
        if pages.is_empty() && repository.is_empty() {
            return None;
        }
        let made = tempfile::tempdir().expect("there is a place for files");
        context::make(made.path(), &pages, FIRST);
        self.serve_pages(made.path(), &format!("/{}", case.name));
        if !repository.is_empty() {
            self.serve_repository(&case.name, &repository);
        }
        let git = self.web.url(&format!("/git/{}.git", case.name));
        Some(Served { web: self.web.url(&format!("/{}", case.name)), git })
    }

    fn serve_pages(&self, folder: &Path, url: &str) {
        for entry in fs::read_dir(folder).expect("it was just made").flatten() {
            let url = format!("{url}/{}", entry.file_name().to_string_lossy());
            if entry.path().is_dir() {
                self.serve_pages(&entry.path(), &url);
                continue;
            }
            self.web.page(&url, fs::read(entry.path()).expect("it was just made"));
            // Some servers do not say when a file is of.
            if !url.ends_with("undated") {
                self.web.header(&url, "Last-Modified", PAGES);
            }
        }
    }

    /// Two commits: what is described, with a tag, and one with the file `second` as well.
    fn serve_repository(&self, name: &str, description: &str) {
        let repository = Repository::new(name);
        context::make(&repository.path(""), description, FIRST);
        repository.commit(FIRST);
        repository.git(&["tag", "v1"]);
        repository.file("second", "second\n").commit(SECOND);
        let served = repository.served().join(format!("{name}.git"));
        symlink(served, self.folder.join(format!("{name}.git"))).expect("the project is writable");
        self.repositories.lock().expect("nobody panicked").push(repository);
    }

    pub fn without_address(&self, text: &str) -> String {
        text.replace(&self.web.address, NOWHERE)
    }
}

impl Served {
    pub fn in_text(&self, text: &[u8]) -> Vec<u8> {
        let text = std::str::from_utf8(text).expect("what fetches is text");
        text.replace("{web}", &self.web).replace("{git}", &self.git).into_bytes()
    }
}
