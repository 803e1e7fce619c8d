//! What names files in a git repository: a URL, and in its fragment or query a ref, a folder and options.
//!
//! Follows the rules by which BuildKit's Dockerfile frontend tells repositories from other URLs: `git://` and
//! `ssh://` always are ones, `http(s)://` when the path ends in `.git`, `user@host:path` as scp has it.

use std::fmt;

use super::percent::{decoded, query_pairs};

/// Files of a repository, as asked for; nothing is known of the repository yet.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GitReference {
    /// What git is given: no fragment, no query, credentials as written.
    pub remote: String,
    /// A branch, a tag, a full ref name or a commit; the default branch without one.
    pub reference: Option<String>,
    /// The commit, or how its name begins.
    pub checksum: Option<String>,
    /// Clean and relative; `None` for the root.
    pub subdir: Option<String>,
    pub keep_git_dir: Option<bool>,
    pub submodules: Option<bool>,
    pub times: GitTimes,
    /// Trust `checksum`, and do not ask what the ref is.
    pub fetch_by_commit: bool,
    /// `github.com/…` without a scheme, which in a Dockerfile is a file's path.
    pub looks_like_a_path: bool,
}

/// What the files' times are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum GitTimes {
    /// The committer's time, equal wherever it is checked out.
    #[default]
    Commit,
    /// When they were checked out.
    Checkout,
}

/// Why a URL of a repository cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParseGitReferenceError {
    #[error("`{0}` has no value")]
    NoValue(String),
    #[error("`{0}` is given twice")]
    Twice(String),
    #[error("`{0}` is no option of a git URL")]
    Unknown(String),
    #[error("`{value}` is no value for `{option}`")]
    Value { option: String, value: String },
    #[error("it names two {what}s, `{first}` and `{second}`")]
    Conflict { what: &'static str, first: String, second: String },
    #[error("`{0}` is no ref: it would be an option of git")]
    Option(String),
    #[error("`{0}` is no commit: that is hex digits")]
    Checksum(String),
    #[error("fetch-by-commit needs a full commit as checksum")]
    NoCommit,
}

type Parsed<T> = Result<T, ParseGitReferenceError>;

impl GitReference {
    /// `None` when the text names something else than a repository.
    pub fn parse(text: &str) -> Option<Parsed<Self>> {
        if let Some(rest) = text.strip_prefix("github.com/") {
            let full = format!("https://github.com/{rest}");
            return Some(
                Self::read(&full, Encoding::Percent).map(|read| Self { looks_like_a_path: true, ..read }),
            );
        }
        match scheme(text) {
            Some(scheme) => match scheme.as_str() {
                "git" | "ssh" => Some(Self::read(text, Encoding::Percent)),
                "http" | "https" => {
                    path_of(text).ends_with(".git").then(|| Self::read(text, Encoding::Percent))
                }
                _ => None,
            },
            None => is_scp_like(text).then(|| Self::read(text, Encoding::Plain)),
        }
    }

    fn read(text: &str, encoding: Encoding) -> Parsed<Self> {
        let (rest, fragment) = text.split_once('#').unwrap_or((text, ""));
        let (remote, query) = rest.split_once('?').unwrap_or((rest, ""));
        let fragment = match encoding {
            Encoding::Percent => decoded(fragment),
            Encoding::Plain => fragment.to_string(),
        };
        let (reference, subdir) = fragment.split_once(':').unwrap_or((&fragment, ""));
        let mut options =
            Options { reference: given(reference), subdir: given(&clean(subdir)), ..Options::default() };
        options.read(query)?;
        options.finish(remote)
    }

    /// Whether `text` can be the name of a commit: all of its hex digits.
    pub fn is_commit(text: &str) -> bool {
        matches!(text.len(), 40 | 64) && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
    }

    /// The commit, where the reference alone says it.
    pub fn commit(&self) -> Option<&str> {
        let named = self.reference.as_deref().filter(|reference| Self::is_commit(reference));
        named.or_else(|| self.checksum.as_deref().filter(|_| self.fetch_by_commit))
    }

