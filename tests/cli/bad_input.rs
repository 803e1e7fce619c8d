//! Everything that can be wrong outside of `mab`: one clear message and a documented exit code each, to the
//! letter, in tests/corpus/cli. `MAB_BLESS=1` writes the files anew.

use std::path::Path;

use crate::support::project::native;
use crate::support::surroundings::{base_with_ids, needs, needs_root};
use crate::support::{Account, Project, Ran, Registry, base, repository, skip};

/// Compares the exit code and what was said with a file.
#[track_caller]
fn check(name: &str, ran: &Ran) {
    let code = ran.code.map_or("killed".to_string(), |code| code.to_string());
    let actual = format!("exit {code}\n{}\n", ran.errors());
    let path = repository().join("tests/corpus/cli").join(format!("{name}.txt"));
    if std::env::var_os("MAB_BLESS").is_some() {
        std::fs::create_dir_all(path.parent().expect("the corpus is writable"))
            .expect("the corpus is writable");
        std::fs::write(&path, &actual).expect("the corpus is writable");
    }
    let expected = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(actual, expected, "{name}; MAB_BLESS=1 accepts it");
}

fn bake(project: &Project) -> Ran {
    project.mab(&["bake", "app", "--progress", "quiet", "-j", "1"]).run()
}

/// A bake of `app` for one platform with this Dockerfile.
#[track_caller]
fn check_dockerfile(name: &str, dockerfile: &str) {
    let Some(base) = base() else { return };
    let project = one_platform(&base, "linux/amd64", dockerfile);
    check(name, &bake(&project));
}

fn one_platform(base: &Path, platform: &str, dockerfile: &str) -> Project {
    let project = Project::app(base, dockerfile);
    project.edit("multiarch.toml", "linux/amd64\", \"linux/arm64", platform);
    project
}

#[test]
fn build_files() {
    check("no-build-file", &Project::new().mab(&["bake"]).run());
    check("missing-build-file", &Project::new().mab(&["bake", "-f", "absent.toml"]).run());
    let file = |text: &str, arguments: &[&str]| Project::of(text).mab(&["bake"]).with(arguments).run();
    check("wrong-toml", &file("[target.app]\ncontext = \"unclosed\nplatforms = []\n", &[]));
    check("unknown-key", &file("[target.app]\nplatfroms = [\"linux/amd64\"]\n", &["app"]));
    check("unknown-target", &file("[target.app]\ndockerfile-inline = \"FROM scratch\"\n", &["ap"]));
    check("no-default", &file("[target.app]\ndockerfile-inline = \"FROM scratch\"\n", &[]));
    let circle = "[target.a]\ncontexts = { b = \"target:b\" }\ndockerfile-inline = \"FROM b\"\n\
                  [target.b]\ncontexts = { a = \"target:a\" }\ndockerfile-inline = \"FROM a\"\n";
    check("cycle", &file(circle, &["a"]));
    check(
        "needs-itself",
        &file("[target.a]\nneeds = [\"a\"]\ndockerfile-inline = \"FROM scratch\"\n", &["a"]),
    );
    let two = "[project]\nplatforms = [\"linux/amd64\"]\n\
               [target.a]\ndockerfile-inline = \"FROM scratch\"\n\
               [target.b]\nplatforms = [\"linux/arm64\"]\ndockerfile-inline = \"FROM scratch\"\n";
    check("no-such-platform", &file(two, &["a", "b", "--platform", "linux/arm64"]));
    check("wrong-platform", &file(two, &["a", "--platform", "arm46/linux/x/y"]));
    check("no-tag", &file("[target.a]\ndockerfile-inline = \"FROM scratch\"\n", &["a", "--push"]));
    check("unknown-output", &file(two, &["a", "-o", "type=ocl,dest=x"]));
}

#[test]
fn dockerfiles() {
    let Some(base) = base() else { return };
    let project = one_platform(&base, "linux/amd64", "");
    std::fs::remove_file(project.path("Dockerfile")).unwrap();
    check("missing-dockerfile", &bake(&project));
    check_dockerfile("dockerfile-syntax", "FROM busybox\nRUN echo ok\nCOPPY a b\nEXPOSE x\n");
    check_dockerfile("empty-dockerfile", "# nothing\n");
    check_dockerfile("copy-missing", "FROM busybox\n\nCOPY present absent/*.conf /etc/\n");
    check_dockerfile(
        "copy-from-missing-path",
        "FROM busybox AS one\nFROM busybox\nCOPY --from=one /absent /b\n",
    );
    check_dockerfile("unknown-user", "FROM busybox\nUSER ghost\nRUN true\n");
    check_dockerfile("unknown-shell", "FROM scratch\nRUN true\n");
}

