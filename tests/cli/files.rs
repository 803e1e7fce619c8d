//! COPY, ADD and WORKDIR through real layers: bytes, owners, modes, times and links in the image.

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::process::Command;

use crate::support::archive::{Form, Tar};
use crate::support::surroundings::{base_with_ids, needs_root};
use crate::support::{Image, Kind, Layout, Project, base};

/// The empty tar: what a step that changes nothing adds.
const EMPTY: &str = "sha256:5f70bf18a086007016e948b04aed3b82103a36bea41755b6cddfaf10ace3c6ef";

/// A project whose Dockerfile is still to come; its base is the named context `busybox`.
fn project() -> Option<Project> {
    Some(Project::native_app(&base()?, ""))
}

fn bake(project: &Project, dockerfile: &str) -> Image {
    project.write("Dockerfile", dockerfile);
    project.bake(&["app", "-o", "type=oci,dest=../image.tar"]);
    Layout::open(&project.folder().join("image.tar")).only_image()
}

/// Everything that layers of this build hold, one line an entry: path, mode, owner, and what it is.
fn added(image: &Image, base_layers: usize) -> Vec<String> {
    let layers = image.layers[base_layers..].iter().flatten();
    let mut paths: Vec<&String> = layers.collect();
    paths.sort();
    paths.dedup();
    paths.into_iter().map(|path| described(image, path)).collect()
}

fn described(image: &Image, path: &str) -> String {
    let entry = image.entry(path);
    let kind = match &entry.kind {
        Kind::File(bytes) => format!("={}", String::from_utf8_lossy(bytes).trim_end()),
        Kind::Folder => "/".to_string(),
        Kind::Symlink(target) => format!("->{target}"),
        Kind::Hardlink(target) => format!("=>{target}"),
        Kind::Device => " device".to_string(),
        Kind::Pipe => " pipe".to_string(),
    };
    format!("{path}{kind} {:o} {}:{}", entry.mode, entry.owner.0, entry.owner.1)
}

fn history(image: &Image) -> Vec<String> {
    let entries = image.config["history"].as_array().expect("a history");
    entries.iter().filter_map(|entry| entry["created_by"].as_str()).map(str::to_string).collect()
}

fn sample() -> Tar {
    Tar::default()
        .folder("d", 0o700, (3, 4))
        .file("d/f", "text", 0o4755, (5, 6))
        .symlink("d/l", "f")
        .hardlink("h", "d/f", 0o4755, (5, 6))
        .file("../up", "contained", 0o600, (0, 0))
        .file("./made/g", "deep", 0o644, (7, 7))
}

const SAMPLE: [&str; 8] = [
    "x/ 755 0:0",
    "x/d/ 700 3:4",
    "x/d/f=text 4755 5:6",
    "x/d/l->f 777 0:0",
    "x/h=>x/d/f 4755 5:6",
    "x/made/ 755 0:0",
    "x/made/g=deep 644 7:7",
    "x/up=contained 600 0:0",
];

#[test]
fn archives_are_unpacked_whatever_compressed_them() {
    let Some(project) = project() else { return };
    for (name, form) in [
        ("a.tar", Form::Plain),
        ("no-ending", Form::Gzip),
        ("a.bz2", Form::Bzip2),
        ("a.txz", Form::Xz),
        ("a.tar.zst", Form::Zstd),
    ] {
        project.write(name, sample().bytes(form));
        let image = bake(&project, &format!("FROM scratch\nADD {name} /x\n"));
        assert_eq!(added(&image, 0), SAMPLE, "{name}");
        assert_eq!(image.entry("x/d").mtime, Tar::MTIME, "{name}");
        assert_eq!(image.entry("x/d/f").mtime, Tar::MTIME, "{name}");
        assert_eq!(history(&image), [format!("ADD {name} /x # buildkit")]);
    }
    let image = bake(&project, "FROM scratch\nADD --chown=8:9 --chmod=600 a.tar /x/\n");
    assert_eq!(image.entry("x/d/f").owner, (8, 9));
    assert_eq!(image.entry("x/d/f").mode, 0o4755);
    assert_eq!(image.entry("x").owner, (8, 9));
    let image = bake(&project, "FROM scratch\nADD --unpack=false a.tar /x/\nCOPY a.tar /y/\n");
    assert_eq!(image.layers, [["x", "x/a.tar"], ["y", "y/a.tar"]]);
}