    /// As files of an ADD with these flags.
    pub fn with_flags(mut self, checksum: Option<String>, keep_git_dir: Option<bool>) -> Parsed<Self> {
        if let (Some(first), Some(second)) = (self.keep_git_dir, keep_git_dir)
            && first != second
        {
            let conflict = |value: bool| format!("keep-git-dir={value}");
            let (first, second) = (conflict(first), conflict(second));
            return Err(ParseGitReferenceError::Conflict { what: "value", first, second });
        }
        self.keep_git_dir = self.keep_git_dir.or(keep_git_dir);
        if let Some(checksum) = checksum {
            check_checksum(&checksum)?;
            self.checksum = Some(agreed("checksum", self.checksum.take(), checksum)?);
        }
        Ok(self)
    }

    /// The host with its port, as the remote names it.
    pub fn host(&self) -> &str {
        let rest = self.remote.split_once("://").map_or(self.remote.as_str(), |(_, rest)| rest);
        let authority = rest.split(if self.is_scp_like() { ':' } else { '/' }).next().unwrap_or_default();
        authority.rsplit_once('@').map_or(authority, |(_, host)| host)
    }

    fn is_scp_like(&self) -> bool {
        scheme(&self.remote).is_none()
    }

    /// The remote without credentials: a name without password is kept, since ssh hosts are named so.
    pub fn redacted_remote(&self) -> String {
        super::percent::redacted(&self.remote)
    }
}

impl fmt::Display for GitReference {
    /// Without credentials.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.redacted_remote())?;
        match (&self.reference, &self.subdir) {
            (None, None) => Ok(()),
            (reference, subdir) => {
                write!(f, "#{}", reference.as_deref().unwrap_or_default())?;
                subdir.as_ref().map_or(Ok(()), |subdir| write!(f, ":{subdir}"))
            }
        }
    }
}

#[derive(Clone, Copy)]
enum Encoding {
    /// A URL proper.
    Percent,
    /// As scp has it.
    Plain,
}

/// What fragment and query say.
#[derive(Default)]
struct Options {
    reference: Option<String>,
    tag: Option<String>,
    branch: Option<String>,
    checksum: Option<String>,
    subdir: Option<String>,
    keep_git_dir: Option<bool>,
    submodules: Option<bool>,
    times: GitTimes,
    fetch_by_commit: bool,
}

impl Options {
    fn read(&mut self, query: &str) -> Parsed<()> {
        let pairs = query_pairs(query);
        for (position, (name, value)) in pairs.iter().enumerate() {
            if pairs[..position].iter().any(|(known, _)| known == name) {
                return Err(ParseGitReferenceError::Twice(name.clone()));
            }
            self.option(name, value)?;
        }
        Ok(())
    }

    fn option(&mut self, name: &str, value: &str) -> Parsed<()> {
        match name {
            "keep-git-dir" => self.keep_git_dir = Some(switch(name, value)?),
            "submodules" => self.submodules = Some(switch(name, value)?),
            "fetch-by-commit" => self.fetch_by_commit = switch(name, value)?,
            "ref" | "tag" | "branch" | "subdir" | "checksum" | "commit" | "mtime" if value.is_empty() => {
                return Err(ParseGitReferenceError::NoValue(name.to_string()));
            }
            "ref" => self.reference = Some(agreed("ref", self.reference.take(), value.to_string())?),
            "tag" => self.tag = Some(qualified("refs/tags/", value)),
            "branch" => self.branch = Some(qualified("refs/heads/", value)),
            "subdir" => self.subdir = given(&agreed("folder", self.subdir.take(), clean(value))?),
            "checksum" | "commit" => {
                self.checksum = Some(agreed("commit", self.checksum.take(), value.to_string())?)
            }
            "mtime" => {
                self.times = match value {
                    "commit" => GitTimes::Commit,
                    "checkout" => GitTimes::Checkout,
                    _ => return Err(unusable(name, value)),
                }
            }
            _ => return Err(ParseGitReferenceError::Unknown(name.to_string())),
        }
        Ok(())
    }

