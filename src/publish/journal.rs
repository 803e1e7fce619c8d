//! What a publication writes down about itself in every repository it touches: which tags move, from where, to what.
//!
//! It is an index (image-spec 1.1) with an artifact type, the images as its members, so that cleaners keep them, and
//! the record as JSON in one annotation: one request writes it, without a blob. Its tag is the publication's own,
//! `mab.TIME.VERSION.KEY`; a second one, with `.done` behind it, says that it is over, and how it ended. A list of tags
//! therefore tells which publications were cut, also where tags cannot be written twice.
//!
//! Who can write to a repository can write journals: they are read with limits and taken at their word for that
//! repository alone.

use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::release::{Release, plain};
use crate::base::{Digest, Reference};
use crate::oci::{Descriptor, Index};

pub const PREFIX: &str = "mab.";
const DONE: &str = ".done";
pub const ARTIFACT_TYPE: &str = "application/vnd.mab.publication.v1+json";
const RECORD: &str = "vnd.mab.publication";
const CREATED: &str = "org.opencontainers.image.created";
const FORMAT: u32 = 1;
const MOST_MOVES: usize = 10_000;
const LONGEST_VERSION: usize = 64;
const KEY: usize = 12;

/// One publication over all its repositories.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Journal {
    pub action: Action,
    pub started: Timestamp,
    /// Who wrote it: `mab 1.0.0`.
    pub by: String,
    pub run_url: Option<String>,
    pub moves: Vec<Move>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Action {
    Publish,
    Promote,
    Rollback,
}

impl Action {
    pub fn name(self) -> &'static str {
        match self {
            Self::Publish => "publish",
            Self::Promote => "promote",
            Self::Rollback => "rollback",
        }
    }
}

/// A tag, and what it is to lead to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Move {
    /// With a tag and no digest.
    pub name: Reference,
    /// `None` where there was no such tag.
    pub old: Option<Digest>,
    pub new: Digest,
    pub release: Release,
    /// The tag follows a branch or a commit, and no version.
    pub follows_history: bool,
    /// Whoever comes gets it.
    pub is_unguarded: bool,
    /// The repository's own tags say which version is the highest.
    pub asks_registry: bool,
    /// It was left where it is, since a newer release has it. Said when the publication is over.
    pub is_kept: bool,
}

/// The tag of a journal.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct JournalName {
    /// To the millisecond, so that names are in the order of time: `20260301T120000123Z`.
    pub time: String,
    /// The highest of its versions.
    pub version: Option<String>,
    pub key: String,
}

impl JournalName {
    pub fn parse(tag: &str) -> Option<(Self, bool)> {
        let rest = tag.strip_prefix(PREFIX)?;
        let (rest, is_done) = rest.strip_suffix(DONE).map_or((rest, false), |rest| (rest, true));
        let (time, rest) = rest.split_once('.')?;
        let (version, key) = rest.rsplit_once('.')?;
        let is_time = time.len() == 19 && time.bytes().all(|b| b.is_ascii_digit() || b == b'T' || b == b'Z');
        let is_key = key.len() == KEY && key.bytes().all(|b| b.is_ascii_hexdigit());
        let name = Self {
            time: time.to_string(),
            version: (version != "_").then(|| version.to_string()),
            key: key.to_string(),
        };
        (is_time && is_key && !version.is_empty()).then_some((name, is_done))
    }

    pub fn tag(&self, is_done: bool) -> String {
        format!("{self}{}", if is_done { DONE } else { "" })
    }
}

impl fmt::Display for JournalName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{PREFIX}{}.{}.{}", self.time, self.version.as_deref().unwrap_or("_"), self.key)
    }
}

