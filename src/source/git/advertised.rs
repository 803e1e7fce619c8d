//! What a repository says its refs are: `git ls-remote` read as BuildKit reads it.

use crate::base::GitReference;

/// A ref and what it stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Advertised {
    /// In full.
    pub reference: String,
    /// A commit, or an annotated tag.
    pub object: String,
    /// The commit a tag leads to, where it is annotated.
    pub peeled: Option<String>,
}

/// The ref that `name` means in the answer to a question for it: one named so in full, else a branch, else a
/// tag.
pub(super) fn find(answer: &str, name: &str) -> Option<Advertised> {
    let lines: Vec<(&str, &str)> = answer.lines().filter_map(|line| line.split_once('\t')).collect();
    let object = |reference: &str| {
        let found = lines.iter().find(|(_, known)| *known == reference).map(|(object, _)| *object);
        found.filter(|object| GitReference::is_commit(object)).map(str::to_string)
    };
    let with = |prefix: &str| format!("{prefix}{}", name.strip_prefix(prefix).unwrap_or(name));
    let names = [with("refs/"), with("refs/heads/"), with("refs/tags/")];
    let (object, reference) = names.into_iter().find_map(|name| Some((object(&name)?, name)))?;
    let peeled = reference.starts_with("refs/tags/").then(|| format!("{reference}^{{}}"));
    let peeled = peeled.and_then(|peeled| lines.iter().find(|(_, known)| *known == peeled));
    let peeled = peeled.map(|(commit, _)| (*commit).to_string());
    Some(Advertised { reference, object, peeled })
}

/// The branch that HEAD stands for in the answer to `ls-remote --symref`.
pub(super) fn default_branch(answer: &str) -> Option<String> {
    let line = answer.lines().find_map(|line| line.strip_prefix("ref: refs/heads/"))?;
    let branch = line.split_whitespace().next()?;
    (!branch.starts_with('-')).then(|| branch.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_mean_branches_before_tags() {
        let object = |digit: &str| digit.repeat(40);
        let answer = format!(
            "{}\trefs/heads/both\n{}\trefs/tags/both\n{}\trefs/tags/v1\n{}\trefs/tags/v1^{{}}\n{}\trefs/pull/1/head\n",
            object("a"),
            object("b"),
            object("c"),
            object("d"),
            object("e"),
        );
        let check = |name: &str, expected: Option<(&str, &str, Option<&str>)>| {
            let found = find(&answer, name);
            let expected = expected.map(|(reference, digit, peeled)| Advertised {
                reference: reference.to_string(),
                object: object(digit),
                peeled: peeled.map(object),
            });
            assert_eq!(found, expected, "{name}");
        };
        check("both", Some(("refs/heads/both", "a", None)));
        check("refs/heads/both", Some(("refs/heads/both", "a", None)));
        check("refs/tags/both", Some(("refs/tags/both", "b", None)));
        check("v1", Some(("refs/tags/v1", "c", Some("d"))));
        check("refs/tags/v1", Some(("refs/tags/v1", "c", Some("d"))));
        check("tags/v1", Some(("refs/tags/v1", "c", Some("d"))));
        check("refs/pull/1/head", Some(("refs/pull/1/head", "e", None)));
        check("pull/1/head", Some(("refs/pull/1/head", "e", None)));
        check("missing", None);
    }

    #[test]
    fn head_is_the_default_branch() {
        for (answer, expected) in [
            ("ref: refs/heads/main\tHEAD\nabc\tHEAD\n", Some("main")),
            ("ref: refs/heads/-x\tHEAD\n", None),
            ("abc\tHEAD\n", None),
            ("", None),
        ] {
            assert_eq!(default_branch(answer).as_deref(), expected, "{answer}");
        }
    }
}
