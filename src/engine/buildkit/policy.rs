//! What holds a worker to the bytes that the key was made of: checksums of files, commits of repositories. A repository
//! that is asked for in a way which is not foreseen here is denied rather than taken as it is. What a worker would take
//! wrongly is sent to it instead, as a folder (`sent`).

use std::collections::HashMap;

use bollard_buildkit_proto::moby::buildkit::v1::sourcepolicy::{
    AttrConstraint, AttrMatch, MatchType, Policy, PolicyAction, Rule, Selector, Update,
};
use regex::escape;

use super::needs::Language;
use super::sent;
use crate::base::{Digest, GitReference, GitTimes, PinnedCommit, PinnedSource};

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
        let converted = format!("^git://{}#{}(:|$)", escape(&place(&commit.git)), commit.commit);
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
    let (place, written) = (place(&commit.git), written(commit, all));
    let mut attrs = HashMap::new();
    if commit.git.times == GitTimes::Commit {
        attrs.insert("git.mtime".to_string(), "commit".to_string());
    }
    Rule {
        action: PolicyAction::Convert.into(),
        selector: Some(Selector {
            constraints: options(commit, all),
            ..selector(MatchType::Regex, format!("^{written}(:.*)?$"))
        }),
        updates: Some(Update {
            identifier: format!("git://{}#{}${{1}}", place.replace('$', "$$"), commit.commit),
            attrs,
        }),
    }
}

/// How frontends ask for the commit's repository and ref.
fn written(commit: &PinnedCommit, all: &[&PinnedCommit]) -> String {
    let place = place(&commit.git);
    let is_only = all.iter().all(|other| self::place(&other.git) != place || other.commit == commit.commit);
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
    let place = place(&commit.git);
    let is_only =
        all.iter().all(|other| self::place(&other.git) != place || other.git.subdir == commit.git.subdir);
    let folder = match &commit.git.subdir {
        _ if is_only => "(?::.*)?".to_string(),
        Some(folder) => format!(":[./]*{}/*", escape(folder)),
        None => "(?::[./]*)?".to_string(),
    };
    let identifier = format!("local://{}", sent::name(commit));
    Rule {
        action: PolicyAction::Convert.into(),
        selector: Some(Selector {
            constraints: options(commit, all),
            ..selector(MatchType::Regex, format!("^{}{folder}$", written(commit, all)))
        }),
        updates: Some(Update { identifier, attrs: HashMap::new() }),
    }
}

/// What tells a commit from the same one with other options, which frontends put beside the identifier: nothing of those
/// in which all commits of the repository agree, since old frontends know none. They say nothing of times, so that two
/// kinds of them are refused before.
fn options(commit: &PinnedCommit, all: &[&PinnedCommit]) -> Vec<AttrConstraint> {
    type Known = (&'static str, fn(&GitReference) -> bool);
    const OPTIONS: [Known; 2] = [
        ("git.skipsubmodules", |git| git.submodules == Some(false)),
        ("git.keepgitdir", |git| git.keep_git_dir == Some(true)),
    ];
    let place = place(&commit.git);
    let alike: Vec<&PinnedCommit> =
        all.iter().copied().filter(|other| self::place(&other.git) == place).collect();
    let divide = OPTIONS
        .into_iter()
        .filter(|(_, is_set)| alike.iter().any(|other| is_set(&other.git) != is_set(&commit.git)));
    let constraint = |(key, is_set): Known| AttrConstraint {
        key: key.to_string(),
        value: "true".to_string(),
        condition: if is_set(&commit.git) { AttrMatch::Equal } else { AttrMatch::Notequal }.into(),
    };
    divide.map(constraint).collect()
}

fn decides(action: PolicyAction, identifier: String) -> Rule {
    let selector = Some(selector(MatchType::Regex, identifier));
    Rule { action: action.into(), selector, updates: None }
}

fn selector(kind: MatchType, identifier: String) -> Selector {
    Selector { identifier, match_type: kind.into(), constraints: Vec::new() }
}

/// A repository as identifiers of sources have it: host and path, whatever is spoken there and whoever asks.
pub(super) fn place(git: &GitReference) -> String {
    let remote = &git.remote;
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
        let git = GitReference::parse(remote).unwrap().unwrap();
        let name = digit.repeat(40);
        PinnedCommit { git, commit: name.clone(), reference: name.clone(), object: name }
    }

    /// What a worker makes of the identifier.
    fn converted(policy: &Policy, identifier: &str) -> Option<String> {
        converted_with(policy, identifier, &[])
    }

    fn converted_with(policy: &Policy, identifier: &str, attrs: &[(&str, &str)]) -> Option<String> {
        let has = |constraint: &AttrConstraint| {
            let is_equal = attrs.contains(&(constraint.key.as_str(), constraint.value.as_str()));
            is_equal == (constraint.condition() == AttrMatch::Equal)
        };
        policy.rules.iter().find_map(|rule| {
            let selector = rule.selector.as_ref()?;
            let pattern = regex::Regex::new(&selector.identifier).unwrap();
            let update = rule.updates.as_ref()?;
            let is_it = pattern.is_match(identifier) && selector.constraints.iter().all(has);
            is_it.then(|| pattern.replace(identifier, &update.identifier).into_owned())
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
    fn options_tell_commits_apart() {
        let remotes = [
            "?ref=v1&subdir=in",
            "?ref=v1&subdir=in&submodules=false",
            "?ref=v1&subdir=in&keep-git-dir=true",
        ];
        let remotes = remotes.map(|options| format!("https://example.test/a.git{options}"));
        let commits = remotes.each_ref().map(|remote| commit(remote, "a"));
        let sources = commits.clone().map(PinnedSource::Git);
        let policy = policy(&sources, Language { minor: Some(26) }).unwrap();
        let check = |attrs: &[(&str, &str)], expected: &str| {
            let found = converted_with(&policy, "git://example.test/a.git#v1:in", attrs);
            assert_eq!(found.as_deref(), Some(expected), "{attrs:?}");
        };
        check(&[], &format!("local://{}", sent::name(&commits[0])));
        check(&[("git.skipsubmodules", "true")], &format!("local://{}", sent::name(&commits[1])));
        check(&[("git.keepgitdir", "true")], &format!("local://{}", sent::name(&commits[2])));
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
