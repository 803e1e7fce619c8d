//! COPY and WORKDIR on trees written as text: `d PATH [MODE]`, `f PATH [SIZE]`, `l PATH TARGET`, `h PATH TARGET`.

use super::case;
use crate::base::Digest;
use crate::layer::{Entry, EntryKind, Index, IndexedEntry, Tree};
use crate::steps::{CopyOp, Op, Owner, Placement, Settings, place_copy, place_directory, select};

fn tree(text: &str) -> Tree {
    let lines = text.split(';').map(str::trim).filter(|line| !line.is_empty());
    let entries = lines.map(|line| IndexedEntry { entry: entry(line), offset: 0, content: None }).collect();
    let mut tree = Tree::new();
    tree.apply(0, &Index { entries, blocks: Vec::new() }).unwrap();
    tree
}

fn entry(line: &str) -> Entry {
    let words: Vec<&str> = line.split(' ').collect();
    let target = || words[2].as_bytes().to_vec();
    let mode = |usual| words.get(2).map_or(usual, |mode| u32::from_str_radix(mode, 8).unwrap());
    let (kind, mode) = match words[0] {
        "d" => (EntryKind::Directory, mode(0o755)),
        "f" => (EntryKind::File { size: 1 }, mode(0o644)),
        "l" => (EntryKind::Symlink { target: target() }, 0o777),
        "h" => (EntryKind::HardLink { target: target() }, 0o644),
        other => panic!("no kind {other}"),
    };
    let mut entry = Entry::new(words[1], kind, mode);
    (entry.uid, entry.gid) = (7, 7);
    entry
}

fn copy(instruction: &str) -> CopyOp {
    let lowered = case(&format!("FROM scratch\n{instruction}")).lowered();
    match lowered.steps.into_iter().next_back().map(|step| step.op) {
        Some(Op::Copy(copy)) => copy,
        other => panic!("no copy: {other:?}"),
    }
}

const PLAIN: Settings = Settings { owner: None, keep_owner: false, now: 9 };

fn placed(instruction: &str, source: &str, base: &str, settings: Settings) -> Result<Placement, String> {
    let (copy, source, base) = (copy(instruction), tree(source), tree(base));
    let selection = select(&copy, &source).map_err(|error| error.to_string())?;
    place_copy(&copy, &selection, &source, &base, settings).map_err(|error| error.to_string())
}

/// Entries as `PATH`, directories with `/`, links with their target, other modes than usual as octal.
fn listing(placement: &Placement) -> String {
    let describe = |entry: &Entry| {
        let path = String::from_utf8_lossy(&entry.path);
        let mode = |usual| if entry.mode == usual { String::new() } else { format!(":{:o}", entry.mode) };
        match &entry.kind {
            EntryKind::Directory => format!("{path}/{}", mode(0o755)),
            EntryKind::File { .. } => format!("{path}{}", mode(0o644)),
            EntryKind::Symlink { target } => format!("{path}->{}", String::from_utf8_lossy(target)),
            EntryKind::HardLink { target } => format!("{path}={}", String::from_utf8_lossy(target)),
            other => format!("{path}{other:?}"),
        }
    };
    placement.entries.iter().map(|placed| describe(&placed.entry)).collect::<Vec<_>>().join(" ")
}

fn check(instruction: &str, source: &str, base: &str, expected: &str) {
    let found = placed(instruction, source, base, PLAIN).map(|placement| listing(&placement));
    assert_eq!(found.unwrap_or_else(|error| error), expected, "{instruction} of {source} onto {base}");
}

#[test]
fn destinations_are_files_or_directories_by_their_end_and_by_what_is_there() {
    check("COPY f /x", "f f", "", "x");
    check("COPY f /x/", "f f", "", "x/ x/f");
    check("COPY f /x", "f f", "d x", "x/ x/f");
    check("COPY f .", "f f", "", "f");
    check("COPY f /a/b/c", "f f", "", "a/ a/b/ a/b/c");
    check("COPY f /x", "f f", "f x", "x");
    check("COPY f g /multi", "f f; f g", "", "multi");
    check("COPY ../f /", "f f", "", "f");
    check("COPY nothing /", "f f", "", "`/nothing` does not exist");
}

