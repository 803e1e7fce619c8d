//! What holds a worker to the bytes that the key was made of: checksums of files, commits of repositories. A repository
//! that is asked for in a way which is not foreseen here is denied rather than taken as it is. What a worker would take
//! wrongly is sent to it instead, as a folder (`sent`).

use std::collections::HashMap;

use bollard_buildkit_proto::moby::buildkit::v1::sourcepolicy::{
    MatchType, Policy, PolicyAction, Rule, Selector, Update,
};
use regex::escape;

use super::needs::Language;
use super::sent;
use crate::base::{Digest, GitTimes, PinnedCommit, PinnedSource};

/// The rules for what ADD takes from elsewhere; none where it takes nothing.
pub(super) fn policy(sources: &[PinnedSource], language: Language) -> Option<Policy> {
    let commits: Vec<&PinnedCommit> = sources.iter().filter_map(commit_of).collect();
    // The first rule that fits counts, and one for a whole repository fits its folders, too.
    let is_sent = |commit: &&&PinnedCommit| !language.takes(commit);
    let mut rules: Vec<Rule> =
        commits.iter().filter(is_sent).map(|commit| instead(commit, &commits)).collect();
    for source in sources {
        match source {
            PinnedSource::Http { url, digest } => rules.push(checksum(url.with_credentials(), digest)),
            PinnedSource::Git(commit) if language.takes(commit) => rules.push(pinned(commit, &commits)),
            PinnedSource::Git(_) => {}
        }
    }
    // Of rules that convert nothing the last one counts.
    rules.extend((!commits.is_empty()).then(|| decides(PolicyAction::Deny, "^git://".to_string())));
    let allowed = |commit: &&PinnedCommit| {
        let converted = format!("^git://{}#{}(:|$)", escape(&place(commit)), commit.commit);
        decides(PolicyAction::Allow, converted)
    };
    rules.extend(commits.iter().map(allowed));
    (!rules.is_empty()).then_some(Policy { version: 1, rules })
}

fn commit_of(source: &PinnedSource) -> Option<&PinnedCommit> {
    match source {
        PinnedSource::Git(commit) => Some(commit),
        PinnedSource::Http { .. } => None,
    }
}

fn checksum(url: &str, digest: &Digest) -> Rule {
    let attrs = HashMap::from([("http.checksum".to_string(), digest.to_string())]);
    Rule {
        action: PolicyAction::Convert.into(),
        selector: Some(selector(MatchType::Exact, url.to_string())),
        updates: Some(Update { identifier: url.to_string(), attrs }),
    }
}

/// The commit in place of the ref. A repository of which but one commit is taken needs no look at the ref, which
/// frontends word in several ways.
fn pinned(commit: &PinnedCommit, all: &[&PinnedCommit]) -> Rule {
    let (place, written) = (place(commit), written(commit, all));
    let mut attrs = HashMap::new();
    if commit.git.times == GitTimes::Commit {
        attrs.insert("git.mtime".to_string(), "commit".to_string());
    }
    Rule {
        action: PolicyAction::Convert.into(),
        selector: Some(selector(MatchType::Regex, format!("^{written}(:.*)?$"))),
        updates: Some(Update {
            identifier: format!("git://{}#{}${{1}}", place.replace('$', "$$"), commit.commit),
            attrs,
        }),
    }
}

/// How frontends ask for the commit's repository and ref.
fn written(commit: &PinnedCommit, all: &[&PinnedCommit]) -> String {
    let place = place(commit);
    let is_only = all.iter().all(|other| self::place(other) != place || other.commit == commit.commit);
    let reference = match &commit.git.reference {
        _ if is_only => "(?:#[^:]*)?".to_string(),
        Some(written) => format!("#{}", escape(written)),
        None => "#?".to_string(),
    };
    format!("git://(?:[^/@]*@)?{}{reference}", escape(&place))
}

/// The folder with the commit's files in place of the commit. Of a repository of which but one folder is taken it does
/// not matter how that is written.
fn instead(commit: &PinnedCommit, all: &[&PinnedCommit]) -> Rule {
    let place = place(commit);
    let is_only =
        all.iter().all(|other| self::place(other) != place || other.git.subdir == commit.git.subdir);
    let folder = match &commit.git.subdir {
        _ if is_only => "(?::.*)?".to_string(),
        Some(folder) => format!(":[./]*{}/*", escape(folder)),
        None => "(?::[./]*)?".to_string(),
    };
    let identifier = format!("local://{}", sent::name(commit));
    Rule {
        action: PolicyAction::Convert.into(),
        selector: Some(selector(MatchType::Regex, format!("^{}{folder}$", written(commit, all)))),
        updates: Some(Update { identifier, attrs: HashMap::new() }),
    }
}

fn decides(action: PolicyAction, identifier: String) -> Rule {
    let selector = Some(selector(MatchType::Regex, identifier));
    Rule { action: action.into(), selector, updates: None }
}

