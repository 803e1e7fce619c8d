//! COPY and WORKDIR on trees written as text: `d PATH [MODE]`, `f PATH [MODE]`, `l PATH TARGET`, `h PATH TARGET [MODE]`,
//! `p PATH` for a pipe, `c PATH` for a device.

use super::case;
use crate::base::Digest;
use crate::layer::{Entry, EntryKind, Index, IndexedEntry, Tree};
use crate::steps::{Archives, CopyOp, Op, Owner, Placement, Settings, place_copy, place_directory, select};

pub(super) fn tree(text: &str) -> Tree {
    let lines = text.split(';').map(str::trim).filter(|line| !line.is_empty());
    let entries = lines.map(|line| IndexedEntry { entry: entry(line), offset: 0, content: None }).collect();
    let mut tree = Tree::new();
    tree.apply(0, &Index { entries, ..Index::default() }).unwrap();
    tree
}

pub(super) fn entry(line: &str) -> Entry {
    let words: Vec<&str> = line.split(' ').collect();
    let target = || words[2].as_bytes().to_vec();
    let mode = |usual| words.get(2).map_or(usual, |mode| u32::from_str_radix(mode, 8).unwrap());
    let (kind, mode) = match words[0] {
        "d" => (EntryKind::Directory, mode(0o755)),
        "f" => (EntryKind::File { size: 1 }, mode(0o644)),
        "l" => (EntryKind::Symlink { target: target() }, 0o777),
        "h" => {
            let mode = words.get(3).map_or(0o644, |mode| u32::from_str_radix(mode, 8).unwrap());
            (EntryKind::HardLink { target: target() }, mode)
        }
        "p" => (EntryKind::Fifo, mode(0o644)),
        "c" => (EntryKind::CharDevice { major: 1, minor: 3 }, mode(0o644)),
        other => panic!("no kind {other}"),
    };
    let mut entry = Entry::new(words[1], kind, mode);
    (entry.uid, entry.gid) = (7, 7);
    entry
}

pub(super) fn copy(instruction: &str) -> CopyOp {
    let lowered = case(&format!("FROM scratch\n{instruction}")).lowered();
    match lowered.steps.into_iter().next_back().map(|step| step.op) {
        Some(Op::Copy(copy)) => copy,
        other => panic!("no copy: {other:?}"),
    }
}

pub(super) const PLAIN: Settings = Settings { owner: None, keep_owner: false, now: 9 };

fn placed(instruction: &str, source: &str, base: &str, settings: Settings) -> Result<Placement, String> {
    let (copy, source, base) = (copy(instruction), tree(source), tree(base));
    let selection = select(&copy, &source).map_err(|error| error.to_string())?;
    place_copy(&copy, &selection, &source, &Archives::new(), &base, settings)
        .map_err(|error| error.to_string())
}