#[test]
fn directories_mean_their_contents() {
    check("COPY d /x", "d d 700; f d/f; d d/e 700; f d/e/g", "", "x/ x/e/:700 x/e/g x/f");
    check("COPY d /x", "d d; d d/e 700", "d x; d x/e", "x/ x/e/:700");
    check("COPY . /", "f f; d d", "", "d/ f");
    check("COPY d /x", "d d", "d x", "");
    check("COPY d /x", "d d", "", "x/");
    check("COPY d /x", "d d; f d/f", "d x 711", "x/:711 x/f");
}

#[test]
fn wildcards_match_names_and_may_match_nothing() {
    check("COPY *.c /x/", "f b.c; f a.c; f a.h", "", "x/ x/a.c x/b.c");
    check("COPY * /x/", "f .hidden; f a", "", "x/ x/.hidden x/a");
    check("COPY no* /x/", "f a", "", "");
    check("COPY */f /x/", "d a; f a/f; d b; f b/f; f c", "", "x/ x/f");
    check("COPY d* /x/", "d d1; f d1/a; d d2; f d2/b", "", "x/ x/a x/b");
}

#[test]
fn links_are_followed_where_they_are_named_and_copied_below() {
    check("COPY l /x/", "f f; l l f", "", "x/ x/l");
    check("COPY l /x", "d d; f d/f; l l d", "", "x/ x/f");
    check("COPY * /x/", "f f; l l f", "", "x/ x/f x/l");
    check("COPY d /x", "d d; l d/l ../f; f f", "", "x/ x/l->../f");
    check("COPY l /x", "l l nowhere", "", "`/l` does not exist");
    check("COPY f /l/", "f f", "d d; l l d", "d/ d/f");
    check("COPY f /l", "f f", "f g; l l g", "g");
    check("COPY f /l/f", "f f", "l l /new", "new/ new/f");
    check("COPY --link f /l/", "f f", "d d; l l d", "l/ l/f");
}

#[test]
fn what_stands_in_the_way_is_an_error() {
    check("COPY f /x/y", "f f", "f x", "destination `/x/y`: `/x` is not a directory");
    check("COPY d /x", "d d", "f x", "`/x` is not a directory");
    check("COPY d /x", "d d; f d/f", "d x; d x/f", "cannot replace the directory `/x/f` with a file or link");
    check(
        "COPY d /x",
        "d d; d d/e",
        "d x; f x/e",
        "cannot replace `/x/e`, which is not a directory, with a directory",
    );
    check(
        "COPY d /x",
        "d d; d d/e",
        "d x; l x/e .",
        "cannot replace `/x/e`, which is not a directory, with a directory",
    );
    check("COPY --link d /x", "d d; f d/f", "f x", "x/ x/f");
}

#[test]
fn names_of_one_file_stay_one_file() {
    check("COPY d /x", "d d; f d/a; h d/b d/a", "", "x/ x/a x/b=x/a");
    check("COPY d/b /x", "d d; f d/a; h d/b d/a", "", "x");
    check("COPY d/b d/a /x/", "d d; f d/a; h d/b d/a", "", "x/ x/a x/b=x/a");
    // A later source takes the place of one of the names.
    check("COPY a/f a/g b/f /x/", "d a; f a/f; h a/g a/f; d b; f b/f 600", "", "x/ x/f:600 x/g");
    check("COPY a/f b/f a/g /x/", "d a; f a/f; h a/g a/f; d b; f b/f 600", "", "x/ x/f:600 x/g");
    check("COPY a/f a/g a/f /x/", "d a; f a/f; h a/g a/f", "", "x/ x/f x/g=x/f");
}