fn selector(kind: MatchType, identifier: String) -> Selector {
    Selector { identifier, match_type: kind.into(), constraints: Vec::new() }
}

/// A repository as identifiers of sources have it: host and path, whatever is spoken there and whoever asks.
fn place(commit: &PinnedCommit) -> String {
    let remote = &commit.git.remote;
    let (inner, has_scheme) = match remote.split_once("://") {
        Some((_, inner)) => (inner, true),
        None => (remote.as_str(), false),
    };
    let (host, path) = match inner.split_once(if has_scheme { '/' } else { ':' }) {
        Some((host, path)) => (host, path),
        None => (inner, ""),
    };
    let host = host.rsplit_once('@').map_or(host, |(_, host)| host);
    format!("{host}/{}", path.trim_start_matches('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn commit(remote: &str, digit: &str) -> PinnedCommit {
        let git = crate::base::GitReference::parse(remote).unwrap().unwrap();
        let name = digit.repeat(40);
        PinnedCommit { git, commit: name.clone(), reference: name.clone(), object: name }
    }

    /// What a worker makes of the identifier.
    fn converted(policy: &Policy, identifier: &str) -> Option<String> {
        policy.rules.iter().find_map(|rule| {
            let pattern = regex::Regex::new(&rule.selector.as_ref()?.identifier).unwrap();
            let update = rule.updates.as_ref()?;
            pattern.is_match(identifier).then(|| pattern.replace(identifier, &update.identifier).into_owned())
        })
    }

    #[test]
    fn refs_become_commits() {
        let check = |remotes: &[(&str, &str)], identifier: &str, expected: Option<&str>| {
            let sources: Vec<PinnedSource> =
                remotes.iter().map(|(remote, digit)| PinnedSource::Git(commit(remote, digit))).collect();
            let newest = Language { minor: Some(99) };
            let found = converted(&policy(&sources, newest).unwrap(), identifier);
            let expected =
                expected.map(|text| text.replace("AAA", &"a".repeat(40)).replace("BBB", &"b".repeat(40)));
            assert_eq!(found, expected, "{identifier}");
        };
        let one = &[("https://me@example.test:8443/a/b.git#v1:docs", "a")];
        check(
            one,
            "git://example.test:8443/a/b.git#v1:docs",
            Some("git://example.test:8443/a/b.git#AAA:docs"),
        );
        check(
            one,
            "git://me@example.test:8443/a/b.git#refs/tags/v1",
            Some("git://example.test:8443/a/b.git#AAA"),
        );
        check(one, "git://example.test:8443/a/b.git", Some("git://example.test:8443/a/b.git#AAA"));
        check(one, "git://example.test:8443/a/bagit", None);
        let scp = &[("git@example.test:a/b.git", "a")];
        check(scp, "git://example.test/a/b.git", Some("git://example.test/a/b.git#AAA"));
        let two = &[("https://example.test/a.git#v1", "a"), ("https://example.test/a.git#v2:in", "b")];
        check(two, "git://example.test/a.git#v1", Some("git://example.test/a.git#AAA"));
        check(two, "git://example.test/a.git#v2:in", Some("git://example.test/a.git#BBB:in"));
        check(two, "git://example.test/a.git#v3", None);
    }

    #[test]
    fn what_a_worker_takes_wrongly_is_sent() {
        let check = |minor: u64, identifier: &str, expected: Option<(&str, &str)>| {
            let remotes = ["https://example.test/a.git#v1", "https://example.test/a.git#v1:in/it"];
            let sources: Vec<PinnedSource> =
                remotes.iter().map(|remote| PinnedSource::Git(commit(remote, "a"))).collect();
            let found = converted(&policy(&sources, Language { minor: Some(minor) }).unwrap(), identifier);
            let expected = expected.map(|(how, what)| match how {
                "sent" => format!("local://{}", sent::name(&commit(what, "a"))),
                _ => what.replace("AAA", &"a".repeat(40)),
            });
            assert_eq!(found, expected, "{identifier} with 1.{minor}");
        };
        let (whole, folder) = ("git://example.test/a.git#v1", "git://me@example.test/a.git#v1:/in/it/");
        let (sent_whole, sent_folder) =
            ("https://example.test/a.git#v1", "https://example.test/a.git#v1:in/it");
        check(6, whole, Some(("sent", sent_whole)));
        check(6, folder, Some(("sent", sent_folder)));
        check(26, whole, Some(("taken", "git://example.test/a.git#AAA")));
        check(26, folder, Some(("sent", sent_folder)));
        check(28, whole, Some(("taken", "git://example.test/a.git#AAA")));
        check(28, folder, Some(("taken", "git://example.test/a.git#AAA:/in/it/")));
        check(6, "git://example.test/a.git#v1:other", None);
    }
}
