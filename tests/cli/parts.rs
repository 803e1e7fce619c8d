//! Releases that several machines build: parts, what they have to agree about, and what joins them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::surroundings::base_with_ids;
use crate::support::{Layout, Project, Ran, Registry};

/// A checkout with one target that runs a command for either platform. Its times are frozen, so that machines can be
/// compared by digest.
fn checkout(base: &Path, image: &str) -> Project {
    let text = format!(
        "[project]\nname = \"shop\"\nimage = \"{image}\"\nplatforms = [\"linux/amd64\", \"linux/arm64\"]\n\
         [vars]\ncolour = \"red\"\n[var.token]\nenv = \"TOKEN\"\nsecret = true\n\
         [group.release]\ntargets = [\"app\"]\npush = true\n\
         [target.app]\ntags = [\"1.4.0\", \"latest\"]\nargs = {{ COLOUR = \"{{{{ vars.colour }}}}\" }}\n\
         emulate = \"allow\"\nsource-date-epoch = 1700000000\nannotations = [\"index:of=release\"]\n\
         contexts = {{ busybox = \"oci-layout://{}\" }}\ndockerfile-inline = \"\"\"\nFROM busybox\nARG COLOUR\n\
         RUN uname -m > /machine && echo $COLOUR > /colour\nCOPY content /\n\"\"\"\n",
        base.display()
    );
    Project::of(&text).file("content", "one")
}

const PLATFORMS: [&str; 2] = ["linux/amd64", "linux/arm64"];

/// Makes the part for a platform in a store of its own; the folder it was written into.
fn part(project: &Project, platform: &str, more: &[&str]) -> PathBuf {
    let store = format!("store-{}", platform.replace('/', "-"));
    let ran = project
        .mab(&["bake", "release", "--platform", platform, "--part", "out/", "--store", &store])
        .with(more)
        .with_env("TOKEN", "do-not-tell")
        .run()
        .succeeded();
    project.path(ran.stdout.trim())
}

fn merge(project: &Project, more: &[&str]) -> Ran {
    project.mab(&["merge", "release", "out", "--store", "joined"]).with(more).run()
}

#[test]
fn parts_by_digest_become_one_release() {
    let (Some(registry), Some(base)) = (Registry::of_this_run(), base_with_ids()) else { return };
    let repository = registry.repository("app");
    let project = checkout(&base, &repository);
    for platform in PLATFORMS {
        let part = part(&project, platform, &[]);
        assert!(!fs::read_to_string(part.join("part.json")).expect("a part has it").contains("do-not-tell"));
        let layers = fs::read_dir(part.join("blobs/sha256")).expect("a part has blobs").count();
        assert_eq!(layers, 2, "a manifest and a config");
    }
    assert_eq!(registry.tags(&repository), [""; 0], "parts move no tag");
    let ran = merge(&project, &["--dry-run"]).succeeded().does_not_say("nothing had to be done");
    assert_eq!(ran.stdout.matches(":1.4.0  new → sha256:").count(), 1, "{}", ran.stdout);
    assert_eq!(registry.tags(&repository), [""; 0]);
    registry.requests();
    merge(&project, &[]).succeeded().says("1.4.0").says("latest");
    let sent: Vec<String> = registry.requests();
    assert!(!sent.iter().any(|request| request.starts_with("POST")), "no layer is sent: {sent:?}");
    assert_eq!(registry.journals(&repository).len(), 2, "opened and closed");
    for (architecture, machine) in [("amd64", "x86_64"), ("arm64", "aarch64")] {
        let image = registry.image(&repository, "1.4.0", architecture);
        assert_eq!(image.text("machine"), format!("{machine}\n"));
    }
    // One machine alone makes the same.
    let (merged, _) = registry.index(&repository, "latest");
    project.mab(&["bake", "release"]).run().succeeded().says("(unchanged)");
    assert_eq!(registry.index(&repository, "latest").0, merged);
    merge(&project, &[]).succeeded().says("nothing had to be done");
}

