//! ADD of an archive, its members written as text like trees, onto trees.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::placing::{PLAIN, copy, entry, listing, tree};
use crate::layer::{EntryKind, NodeRef};
use crate::steps::{Archives, Content, Owner, Settings, place_copy, select};

/// Unpacks an archive with these members; the context has nothing else but a file `f`.
fn unpacked(instruction: &str, members: &str, base: &str, settings: Settings) -> Result<String, String> {
    let (copy, source, base) = (copy(instruction), tree("f a.tar; f f"), tree(base));
    let selection = select(&copy, &source).map_err(|error| error.to_string())?;
    let archive: NodeRef = source.get(b"a.tar").unwrap();
    let members = members.split(';').map(str::trim).filter(|line| !line.is_empty()).map(entry).collect();
    let archives = Archives::from([(archive, members)]);
    let placement = place_copy(&copy, &selection, &source, &archives, &base, settings);
    let placement = placement.map_err(|error| error.to_string())?;
    let members =
        |content: &Content| matches!(content, Content::Member { archive: of, .. } if *of == archive);
    let bytes = placement.entries.iter().filter(|placed| members(&placed.content)).count();
    Ok(format!("{} ({bytes})", listing(&placement)))
}

fn check(members: &str, base: &str, expected: &str) {
    let found = unpacked("ADD a.tar /x", members, base, PLAIN);
    assert_eq!(found.unwrap_or_else(|error| error), expected, "{members} onto {base}");
}

#[test]
fn members_keep_what_they_are_and_missing_parents_are_roots() {
    check("d d 700; f d/f 4755; l d/l f", "", "x/ x/d/:700 x/d/f:4755 x/d/l->f (1)");
    check("f d/e/f", "", "x/ x/d/ x/d/e/ x/d/e/f (1)");
    check("p d/p; c d/c", "", "x/ x/d/ x/d/c@1:3 x/d/p| (0)");
    check("f f", "d x 711", "x/:711 x/f (1)");
    check(
        "f .wh.f",
        "",
        "`/x/.wh.f` cannot be in a layer: names starting with `.wh.` mark removed files there",
    );
}

#[test]
fn members_take_the_place_of_what_is_there() {
    check("f f 600; f f 640", "", "x/ x/f:640 (1)");
    check("f g", "d x; d x/g; f x/g/h", "x/ x/g (1)");
    check("d g 700", "d x; f x/g", "x/ x/g/:700 (0)");
    check("d g 700", "d x; d x/g; f x/g/h", "x/ x/g/:700 (0)");
    check("d g", "d x; l x/g /", "x/ x/g/ (0)");
    check("f g; d g; f g/h", "d x; d x/g; f x/g/i", "x/ x/g/ x/g/* x/g/h (1)");
    check("d g; f g/h; f g 600", "", "x/ x/g:600 (1)");
    check("f g; f g/h", "", "`/x/g` is not a directory");
}

#[test]
fn links_lead_no_further_than_the_destination() {
    check("d d; l l /d; f l/f", "", "x/ x/d/ x/d/f x/l->/d (1)");
    check("d d; l l ../../d; f l/f", "", "x/ x/d/ x/d/f x/l->../../d (1)");
    check("d d; l l d; f l/e/f", "", "x/ x/d/ x/d/e/ x/d/e/f x/l->d (1)");
    check("f l/f", "d x; l x/l /d; d d; d x/d", "x/ x/d/ x/d/f (1)");
    check("f l/f", "d x; l x/l /d; d d", "`/l` leads by a link to `/x/d`, which is not there");
    check("l m /no; l l m; f l/f", "", "`/l` leads by a link to `/x/no`, which is not there");
    check("l l d; d l; f l/f", "", "x/ x/l/ x/l/f (1)");
    check("l l m; l m l; f l/f", "", "destination `/l`: `/l` leads through more than 40 symlinks");
    // The destination's own links lead anywhere.
    check("f f", "l x /y; d y", "y/ y/f (1)");
    check("f f", "f x", "`/x` is not a directory");
}

#[test]
fn names_of_one_member_stay_one_file() {
    check("f f; h g f", "", "x/ x/f x/g=x/f (1)");
    check("f f; h e f; h g e", "", "x/ x/e x/f=x/e x/g=x/e (1)");
    check("d d; f d/f; l l d; h h l/f", "", "x/ x/d/ x/d/f x/l->d x/h=x/d/f (1)");
    check("l l f; h k l", "", "x/ x/k->f x/l=x/k (0)");
    check("f f; h g f; f f 600", "", "x/ x/f:600 x/g (2)");
    check("f f; h e f 600; h g f 640", "", "x/ x/e:640 x/f=x/e x/g=x/e (1)");
    check("l l f; h k l 600", "", "x/ x/k->f x/l=x/k (0)");
    check("f f; h f f", "", "x/ x/f (1)");
    check("h g f", "d x; f x/f", "`/x/g` is a hard link to `/x/f`, which the archive does not bring");
    check("d f; h g f", "", "`/x/g` is a hard link to `/x/f`, which the archive does not bring");
}