    fn finish(self, remote: &str) -> Parsed<GitReference> {
        let mut reference = self.reference;
        if let (Some(first), Some(second)) = (&self.tag, &self.branch) {
            let (first, second) = (first.clone(), second.clone());
            return Err(ParseGitReferenceError::Conflict { what: "ref", first, second });
        }
        if let Some(full) = self.tag.or(self.branch) {
            reference = Some(agreed("ref", reference.take(), full)?);
        }
        for word in reference.iter().chain([&remote.to_string()]) {
            if word.starts_with('-') {
                return Err(ParseGitReferenceError::Option(word.clone()));
            }
        }
        if let Some(checksum) = &self.checksum {
            check_checksum(checksum)?;
        }
        let has_commit = |text: &Option<String>| text.as_deref().is_some_and(GitReference::is_commit);
        if self.fetch_by_commit && !(has_commit(&self.checksum) || has_commit(&reference)) {
            return Err(ParseGitReferenceError::NoCommit);
        }
        Ok(GitReference {
            remote: remote.to_string(),
            reference,
            checksum: self.checksum,
            subdir: self.subdir,
            keep_git_dir: self.keep_git_dir,
            submodules: self.submodules,
            times: self.times,
            fetch_by_commit: self.fetch_by_commit,
            looks_like_a_path: false,
        })
    }
}

fn given(text: &str) -> Option<String> {
    (!text.is_empty()).then(|| text.to_string())
}

fn agreed(what: &'static str, known: Option<String>, value: String) -> Parsed<String> {
    match known {
        Some(first) if first != value => Err(ParseGitReferenceError::Conflict { what, first, second: value }),
        _ => Ok(value),
    }
}

fn qualified(prefix: &str, name: &str) -> String {
    if name.starts_with(prefix) { name.to_string() } else { format!("{prefix}{name}") }
}

/// Go's `strconv.ParseBool`; a bare name is true.
fn switch(option: &str, value: &str) -> Parsed<bool> {
    match value {
        "" | "1" | "t" | "T" | "TRUE" | "true" | "True" => Ok(true),
        "0" | "f" | "F" | "FALSE" | "false" | "False" => Ok(false),
        _ => Err(unusable(option, value)),
    }
}

fn unusable(option: &str, value: &str) -> ParseGitReferenceError {
    ParseGitReferenceError::Value { option: option.to_string(), value: value.to_string() }
}

fn check_checksum(text: &str) -> Parsed<()> {
    let is_hex = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    if is_hex { Ok(()) } else { Err(ParseGitReferenceError::Checksum(text.to_string())) }
}

/// A folder below the root, `.` and `..` resolved as text.
fn clean(path: &str) -> String {
    let mut components: Vec<&str> = Vec::new();
    for component in path.split('/') {
        match component {
            "" | "." => {}
            ".." => drop(components.pop()),
            name => components.push(name),
        }
    }
    components.join("/")
}

/// The scheme in lower case, when there is one.
fn scheme(text: &str) -> Option<String> {
    let (scheme, _) = text.split_once("://")?;
    let is_word = !scheme.is_empty() && scheme.bytes().all(|byte| byte.is_ascii_alphanumeric());
    is_word.then(|| scheme.to_ascii_lowercase())
}

/// The decoded path of a URL with a scheme.
fn path_of(text: &str) -> String {
    let end = text.find(['#', '?']).unwrap_or(text.len());
    let rest = text[..end].split_once("://").map_or("", |(_, rest)| rest);
    rest.find('/').map_or_else(String::new, |start| decoded(&rest[start..]))
}

/// `user@host:path`.
fn is_scp_like(text: &str) -> bool {
    let Some((user, rest)) = text.split_once('@') else { return false };
    let Some((host, _)) = rest.split_once(':') else { return false };
    let is_of = |text: &str, others: &[u8]| {
        !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || others.contains(&byte))
    };
    is_of(user, b"-_") && is_of(host, b"-.")
}

#[cfg(test)]
mod tests {
    use super::*;

    const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

    #[test]
    fn repositories_are_told_from_other_things() {
        for (text, expected) in [
            ("https://github.com/a/b.git", true),
            ("HTTPS://github.com/a/b.git#main", true),
            ("http://host/a/b.git?ref=x", true),
            ("https://github.com/a/b", false),
            ("https://host/a.git/archive.tar.gz", false),
            ("https://host/x?file=.git", false),
            ("git://host/a", true),
            ("ssh://git@host:22/a", true),
            ("git@github.com:a/b", true),
            ("other-user@host:a/b.git", true),
            ("github.com/a/b", true),
            ("gitlab.com/a/b", false),
            ("ftp://host/a.git", false),
            ("file:///a.git", false),
            ("./a.git", false),
            ("a@b", false),
            ("dir/a@b:c", false),
            ("a.git", false),
        ] {
            assert_eq!(GitReference::parse(text).is_some(), expected, "{text}");
        }
    }