#[test]
fn parts_that_carry_their_layers_need_no_registry() {
    let Some(base) = base_with_ids() else { return };
    let project = checkout(&base, "registry.invalid/app");
    for platform in PLATFORMS {
        part(&project, platform, &["--carry", "--offline"]);
    }
    let to_file = ["--set", "*.push=false", "-o", "type=oci,dest=all.tar", "--offline"];
    merge(&project, &to_file).succeeded();
    let joined = Layout::open(&project.path("all.tar"));
    assert_eq!(joined.platforms(), PLATFORMS);
    assert_eq!(joined.image("linux/arm64").text("machine"), "aarch64\n");
    project.mab(&["bake", "app", "-o", "type=oci,dest=one.tar"]).run().succeeded();
    assert_eq!(Layout::open(&project.path("one.tar")).digest(), joined.digest());
    // A part is an OCI layout for others, too.
    let arm = Layout::open(&only(&project, "linux-arm64"));
    assert_eq!(arm.only_image().text("machine"), "aarch64\n");
    // In another form than they were made for.
    let other =
        ["--set", "*.push=false", "-o", "type=oci,dest=zstd.tar,compression=zstd,force-compression=true"];
    merge(&project, &other).succeeded();
    let layers = Layout::open(&project.path("zstd.tar")).image("linux/amd64");
    assert_eq!(layers.text("machine"), "x86_64\n");
}

/// The part in `out` whose name begins so.
fn only(project: &Project, platform: &str) -> PathBuf {
    let found = fs::read_dir(project.path("out")).expect("parts are there");
    let mut found: Vec<PathBuf> = found
        .map(|entry| entry.expect("a folder is listed").path())
        .filter(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(platform)))
        .collect();
    assert_eq!(found.len(), 1, "{found:?}");
    found.remove(0)
}

/// The messages of a merge that was refused, without what differs from run to run.
fn said(ran: Ran) -> Vec<String> {
    let ran = ran.failed(2);
    let mut text = ran.stderr;
    for platform in ["linux-amd64-", "linux-arm64-"] {
        while let Some(at) = text.find(platform) {
            text.replace_range(at..at + platform.len() + 12, &platform[..platform.len() - 1].to_uppercase());
        }
    }
    text.lines().filter_map(|line| line.trim().strip_prefix("× ").map(str::to_string)).collect()
}

fn commit(project: &Project) -> String {
    project.git(&["add", "multiarch.toml", "content"]);
    project.git(&["commit", "--quiet", "--message=change"]);
    project.git(&["rev-parse", "HEAD"])
}

#[test]
fn parts_have_to_agree() {
    let Some(base) = base_with_ids() else { return };
    let project = checkout(&base, "registry.invalid/app");
    project.git(&["init", "--quiet"]);
    let first = commit(&project);
    let to_file = ["--set", "*.push=false", "-o", "type=oci,dest=all.tar", "--allow-different"];
    let merge_though = |what: &str| merge(&project, &[&to_file[..], &[what]].concat());
    part(&project, "linux/amd64", &["--carry"]);
    assert_eq!(said(merge(&project, &[])), ["no part has `app` for `linux/arm64`"]);
    part(&project, "linux/arm64", &["--carry", "--var", "colour=blue"]);
    let disagreeing = [
        "the variable `colour` is `blue` in `out/LINUX-ARM64` and `red` here",
        "`linux/amd64 args.COLOUR` of `app` is 16477688c0e0 in `out/LINUX-ARM64` and b1f51a511f1d here",
    ];
    assert_eq!(said(merge(&project, &[])), disagreeing);
    assert_eq!(said(merge_though("variables")), disagreeing[1..]);
    merge_though("variables,plan").succeeded().says("warning: the variable `colour` is `blue`");
    project.write("content", "two");
    let second = commit(&project);
    let told = said(merge_though("variables,plan"));
    let about = |part: &str| format!("the commit is {first} in `out/{part}` and {second} here");
    assert_eq!(told, [about("LINUX-AMD64"), about("LINUX-ARM64")]);
    // Another build for the same platform.
    fs::remove_dir_all(only(&project, "linux-arm64")).expect("it is there");
    part(&project, "linux/amd64", &["--carry"]);
    let twice = said(merge_though("commit"));
    assert!(twice[0].starts_with("`app` for `linux/amd64` is in two parts: sha256:"), "{twice:?}");
    project.write("content", "three");
    let dirty = said(merge(&project, &[]));
    assert!(dirty[0].ends_with(&format!("and {second} with changes here")), "{dirty:?}");
}

/// Changes the document of a part.
fn edit(part: &Path, from: &str, to: &str) {
    let path = part.join("part.json");
    let text = fs::read_to_string(&path).expect("a part has it");
    assert!(text.contains(from), "{from} is not in {text}");
    fs::write(&path, text.replace(from, to)).expect("the part is ours");
}

