//! What surrounds a command: who it is, what it may do, and what it sees of its machine.

use crate::support::users::User;
use crate::support::{Image, Layout, Project, base};

/// Bakes one RUN with these keys of the target, and gives the image.
#[track_caller]
fn run(project: &Project, arguments: &[&str]) -> Image {
    project.bake(
        &["app", "-o", "type=oci,dest=../image.tar"].iter().chain(arguments).copied().collect::<Vec<_>>(),
    );
    Layout::open(&project.folder().join("image.tar")).only_image()
}

fn keys(project: &Project, keys: &str) {
    let file = project.read("multiarch.toml");
    project.write("multiarch.toml", format!("{file}{keys}\n"));
}

#[test]
fn a_command_sees_what_buildkit_shows_it() {
    for user in User::with_ids() {
        let name = user.name;
        let text = "FROM busybox\nARG ASKED=a\nARG BUILDKIT_SANDBOX_HOSTNAME\nENV SET=e\n\
            RUN echo 'app:x:1000:1000::/home/app:/bin/sh' >> /etc/passwd; printf 'app:x:1000:\\nextra:x:2000:other,app\\n' >> /etc/group\n\
            USER app\nWORKDIR /home/app\n\
            RUN env | sort | grep -v -e ^SHLVL -e ^PWD > env; id > id; umask > umask; ulimit -n > files; ulimit -Hn >> files\n\
            USER root\n\
            RUN hostname > /name; cat /etc/hosts > /hosts; df /dev/shm | tail -n 1 | awk '{print $2}' > /shm; \
            for f in hosts resolv.conf; do echo x 2> /dev/null >> /etc/$f && echo writable; done > /files; test -s /etc/resolv.conf; echo $? >> /files\n";
        let project = user.project(|base| {
            let project = Project::native_app(base, text);
            keys(
                &project,
                "shm-size = \"1m\"\nulimits = [\"nofile=100:200\"]\nextra-hosts = { db = \"10.0.0.1\" }\n\
                 args = { BUILDKIT_SANDBOX_HOSTNAME = \"mine\", UNASKED = \"x\", HTTP_PROXY = \"http://p\" }",
            );
            project
        });
        let image = run(&project, &[]);
        let expected = "ASKED=a\nBUILDKIT_SANDBOX_HOSTNAME=mine\nHOME=/home/app\nHTTP_PROXY=http://p\n\
            PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin\nSET=e\nhttp_proxy=http://p\n";
        assert_eq!(image.text("home/app/env"), expected, "{name}");
        assert_eq!(
            image.text("home/app/id"),
            "uid=1000(app) gid=1000(app) groups=1000(app),2000(extra)\n",
            "{name}"
        );
        assert_eq!(image.text("home/app/umask"), "0022\n", "{name}");
        assert_eq!(image.text("home/app/files"), "100\n200\n", "{name}");
        assert_eq!(image.text("name"), "mine\n", "{name}");
        let hosts = "127.0.0.1\tlocalhost mine\n::1\tlocalhost ip6-localhost ip6-loopback\n10.0.0.1\tdb\n";
        assert_eq!(image.text("hosts"), hosts, "{name}");
        assert_eq!(image.text("shm"), "1024\n", "{name}");
        assert_eq!(image.text("files"), "0\n", "{name}");
        let added = image.added();
        let is_ours = |path: &&String| ["etc/hosts", "etc/resolv.conf"].contains(&path.as_str());
        assert_eq!(added.iter().find(is_ours), None, "{name}");
    }
}

#[test]
fn a_limit_beyond_what_a_user_may_have_is_explained() {
    for user in User::with_ids() {
        let name = user.name;
        let project = user.project(|base| {
            let project = Project::native_app(base, "FROM busybox\nRUN ulimit -n\n");
            keys(&project, "ulimits = [\"nofile=300:300\"]");
            project
        });
        let limited = project.mab(&["bake", "app"]).just_before(&["prlimit", "--nofile=200:200"]).run();
        // Root may go beyond, where it has that capability.
        if name != "root" || limited.code != Some(0) {
            limited
                .failed(3)
                .says("cannot set the limit `nofile`")
                .says("it is at most 200 here")
                .says("lower `ulimits`");
        }
    }
}