impl Journal {
    pub fn name(&self) -> JournalName {
        let mut versions: Vec<&str> =
            self.moves.iter().filter_map(|tag| tag.release.version.as_deref()).collect();
        versions.sort_by(|one, other| {
            crate::tagging::order(one, other).unwrap_or_else(|| one.cmp(other)).then(one.cmp(other))
        });
        let plain = |version: &str| {
            let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-');
            let text: String = version.chars().map(|c| if fits(c) { c } else { '-' }).collect();
            text.chars().take(LONGEST_VERSION).collect::<String>()
        };
        let version = versions.last().map(|version| plain(version)).filter(|version| !version.is_empty());
        let opened = Self {
            moves: self.moves.iter().map(|tag| Move { is_kept: false, ..tag.clone() }).collect(),
            ..self.clone()
        };
        let key = Digest::of(opened.record(None)).hex()[..KEY].to_string();
        JournalName { time: self.started.strftime("%Y%m%dT%H%M%S%3fZ").to_string(), version, key }
    }

    /// When it began, to the second, for people.
    pub fn began(&self) -> Timestamp {
        Timestamp::from_second(self.started.as_second()).unwrap_or(self.started)
    }

    /// The moves of one repository.
    pub fn moves_in<'a>(&'a self, repository: &Reference) -> impl Iterator<Item = &'a Move> {
        let name = repository.name();
        self.moves.iter().filter(move |tag| tag.name.name() == name)
    }

    /// As it is put into a repository that has `members`. When it is over, `end` says how.
    pub fn index(&self, members: Vec<Descriptor>, end: Option<End>) -> Index {
        let mut index = Index::new(members);
        // Registries with referrers list it at the image; others keep the field.
        if let (Some(subject), Some(_)) = (index.manifests.first(), end) {
            let subject = serde_json::json!({
                "mediaType": subject.media_type, "digest": subject.digest, "size": subject.size
            });
            index.extra.insert("subject".to_string(), subject);
        }
        index.artifact_type = Some(ARTIFACT_TYPE.to_string());
        index.annotations.insert(RECORD.to_string(), self.record(end));
        index.annotations.insert(CREATED.to_string(), self.started.to_string());
        index
    }

    fn record(&self, end: Option<End>) -> String {
        let record = Record {
            format: FORMAT,
            action: self.action,
            started: self.started.to_string(),
            by: self.by.clone(),
            run: self.run_url.clone(),
            end,
            moves: self.moves.iter().map(RecordedMove::from).collect(),
        };
        serde_json::to_string(&record).expect("it holds only texts")
    }

    /// What an index says, if it is a journal's.
    pub fn read(index: &Index) -> Option<Result<(Self, Option<End>), String>> {
        (index.artifact_type.as_deref() == Some(ARTIFACT_TYPE)).then(|| {
            let text = index.annotations.get(RECORD).ok_or("it has no record")?;
            let record: Record = serde_json::from_str(text).map_err(|error| error.to_string())?;
            record.journal()
        })
    }
}

/// How a publication ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum End {
    /// Every tag is where it belongs.
    Done,
    /// Some tags cannot move, or never were to.
    Abandoned,
}