#[test]
fn flags_are_for_archives_as_far_as_they_go() {
    let check = |instruction: &str, expected: &str| {
        let found = unpacked(instruction, "d d; f d/f 600", "", PLAIN);
        assert_eq!(found.unwrap_or_else(|error| error), expected, "{instruction}");
    };
    check("ADD --chmod=777 a.tar /x", "x/ x/d/ x/d/f:600 (1)");
    check("ADD --exclude=d a.tar /x", "x/ x/d/ x/d/f:600 (1)");
    check("ADD a.tar /x/y/", "x/ x/y/ x/y/d/ x/y/d/f:600 (1)");
    check("ADD a.tar f /x/", "x/ x/d/ x/d/f:600 x/f (1)");
    check("ADD a.* f /x/", "x/ x/d/ x/d/f:600 x/f (1)");
    check("ADD --link a.tar /", "d/ d/f:600 (1)");
}

#[test]
fn members_keep_their_owner_unless_told_otherwise() {
    let owners = |settings: Settings| {
        let (copy, source) = (copy("ADD a.tar /x"), tree("f a.tar"));
        let selection = select(&copy, &source).unwrap();
        let members = ["f d/f", "f e"].map(entry).into();
        let archives = Archives::from([(source.get(b"a.tar").unwrap(), members)]);
        let placement = place_copy(&copy, &selection, &source, &archives, &tree(""), settings).unwrap();
        placement.entries.iter().map(|placed| placed.entry.uid).collect::<Vec<u32>>()
    };
    // x, x/d, x/d/f, x/e
    assert_eq!(owners(PLAIN), [0, 0, 7, 7]);
    assert_eq!(owners(Settings { owner: Some(Owner { uid: 3, gid: 4 }), ..PLAIN }), [3, 0, 3, 3]);
}

/// A path of few names, so that members meet each other and what is there.
fn path() -> impl Strategy<Value = String> {
    prop::collection::vec(prop::sample::select(vec!["a", "b", "c"]), 1..4).prop_map(|names| names.join("/"))
}

fn member() -> impl Strategy<Value = String> {
    let target = prop::sample::select(vec!["a", "/b", "../c", ".", "a/b", "/no"]);
    prop_oneof![
        path().prop_map(|path| format!("d {path} 700")),
        path().prop_map(|path| format!("f {path}")),
        (path(), target).prop_map(|(path, target)| format!("l {path} {target}")),
        (path(), path()).prop_map(|(path, target)| format!("h {path} {target}")),
    ]
}

/// Links lead to one place that is always there.
fn standing() -> impl Strategy<Value = String> {
    path().prop_flat_map(|path| prop::sample::select(vec![format!("d x/{path}"), format!("l x/{path} /z")]))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    /// A layer can be laid over any other: each entry once, below directories it has itself, links behind
    /// what they link to.
    #[test]
    fn layers_stand_alone(
        members in prop::collection::vec(member(), 1..8),
        base in prop::collection::vec(standing(), 0..4),
    ) {
        let (copy, source) = (copy("ADD a.tar /x"), tree("f a.tar"));
        let selection = select(&copy, &source).unwrap();
        let members = members.iter().map(|line| entry(line)).collect();
        let archives = Archives::from([(source.get(b"a.tar").unwrap(), members)]);
        let base = tree(&format!("d z; d x/z; {}", base.join(";")));
        let Ok(placement) = place_copy(&copy, &selection, &source, &archives, &base, PLAIN) else {
            return Ok(());
        };
        let (mut seen, mut directories) = (BTreeSet::new(), BTreeSet::from([Vec::new()]));
        for entry in placement.entries.iter().map(|placed| &placed.entry) {
            if entry.kind == EntryKind::Opaque {
                prop_assert!(directories.contains(&entry.path));
                continue;
            }
            let parent = entry.path.iter().rposition(|byte| *byte == b'/').map_or(0, |end| end);
            prop_assert!(directories.contains(&entry.path[..parent]), "{:?}", listing(&placement));
            prop_assert!(seen.insert(&entry.path), "{:?}", listing(&placement));
            if let EntryKind::HardLink { target } = &entry.kind {
                prop_assert!(seen.contains(target) && !directories.contains(target));
            }
            if entry.is_directory() {
                directories.insert(entry.path.clone());
            }
        }
    }
}