#[test]
fn what_is_cut_or_lies_moves_no_tag() {
    let (Some(registry), Some(base)) = (Registry::of_this_run(), base_with_ids()) else { return };
    let repository = registry.repository("hostile");
    let project = checkout(&base, &repository);
    for platform in PLATFORMS {
        part(&project, platform, &["--carry"]);
    }
    let whole = project.path("whole");
    fs::rename(project.path("out"), &whole).expect("parts are ours");
    let check = |damage: &dyn Fn(&Path), expected: &str| {
        let _ = fs::remove_dir_all(project.path("out"));
        crate::support::project::copy_tree(&whole, &project.path("out"));
        damage(&only(&project, "linux-arm64"));
        let ran = merge(&project, &[]);
        assert!(ran.code == Some(2) || ran.code == Some(3), "{:?} {}", ran.code, ran.stderr);
        assert!(ran.errors().contains(expected), "{expected}: {}", ran.stderr);
        assert_eq!(registry.tags(&repository), [""; 0], "{expected}");
    };
    let largest = |part: &Path| {
        let blobs = fs::read_dir(part.join("blobs/sha256")).expect("it has blobs");
        let blobs = blobs.map(|entry| entry.expect("a blob is listed").path());
        blobs.max_by_key(|path| fs::metadata(path).map_or(0, |found| found.len())).expect("it has some")
    };
    let text_of = |part: &Path| fs::read_to_string(part.join("part.json")).expect("a part has it");
    check(&|part| fs::remove_file(largest(part)).expect("it is ours"), "is cut: its layer sha256:");
    check(&|part| fs::write(largest(part), "short").expect("it is ours"), "is not a file of");
    check(
        &|part| {
            let path = largest(part);
            let length = fs::metadata(&path).expect("it is there").len() as usize;
            fs::write(path, vec![0; length]).expect("it is ours");
        },
        "has other bytes than its digest says",
    );
    check(
        &|part| {
            let path = largest(part);
            fs::remove_file(&path).expect("it is ours");
            let made = Command::new("mkfifo").arg(&path).status().expect("there is mkfifo");
            assert!(made.success());
        },
        "is not a file of",
    );
    check(
        &|part| {
            let path = largest(part);
            fs::remove_file(&path).expect("it is ours");
            std::os::unix::fs::symlink("/etc/passwd", &path).expect("it is ours");
        },
        "is not a file of",
    );
    check(
        &|part| edit(part, "\"platform\": \"linux/arm64\"", "\"platform\": \"linux/amd64\""),
        "for `linux/arm64` where it says `linux/amd64`",
    );
    check(&|part| edit(part, "\"format\": 1", "\"format\": 2"), "in a form that this version does not know");
    check(&|part| edit(part, "\"format\": 1,", "\"format\": 1, \"more\": 1,"), "unknown field `more`");
    let lock = format!("\"lock\": \"sha256:{}\"", "1".repeat(64));
    check(&|part| edit(part, "\"lock\": null", &lock), "`multiarch.lock` is sha256:DIGEST");
    check(&|part| edit(part, "\"version\": \"", "\"version\": \"9"), "the version of mab is 9");
    check(
        &|part| edit(part, "contexts.busybox", "contexts.other"),
        "says two different things about its plan",
    );
    check(
        &|part| fs::write(part.join("part.json"), &text_of(part)[..300]).expect("it is ours"),
        "has a damaged `part.json`",
    );
    check(
        &|part| fs::write(part.join("part.json"), "[".repeat(100_000)).expect("it is ours"),
        "has a damaged `part.json`",
    );
    check(
        &|part| fs::remove_file(part.join("part.json")).expect("it is ours"),
        "no part has `app` for `linux/arm64`",
    );
    check(
        &|part| {
            let file = fs::File::create(part.join("part.json")).expect("it is ours");
            file.set_len(1 << 40).expect("a file with holes");
        },
        "it is not a file of at most",
    );
    fs::remove_dir_all(project.path("out")).expect("it is ours");
    fs::rename(&whole, project.path("out")).expect("parts are ours");
    merge(&project, &[]).succeeded();
}

#[test]
fn what_is_wrong_on_the_command_line_is_told() {
    let project = Project::of("[target.app]\ndockerfile-inline = \"FROM scratch\"\n");
    let check = |arguments: &[&str], expected: &str| {
        assert_eq!(said(project.mab(arguments).run()), [expected]);
    };
    check(&["merge", "app"], "no part is named");
    check(&["merge", "app", "nowhere/"], "`nowhere/` cannot be read: No such file or directory (os error 2)");
    fs::create_dir(project.path("empty")).expect("the folder is ours");
    check(&["merge", "app", "empty/"], "`empty/` has no part in it: there is no `part.json`");
}