#[test]
fn archives_land_on_what_is_there() {
    let Some(project) = project() else { return };
    let tar = Tar::default()
        .file("file", "new", 0o644, (0, 0))
        .folder("over-file", 0o750, (0, 0))
        .file("over-file/f", "new", 0o644, (0, 0))
        .file("link/f", "through", 0o644, (0, 0))
        .file("folder", "was a folder", 0o644, (0, 0));
    project.write("a.tar", tar.bytes(Form::Gzip));
    project.write("b.tar", Tar::default().file("file", "newer", 0o644, (0, 0)).bytes(Form::Plain));
    let image = bake(
        &project,
        "FROM busybox\nRUN mkdir -p /x/folder/deep /out /x/out /x/kept && ln -s /out /x/link && ln -s /x /to && \
         echo old > /x/file && echo old > /x/over-file && touch /x/folder/deep/f\nADD a.tar b.tar /to/\n",
    );
    assert_eq!(image.text("x/file"), "newer");
    assert_eq!(image.text("x/folder"), "was a folder");
    assert_eq!(described(&image, "x/over-file"), "x/over-file/ 750 0:0");
    // A link in the destination leads no further than the destination.
    assert_eq!(image.text("x/out/f"), "through");
    assert!(!image.has("out/f") && !image.has("x/folder/deep") && image.has("x/kept"));
    assert_eq!(image.entry("to").kind, Kind::Symlink("/x".into()));
}

#[test]
fn what_is_no_archive_is_copied_and_what_is_broken_is_said() {
    let Some(project) = project() else { return };
    let whole = sample().bytes(Form::Plain);
    project.write("garbage.tar", [b"garbage", &whole[..]].concat());
    project.write("a.zip", "PK\x03\x04 a zip");
    project.write("empty.tar", [0; 1024]);
    project.write("nothing", "");
    let image = bake(&project, "FROM scratch\nADD garbage.tar a.zip empty.tar nothing /x/\n");
    assert_eq!(image.layers, [["x", "x/a.zip", "x/empty.tar", "x/garbage.tar", "x/nothing"]]);
    project.write("broken.tar", &whole[..whole.len() - 1800]);
    project.write("Dockerfile", "FROM scratch\nADD broken.tar /x/\n");
    let ran = project.mab(&["bake", "app"]).run().failed(2);
    let ran = ran.says("`broken.tar` cannot be unpacked: it ends in the middle of");
    ran.says("Dockerfile:2").says("--unpack=false");
    project.write("Dockerfile", "FROM scratch\nADD --unpack=false broken.tar /x/\n");
    project.bake(&["app"]);
}

#[test]
fn an_archive_is_added_again_only_if_it_changed() {
    let Some(project) = project() else { return };
    project.write("a.tar", sample().bytes(Form::Gzip));
    let first = bake(&project, "FROM scratch\nADD a.tar /x\n");
    project.write("a.tar", sample().bytes(Form::Gzip));
    let again = bake(&project, "FROM scratch\nADD a.tar /x\n");
    assert_eq!(first.digest, again.digest);
    project.write("a.tar", sample().file("more", "x", 0o644, (0, 0)).bytes(Form::Gzip));
    assert!(bake(&project, "FROM scratch\nADD a.tar /x\n").has("x/more"));
}

