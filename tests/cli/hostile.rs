//! What comes from elsewhere and wants out: layers, contexts, commands. Nothing outside its root changes or is
//! read.

use std::fs;
use std::path::Path;

use tar::EntryType;

use crate::support::forge::Forge;
use crate::support::project::native;
use crate::support::surroundings::needs_root;
use crate::support::{Kind, Layout, Project, Ran, base};

const SECRET: &str = "a secret of the host";

/// A folder beside the project with a secret in it.
fn canary(project: &Project) -> String {
    let folder = project.folder().join("canary");
    fs::create_dir(&folder).expect("the folder is new");
    fs::write(folder.join("secret"), SECRET).expect("the folder is ours");
    folder.display().to_string()
}

#[track_caller]
fn assert_untouched(canary: &str, what: &str) {
    let names: Vec<_> = fs::read_dir(canary)
        .expect("the folder is readable")
        .map(|entry| entry.expect("the folder is readable").file_name())
        .collect();
    assert_eq!(names, ["secret"], "{what}");
    assert_eq!(
        fs::read_to_string(Path::new(canary).join("secret")).expect("the secret is there"),
        SECRET,
        "{what}"
    );
}

/// Bakes on a base whose last layer is forged, runs in it, and writes it where a user would look.
fn bake_on(forge: impl Fn(&str, Forge) -> Forge, what: &str) -> Option<(Project, Ran)> {
    let base = base()?;
    let project = Project::new();
    let canary = canary(&project);
    forge(&canary, Forge::default()).on_top_of(&base, &native(), &project.path("forged"));
    project.write(
        "multiarch.toml",
        format!(
            "[target.app]\nplatforms = [\"{}\"]\ncontexts = {{ forged = \"oci-layout://forged\" }}\n\
             dockerfile-inline = \"FROM forged\\nRUN cat $(find / -xdev -name taken) 2>/dev/null; touch /made\"\n",
            native()
        ),
    );
    let ran =
        project.mab(&["bake", "app", "-o", "type=local,dest=root", "-o", "type=oci,dest=image.tar"]).run();
    assert_untouched(&canary, what);
    assert!(!ran.stderr.contains(SECRET), "{what}: {}", ran.stderr);
    if ran.code == Some(0) {
        let image = Layout::open(&project.path("image.tar")).only_image();
        let holds_secret = |kind: &Kind| matches!(kind, Kind::File(bytes) if bytes == SECRET.as_bytes());
        assert!(!image.tree.values().any(|entry| holds_secret(&entry.kind)), "{what}");
        let taken = fs::read_to_string(project.path("root/taken")).unwrap_or_default();
        assert_ne!(taken, SECRET, "{what}");
    }
    Some((project, ran))
}

const UP: &str = "../../../../../../../../../../../..";