/// Entries as `PATH`, directories with `/`, links with their target, other modes than usual as octal.
pub(super) fn listing(placement: &Placement) -> String {
    let describe = |entry: &Entry| {
        let path = String::from_utf8_lossy(&entry.path);
        let mode = |usual| if entry.mode == usual { String::new() } else { format!(":{:o}", entry.mode) };
        match &entry.kind {
            EntryKind::Directory => format!("{path}/{}", mode(0o755)),
            EntryKind::File { .. } => format!("{path}{}", mode(0o644)),
            EntryKind::Symlink { target } => format!("{path}->{}", String::from_utf8_lossy(target)),
            EntryKind::HardLink { target } => format!("{path}={}", String::from_utf8_lossy(target)),
            EntryKind::Fifo => format!("{path}|"),
            EntryKind::CharDevice { major, minor } => format!("{path}@{major}:{minor}"),
            EntryKind::Opaque => format!("{path}/*"),
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
    // What is there with the same mode and owner is not written again but for what is in it.
    check("COPY d /x", "d d; d d/e; d d/g; f d/g/f", "d x; d x/e; d x/g", "x/ x/e/ x/g/ x/g/f");
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
    check("COPY a?[x-z] /x/", "f abx; f aby; f abc; f a/x", "", "x/ x/abx x/aby");
    check("COPY a[[]0] /x/", "f a[0]; f a0", "", "x/ x/a[0]");
    check(r"COPY a\\*b /x/", "f axb", "", r"`/a\*b` does not exist");
    check("COPY [^a] /x/", "f a; f b", "", "x/ x/b");
    // Links are followed up to the first wildcard, and from there on not.
    check("COPY l/*/f /x/", "d d; d d/e; f d/e/f; l l d", "", "x/ x/f");
    check("COPY */f /x/", "d d; f d/f 600; l l d", "", "x/ x/f:600");
    check("COPY no/* /x/", "f a", "", "`/no` does not exist");
    check("COPY a/* /x/", "f a", "", "");
    check("COPY a[ /x/", "f a", "", "pattern `/a[` is malformed");
    check("COPY a f* nothing /x/", "f a; f f", "", "`/nothing` does not exist");
    // Walked by directory, so the later one is `a-b`'s.
    check("COPY */f /x", "d a; f a/f 600; d a-b; f a-b/f 640", "", "x:640");
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
    check("COPY f /l", "f f", "l l /m; l m /l", "destination `/l`: `/l` leads through more than 40 symlinks");
    check("COPY f /l/../x", "f f", "d d; d d/e; l l d/e", "x");
    check("COPY f /l", "f f", "d d; d d/e; l l d/e/../..", "f");
    check("COPY d /x/l/", "d d; f d/f", "d x; l x/l ../y", "y/ y/f");
    // What the same COPY has put there counts.
    check("COPY a b /x/", "d a; l a/b /y; f b", "", "x/ x/b");
    check(
        "COPY a b /x",
        "d a; l a/l /y; d b; d b/l",
        "",
        "cannot replace `/x/l`, which is not a directory, with a directory",
    );
}

#[test]
fn what_stands_in_the_way_is_an_error() {
    check("COPY f /x/y", "f f", "f x", "`/x` is not a directory");
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
    check("COPY f /x/", "f f", "f x", "`/x` is not a directory");
    check("COPY f d /x", "f f; d d", "", "`/x` is not a directory");
    check("COPY d f /x", "d d; f d/g; f f", "", "x/ x/f x/g");
    check("COPY d /x", "d d; f d/l", "d x; l x/l /", "x/ x/l");
    check(
        "COPY d /x",
        "d d; f d/.wh.f",
        "",
        "`/x/.wh.f` cannot be in a layer: names starting with `.wh.` mark removed files there",
    );
    check("COPY --exclude=.wh.* d /x", "d d; f d/.wh.f; f d/g", "", "x/ x/g");
}

#[test]
fn names_of_one_file_stay_one_file() {
    check("COPY d /x", "d d; f d/a; h d/b d/a", "", "x/ x/a x/b=x/a");
    check("COPY d/b /x", "d d; f d/a; h d/b d/a", "", "x");
    // Each source by itself, and each match.
    check("COPY d/b d/a /x/", "d d; f d/a; h d/b d/a", "", "x/ x/a x/b");
    check("COPY d/* /x/", "d d; f d/a; h d/b d/a", "", "x/ x/a x/b");
    check("COPY --parents d/* /x/", "d d; f d/a; h d/b d/a", "", "x/ x/d/ x/d/a x/d/b=x/d/a");
    // A later source takes the place of one of the names.
    check("COPY a b /x/", "d a; f a/f; h a/g a/f; d b; f b/f 600", "", "x/ x/f:600 x/g");
    check("COPY a b /x/", "d a; f a/e; h a/f a/e; h a/g a/e; d b; f b/f 600", "", "x/ x/e x/f:600 x/g=x/e");
}

#[test]
fn modes_are_changed_but_of_links() {
    check("COPY --chmod=600 d /x/", "d d; f d/f; l d/l f; d d/e", "", "x/:600 x/e/:600 x/f:600 x/l->f");
    check("COPY --chmod=u=rwX,go=rX d /x/", "d d; f d/f 700; d d/e 700", "", "x/ x/e/ x/f:755");
    check("COPY f /x", "f f 4755", "", "x:4755");
    // Directories on the way take the permissions, without setuid and its like.
    check("COPY --chmod=1777 f /n/m/", "f f", "", "n/:777 n/m/:777 n/m/f:1777");
    check("COPY --chmod=4755 d /n/", "d d; d d/e", "", "n/ n/e/:4755");
    check("COPY --link --chmod=640 f /l/", "f f", "d d; l l d", "d/ d/f:640");
}

#[test]
fn exclusions_are_relative_to_each_source() {
    check("COPY --exclude=*.o d /x", "d d; f d/a.o; f d/b.c; d d/e; f d/e/c.o", "", "x/ x/b.c x/e/ x/e/c.o");
    check("COPY --exclude=**/*.o d /x", "d d; f d/a.o; d d/e; f d/e/c.o", "", "x/ x/e/");
    check("COPY --exclude=e d /x", "d d; d d/e; f d/e/c; f d/f", "", "x/ x/f");
    check(
        "COPY --exclude=e --exclude=!e/f d /x",
        "d d; d d/e 700; f d/e/f; f d/e/g",
        "",
        "x/ x/e/:700 x/e/f",
    );
    check("COPY --exclude=* --exclude=!*.c d /x", "d d; f d/a.c; f d/b", "", "x/ x/a.c");
    check("COPY --exclude=q/r d /x", "d d; d d/q; f d/q/r; f d/r", "", "x/ x/q/ x/r");
    let open = r"`--exclude`: `[` is not a pattern: a `[` or a `\` is left open";
    check("COPY --exclude=[ d /x", "d d", "", open);
    check("COPY --parents a[ /x", "d d", "", "pattern `a[` is malformed");
    // A source itself is never excluded, named or matched.
    check("COPY --exclude=a* a b /x/", "f a; f b", "", "x/ x/a x/b");
    check("COPY --exclude=a* * /x/", "f a; f b", "", "x/ x/a x/b");
    check("COPY --exclude=d * /x/", "d d; f d/f", "", "x/ x/f");
    // A directory that stays for what is in it changes the mode of one that is there, and no more.
    let text = "COPY --exclude=e --exclude=!e/f --chmod=640 d /x";
    check(text, "d d; d d/e 700; f d/e/f", "d x; d x/e 1777", "x/ x/e/:700 x/e/f:640");
}

#[test]
fn parents_keep_the_path_below_the_pivot() {
    let source = "d a 700; d a/b; f a/b/f; f a/b/g.c; d a/c; f a/c/h.c; l l a; f top";
    let parents = |arguments: &str, base: &str, expected: &str| {
        check(&format!("COPY --parents {arguments} /x"), source, base, expected);
    };
    parents("a/b/f", "", "x/ x/a/:700 x/a/b/ x/a/b/f");
    parents("./a/b/f", "", "x/ x/a/:700 x/a/b/ x/a/b/f");
    parents("../a/b/f", "", "x/ x/a/:700 x/a/b/ x/a/b/f");
    parents("/a/b/f top", "", "x/ x/a/:700 x/a/b/ x/a/b/f x/top");
    parents("a/./b", "", "x/ x/b/ x/b/f x/b/g.c");
    parents("a/./b/./f", "", "x/ x/b/ x/b/f");
    parents("a/*/*.c", "", "x/ x/a/:700 x/a/b/ x/a/b/g.c x/a/c/ x/a/c/h.c");
    parents("**/*.c", "", "x/ x/a/:700 x/a/b/ x/a/b/g.c x/a/c/ x/a/c/h.c");
    parents("*/./b", "", "x/ x/b/ x/b/f x/b/g.c");
    // Sources that clean to the root mean all of it; BuildKit 0.32 fails there.
    parents("a/./", "", "x/ x/b/ x/b/f x/b/g.c x/c/ x/c/h.c");
    check("COPY --parents . /x", "f f; d d", "", "x/ x/d/ x/f");
    parents("nothing*", "", "x/");
    parents("nothing/f", "", "`/nothing/f` does not exist");
    parents("nothing/./f", "", "`/nothing` does not exist");
    parents("top/./f", "", "`/top/f` does not exist");
    // Links below the pivot are links; the pivot is followed.
    parents("l", "", "x/ x/l->a");
    parents("l/b/f", "", "`/l/b/f` does not exist");
    parents("l/./b/f", "", "x/ x/b/ x/b/f");
    parents("--exclude=a/b/f a/b", "", "x/ x/a/:700 x/a/b/ x/a/b/g.c");
    parents("--exclude=f a/./b", "", "x/ x/b/ x/b/f x/b/g.c");
    parents("--exclude=a a/b/f", "", "`/a/b/f` does not exist");
    parents("--chmod=640 a/b/f", "", "x/:640 x/a/:640 x/a/b/:640 x/a/b/f:640");
    parents("--link a/b/f", "f x", "x/ x/a/:700 x/a/b/ x/a/b/f");
    parents("a/b/f", "d x; d x/a 1777", "x/ x/a/:700 x/a/b/ x/a/b/f");
    parents("a/b/f", "d x; f x/a", "cannot replace `/x/a`, which is not a directory, with a directory");
}

#[test]
fn special_files_are_copied_as_they_are() {
    check("COPY d /x", "d d; p d/p 600; c d/c", "", "x/ x/c@1:3 x/p|");
    check("COPY --chmod=640 d/p /x", "d d; p d/p", "", "x|");
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
fn directories_that_are_made_inherit_setgid_and_its_group() {
    check("COPY f /x/y/z/f", "f f", "d x 2755", "x/:2755 x/y/:2755 x/y/z/:2755 x/y/z/f");
    check("COPY d /x/y", "d d; d d/e", "d x 2755", "x/:2755 x/y/:2755 x/y/e/");
    let groups = |settings: Settings| {
        let placement = placed("COPY f /x/y/f", "f f", "d x 2755", settings).unwrap();
        placement.entries.iter().map(|placed| placed.entry.gid).collect::<Vec<u32>>()
    };
    assert_eq!(groups(PLAIN), [7, 7, 0]);
    assert_eq!(groups(Settings { owner: Some(Owner { uid: 3, gid: 4 }), ..PLAIN }), [7, 4, 4]);
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
    check("/a/b", "l a /c", "c/ c/b/");
    check("/C:/x y", "", "C:/ C:/x y/");
}

#[test]
fn a_directory_that_is_copied_gives_its_time_to_the_destination() {
    let times = |base: &str| {
        let source = {
            let mut entries = ["d d", "f d/f"].map(entry);
            entries.iter_mut().for_each(|entry| entry.mtime = 5);
            let indexed = |entry| IndexedEntry { entry, offset: 0, content: None };
            let mut tree = Tree::new();
            tree.apply(0, &Index { entries: entries.map(indexed).into(), ..Index::default() }).unwrap();
            tree
        };
        let copy = copy("COPY d /x/y");
        let selection = select(&copy, &source).unwrap();
        let placement = place_copy(&copy, &selection, &source, &Archives::new(), &tree(base), PLAIN).unwrap();
        placement.entries.iter().map(|placed| placed.entry.mtime).collect::<Vec<i64>>()
    };
    assert_eq!(times(""), [9, 5, 5]);
    assert_eq!(times("d x; d x/y"), [0, 5, 5]);
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
