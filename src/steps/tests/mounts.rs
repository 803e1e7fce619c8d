//! Mounts of RUN lowered: what they are, and which steps they read.

use super::{Case, case, steps};
use crate::diag::Located;
use crate::model::Entitlement;
use crate::steps::{MountKind, Op, RunMount, RunOp};

fn run(case: &Case) -> RunOp {
    match case.lowered().steps.last().map(|step| step.op.clone()) {
        Some(Op::Run(run)) => run,
        other => panic!("no RUN: {other:?}"),
    }
}

fn mounts(text: &str) -> Vec<RunMount> {
    run(&case(text)).mounts
}

fn targets(text: &str) -> Vec<String> {
    mounts(text).into_iter().map(|mount| mount.target.unwrap_or_default()).collect()
}

#[test]
fn targets_are_seen_from_the_working_directory() {
    let check = |mount: &str, expected: &str| {
        assert_eq!(
            targets(&format!("FROM scratch\nWORKDIR /w\nARG D=d\nRUN --mount={mount} x")),
            [expected],
            "{mount}"
        );
    };
    check("target=/a", "/a");
    check("target=a/../b/", "/w/b");
    check("target=../../..//a", "/a");
    check("type=bind", "/w");
    check("type=tmpfs,target=$D", "/w/d");
    check("type=cache,target=/${D}", "/d");
    check("type=secret,id=a/b", "/run/secrets/b");
    check("type=secret,id=a,target=rel", "/w/rel");
    check("type=secret,id=a,env=A", "");
    check("type=ssh", "/run/buildkit/ssh_agent.0");
}

#[test]
fn order_is_kept_and_agents_are_counted() {
    let mounts = targets(
        "FROM scratch\nRUN --mount=type=ssh --mount=target=/b --mount=type=ssh,id=x --mount=type=tmpfs,target=/a x",
    );
    assert_eq!(mounts, ["/run/buildkit/ssh_agent.0", "/b", "/run/buildkit/ssh_agent.1", "/a"]);
}

#[test]
fn what_is_bound_of_a_context_is_a_step_of_its_own() {
    let case = case("FROM scratch\nRUN --mount=target=/a,source=d/../f* x\nRUN --mount=target=/b,source=/f* --mount=from=c,target=/c --mount=target=/d x").directory("c");
    assert_eq!(
        steps(&case.lowered()),
        [
            "scratch",
            "scratch",
            "copy MainContext [\"/f*\"] to /source on s1",
            "run [\"/bin/sh\", \"-c\", \"x\"] in / as `` on s0",
            "copy Context(\"c\") [\"/\"] to /source on s1",
            "copy MainContext [\"/\"] to /source on s1",
            "run [\"/bin/sh\", \"-c\", \"x\"] in / as `` on s3",
        ]
    );
    let lowered = case.lowered();
    let inputs =
        |place: usize| lowered.steps[place].op.inputs().iter().map(ToString::to_string).collect::<Vec<_>>();
    assert_eq!(
        (inputs(3), inputs(6)),
        (vec!["s0".into(), "s2".into()], vec!["s3".into(), "s2".into(), "s4".into(), "s5".into()])
    );
    // Nothing of them is in the image.
    assert_eq!(lowered.new_layers(), 2);
}

#[test]
fn stages_and_images_are_bound_as_they_are() {
    let text = "FROM scratch AS one\nCOPY a /\nFROM scratch\nRUN --mount=from=one,source=a,target=/a --mount=from=alpine,target=/b,rw x";
    let mounts = run(&case(text).base("alpine", |_| {})).mounts;
    let bound: Vec<_> = mounts.iter().map(|mount| mount.kind.clone()).collect();
    let MountKind::Bind { source, is_writable: false, .. } = &bound[0] else { panic!("{bound:?}") };
    assert_eq!(source, "/a");
    assert!(matches!(&bound[1], MountKind::Bind { source, is_writable: true, .. } if source == "/"));
    assert_eq!(case(text).missing(), ["alpine linux/arm64"]);
    // Also where the base itself is not known yet.
    assert_eq!(
        case(&text.replace("FROM scratch\n", "FROM debian\n")).missing(),
        ["debian linux/arm64", "alpine linux/arm64"]
    );
    let alpine = "FROM --platform=linux/amd64 scratch\nRUN --mount=from=alpine,target=/b x";
    assert_eq!(case(alpine).missing(), ["alpine linux/amd64"]);
}

#[test]
fn caches_have_ids() {
    let id = |case: Case| match run(&case).mounts.pop().map(|mount| mount.kind) {
        Some(MountKind::Cache(cache)) => (cache.id, cache.seed.map(|(_, source)| source)),
        other => panic!("no cache: {other:?}"),
    };
    let plain = |mount: &str| {
        case(&format!("FROM scratch AS s\nFROM scratch\nWORKDIR /w\nRUN --mount=type=cache,{mount} x"))
    };
    assert_eq!(id(plain("target=c/")), ("/w/c".into(), None));
    assert_eq!(id(plain("target=c/,id=go")), ("go".into(), None));
    assert_eq!(id(plain("target=c,id=go").arg("BUILDKIT_CACHE_MOUNT_NS", "ns")), ("ns/go".into(), None));
    assert_eq!(id(plain("target=c,from=s,source=d")), ("/w/c".into(), Some("/source".into())));
}

#[test]
fn what_makes_no_mount_is_told_at_its_place() {
    let check = |flag: &str, expected: &str| {
        let problems = case(&format!("FROM scratch\nRUN {flag} x")).problems();
        assert_eq!(problems, [format!("2 {expected}")], "{flag}");
    };
    check("--mount=target=/", "dockerfile::mount: a mount cannot cover `/`");
    check("--mount=type=tmpfs", "dockerfile::mount: a mount cannot cover `/`");
    check("--mount=type=cache,target=/a/..", "dockerfile::mount: a mount cannot cover `/`");
    check("--mount=type=$X,target=/a", "dockerfile::mount: `` is not a type of mount");
    check(
        "--mount=type=cache,target=/a,source=/b",
        "dockerfile::mount: a cache mount has `source` only together with `from`",
    );
    check(
        "--mount=type=tmpfs,target=/a,size=${X:-big}",
        "dockerfile::mount: option `size` of a mount cannot be `big`",
    );
}

#[test]
fn a_build_asks_for_what_is_beyond_the_sandbox() {
    let mut case =
        case("FROM scratch\nRUN --security=insecure --network=host x").arg("BUILDKIT_SANDBOX_HOSTNAME", "h");
    case.entitlements = Entitlement::ALL.map(Located::unplaced).to_vec();
    let run = run(&case);
    assert_eq!(
        (run.is_insecure, run.network, run.hostname.as_str()),
        (true, crate::model::Network::Host, "h")
    );
}