#[test]
fn missing_sources_say_where_and_what_next() {
    let Some(project) = project() else { return };
    let project = project
        .file("src/main.go", "x")
        .file("README.md", "x")
        .file("secret.txt", "x")
        .file(".dockerignore", "secret.txt\n");
    let check = |dockerfile: &str, expected: &[&str]| {
        project.write("Dockerfile", dockerfile);
        let ran = project.mab(&["bake", "app"]).run().failed(2);
        for text in expected {
            assert!(ran.stderr.contains(text), "{dockerfile}: `{text}` is not in\n{}", ran.stderr);
        }
    };
    check(
        "FROM scratch\n\nCOPY main.go /\n",
        &["`/main.go` does not exist", "Dockerfile:3", "`src/main.go`?"],
    );
    check("FROM scratch\nCOPY REDAME.md /\n", &["did you mean `README.md`?"]);
    check("FROM scratch\nCOPY secret.txt /\n", &["an ignore file leaves it out", "`!secret.txt`"]);
    check("FROM scratch\nCOPY src/*.go no/*.go /x/\n", &["`/no` does not exist"]);
    check("FROM scratch\nCOPY qwertzuiop /\n", &["relative to the context"]);
    check(
        "FROM busybox AS one\nRUN mkdir /out && touch /out/app\nFROM scratch\nCOPY --from=one /app /\n",
        &["`/app` does not exist", "Dockerfile:4", "`/out/app`?"],
    );
    check("FROM scratch\nCOPY --from=1 /a /\n", &["Dockerfile:2"]);
}

#[test]
fn owners_are_looked_up_where_files_land() {
    let Some(project) = project() else { return };
    let project = project.file("f", "x");
    let user = "RUN echo 'app:x:1000:1001::/:/bin/sh' >> /etc/passwd && echo 'team:x:77:' >> /etc/group\n";
    let image = bake(
        &project,
        &format!(
            "FROM busybox\n{user}COPY --chown=app f /a/f\nCOPY --chown=app:team f /b\nCOPY --chown=:team f /c\n\
             COPY --chown=12 f /d\nCOPY --chown=12:app f /e\nCOPY f /g\nUSER app\nWORKDIR /w/x\n"
        ),
    );
    let owner = |path: &str| image.entry(path).owner;
    assert_eq!((owner("a"), owner("a/f")), ((1000, 1001), (1000, 1001)));
    assert_eq!([owner("b"), owner("c"), owner("d")], [(1000, 77), (0, 77), (12, 12)]);
    // `app` is a user and no group.
    assert_eq!([owner("e"), owner("g")], [(12, 12), (0, 0)]);
    assert_eq!([owner("w"), owner("w/x")], [(1000, 1001), (1000, 1001)]);
    project.write("Dockerfile", "FROM busybox\nCOPY --chown=nosuch f /a\n");
    project.bake(&["app"]).says("no user `nosuch` in /etc/passwd; root is taken");
    project.write("Dockerfile", "FROM busybox\nCOPY --link --chown=root f /a\n");
    project.mab(&["bake", "app"]).run().failed(2).says("`--link` sees no users").says("give numbers");
}

#[test]
fn stages_are_seen_through_all_their_layers() {
    let Some(base) = base_with_ids() else { return };
    let project = Project::native_app(&base, "").file("f", "context").file("named/n", "named");
    let image = bake(
        &project,
        "FROM busybox AS one\n\
         RUN mkdir -p /d/gone /d/opaque /d/deep && echo 1 > /d/a && echo 1 > /d/gone/f && echo 1 > /d/opaque/old && \
         ln /d/a /d/b && mkfifo /d/pipe && chmod 4750 /d/a && chown -R 5:6 /d && chmod 4750 /d/a && ln -s a /d/l\n\
         RUN rm -r /d/gone && rm -r /d/opaque && mkdir /d/opaque && echo 2 > /d/opaque/new && echo 2 > /d/deep/x\n\
         RUN rm /d/deep/x && echo 3 > /d/deep/y\n\
         FROM scratch\nCOPY --from=one /d /d\nCOPY --from=0 /d/l /followed\nCOPY --from=busybox /bin/busybox /bin/\n",
    );
    let all = added(&image, 0);
    assert_eq!(
        all.iter().filter(|line| !line.starts_with("bin/busybox")).cloned().collect::<Vec<_>>(),
        [
            "bin/ 755 0:0",
            "d/ 755 0:0",
            "d/a=1 4750 5:6",
            "d/b=>d/a 4750 5:6",
            "d/deep/ 755 5:6",
            "d/deep/y=3 644 0:0",
            "d/l->a 777 0:0",
            "d/opaque/ 755 0:0",
            "d/opaque/new=2 644 0:0",
            "d/pipe pipe 644 5:6",
            "followed=1 4750 5:6",
        ]
    );
}

