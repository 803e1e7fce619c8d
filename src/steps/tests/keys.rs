//! What changes the identity of a build, and what must not.

use super::{Case, case};
use crate::base::Digest;
use crate::steps::{lowered_parts, mounted_parts, step_parts};

const TEXT: &str = "FROM alpine\nARG USED=1\nRUN x $USED\nCOPY --chown=1 a /b\nCOPY <<F /f\nbody\nF\nUSER u";

fn base(text: &str) -> Case {
    case(text).base("alpine", |_| {})
}

fn key(case: &Case) -> Digest {
    lowered_parts(&case.lowered()).digest()
}

#[test]
fn what_does_not_decide_the_result_leaves_the_key_alone() {
    let same = |case: Case, why: &str| assert_eq!(key(&case), key(&base(TEXT)), "{why}");
    same(base(&format!("# a comment\n\n{TEXT}")), "comments");
    same(base(&format!("FROM scratch AS unused\nCOPY q /\n{TEXT}")), "unreachable stages");
    same(base(TEXT).arg("UNREAD", "2"), "unread arguments");
    same(base(TEXT).arg("HTTPS_PROXY", "p"), "proxies");
    same(base(&TEXT.replace("FROM alpine", "FROM alpine AS named")), "names of stages");
    same(base(&TEXT.replace("RUN x", "run   x")), "how an instruction is written");
    same(base(TEXT).base("other", |_| {}), "images nobody uses");
}

#[test]
fn what_decides_the_result_changes_the_key() {
    let other = |case: Case, why: &str| assert_ne!(key(&case), key(&base(TEXT)), "{why}");
    other(base(TEXT).arg("USED", "2"), "read arguments");
    other(base(&TEXT.replace("RUN x", "RUN y")), "commands");
    other(base(&TEXT.replace("--chown=1", "--chown=2")), "owners");
    other(base(&TEXT.replace("--chown=1", "--chown=1 --chmod=640")), "modes");
    other(base(&TEXT.replace("--chown=1", "--chown=1 --exclude=q")), "exclusions");
    other(base(&TEXT.replace("--chown=1", "--chown=1 --link")), "links");
    other(base(&TEXT.replace("body", "text")), "inline files");
    other(base(&TEXT.replace("USER u", "USER v")), "the config");
    other(base(&TEXT.replace("RUN x", "RUN --network=none x")), "network");
    let mut hosts = base(TEXT);
    hosts.hosts.insert("db".to_string(), "10.0.0.1".to_string());
    other(hosts, "hosts");
    let mut memory = base(TEXT);
    memory.shm_size = Some(1);
    other(memory, "shared memory");
    let mut rebuilt = base(TEXT);
    for image in rebuilt.bases.values_mut() {
        image.manifest = Digest::of("another");
    }
    other(rebuilt, "the base's manifest");
    let mut labelled = base(TEXT);
    labelled.labels.push(("a".to_string(), "b".to_string()));
    other(labelled, "labels");
}

#[test]
fn of_mounts_only_what_decides_the_result_is_in_the_key() {
    let with = |mount: &str| {
        key(&case(&format!("FROM scratch AS s\nCOPY a /\nFROM scratch\nRUN --mount={mount} x")))
    };
    let same = |one: &str, other: &str| assert_eq!(with(one), with(other), "{one} and {other}");
    same("type=cache,target=/c", "type=cache,target=/c,id=other,sharing=locked");
    same("type=secret,id=a", "type=secret,id=a,required");
    same("type=bind,target=/c", "target=c/,source=.,ro");
    let different = |one: &str, other: &str| assert_ne!(with(one), with(other), "{one} and {other}");
    different("type=cache,target=/c", "type=cache,target=/d");
    different("type=cache,target=/c", "type=cache,target=/c,ro");
    different("type=cache,target=/c", "type=cache,target=/c,from=s");
    different("type=bind,target=/c", "type=bind,target=/c,rw");
    different("type=bind,target=/c", "type=bind,target=/c,source=a");
    different("type=bind,target=/c", "type=bind,target=/c,from=s");
    different("type=tmpfs,target=/c", "type=tmpfs,target=/c,size=1m");
    different("type=secret,id=a", "type=secret,id=b,target=/run/secrets/a");
    different("type=secret,id=a", "type=secret,id=a,env=A");
    different("type=ssh", "type=ssh,id=a");
}

#[test]
fn where_a_mount_has_it_from_can_be_left_out() {
    let of = |from: &str| {
        let text = format!("FROM scratch AS s\nCOPY a /\nFROM scratch\nRUN --mount={from},target=/c x");
        mounted_parts(case(&text).lowered().steps.last().unwrap()).digest()
    };
    assert_eq!(of("from=s"), of("source=a"));
    assert_ne!(of("from=s"), of("from=s,rw"));
}

#[test]
fn the_stage_asked_for_is_part_of_the_key() {
    let text = "FROM scratch AS a\nCOPY x /\nFROM a AS b\nUSER u";
    assert_ne!(key(&case(text).stage("a")), key(&case(text).stage("b")));
}

#[test]
fn only_commands_depend_on_the_platform() {
    let of = |text: &str, architecture: &str| {
        let mut case = case(text);
        case.target = crate::base::Platform::linux(architecture);
        step_parts(case.lowered().steps.last().unwrap()).digest()
    };
    assert_eq!(of("FROM scratch\nCOPY a /", "arm64"), of("FROM scratch\nCOPY a /", "amd64"));
    assert_eq!(of("FROM scratch\nWORKDIR a", "arm64"), of("FROM scratch\nWORKDIR a", "amd64"));
    assert_ne!(of("FROM scratch\nRUN a", "arm64"), of("FROM scratch\nRUN a", "amd64"));
}

#[test]
fn two_inline_files_of_one_name_have_a_key() {
    let text = "FROM scratch\nCOPY <<F <<F /d/\none\nF\ntwo\nF\n";
    assert_ne!(key(&case(text)), key(&case(&text.replace("two", "2"))));
}