#[test]
fn heredocs_are_scripts_in_any_language() {
    let Some(base) = base() else { return };
    let text = "FROM busybox\n\
        RUN <<END\necho shell $0 > /shell\nEND\n\
        RUN <<END\n#!/bin/awk -f\nBEGIN { print \"awk\" > \"/awk\" }\nEND\n\
        RUN awk -f - <<END\nBEGIN { print \"argument\" > \"/argument\" }\nEND\n\
        RUN <<END cat > /before\nof stdin\nEND\n\
        RUN cat <<ONE > /one && cat <<-TWO > /two\n1 $HOME\nONE\n\t2\nTWO\n\
        RUN cat <<'END' > /quoted\n$HOME\nEND\n\
        RUN <<END\nset -e\nif true; then\n  echo indented > /indented\nfi\nEND\n";
    let image = run(&Project::native_app(&base, text), &[]);
    for (path, expected) in [
        ("shell", "shell /bin/sh\n"),
        ("awk", "awk\n"),
        ("argument", "argument\n"),
        ("before", "of stdin\n"),
        ("one", "1 /root\n"),
        ("two", "2\n"),
        ("quoted", "$HOME\n"),
        ("indented", "indented\n"),
    ] {
        assert_eq!(image.text(path), expected, "{path}");
    }
    assert!(!image.has("dev/pipes"));
}

#[test]
fn more_than_the_sandbox_has_to_be_asked_for_and_allowed() {
    for user in User::with_ids() {
        let name = user.name;
        let text = "FROM busybox\nRUN --security=insecure mkdir /m && mount -t tmpfs t /m && umount /m && grep Seccomp: /proc/self/status > /seen\n\
            USER 1000\nRUN --security=insecure cap=$(grep CapEff /proc/self/status | cut -f2); echo $((0x$cap >> 21 & 1)) > /tmp/user\n";
        let project = user.project(|base| Project::native_app(base, text));
        let help = "say `entitlements = [\"security.insecure\"]` in the target, and bake it with `--allow security.insecure`";
        let refused = project
            .mab(&["bake", "app"])
            .run()
            .failed(2)
            .says("`RUN --security=insecure` needs the entitlement `security.insecure`");
        refused.says("Dockerfile:2").says(help);
        keys(&project, "entitlements = [\"security.insecure\"]");
        let refused = project
            .mab(&["bake", "app"])
            .run()
            .failed(2)
            .says("target `app` asks for `security.insecure`, which is not allowed");
        refused.says("multiarch.toml:5").says("bake with `--allow security.insecure`");
        project.mab(&["bake", "app", "--allow", "network.host"]).run().failed(2);
        project.mab(&["plan", "app"]).run().succeeded();
        let image = run(&project, &["--allow", "security.insecure"]);
        assert_eq!(image.text("seen"), "Seccomp:\t0\n", "{name}");
        // CAP_SYS_ADMIN, though the user is not root.
        assert_eq!(image.text("tmp/user"), "1\n", "{name}");
    }
    let Some(base) = base() else { return };
    Project::native_app(&base, "")
        .mab(&["bake", "--allow", "device"])
        .run()
        .failed(2)
        .says("`RUN --device` is not supported");
}

#[test]
fn the_network_of_the_host_has_to_be_allowed() {
    let Some(base) = base() else { return };
    let text = "FROM busybox\nRUN --network=none ls /sys/class/net > /none\nRUN --network=host readlink /proc/self/ns/net > /host\n";
    let project = Project::native_app(&base, text);
    project
        .mab(&["bake", "app"])
        .run()
        .failed(2)
        .says("`RUN --network=host` needs the entitlement `network.host`");
    keys(&project, "network = \"host\"");
    project
        .mab(&["bake", "app"])
        .run()
        .failed(2)
        .says("target `app` asks for `network.host`, which is not allowed");
    let image = run(&project, &["--allow", "network.host"]);
    assert_eq!(image.text("none"), "lo\n");
    let own = std::fs::read_link("/proc/self/ns/net").expect("/proc is mounted");
    assert_eq!(image.text("host").trim_end(), own.to_string_lossy());
}

#[test]
fn devices_are_refused() {
    let Some(base) = base() else { return };
    let project = Project::native_app(&base, "FROM busybox\nRUN --device=vendor.com/gpu=0 true\n");
    project
        .mab(&["bake", "app"])
        .run()
        .failed(2)
        .says("`RUN --device=vendor.com/gpu=0` needs the buildkit engine");
}
