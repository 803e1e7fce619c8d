//! Stacks of layers and what they show.

use super::super::entry::{Entry, EntryKind};
use super::super::index::{Index, IndexedEntry};
use super::*;

/// Entries written as `d PATH [MODE]`, `f PATH [SIZE]`, `l PATH TARGET`, `h PATH TARGET`, `w PATH`, `o PATH`,
/// `c PATH` (device 0:0); `.` is the root.
fn layer(text: &str) -> Index {
    let lines = text.split(';').map(str::trim).filter(|line| !line.is_empty());
    let entries = lines.map(|line| IndexedEntry { entry: parse(line), offset: 0, content: None }).collect();
    Index { entries, ..Index::default() }
}

fn parse(line: &str) -> Entry {
    let words: Vec<&str> = line.split(' ').collect();
    let extra = words.get(2).copied();
    let target = || extra.unwrap().as_bytes().to_vec();
    let (kind, mode) = match words[0] {
        "d" => (EntryKind::Directory, extra.map_or(0o755, |mode| u32::from_str_radix(mode, 8).unwrap())),
        "f" => (EntryKind::File { size: extra.map_or(0, |size| size.parse().unwrap()) }, 0o644),
        "l" => (EntryKind::Symlink { target: target() }, 0o777),
        "h" => (EntryKind::HardLink { target: target() }, 0o644),
        "w" => (EntryKind::Whiteout, 0),
        "o" => (EntryKind::Opaque, 0),
        "c" => (EntryKind::CharDevice { major: 0, minor: 0 }, 0o600),
        other => panic!("no kind {other}"),
    };
    Entry::new(words[1].strip_prefix('.').unwrap_or(words[1]), kind, mode)
}

fn stack(layers: &[&str]) -> Result<Tree, TreeError> {
    let mut tree = Tree::new();
    for (number, text) in layers.iter().enumerate() {
        tree.apply(number as u32, &layer(text))?;
    }
    Ok(tree)
}

/// Every node as `PATH@LAYER`, directories with a slash, symlinks with their target, odd modes in parentheses.
fn listing(tree: &Tree) -> String {
    let describe = |node: NodeRef| {
        let entry = tree.entry(node);
        let path = String::from_utf8_lossy(tree.path(node)).into_owned();
        let origin = tree.origin(node).map_or("?".to_string(), |origin| origin.layer.to_string());
        let suffix = match &entry.kind {
            EntryKind::Directory if entry.mode == 0o755 => "/".to_string(),
            EntryKind::Directory => format!("/({:o})", entry.mode),
            EntryKind::Symlink { target } => format!("->{}", String::from_utf8_lossy(target)),
            EntryKind::File { size: 0 } => String::new(),
            EntryKind::File { size } => format!("={size}"),
            other => format!("{other:?}"),
        };
        format!("{path}{suffix}@{origin}")
    };
    tree.walk(tree.root()).skip(1).map(describe).collect::<Vec<_>>().join(" ")
}

#[test]
fn layers_merge_as_containerd_applies_them() {
    let check = |layers: &[&str], expected: &str| {
        assert_eq!(listing(&stack(layers).unwrap()), expected, "{layers:?}");
    };
    check(&["d a; f a/z; f a/b"], "a/@0 a/b@0 a/z@0");
    // Names sort by bytes within a directory, not by whole paths.
    check(&["f a/x; f a.b"], "a/@? a/x@? a.b@0".replace("x@?", "x@0").as_str());
    check(&["f a/b/c"], "a/@? a/b/@? a/b/c@0");
    // Replacing.
    check(&["f a 1", "f a 2"], "a=2@1");
    check(&["d a; f a/b", "d a 700"], "a/(700)@1 a/b@0");
    check(&["d a; f a/b", "f a"], "a@1");
    check(&["f a", "d a; f a/b"], "a/@1 a/b@1");
    check(&["d d; l a d", "d a; f a/b"], "a/@1 a/b@1 d/@0");
    // Parents through symlinks, inside the root.
    check(&["d d; l a d", "f a/b"], "a->d@0 d/@0 d/b@1");
    check(&["d d; l a /d", "f a/b/c"], "a->/d@0 d/@0 d/b/@? d/b/c@1");
    check(&["l a ../../d", "f a/b"], "a->../../d@0 d/@? d/b@1");
    check(&["d x; l x/a ../d; d d", "f x/a/b"], "d/@0 d/b@1 x/@0 x/a->../d@0");
    // Whiteouts.
    check(&["d a; f a/b; f a/c", "w a/b"], "a/@0 a/c@0");
    check(&["d a; f a/b", "w a"], "");
    check(&["d a; f a/b", "w a; d a; f a/c"], "a/@1 a/c@1");
    check(&["d a; f a/b", "d a; f a/c; w a"], "a/@1 a/c@1");
    check(&["f a", "w b; w c/d"], "a@0");
    check(&["d d; f d/x; l a d", "w a/x"], "a->d@0 d/@0");
    check(&["d d; f d/x; l a d", "w a"], "d/@0 d/x@0");
    // Opaque directories.
    check(&["d a; f a/b; d a/d; f a/d/e", "d a; o a; f a/c"], "a/@1 a/c@1");
    check(&["d a; f a/b", "d a; f a/c; o a"], "a/@1 a/c@1");
    check(&["f a; d b", "o ."], "");
    check(&["d a; d a/d; f a/d/e", "f a/d/f; o a"], "a/@0 a/d/@0 a/d/f@1");
    check(&["f a", "o b"], "a@0");
    // Hard links show the file, across layers too, and survive it.
    check(&["f a 3; h b a"], "a=3@0 b=3@0");
    check(&["f a 3", "h b a"], "a=3@0 b=3@0");
    check(&["f a 3; h b a", "w a"], "b=3@0");
    check(&["f a 3", "h b a; w a"], "b=3@0");
    check(&["f a 3", "h b a; w b"], "a=3@0 b=3@0");
    check(&["f a 3; h b a; h b a"], "a=3@0 b=3@0");
    check(&["d d; f d/f 3; l a d", "h b a/f"], "a->d@0 b=3@0 d/@0 d/f=3@0");
    check(&["d . 700; f a"], "a@0");
}

