//! What holds a worker to the bytes that the key was made of: checksums of files, commits of repositories. A repository
//! that is asked for in a way which is not foreseen here is denied rather than taken as it is.

use std::collections::HashMap;

use bollard_buildkit_proto::moby::buildkit::v1::sourcepolicy::{
    MatchType, Policy, PolicyAction, Rule, Selector, Update,
};
use regex::escape;

use crate::base::{Digest, GitTimes, PinnedCommit, PinnedSource};

/// The rules for what ADD takes from elsewhere; none where it takes nothing.
pub(super) fn policy(sources: &[PinnedSource]) -> Option<Policy> {
    let commits: Vec<&PinnedCommit> = sources.iter().filter_map(commit_of).collect();
    let mut rules = Vec::new();
    for source in sources {
        match source {
            PinnedSource::Http { url, digest } => rules.push(checksum(url.with_credentials(), digest)),
            PinnedSource::Git(commit) => rules.push(pinned(commit, &commits)),
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
    let place = place(commit);
    let is_only = all.iter().all(|other| self::place(other) != place || other.commit == commit.commit);
    let (found, written) = match &commit.git.reference {
        _ if is_only => (escape(&place), "(?:#[^:]*)?".to_string()),
        Some(written) => (escape(&place), format!("#{}", escape(written))),
        None => (escape(&place), "#?".to_string()),
    };
    let mut attrs = HashMap::new();
    if commit.git.times == GitTimes::Commit {
        attrs.insert("git.mtime".to_string(), "commit".to_string());
    }
    Rule {
        action: PolicyAction::Convert.into(),
        selector: Some(selector(MatchType::Regex, format!("^git://(?:[^/@]*@)?{found}{written}(:.*)?$"))),
        updates: Some(Update {
            identifier: format!("git://{}#{}${{1}}", place.replace('$', "$$"), commit.commit),
            attrs,
        }),
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
            let found = converted(&policy(&sources).unwrap(), identifier);
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
}
