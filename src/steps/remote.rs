//! ADD from elsewhere: which sources are files over HTTP or repositories, and what flags mean for them.

use super::op::CopyFrom;
use crate::base::percent::redacted;
use crate::base::{Digest, GitReference, HttpUrl, RemoteSource};
use crate::diag::Problem;

/// What ADD's flags say about remote sources.
#[derive(Clone, Debug, Default)]
pub(super) struct RemoteFlags {
    /// `--checksum`, expanded.
    pub checksum: Option<String>,
    pub keep_git_dir: Option<bool>,
    pub unpack: Option<bool>,
}

/// Sources that one copy takes.
#[derive(Clone, Debug)]
pub(super) struct Group {
    pub from: CopyFrom,
    pub sources: Vec<String>,
    pub unpack: bool,
}

/// The remote source that a word of ADD names, if it names one.
pub(super) fn remote_source(word: &str, flags: &RemoteFlags) -> Result<Option<RemoteSource>, Box<Problem>> {
    match GitReference::parse(word) {
        Some(Ok(git)) if git.looks_like_a_path => {}
        Some(parsed) => {
            let git = parsed.and_then(|git| git.with_flags(flags.checksum.clone(), flags.keep_git_dir));
            return git.map(|git| Some(RemoteSource::Git(git))).map_err(|error| {
                Box::new(
                    Problem::input("dockerfile::git-url", format!("`{}`: {error}", redacted(word))).help(
                        "a repository is `https://HOST/REPOSITORY.git#REF:FOLDER`, or has `?ref=…&subdir=…`",
                    ),
                )
            });
        }
        None => {}
    }
    if !HttpUrl::is_meant_by(word) {
        return Ok(None);
    }
    let wrong = |message: String| Box::new(Problem::input("dockerfile::url", message));
    let url = HttpUrl::parse(word).map_err(|error| wrong(error.to_string()))?;
    let checksum = flags.checksum.as_deref().map(str::parse::<Digest>).transpose();
    let checksum = checksum.map_err(|error| {
        Box::new(
            Problem::input("dockerfile::checksum", format!("`--checksum`: {error}"))
                .help("a file's checksum is `sha256:` and its digest; `sha256sum FILE` prints it"),
        )
    })?;
    Ok(Some(RemoteSource::Http { url, checksum }))
}

/// How a fetched source is selected: a file by its name as it is, of a repository everything.
pub(super) fn selection_of(source: &RemoteSource) -> String {
    match source {
        RemoteSource::Git(_) => "/".to_string(),
        RemoteSource::Http { url, .. } => {
            let mut pattern = String::new();
            for character in url.file_name().chars() {
                if matches!(character, '*' | '?' | '[' | '\\') {
                    pattern.push('\\');
                }
                pattern.push(character);
            }
            pattern
        }
    }
}

/// COPY takes nothing from elsewhere.
pub(super) fn refuse_remote(words: &[String]) -> Result<(), Box<Problem>> {
    for word in words {
        if remote_source(word, &RemoteFlags::default())?.is_some() {
            let message = format!("COPY cannot take `{}`", redacted(word));
            return Err(Box::new(
                Problem::input("dockerfile::remote-copy", message).help("ADD takes files from elsewhere"),
            ));
        }
    }
    Ok(())
}

/// `--checksum` speaks of one remote source.
pub(super) fn check_checksum(words: &[String], flags: &RemoteFlags) -> Result<(), Box<Problem>> {
    if flags.checksum.is_none() {
        return Ok(());
    }
    let wrong = |message: &str| Box::new(Problem::input("dockerfile::checksum", message));
    match words {
        [word] if remote_source(word, &RemoteFlags::default())?.is_some() => Ok(()),
        [_] => Err(wrong("`--checksum` is for a file over HTTP or a repository")),
        _ => Err(wrong("`--checksum` is for one source; give each source an ADD of its own")),
    }
}
