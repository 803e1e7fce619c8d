//! Several targets in one file: what builds on what, what is asked for, and for which platforms.

use crate::support::{Layout, Project, base};

fn written(project: &Project, arguments: &[&str]) -> Layout {
    let output = ["-o", "type=oci,dest=out.tar"];
    project.bake(&[arguments, &output].concat());
    Layout::open(&project.path("out.tar"))
}

/// Two services on a shared base, one of which waits for a third.
fn monorepo(base: &std::path::Path) -> Project {
    let file = r#"
include = ["services/*/multiarch.toml"]

[project]
platforms = ["linux/amd64", "linux/arm64"]

[vars]
greeting = "hello"

[group.default]
targets = ["first"]

[target._common]
contexts = { busybox = "oci-layout://BASE" }
args = { GREETING = "{{ vars.greeting }}", WHO = "nobody" }

[target.shared]
inherits = ["_common"]
dockerfile-inline = """
FROM busybox
ARG GREETING
RUN echo "$GREETING from $(uname -m)" > /shared
"""

[target.elsewhere]
inherits = ["_common"]
dockerfile-inline = "FROM busybox"
"#;
    Project::of(&file.replace("BASE", base.to_str().expect("a Unicode path")))
        .file(
            "services/first/multiarch.toml",
            "[target.first]\ninherits = [\"_common\"]\ncontext = \".\"\ncontexts = { base = \"target:shared\" }\n\
             needs = [\"second\"]\nargs = { WHO = \"first\" }\n\
             [target.first.on.\"linux/arm64\"]\nargs = { WHO = \"first on arm64\" }\n",
        )
        .file("services/first/Dockerfile", "FROM base\nARG WHO\nARG GREETING\nRUN echo \"$GREETING, $WHO\" > /who\n")
        .file(
            "services/second/multiarch.toml",
            "[target.second]\ninherits = [\"_common\"]\ncontext = \".\"\n",
        )
        .file("services/second/Dockerfile", "FROM busybox\nARG WHO\nRUN echo \"$WHO\" > /second\n")
}

#[test]
fn targets_build_on_targets_of_the_same_platform() {
    let Some(base) = base() else { return };
    let project = monorepo(&base);
    let layout = written(&project, &["--var", "greeting=moin"]);
    assert_eq!(layout.platforms(), ["linux/amd64", "linux/arm64"]);
    for (platform, machine, who) in
        [("linux/amd64", "x86_64", "first"), ("linux/arm64", "aarch64", "first on arm64")]
    {
        let image = layout.image(platform);
        assert_eq!(image.text("shared"), format!("moin from {machine}\n"));
        assert_eq!(image.text("who"), format!("moin, {who}\n"));
    }
}

#[test]
fn a_selection_brings_what_it_needs_and_no_more() {
    let Some(base) = base() else { return };
    let project = monorepo(&base);
    let ran = project.mab(&["plan"]).run().succeeded();
    for target in ["shared", "first", "second"] {
        assert!(ran.stdout.contains(&format!("merge {target}")), "{}", ran.stdout);
    }
    assert!(!ran.stdout.contains("elsewhere"), "{}", ran.stdout);
    let ran = project.bake(&["shared"]).says("1 image").does_not_say("first").does_not_say("second");
    assert!(ran.stderr.contains("RUN echo"), "{}", ran.stderr);
    let ran = project.bake(&["second", "elsewhere"]).says("2 images").does_not_say("shared");
    assert!(ran.stderr.contains("[second linux/arm64"), "{}", ran.stderr);
}

#[test]
fn platforms_can_be_narrowed() {
    let Some(base) = base() else { return };
    let project = monorepo(&base);
    let layout = written(&project, &["--platform", "linux/arm64"]);
    let image = layout.only_image();
    assert_eq!(image.config["architecture"], "arm64");
    assert_eq!(image.text("who"), "hello, first on arm64\n");
}

#[test]
fn equal_steps_of_two_targets_run_once() {
    let Some(base) = base() else { return };
    let project = Project::of(&format!(
        "[project]\nplatforms = [\"linux/amd64\"]\n[group.default]\ntargets = [\"a\", \"b\"]\n\
         [target._t]\ncontexts = {{ busybox = \"oci-layout://{}\" }}\n\
         [target.a]\ninherits = [\"_t\"]\ndockerfile-inline = \"FROM busybox\\nRUN cat /proc/sys/kernel/random/uuid > /id\"\n\
         [target.b]\ninherits = [\"_t\"]\n\
         dockerfile-inline = \"FROM busybox\\nRUN cat /proc/sys/kernel/random/uuid > /id\\nENV B=1\"\n",
        base.display()
    ));
    project.bake(&["a", "-o", "type=oci,dest=a.tar"]);
    project.bake(&["b", "-o", "type=oci,dest=b.tar"]);
    let id = |path: &str| Layout::open(&project.path(path)).only_image().text("id");
    assert_eq!(id("a.tar"), id("b.tar"));
}

#[test]
fn no_cache_runs_again() {
    let Some(base) = base() else { return };
    let project = Project::native_app(&base, "FROM busybox\nRUN cat /proc/sys/kernel/random/uuid > /id\n");
    let id = |arguments: &[&str]| {
        let arguments = [&["app"], arguments].concat();
        written(&project, &arguments).only_image().text("id")
    };
    let first = id(&[]);
    assert_eq!(first, id(&[]));
    let fresh = id(&["--no-cache"]);
    assert_ne!(first, fresh);
    assert_eq!(fresh, id(&[]), "what ran last is what is known");
}

#[test]
fn a_kept_bake_goes_on_after_a_failure() {
    let Some(base) = base() else { return };
    let project = Project::of(&format!(
        "[project]\nplatforms = [\"linux/amd64\"]\n[group.default]\ntargets = [\"bad\", \"on-bad\", \"good\"]\n\
         [target._t]\ncontexts = {{ busybox = \"oci-layout://{}\" }}\n\
         [target.bad]\ninherits = [\"_t\"]\ndockerfile-inline = \"FROM busybox\\nRUN false\"\n\
         [target.on-bad]\ncontexts = {{ bad = \"target:bad\" }}\ndockerfile-inline = \"FROM bad\"\n\
         [target.good]\ninherits = [\"_t\"]\ndockerfile-inline = \"FROM busybox\\nRUN true\"\n",
        base.display()
    ));
    let ran = project.mab(&["bake", "--keep-going"]).run().failed(1).says("not run, because");
    assert!(ran.stderr.contains("good "), "the good target is in the summary:\n{}", ran.stderr);
    project.bake(&["good"]).says("nothing had to be done");
}

#[test]
fn equal_layers_of_one_image_lie_over_each_other() {
    let Some(base) = base() else { return };
    let dockerfile = "FROM busybox\nCOPY file /there/\nRUN rm /there/file\nCOPY file /there/\n\
                      RUN cat /there/file > /seen\nRUN rm /there/file\nRUN ls /there > /left\n";
    let project = Project::native_app(&base, dockerfile).file("file", "text");
    // A folder's time is the copy's own; without it both copies are one layer.
    let layout = ["bake", "app", "-o", "type=oci,dest=out.tar"];
    project.mab(&layout).with_env("SOURCE_DATE_EPOCH", "1500000000").run().succeeded();
    let image = Layout::open(&project.path("out.tar")).only_image();
    let digests = image.layer_digests();
    assert_eq!(digests[1], digests[3], "{digests:?}");
    assert_eq!((image.text("seen"), image.text("left")), ("text".into(), String::new()));
    assert!(!image.has("there/file"));
}