#[test]
fn links_layers_do_not_depend_on_what_is_below() {
    let Some(project) = project() else { return };
    let project = project.file("d/f", "new").file("d/g/h", "new");
    let below = "RUN mkdir -p /x/f/inner /elsewhere && ln -s /elsewhere /x/g && ln -s /elsewhere /y";
    let image = bake(
        &project,
        &format!(
            "FROM busybox\n{below}\nCOPY --link d /x\nCOPY --link d /y/\nCOPY --link --chmod=700 d/f /z\n"
        ),
    );
    assert_eq!(image.text("x/f"), "new");
    assert_eq!(image.text("x/g/h"), "new");
    assert_eq!(image.text("y/f"), "new");
    assert!(!image.has("elsewhere/f") && !image.has("elsewhere/h"));
    assert_eq!(image.entry("z").mode, 0o700);
    let other = bake(&project, "FROM scratch\nCOPY --link d /x\n");
    assert!(image.layer_digests().contains(&other.layer_digests()[0]));
    assert_eq!(history(&other), ["COPY d /x # buildkit"]);
}

#[test]
fn steps_that_change_nothing_keep_an_empty_layer() {
    let Some(project) = project() else { return };
    fs::create_dir(project.path("empty")).unwrap();
    let image = bake(
        &project,
        "FROM busybox\nCOPY no* /x/\nRUN mkdir -p /w /e\nWORKDIR /w\nWORKDIR /\nCOPY empty /e\nADD no* /\nRUN true\n",
    );
    let diff_ids = image.config["rootfs"]["diff_ids"].as_array().unwrap();
    let empty: Vec<bool> = diff_ids.iter().skip(1).map(|id| id == EMPTY).collect();
    assert_eq!(empty, [true, false, true, true, true, true]);
    let layers = image.config["history"].as_array().unwrap();
    let texts: Vec<_> = layers.iter().filter(|entry| entry["empty_layer"] == true).collect();
    assert_eq!(texts.len(), 1, "{texts:?}");
    assert_eq!(texts[0]["created_by"], "WORKDIR /");
}

#[test]
fn names_of_any_bytes_and_lengths_are_kept() {
    let Some(project) = project() else { return };
    let long = "n".repeat(255);
    let names: [&[u8]; 5] =
        [b"line\nfeed", b"tab\there", b"not-utf8-\xff\xfe", "ünïcode".as_bytes(), long.as_bytes()];
    fs::create_dir(project.path("d")).unwrap();
    let deep = ["deep"; 90].join("/");
    fs::create_dir_all(project.path("d").join(&deep)).unwrap();
    fs::write(project.path("d").join(&deep).join("end"), "x").unwrap();
    for name in names {
        fs::write(project.path("d").join(std::ffi::OsStr::from_bytes(name)), "x").unwrap();
    }
    project.write("Dockerfile", "FROM scratch\nCOPY d /x\n");
    project.bake(&["app", "-o", "type=local,dest=../root"]);
    let root = project.folder().join("root/x");
    for name in names {
        assert_eq!(fs::read(root.join(std::ffi::OsStr::from_bytes(name))).unwrap(), b"x", "{name:?}");
    }
    assert_eq!(fs::read(root.join(&deep).join("end")).unwrap(), b"x");
    fs::write(project.path("d/.wh.f"), "x").unwrap();
    project.mab(&["bake", "app"]).run().failed(2).says("`/x/.wh.f` cannot be in a layer").says("--exclude");
}