#[test]
fn layers_stay_below_their_root() {
    type Case = (&'static str, fn(&str, Forge) -> Forge, i32);
    // Refused as wrong input (2), or kept inside the root (0).
    let cases: [Case; 14] = [
        ("dots", |canary, forge| forge.file(&format!("{UP}{canary}/evil"), "x"), 2),
        ("dots inside", |canary, forge| forge.file(&format!("etc/{UP}{canary}/evil"), "x"), 2),
        ("absolute", |canary, forge| forge.file(&format!("{canary}/evil"), "x"), 0),
        ("symlink then file", |canary, forge| forge.symlink("out", canary).file("out/evil", "x"), 0),
        (
            "symlink up then file",
            |canary, forge| forge.symlink("out", &format!("{UP}{canary}")).file("out/evil", "x"),
            0,
        ),
        (
            "symlink then folder",
            |canary, forge| forge.symlink("out", canary).folder("out").file("out/evil", "x"),
            0,
        ),
        (
            "file over symlink",
            |canary, forge| forge.symlink("taken", &format!("{canary}/secret")).file("taken", "x"),
            0,
        ),
        ("hardlink", |canary, forge| forge.hardlink("taken", &format!("{canary}/secret")), 2),
        ("hardlink up", |canary, forge| forge.hardlink("taken", &format!("{UP}{canary}/secret")), 2),
        (
            "hardlink through symlink",
            |canary, forge| forge.symlink("out", canary).hardlink("taken", "out/secret").file("taken", "x"),
            2,
        ),
        ("whiteout up", |canary, forge| forge.file(&format!("{UP}{canary}/.wh.secret"), ""), 2),
        (
            "whiteout through symlink",
            |canary, forge| forge.symlink("out", canary).file("out/.wh.secret", ""),
            0,
        ),
        (
            "opaque through symlink",
            |canary, forge| forge.symlink("out", canary).file("out/.wh..wh..opq", ""),
            0,
        ),
        ("whiteout of dots", |_, forge| forge.file("etc/.wh...", "").file(".wh..", ""), 2),
    ];
    for (what, forge, expected) in cases {
        let Some((_, ran)) = bake_on(forge, what) else { return };
        assert_eq!(ran.code, Some(expected), "{what}: {}", ran.stderr);
    }
}

#[test]
fn attributes_of_a_layer_do_not_steer_the_overlay() {
    for name in
        ["trusted.overlay.opaque", "user.overlay.opaque", "trusted.overlay.redirect", "user.overlay.redirect"]
    {
        let value = if name.ends_with("redirect") { "/etc" } else { "y" };
        let Some((project, ran)) = bake_on(|_, forge| forge.attributes(&[(name, value)]).folder("bin"), name)
        else {
            return;
        };
        // An opaque or redirected /bin would have no shell.
        let ran = ran.succeeded();
        assert!(project.path("root/bin/busybox").exists(), "{name}: {}", ran.stderr);
        let image = Layout::open(&project.path("image.tar")).only_image();
        assert!(image.has("made") && image.has("bin/busybox"), "{name}");
    }
}

#[test]
fn devices_of_a_layer_open_nothing() {
    let Some((device, major, minor)) = disk() else { return };
    let forge = |_: &str, forge: Forge| {
        forge.device(EntryType::Block, "dev-of-layer", major, minor).device(
            EntryType::Char,
            "etc/passwd",
            0,
            0,
        )
    };
    let Some((project, ran)) = bake_on(forge, "devices") else { return };
    if ran.code == Some(2) {
        return;
    }
    ran.succeeded();
    let command = "FROM forged\nRUN ! head -c 1 /dev-of-layer && echo refused > /result\n";
    project.write("Dockerfile", command);
    project.write(
        "multiarch.toml",
        format!(
            "[target.app]\nplatforms = [\"{}\"]\ncontexts = {{ forged = \"oci-layout://forged\" }}\n",
            native()
        ),
    );
    project.bake(&["app", "-o", "type=oci,dest=image.tar"]);
    let image = Layout::open(&project.path("image.tar")).only_image();
    assert_eq!(image.text("result"), "refused\n", "{device} was read");
}

/// A disk of this host: its name and numbers.
fn disk() -> Option<(String, u32, u32)> {
    let partitions = fs::read_to_string("/proc/partitions").unwrap_or_default();
    partitions.lines().skip(2).find_map(|line| {
        let words: Vec<&str> = line.split_whitespace().collect();
        Some((words.get(3)?.to_string(), words.first()?.parse().ok()?, words.get(1)?.parse().ok()?))
    })
}

/// Runs a script natively and gives its image.
fn run_script(project: Project, script: &str) -> Option<crate::support::Image> {
    let base = base()?;
    let project =
        project.file("Dockerfile", &format!("FROM busybox\nRUN <<END\nset -eu\n{script}\nEND\n")).file(
            "multiarch.toml",
            &format!(
                "[target.app]\nplatforms = [\"{}\"]\ncontexts = {{ busybox = \"oci-layout://{}\" }}\n",
                native(),
                base.display()
            ),
        );
    project.bake(&["app", "-o", "type=oci,dest=image.tar", "--metadata-file", "marker-of-mab.json"]);
    Some(Layout::open(&project.path("image.tar")).only_image())
}

#[test]
fn a_command_opens_no_device_of_the_host() {
    if !needs_root() {
        return;
    }
    let Some((_, major, minor)) = disk() else { return };
    let script = format!(
        "mknod /disk b {major} {minor} || true\nmknod /memory c 1 1 || true\nmknod /kernel-log c 1 11 || true\n\
         for device in /disk /memory /kernel-log; do\n  if head -c 1 $device > /dev/null; then echo $device; fi\ndone > /opened\n\
         mount -t tmpfs tmpfs /tmp && echo mount >> /opened || true\n\
         echo 1 > /proc/sys/kernel/panic && echo sysctl >> /opened || true\n\
         echo b > /proc/sysrq-trigger.absent && echo proc >> /opened || true\n\
         grep CapEff /proc/self/status > /capabilities\nrm -f /disk /memory /kernel-log\n\
         echo x > /dev/null\nhead -c 4 /dev/zero > /zero\nhead -c 4 /dev/urandom > /random"
    );
    let Some(image) = run_script(Project::new(), &script) else { return };
    assert_eq!(image.text("opened"), "");
    assert_eq!(image.text("zero").len(), 4);
    // What Docker gives a container: no SYS_ADMIN, no SYS_MODULE, no NET_ADMIN.
    assert_eq!(image.text("capabilities"), "CapEff:\t00000000a80425fb\n");
    assert!(!image.has("disk") && !image.has("dev/null"), "{:?}", image.added());
}

#[test]
fn a_command_sees_neither_files_nor_processes_of_the_host() {
    let project = Project::new();
    let canary = canary(&project);
    let script = format!(
        "if [ -e {canary} ] || [ -e /proc/1/root{canary} ]; then echo file; fi > /seen\n\
         grep -l 'marker-of-[m]ab' /proc/[0-9]*/cmdline >> /seen || true\n\
         ls /proc | grep -c '^[0-9]' > /processes\ngrep -v overlay /proc/mounts | grep -c {canary} >> /seen || true\n\
         cat /etc/hosts > /hosts\nhostname > /name\nps > /dev/null\nls /sys/class/net > /interfaces || true\n\
         ls /proc/self/fd | wc -l > /descriptors"
    );
    let Some(image) = run_script(project, &script) else { return };
    assert_eq!(image.text("seen"), "0\n");
    let processes: u32 = image.text("processes").trim().parse().unwrap();
    assert!(processes < 8, "{processes} processes are seen");
    assert!(image.text("hosts").contains("localhost"));
    // Standard streams and the folder that is being listed.
    assert_eq!(image.text("descriptors"), "4\n");
    let added = image.added();
    for path in ["etc/hosts", "etc/resolv.conf", "etc/hostname", "dev", "proc", "sys"] {
        let inner = format!("{path}/");
        assert!(
            !added.iter().any(|known| known == path || known.starts_with(&inner)),
            "{path} is in {added:?}"
        );
    }
}

#[test]
fn contexts_do_not_reach_outside() {
    let Some(base) = base() else { return };
    let project = Project::native_app(&base, "");
    let canary = canary(&project);
    let link = |name: &str, to: &str| std::os::unix::fs::symlink(to, project.path(name)).unwrap();
    link("absolute", &canary);
    link("upwards", &format!("{UP}{canary}"));
    link("file", &format!("{canary}/secret"));
    link("relative", "../canary/secret");
    for source in ["absolute/secret", "upwards/secret", "file", "relative", "../canary/secret", "absolute/"] {
        project.write("Dockerfile", format!("FROM busybox\nCOPY {source} /taken/\n"));
        project.mab(&["bake", "app"]).run().failed(2).does_not_say(SECRET);
    }
    project.write("Dockerfile", "FROM busybox\nCOPY . /all/\n");
    project.bake(&["app", "-o", "type=oci,dest=../image.tar"]);
    let image = Layout::open(&project.folder().join("image.tar")).only_image();
    assert_eq!(image.entry("all/absolute").kind, Kind::Symlink(canary.clone()));
    assert_eq!(image.entry("all/relative").kind, Kind::Symlink("../canary/secret".into()));
    let holds_secret = |kind: &Kind| matches!(kind, Kind::File(bytes) if bytes == SECRET.as_bytes());
    assert!(!image.tree.values().any(|entry| holds_secret(&entry.kind)));

    project.write("Dockerfile", format!("FROM busybox AS one\nRUN ln -s {canary} /link\nFROM busybox\nCOPY --from=one /link/secret /taken\n"));
    project.mab(&["bake", "app"]).run().failed(2).does_not_say(SECRET);
    assert_untouched(&canary, "contexts");
}

#[test]
fn copies_do_not_write_outside() {
    let Some(base) = base() else { return };
    let project = Project::native_app(&base, "");
    let canary = canary(&project);
    project.write("evil", "x");
    project.write(
        "Dockerfile",
        format!("FROM busybox\nRUN ln -s {canary} /link && ln -s {UP}{canary} /up\nCOPY evil /link/\nCOPY evil /up/\nCOPY evil {UP}{canary}/\nWORKDIR /link/work\nRUN touch here\n"),
    );
    let ran =
        project.mab(&["bake", "app", "-o", "type=oci,dest=image.tar", "-o", "type=local,dest=root"]).run();
    assert_untouched(&canary, &ran.stderr);
    ran.succeeded();
    assert_untouched(&canary, "outputs");
    let image = Layout::open(&project.path("image.tar")).only_image();
    let inside = format!("{}/evil", canary.trim_start_matches('/'));
    assert_eq!(image.text(&inside), "x", "the same path inside the image");
}