#[derive(Serialize, Deserialize)]
struct Record {
    format: u32,
    action: Action,
    started: String,
    by: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    run: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    end: Option<End>,
    moves: Vec<RecordedMove>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct RecordedMove {
    repository: String,
    tag: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    old: Option<Digest>,
    new: Digest,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    version: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    revision: Option<String>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    follows_history: bool,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    is_unguarded: bool,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    asks_registry: bool,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    is_kept: bool,
}

impl From<&Move> for RecordedMove {
    fn from(tag: &Move) -> Self {
        Self {
            repository: tag.name.name(),
            tag: tag.name.tag().unwrap_or_default().to_string(),
            old: tag.old,
            new: tag.new,
            version: tag.release.version.clone(),
            revision: tag.release.revision.clone(),
            follows_history: tag.follows_history,
            is_unguarded: tag.is_unguarded,
            asks_registry: tag.asks_registry,
            is_kept: tag.is_kept,
        }
    }
}

impl Record {
    fn journal(self) -> Result<(Journal, Option<End>), String> {
        if self.format != FORMAT {
            return Err(format!("it has the format {}, and this program knows {FORMAT}", self.format));
        }
        if self.moves.len() > MOST_MOVES {
            return Err(format!("it has more than {MOST_MOVES} tags"));
        }
        let started = self.started.parse().map_err(|error| format!("its time is none: {error}"))?;
        let by = plain(&self.by).ok_or("it does not say who wrote it")?;
        let moves = self.moves.into_iter().map(RecordedMove::read).collect::<Result<_, _>>()?;
        let run_url = self.run.as_deref().and_then(plain);
        Ok((Journal { action: self.action, started, by, run_url, moves }, self.end))
    }
}

impl RecordedMove {
    fn read(self) -> Result<Move, String> {
        let repository: Reference = self.repository.parse().map_err(|error| format!("{error}"))?;
        let name = repository.without_tag().with_tag(&self.tag).map_err(|error| error.to_string())?;
        let text = |text: Option<String>| text.as_deref().and_then(plain);
        Ok(Move {
            name,
            old: self.old,
            new: self.new,
            release: Release { version: text(self.version), revision: text(self.revision) },
            follows_history: self.follows_history,
            is_unguarded: self.is_unguarded,
            asks_registry: self.asks_registry,
            is_kept: self.is_kept,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn journal() -> Journal {
        let release = |version: &str| Release { version: Some(version.to_string()), revision: None };
        let tag = |name: &str, version: &str| Move {
            name: name.parse().unwrap(),
            old: None,
            new: Digest::of(version),
            release: release(version),
            follows_history: false,
            is_unguarded: false,
            asks_registry: false,
            is_kept: false,
        };
        Journal {
            action: Action::Publish,
            started: "2026-03-01T12:00:00Z".parse().unwrap(),
            by: "mab 1".to_string(),
            run_url: None,
            moves: vec![
                tag("r.example/a:1.2.0+x".split('+').next().unwrap(), "1.10.0+x"),
                tag("r.example/a:b", "1.9.0"),
            ],
        }
    }

    #[test]
    fn a_name_is_read_as_it_is_written() {
        let name = journal().name();
        assert_eq!(name.time, "20260301T120000000Z");
        assert_eq!(name.version.as_deref(), Some("1.10.0-x"));
        for is_done in [false, true] {
            assert_eq!(JournalName::parse(&name.tag(is_done)), Some((name.clone(), is_done)));
        }
        for tag in [
            "mab",
            "mab.",
            "mab.1.2.3",
            "mab.20260301T120000000Z.1.xyz",
            "mab.20260301T120000Z._.0123456789ab",
            "1.4.0",
        ] {
            assert_eq!(JournalName::parse(tag), None, "{tag}");
        }
    }

    #[test]
    fn a_journal_is_read_as_it_is_written_and_has_one_name_for_ever() {
        let written = journal();
        let index = Index::parse(&written.index(Vec::new(), Some(End::Done)).to_bytes()).unwrap();
        assert_eq!(Journal::read(&index), Some(Ok((written.clone(), Some(End::Done)))));
        assert_eq!(Journal::read(&Index::new(Vec::new())), None);
        let mut ended = written.clone();
        ended.moves[0].is_kept = true;
        assert_eq!(ended.name(), written.name());
    }

    #[test]
    fn a_strangers_record_is_refused_with_a_reason() {
        let good = journal().index(Vec::new(), None);
        for (from, to) in [
            ("\"format\":1", "\"format\":2"),
            ("\"tag\":\"b\"", "\"tag\":\"../b\""),
            ("\"by\":\"mab 1\"", "\"by\":\"\\u001b[2J\""),
            ("2026-03-01", "soon"),
            ("sha256:", "md5:"),
        ] {
            let mut bad = good.clone();
            let text = bad.annotations[RECORD].replace(from, to);
            assert_ne!(text, good.annotations[RECORD], "{from}");
            bad.annotations.insert(RECORD.to_string(), text);
            assert!(matches!(Journal::read(&bad), Some(Err(_))), "{to}");
        }
    }
}