#[test]
fn special_files_of_a_context_and_times() {
    let Some(project) = project() else { return };
    fs::create_dir(project.path("d")).unwrap();
    let pipe = Command::new("mkfifo").arg(project.path("d/pipe")).status().expect("mkfifo runs");
    assert!(pipe.success());
    let _socket = std::os::unix::net::UnixListener::bind(project.path("d/socket")).unwrap();
    project.write("d/set", "x");
    fs::set_permissions(project.path("d/set"), fs::Permissions::from_mode(0o6755)).unwrap();
    fs::set_permissions(project.path("d"), fs::Permissions::from_mode(0o1777)).unwrap();
    let sparse = fs::File::create(project.path("d/sparse")).unwrap();
    sparse.set_len(3 << 20).unwrap();
    symlink("set", project.path("d/l")).unwrap();
    let time = std::time::UNIX_EPOCH + std::time::Duration::new(1_600_000_000, 987_654_321);
    fs::File::open(project.path("d/set")).unwrap().set_modified(time).unwrap();
    fs::File::open(project.path("d")).unwrap().set_modified(time).unwrap();
    let image = bake(&project, "FROM busybox\nRUN mkdir /x\nCOPY d /x\nCOPY --parents d /y\n");
    assert_eq!(image.entry("x/pipe").kind, Kind::Pipe);
    assert_eq!(image.entry("x/socket").kind, Kind::File(Vec::new()));
    assert_eq!(image.entry("x/sparse").kind, Kind::File(vec![0; 3 << 20]));
    assert_eq!(image.entry("x/l").kind, Kind::Symlink("set".into()));
    assert_eq!((image.entry("x/set").mode, image.entry("x/set").mtime), (0o6755, 1_600_000_000));
    assert_eq!((image.entry("x").mode, image.entry("x").mtime), (0o755, 1_600_000_000));
    assert_eq!((image.entry("y/d").mode, image.entry("y/d").mtime), (0o1777, 1_600_000_000));
}

#[test]
fn devices_come_from_stages_and_archives() {
    if !needs_root() {
        return;
    }
    let Some(project) = project() else { return };
    project.write("a.tar", Tar::default().device("null", 1, 3).bytes(Form::Plain));
    let image = bake(&project, "FROM scratch AS one\nADD a.tar /d/\nFROM scratch\nCOPY --from=one /d /x\n");
    assert_eq!(image.entry("x/null").kind, Kind::Device);
}

#[test]
fn only_capabilities_are_kept_of_attributes() {
    let Some(project) = project() else { return };
    let tar = Tar::default().attributes(&[("security.capability", CAPABILITY), ("user.note", b"gone")]).file(
        "ping",
        "x",
        0o755,
        (0, 0),
    );
    project.write("a.tar", tar.bytes(Form::Plain));
    project
        .write("Dockerfile", "FROM scratch AS one\nADD a.tar /\nFROM scratch\nCOPY --from=one ping /bin/\n");
    project.bake(&["app", "-o", "type=oci,dest=../image.tar"]);
    let layout = Layout::open(&project.folder().join("image.tar"));
    let tar = layout.layer(0);
    assert!(tar.windows(CAPABILITY.len()).any(|window| window == CAPABILITY));
    assert!(!tar.windows(9).any(|window| window == b"user.note"));
}

/// `cap_net_raw=ep`, version 2.
const CAPABILITY: &[u8] = &[1, 0, 0, 2, 0, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];

#[test]
fn times_are_no_later_than_the_epoch_asked_for() {
    let Some(project) = project() else { return };
    let project = project.file("d/f", "x");
    project.write("a.tar", sample().bytes(Form::Plain));
    project.write("Dockerfile", "FROM scratch\nCOPY d /x/y\nADD a.tar /z/\nWORKDIR /w\n");
    let epoch = Tar::MTIME - 5;
    project
        .mab(&["bake", "app", "-o", "type=oci,dest=../image.tar"])
        .with_env("SOURCE_DATE_EPOCH", epoch.to_string())
        .run()
        .succeeded();
    let image = Layout::open(&project.folder().join("image.tar")).only_image();
    for path in ["x", "x/y", "x/y/f", "z", "z/d/f", "w"] {
        assert_eq!(image.entry(path).mtime, epoch, "{path}");
    }
}