#[test]
fn a_run_that_fails() {
    // To whom it may also say what ids have to do with it.
    if base_with_ids().is_none() {
        return;
    }
    check_dockerfile(
        "run-fails",
        "FROM busybox\nWORKDIR /srv\nRUN for n in $(seq 1 30); do echo \"line $n\"; done \\\n && echo last \\\n && exit 7\n",
    );
    check_dockerfile("run-not-found", "FROM busybox\nRUN [\"/absent\", \"x\"]\n");
    let Some(base) = base() else { return };
    let project = one_platform(&base, "linux/arm64", "FROM busybox\nRUN uname -m && exit 3\n");
    check("run-fails-emulated", &bake(&project));
}

#[test]
fn base_images() {
    let Some(base) = base() else { return };
    check("base-without-platform", &bake(&one_platform(&base, "linux/s390x", "FROM busybox\n")));
    let layout = |at: &str| {
        Project::of(&format!(
            "[target.app]\ncontexts = {{ b = \"oci-layout://{at}\" }}\nplatforms = [\"linux/amd64\"]\n"
        ))
        .file("Dockerfile", "FROM b\n")
    };
    check("missing-layout", &bake(&layout("absent")));
    check("missing-layout-tag", &bake(&layout(&format!("{}:absent", base.display()))));
    let unreachable = Project::of("[target.app]\nplatforms = [\"linux/amd64\"]\n")
        .file("Dockerfile", "FROM 127.0.0.1:1/library/busybox:1\nRUN true\n");
    check("unreachable-registry", &bake(&unreachable));
    let Some(registry) = Registry::of_this_run() else { return };
    let absent = format!("FROM {}:1\n", registry.repository("absent"));
    let project = Project::of("[target.app]\nplatforms = [\"linux/amd64\"]\n").file("Dockerfile", &absent);
    let ran = bake(&project).failed(2);
    assert!(ran.stderr.contains("Dockerfile:1"), "{}", ran.stderr);
}

#[test]
fn no_emulator() {
    let registered = Path::new("/proc/sys/fs/binfmt_misc/qemu-riscv64").exists();
    if registered {
        return skip("what needs a host without an emulator for riscv64");
    }
    let project = Project::of("[target.app]\nplatforms = [\"linux/riscv64\"]\n")
        .file("Dockerfile", "FROM scratch\nCOPY program /\nRUN [\"/program\"]\n")
        .file("program", "no program\n");
    let ran = project
        .mab(&["bake", "app", "--progress", "quiet"])
        .with_env("PATH", project.folder().join("home"))
        .with_env("MAB_QEMU_DIR", project.folder().join("home"))
        .run();
    check("no-emulator", &ran);
}

#[test]
fn a_full_disk() {
    let Some(base) = base() else { return };
    if !(needs_root() && needs("unshare")) {
        return;
    }
    let project = one_platform(&base, &native(), "FROM busybox\nCOPY large /\nRUN test -s /large\n");
    // Bytes that no compression makes fewer.
    let mut state = 1_u64;
    let noise: Vec<u8> = (0..24 << 20)
        .map(|_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 56) as u8
        })
        .collect();
    project.write("large", noise);
    std::fs::create_dir(project.store()).unwrap();
    let store = project.store().display().to_string();
    let script = "mount -t tmpfs -o size=16m tmpfs \"$0\" || exit 99\n\"$@\"\necho \"exit $?\" >&2\n\
                  mount -o remount,size=256m \"$0\" && \"$@\"";
    let ran = project
        .mab(&["bake", "app", "--progress", "quiet", "-o", "type=oci,dest=out.tar"])
        .inside(&["unshare", "--mount", "sh", "-c", script, &store])
        .run();
    check("full-disk", &ran);
    // The second bake, with room, used the store that the first one left.
    crate::support::Layout::open(&project.path("out.tar")).only_image().entry("large");
}