#[test]
fn impossible_layers_are_errors() {
    let check = |layers: &[&str], expected: &str| {
        assert_eq!(stack(layers).unwrap_err().to_string(), expected, "{layers:?}");
    };
    check(&["f a; f a/b"], "`/a` is not a directory");
    check(&["l a b; f b; f a/c"], "`/b` is not a directory");
    check(&["l a a; f a/b"], "`/a` leads through more than 40 symlinks");
    check(&["l a b/x; l b a; f a/b"], "`/a` leads through more than 40 symlinks");
    check(&["h a b"], "`/a` is a hard link to `/b`, which is not there");
    check(&["d b; h a b"], "`/a` is a hard link to the directory `/b`");
    check(&["f ."], "`/` is the root, which cannot be removed or replaced");
    check(&["w ."], "`/` is the root, which cannot be removed or replaced");
}

#[test]
fn lookups_follow_symlinks_inside_the_root() {
    let tree = stack(&[
        "d d; f d/f; l rel d; l abs /d; l up ../../../d/f; l dangling /new/place; d d/s; l d/s/back ..; \
        l chain rel; l self self; l todir d/s",
    ])
    .unwrap();
    let check = |path: &str, follow: bool, expected: &str| {
        let found = match tree.resolve(path.as_bytes(), follow) {
            Ok(Some(node)) => String::from_utf8_lossy(tree.path(node)).into_owned(),
            Ok(None) => "nothing".to_string(),
            Err(error) => error.to_string(),
        };
        assert_eq!(found, expected, "{path}");
    };
    check("/", true, "");
    check("d/f", true, "d/f");
    check("/./d//f", true, "d/f");
    check("rel/f", true, "d/f");
    check("abs/f", false, "d/f");
    check("rel", false, "rel");
    check("rel", true, "d");
    check("rel/", true, "d");
    check("chain/s/back/f", true, "d/f");
    check("up", true, "d/f");
    check("../../d", true, "d");
    check("rel/../d", true, "d");
    check("todir/..", true, "d");
    check("dangling", true, "nothing");
    check("dangling", false, "dangling");
    check("d/f/x", true, "nothing");
    check("self", true, "`/self` leads through more than 40 symlinks");
    check("self", false, "self");
    let check = |path: &str, follow: bool, expected: Result<&str, &str>| {
        let found = tree.resolve_missing(path.as_bytes(), follow).map_err(|error| error.to_string());
        assert_eq!(found, expected.map(|path| path.as_bytes().to_vec()).map_err(str::to_string), "{path}");
    };
    check("d/f", true, Ok("d/f"));
    check("/rel/new", true, Ok("d/new"));
    check("rel/a/b/../c", true, Ok("d/a/c"));
    check("dangling", true, Ok("new/place"));
    check("dangling/x", true, Ok("new/place/x"));
    check("dangling", false, Ok("dangling"));
    check("x/../../y", true, Ok("y"));
    check("d/f/x", true, Err("`/d/f` is not a directory"));
}

#[test]
fn links_know_each_other() {
    let mut tree = stack(&["f a 1; h b a; f c", "h d b; f a 2"]).unwrap();
    let group = |tree: &Tree, path: &str| tree.link_group(tree.get(path.as_bytes()).unwrap());
    assert!(group(&tree, "b").is_some());
    assert_eq!(group(&tree, "b"), group(&tree, "d"));
    assert_eq!((group(&tree, "a"), group(&tree, "c")), (None, None));
    tree.remove(b"d").unwrap();
    assert_eq!(tree.get(b"d"), None);
    assert_eq!(tree.origin(tree.get(b"b").unwrap()), Some(Origin { layer: 0, position: 0 }));
    let names: Vec<&[u8]> = tree.children(tree.root()).map(|node| tree.name(node)).collect();
    assert_eq!(names, [b"a", b"b", b"c"]);
}

#[test]
fn independence_is_claimed_only_where_it_holds() {
    let check = |lower: &str, layer_text: &str, expected: bool| {
        let lower = stack(&[lower]).unwrap();
        assert_eq!(is_independent(&lower, &layer(layer_text)), expected, "{layer_text}");
    };
    check("d a", "d a 700; f a/b", true);
    check("d a", "f a/b", true);
    check("d a 700", "f a/b", false);
    check("d a 700", "d a 700; f a/b", true);
    check("", "f a/b", true);
    check("", "f a/b; d a", false);
    check("d d; l a d", "f a/b", false);
    check("d d; l a d", "d a; f a/b", true);
    check("f a", "d a; f a/b", true);
    check("f a", "f a/b", false);
    check("", "l a d; f a/b", false);
    check("f a", "w a", true);
    check("f a", "w a; d a", false);
    check("f a", "d a; w a", false);
    check("f a", "w a; f a/b", false);
    check("", "w a/b", false);
    check("d a; f a/b", "w a/b", true);
    check("d a", "o a", true);
    check("d a 711", "o a", false);
    check("d a 711", "d a; o a", true);
    check("", "o a", false);
    check("", "f a; f a", false);
    check("", "f a; h b a; h c b", true);
    check("f a", "h b a", false);
    check("", "h b a; f a", false);
    check("", "d a; h b a", false);
    check("", "c a", false);
    check("d . 700", "f a", false);
    check("d . 700", "d . 700; f a", true);
    check("", "o .", true);
}