    #[test]
    fn fragment_and_query_say_what_of_it() {
        let check = |text: &str, remote: &str, reference: Option<&str>, subdir: Option<&str>| {
            let parsed = GitReference::parse(text).unwrap().unwrap();
            assert_eq!(
                (parsed.remote.as_str(), parsed.reference.as_deref(), parsed.subdir.as_deref()),
                (remote, reference, subdir),
                "{text}"
            );
        };
        let remote = "https://host/b.git";
        check(remote, remote, None, None);
        check("https://host/b.git#", remote, None, None);
        check("https://host/b.git#main", remote, Some("main"), None);
        check("https://host/b.git#:dir", remote, None, Some("dir"));
        check("https://host/b.git#a/b:/x/../y/", remote, Some("a/b"), Some("y"));
        check("https://host/b.git#a%23b", remote, Some("a#b"), None);
        check("https://host/b.git?ref=main&subdir=x%2Fy", remote, Some("main"), Some("x/y"));
        check("https://host/b.git?tag=v1", remote, Some("refs/tags/v1"), None);
        check("https://host/b.git?branch=refs/heads/v1#:d", remote, Some("refs/heads/v1"), Some("d"));
        check("git@host:a/b.git?branch=dev#:d", "git@host:a/b.git", Some("refs/heads/dev"), Some("d"));
        check("github.com/a/b#x", "https://github.com/a/b", Some("x"), None);
    }

    #[test]
    fn options_are_strict() {
        let check = |query: &str, expected: &str| {
            let parsed = GitReference::parse(&format!("https://host/b.git?{query}")).unwrap();
            assert_eq!(parsed.unwrap_err().to_string(), expected, "{query}");
        };
        check("ref", "`ref` has no value");
        check("ref=a&ref=a", "`ref` is given twice");
        check("colour=red", "`colour` is no option of a git URL");
        check("submodules=maybe", "`maybe` is no value for `submodules`");
        check("mtime=now", "`now` is no value for `mtime`");
        check("ref=a#b", "it names two refs, `b` and `a`");
        check("tag=a&branch=b", "it names two refs, `refs/tags/a` and `refs/heads/b`");
        check("ref=--upload-pack=x", "`--upload-pack=x` is no ref: it would be an option of git");
        check("checksum=xyz", "`xyz` is no commit: that is hex digits");
        check("fetch-by-commit&checksum=abc", "fetch-by-commit needs a full commit as checksum");
    }

    #[test]
    fn switches_and_flags_meet() {
        let parsed = |text: &str| GitReference::parse(text).unwrap().unwrap();
        let reference = parsed("https://host/b.git?keep-git-dir&submodules=0&mtime=checkout");
        assert_eq!((reference.keep_git_dir, reference.submodules), (Some(true), Some(false)));
        assert_eq!(reference.times, GitTimes::Checkout);
        assert!(reference.clone().with_flags(None, Some(false)).is_err());
        assert_eq!(parsed("git://h/b").with_flags(None, Some(true)).unwrap().keep_git_dir, Some(true));
        assert!(parsed("git://h/b?checksum=aa").with_flags(Some("ab".into()), None).is_err());
        let by_commit = parsed(&format!("git://h/b?fetch-by-commit&checksum={COMMIT}#main"));
        assert_eq!(by_commit.commit(), Some(COMMIT));
        assert_eq!(parsed(&format!("git://h/b#{COMMIT}")).commit(), Some(COMMIT));
        assert_eq!(parsed(&format!("git://h/b?checksum={COMMIT}")).commit(), None);
    }

    #[test]
    fn credentials_are_not_shown() {
        for (text, shown, host) in [
            (
                "https://user:secret@host:8443/b.git#main:d",
                "https://xxxxx:xxxxx@host:8443/b.git#main:d",
                "host:8443",
            ),
            ("https://token@host/b.git", "https://xxxxx@host/b.git", "host"),
            ("ssh://git@host/b", "ssh://git@host/b", "host"),
            ("git@host:a/b.git", "git@host:a/b.git", "host"),
        ] {
            let parsed = GitReference::parse(text).unwrap().unwrap();
            assert_eq!((parsed.to_string().as_str(), parsed.host()), (shown, host), "{text}");
        }
    }
}