#[test]
fn a_full_disk_under_an_output() {
    let Some(base) = base() else { return };
    if !(needs_root() && needs("unshare")) {
        return;
    }
    let project = one_platform(&base, &native(), "FROM busybox\nRUN true\n");
    std::fs::create_dir(project.path("small")).unwrap();
    let small = project.path("small").display().to_string();
    let script =
        "mount -t tmpfs -o size=64k tmpfs \"$0\" || exit 99\n\"$@\"\ncode=$?\nls -A \"$0\"\nexit $code";
    let ran = project
        .mab(&["bake", "app", "--progress", "quiet", "-o", "type=oci,dest=small/out.tar"])
        .inside(&["unshare", "--mount", "sh", "-c", script, &small])
        .run();
    check("full-disk-output", &ran);
    assert_eq!(ran.stdout, "", "nothing half-written is left");
}

#[test]
fn no_user_namespaces() {
    let Some(account) = Account::plain() else { return };
    let Some(base) = account.base() else { return };
    let project = one_platform(&base, &native(), "FROM busybox\nRUN true\n").owned_by(account);
    // The limit is the inner namespace's own.
    let script = "echo 0 > /proc/sys/user/max_user_namespaces || exit 99\n\
                  exec setpriv --ambient-caps=-all --inh-caps=-all --bounding-set=-all \"$@\"";
    let nested =
        ["unshare", "--user", "--keep-caps", "--map-user=1000", "--map-group=1000", "sh", "-c", script, "sh"];
    let ran = project.mab(&["bake", "app", "--progress", "quiet"]).just_before(&nested).run();
    check("no-user-namespaces", &ran);
}

#[test]
fn more_ids_than_an_ordinary_user_has() {
    let Some(account) = Account::plain() else { return };
    let Some(base) = account.base() else { return };
    for (name, dockerfile) in [
        ("single-id-user", "FROM busybox\nUSER 1000\nRUN true\n"),
        ("single-id-chown", "FROM busybox\nRUN touch /a && chown 1000 /a\n"),
    ] {
        let Some(account) = Account::plain() else { return };
        let project = one_platform(&base, "linux/amd64", dockerfile).owned_by(account);
        check(name, &project.mab(&["bake", "app", "--progress", "quiet"]).run());
    }
}

#[test]
fn files_of_others_are_told_to_an_ordinary_user() {
    let Some(account) = Account::plain() else { return };
    let Some(base) = account.base() else { return };
    let dockerfile = "FROM busybox\nCOPY --chown=1000:1001 Dockerfile /\nRUN true\n";
    let project = one_platform(&base, "linux/amd64", dockerfile).owned_by(account);
    let ran = project.bake(&["app", "-o", "type=oci,dest=image.tar"]);
    assert_eq!(
        ran.lines_with("warning: steps see files"),
        [
            "[app linux/amd64] warning: steps see files of other users as root's here, such as `/Dockerfile` of 1000:1001"
        ]
    );
    let image = crate::support::Layout::open(&project.path("image.tar")).only_image();
    assert_eq!(image.entry("Dockerfile").owner, (1000, 1001), "the image is not poorer for it");
}

#[test]
fn a_store_that_cannot_be() {
    let project = Project::of("[target.app]\ndockerfile-inline = \"FROM scratch\"\n").file("store", "a file");
    let ran = project.mab(&["bake", "app", "--progress", "quiet", "--store", "store"]).run();
    check("store-is-a-file", &ran);
}

#[test]
fn one_failure_moves_no_tag() {
    let (Some(base), Some(registry)) = (base(), Registry::of_this_run()) else { return };
    let repository = registry.repository("half");
    let project = Project::of(&format!(
        "[project]\nplatforms = [\"linux/amd64\", \"linux/arm64\"]\nimage = \"{repository}/{{{{ target.name }}}}\"\n\
         [group.default]\ntargets = [\"good\", \"bad\"]\n\
         [target._t]\ntags = [\"1\"]\ncontexts = {{ busybox = \"oci-layout://{}\" }}\n\
         [target.good]\ninherits = [\"_t\"]\ndockerfile-inline = \"FROM busybox\\nRUN true\"\n\
         [target.bad]\ninherits = [\"_t\"]\ndockerfile-inline = \"FROM busybox\\nRUN test $(uname -m) = x86_64\"\n",
        base.display()
    ));
    project.mab(&["bake", "--push", "--keep-going"]).run().failed(1).says("not run, because");
    for target in ["good", "bad"] {
        assert_eq!(registry.tags(&format!("{repository}/{target}")), [""; 0], "{target}");
    }
    project.mab(&["bake", "good", "--push"]).run().succeeded();
    assert_eq!(registry.tags(&format!("{repository}/good")), ["1"]);
}