#[test]
fn modes_are_changed_but_of_links() {
    check("COPY --chmod=600 d /x/", "d d; f d/f; l d/l f; d d/e", "", "x/:600 x/e/:600 x/f:600 x/l->f");
    check("COPY --chmod=u=rwX,go=rX d /x/", "d d; f d/f 700; d d/e 700", "", "x/ x/e/ x/f:755");
    check("COPY f /x", "f f 4755", "", "x:4755");
}

#[test]
fn exclusions_are_relative_to_each_source() {
    check("COPY --exclude=*.o d /x", "d d; f d/a.o; f d/b.c; d d/e; f d/e/c.o", "", "x/ x/b.c x/e/ x/e/c.o");
    check("COPY --exclude=**/*.o d /x", "d d; f d/a.o; d d/e; f d/e/c.o", "", "x/ x/e/");
    check("COPY --exclude=e d /x", "d d; d d/e; f d/e/c; f d/f", "", "x/ x/f");
    check("COPY --exclude=a* a b /x/", "f a; f b", "", "x/ x/b");
}

#[test]
fn inline_files_are_placed_like_others() {
    check("COPY <<F /x/\nbody\nF\n", "", "", "x/ x/F");
    check("COPY --chmod=700 <<F /x\nbody\nF\n", "", "", "x:700");
    check("COPY <<F /x\nbody\nF\n", "", "d x", "x/ x/F");
}

#[test]
fn parents_are_repeated_as_they_are_so_that_the_layer_stands_alone() {
    check("COPY f /a/b/f", "f f", "d a 700; d a/b 1777", "a/:700 a/b/:1777 a/b/f");
    let placement = placed("COPY f /a/f", "f f", "d a", PLAIN).unwrap();
    assert_eq!(placement.entries[0].entry.uid, 7);
    assert_eq!(placement.entries[1].entry.uid, 0);
}

#[test]
fn owners_are_kept_given_or_roots() {
    let owners = |settings: Settings| {
        let placement = placed("COPY d /x/y", "d d; f d/f", "", settings).unwrap();
        placement.entries.iter().map(|placed| placed.entry.uid).collect::<Vec<u32>>()
    };
    assert_eq!(owners(PLAIN), [0, 0, 0]);
    assert_eq!(owners(Settings { keep_owner: true, ..PLAIN }), [0, 0, 7]);
    assert_eq!(owners(Settings { owner: Some(Owner { uid: 3, gid: 4 }), ..PLAIN }), [3, 3, 3]);
}

#[test]
fn workdir_makes_what_is_missing_and_nothing_else() {
    let check = |path: &str, base: &str, expected: &str| {
        let found = place_directory(path, &tree(base), PLAIN).map(|placement| listing(&placement));
        assert_eq!(found.unwrap_or_else(|error| error.to_string()), expected, "{path} on {base}");
    };
    check("/a/b", "", "a/ a/b/");
    check("/a/b", "d a 700", "a/:700 a/b/");
    check("/a", "d a", "");
    check("/l/b", "d a; l l a", "a/ a/b/");
    check("/a", "f a", "`/a` is not a directory");
}

#[test]
fn the_digest_of_a_placement_has_content_and_no_times() {
    let digest = |instruction: &str, source: &str, content: &str, now| {
        let placement = placed(instruction, source, "", Settings { now, ..PLAIN }).unwrap();
        placement.digest(|_| Some(Digest::of(content)))
    };
    let usual = digest("COPY f /d/", "f f", "x", 1);
    assert_eq!(usual, digest("COPY f /d/", "f f", "x", 2));
    assert_ne!(usual, digest("COPY f /d/", "f f", "y", 1));
    assert_ne!(usual, digest("COPY f /d/", "f f 600", "x", 1));
    assert_ne!(usual, digest("COPY f /e/", "f f", "x", 1));
    let unknown = placed("COPY f /d/", "f f", "", PLAIN).unwrap();
    assert_eq!(unknown.digest(|_| None), None);
}
