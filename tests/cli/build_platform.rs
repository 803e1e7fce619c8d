//! Stages for `$BUILDPLATFORM`: they run here, natively, and once for all targets that ask the same of them.

use crate::support::{Image, Layout, Project, base};

/// The images for both platforms.
fn built(base: &std::path::Path, dockerfile: &str) -> (Image, Image) {
    let project = Project::app(base, dockerfile);
    project.bake(&["app", "-o", "type=oci,dest=out.tar"]);
    let layout = Layout::open(&project.path("out.tar"));
    (layout.image("linux/amd64"), layout.image("linux/arm64"))
}

const NEW_ID: &str = "cat /proc/sys/kernel/random/uuid";

#[test]
fn a_stage_without_a_word_of_the_target_runs_once_and_natively() {
    let Some(base) = base() else { return };
    let dockerfile = format!(
        "FROM --platform=$BUILDPLATFORM busybox AS build\nARG BUILDARCH\n\
         RUN {NEW_ID} > /id && uname -m > /machine && echo $BUILDARCH > /arch\n\
         FROM busybox\nCOPY --from=build /id /machine /arch /\nRUN uname -m > /own-machine\n"
    );
    let (amd64, arm64) = built(&base, &dockerfile);
    assert_eq!(amd64.text("id"), arm64.text("id"));
    assert_eq!(amd64.text("machine"), format!("{}\n", std::env::consts::ARCH));
    assert_eq!(arm64.text("machine"), amd64.text("machine"));
    assert_eq!(arm64.text("arch"), amd64.text("arch"));
    assert_eq!(
        (amd64.text("own-machine").as_str(), arm64.text("own-machine").as_str()),
        ("x86_64\n", "aarch64\n")
    );
}

#[test]
fn what_reads_the_target_runs_for_each_and_what_stands_before_it_once() {
    let Some(base) = base() else { return };
    let dockerfile = format!(
        "FROM --platform=$BUILDPLATFORM busybox AS build\nRUN {NEW_ID} > /before\nARG TARGETARCH\n\
         RUN {NEW_ID} > /after && echo $TARGETARCH > /arch && uname -m > /machine\n\
         FROM scratch\nCOPY --from=build /before /after /arch /machine /\n"
    );
    let (amd64, arm64) = built(&base, &dockerfile);
    assert_eq!(amd64.text("before"), arm64.text("before"));
    assert_ne!(amd64.text("after"), arm64.text("after"));
    assert_eq!((amd64.text("arch").as_str(), arm64.text("arch").as_str()), ("amd64\n", "arm64\n"));
    assert_eq!(amd64.text("machine"), arm64.text("machine"));
}

#[test]
fn a_variable_that_differs_without_being_read_is_no_difference() {
    let Some(base) = base() else { return };
    let dockerfile = format!(
        "ARG TARGETARCH\nFROM --platform=$BUILDPLATFORM busybox AS build\nRUN {NEW_ID} > /id\n\
         FROM --platform=$BUILDPLATFORM build AS more\nRUN {NEW_ID} > /more\n\
         FROM scratch\nARG TARGETARCH\nCOPY --from=more /id /more /\nENV ARCH=$TARGETARCH\n"
    );
    let (amd64, arm64) = built(&base, &dockerfile);
    assert_eq!((amd64.text("id"), amd64.text("more")), (arm64.text("id"), arm64.text("more")));
    assert!(arm64.config["config"]["Env"].to_string().contains("ARCH=arm64"));
}

#[test]
fn nothing_is_emulated() {
    let Some(base) = base() else { return };
    let project = Project::app(
        &base,
        "FROM --platform=$BUILDPLATFORM busybox AS build\nARG TARGETARCH\nRUN echo for $TARGETARCH > /made\n\
         FROM busybox\nCOPY --from=build /made /\n",
    );
    project.edit("multiarch.toml", "[target.app]\n", "[target.app]\nemulate = \"deny\"\n");
    project.bake(&["app", "-o", "type=oci,dest=out.tar"]);
    let layout = Layout::open(&project.path("out.tar"));
    assert_eq!(layout.image("linux/arm64").text("made"), "for arm64\n");
    project.edit("Dockerfile", "FROM busybox\n", "FROM busybox\nRUN true\n");
    project.mab(&["bake", "app"]).run().failed(3).says("emulate = \"deny\"");
}
