//! Semantics of BuildKit's frontend for dockerfile 1.26: config, history, variables, stages, contexts.

use serde_json::json;

use super::{case, steps};
use crate::steps::Op;

/// The config after `text` on a scratch image, as JSON without what every such image has.
fn config(text: &str) -> serde_json::Value {
    let lowered = case(&format!("FROM scratch\n{text}")).lowered();
    let mut config = serde_json::to_value(&lowered.config.config).unwrap();
    let fields = config.as_object_mut().unwrap();
    for (name, usual) in [
        ("Env", json!(["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"])),
        ("WorkingDir", json!("/")),
    ] {
        if fields.get(name) == Some(&usual) {
            fields.remove(name);
        }
    }
    config
}

fn history(text: &str) -> Vec<String> {
    let lowered = case(&format!("FROM scratch\n{text}")).lowered();
    let entries = lowered.config.history.iter();
    entries
        .map(|entry| {
            assert_eq!(entry.comment.as_deref(), Some("buildkit.dockerfile.v0"));
            let mark = if entry.empty_layer { "" } else { "+ " };
            format!("{mark}{}", entry.created_by.clone().unwrap())
        })
        .collect()
}

#[test]
fn metadata_instructions_end_in_the_config() {
    let check = |text: &str, expected: serde_json::Value| assert_eq!(config(text), expected, "{text}");
    check("LABEL a=1 b=\"2 3\"\nLABEL a=4", json!({"Labels": {"a": "4", "b": "2 3"}}));
    check(
        "EXPOSE 80 53/UDP 8000-8001",
        json!({"ExposedPorts":
        {"80/tcp": {}, "53/udp": {}, "8000/tcp": {}, "8001/tcp": {}}}),
    );
    check("ARG P=\"80 81\"\nEXPOSE $P", json!({"ExposedPorts": {"80/tcp": {}, "81/tcp": {}}}));
    check("USER app:staff", json!({"User": "app:staff"}));
    check("WORKDIR a\nWORKDIR ../b/./c", json!({"WorkingDir": "/b/c"}));
    check("WORKDIR /a/../b//", json!({"WorkingDir": "/a/../b//"}));
    check("WORKDIR /a\nWORKDIR $none", json!({"WorkingDir": "/a"}));
    check("VOLUME /a //b", json!({"Volumes": {"/a": {}, "//b": {}}}));
    check("CMD [\"x\"]", json!({"Cmd": ["x"], "ArgsEscaped": true}));
    check("CMD x y", json!({"Cmd": ["/bin/sh", "-c", "x y"], "ArgsEscaped": true}));
    check(
        "SHELL [\"/bin/ash\"]\nENTRYPOINT x",
        json!({"Shell": ["/bin/ash"], "Entrypoint": ["/bin/ash", "x"]}),
    );
    check("CMD [\"x\"]\nENTRYPOINT [\"e\"]", json!({"Cmd": ["x"], "Entrypoint": ["e"], "ArgsEscaped": true}));
    check("ENTRYPOINT [\"e\"]\nENTRYPOINT []", json!({}));
    check("STOPSIGNAL SIGTERM", json!({"StopSignal": "SIGTERM"}));
    check("HEALTHCHECK NONE", json!({"Healthcheck": {"Test": ["NONE"]}}));
    check(
        "HEALTHCHECK --interval=1m30s --retries=2 CMD x y",
        json!({"Healthcheck":
        {"Test": ["CMD-SHELL", "x y"], "Interval": 90_000_000_000_i64, "Retries": 2}}),
    );
    check("ONBUILD RUN a  b", json!({"OnBuild": ["RUN a  b"]}));
    assert_eq!(case("FROM scratch\nMAINTAINER me").lowered().config.author.as_deref(), Some("me"));
}

#[test]
fn env_sees_what_was_before_it_and_replaces_in_place() {
    let text = "FROM scratch\nENV PATH=/p a=1\nENV a=2 b=$a c=${nothing:-x}\nENV \"d e\"='$a'";
    assert_eq!(case(text).lowered().config.config.env, ["PATH=/p", "a=2", "b=1", "c=x", "d e=$a"]);
}

#[test]
fn history_is_told_in_buildkits_words() {
    let check = |text: &str, expected: &[&str]| assert_eq!(history(text), expected, "{text}");
    check("ENV a=1 b=2", &["ENV a=1 b=2"]);
    check("WORKDIR /", &["WORKDIR /"]);
    check("WORKDIR x", &["+ WORKDIR /x"]);
    check("CMD [\"a\", \"b\\\"\"]", &["CMD [\"a\" \"b\\\"\"]"]);
    check("VOLUME /a /b", &["VOLUME [/a /b]"]);
    check("ARG A=1\nRUN x", &["ARG A=1", "+ RUN |1 A=1 /bin/sh -c x # buildkit"]);
    check("ARG A\nARG B=2\nRUN [\"x\"]", &["ARG A", "ARG B=2", "+ RUN |2 A= B=2 x # buildkit"]);
    check("COPY --chown=1:2 --chmod=640 a b /d/", &["+ COPY --chown=1:2 --chmod=640 a b /d/ # buildkit"]);
    check("COPY <<F /f\nx\nF", &["+ COPY <<F /f # buildkit"]);
    check("COPY --link --exclude=q a b/ /d/.", &["+ COPY a b/ /d/. # buildkit"]);
    check(
        "COPY --link --chmod=a+x --chown=u:g --parents a .",
        &["+ COPY --parents --chown=u:g --chmod=a+x a . # buildkit"],
    );
    check("COPY a <<F /d/\nx\nF", &["+ COPY a <<F /d/ # buildkit"]);
    check("ADD --unpack=false --chown=1 --exclude=a a.tar /", &["+ ADD --chown=1 a.tar / # buildkit"]);
    check("ONBUILD RUN x", &[]);
    check("COPY --chown=$none --chmod=${none} a b", &["+ COPY a b # buildkit"]);
    check("ARG A=7\nEXPOSE 3 $A/udp", &["ARG A=7", "EXPOSE [7/udp 3/tcp]"]);
    check("EXPOSE 80 443/tcp 53/UDP", &["EXPOSE [443/tcp 53/udp 80/tcp]"]);
    check("WORKDIR /a/../b", &["+ WORKDIR /a/../b"]);
    check(
        "HEALTHCHECK --interval=1m30.5s --timeout=2ms --retries=3 CMD [\"a\", \"b c\"]",
        &[
            "HEALTHCHECK {Test:[CMD a b c] Interval:1m30.5s Timeout:2ms StartPeriod:0s StartInterval:0s Retries:3}",
        ],
    );
    check(
        "HEALTHCHECK NONE",
        &["HEALTHCHECK {Test:[NONE] Interval:0s Timeout:0s StartPeriod:0s StartInterval:0s Retries:0}"],
    );
    check("SHELL [\"/bin/ash\", \"-e\"]", &["SHELL [/bin/ash -e]"]);
}

#[test]
fn variables_follow_the_rules_of_global_and_stage_arguments() {
    let env = |case: super::Case| {
        let lowered = case.lowered();
        let run = lowered.steps.iter().rev().find_map(|step| match &step.op {
            Op::Run(run) => Some(run.clone()),
            _ => None,
        });
        run.unwrap().env.into_iter().filter(|entry| !entry.starts_with("PATH=")).collect::<Vec<_>>()
    };
    assert_eq!(env(case("ARG A=g\nFROM scratch\nRUN x")), [""; 0]);
    assert_eq!(env(case("ARG A=g\nFROM scratch\nARG A\nRUN x")), ["A=g"]);
    assert_eq!(env(case("ARG A=g\nFROM scratch\nARG A=s\nRUN x")), ["A=s"]);
    assert_eq!(env(case("ARG A=g\nFROM scratch\nARG A=s\nRUN x").arg("A", "given")), ["A=given"]);
    assert_eq!(env(case("FROM scratch\nARG A=1 B=$A\nRUN x")), ["A=1", "B=1"]);
    assert_eq!(env(case("FROM scratch\nENV X=env\nARG X=arg\nRUN x")), ["X=arg"]);
    assert_eq!(env(case("FROM scratch AS a\nENV X=env\nARG X=arg\nFROM a\nRUN x")), ["X=env"]);
    assert_eq!(env(case("FROM scratch AS a\nARG X=arg\nFROM a\nRUN x")), ["X=arg"]);
    assert_eq!(
        env(case("FROM scratch\nARG TARGETARCH BUILDPLATFORM TARGETSTAGE\nRUN x")),
        ["TARGETARCH=arm64", "BUILDPLATFORM=linux/amd64", "TARGETSTAGE=default"]
    );
    assert_eq!(env(case("FROM scratch\nARG TARGETARCH\nRUN x").arg("TARGETARCH", "odd")), ["TARGETARCH=odd"]);
    assert_eq!(env(case("FROM scratch AS last\nARG TARGETSTAGE\nRUN x")), ["TARGETSTAGE=last"]);
    assert_eq!(env(case("ARG A=1\nARG B=$A-$C\nFROM scratch\nARG B\nRUN x")), ["B=1-"]);
    assert_eq!(env(case("ARG A=1\nARG A\nFROM scratch\nARG A\nRUN x")), ["A=1"]);
    assert_eq!(env(case("FROM scratch\nARG A=1\nARG A\nRUN x")), ["A=1"]);
    assert_eq!(env(case("FROM scratch\nARG A=\nENV B=${A-x}${A:-y}\nRUN x")), ["A=", "B=y"]);
    // A default that is replaced may be wrong.
    let replaced = case("ARG A=${X:?no}\nFROM scratch\nARG A=\"$B\nRUN x").arg("A", "given");
    assert_eq!(env(replaced), ["A=given"]);
}

#[test]
fn proxies_reach_commands_and_no_history() {
    let lowered = case("FROM scratch\nRUN x").arg("HTTP_PROXY", "p").lowered();
    let Op::Run(run) = &lowered.steps[1].op else { panic!("a RUN") };
    assert_eq!(run.proxy_env, ["HTTP_PROXY=p", "http_proxy=p"]);
    assert_eq!(lowered.config.history[0].created_by.as_deref(), Some("RUN /bin/sh -c x # buildkit"));
}

#[test]
fn only_reachable_stages_become_steps() {
    let text = "FROM scratch AS a\nCOPY x /\nFROM scratch AS unused\nCOPY y /\nFROM scratch\nCOPY --from=a /x /z\nUSER u\nWORKDIR w\nRUN t";
    assert_eq!(
        steps(&case(text).lowered()),
        [
            "scratch",
            "copy MainContext [\"x\"] to / on s0",
            "scratch",
            "copy Step(StepId(1)) [\"/x\"] to /z on s2",
            "mkdir /w as `u` on s3",
            "run [\"/bin/sh\", \"-c\", \"t\"] in /w as `u` on s4",
        ]
    );
    assert_eq!(steps(&case(text).stage("unused").lowered()).len(), 2);
    assert_eq!(steps(&case(text).stage("0").lowered()).len(), 2);
}

#[test]
fn a_base_is_completed() {
    let with_base = |text: &str, change: fn(&mut crate::oci::ContainerConfig)| {
        case(text).base("b", change).lowered().config
    };
    // A variable without a value is one.
    let config = with_base("FROM b", |config| config.env = vec!["PATH".to_string()]);
    assert_eq!(config.config.env, ["PATH"]);
    let config = with_base("FROM b\nWORKDIR x", |config| config.working_dir = "w".to_string());
    assert_eq!(config.config.working_dir, "/w/w/x");
    let windows = case("FROM scratch\nCMD dir").target("windows/amd64").lowered().config;
    assert_eq!(windows.config.cmd.unwrap(), ["cmd", "/S", "/C", "dir"]);
    assert_eq!((windows.os.as_str(), windows.config.env.len()), ("windows", 0));
}

#[test]
fn every_image_is_asked_for_at_once_with_its_platform() {
    let check = |text: &str, expected: &[&str]| assert_eq!(case(text).missing(), expected, "{text}");
    check("FROM alpine", &["alpine linux/arm64"]);
    check("FROM --platform=$BUILDPLATFORM alpine", &["alpine linux/amd64"]);
    check("FROM --platform= alpine", &["alpine linux/arm64"]);
    check("FROM --platform=Linux alpine", &["alpine linux/amd64"]);
    check("ARG V=3\nFROM a:$V AS x\nFROM b\nCOPY --from=x / /", &["a:3 linux/arm64", "b linux/arm64"]);
    // What a stage copies is known before its base is; so is the platform it copies it for.
    check("FROM a\nCOPY --from=c / /", &["a linux/arm64", "c linux/arm64"]);
    check(
        "FROM --platform=$BUILDPLATFORM a AS x\nFROM x AS y\nCOPY --from=c / /\nFROM b\nCOPY --from=y / /",
        &["a linux/amd64", "c linux/amd64", "b linux/arm64"],
    );
    check("FROM a AS unused\nFROM b", &["b linux/arm64"]);
}

#[test]
fn named_contexts_replace_images_and_stages() {
    let check = |case: super::Case, expected: &[&str]| assert_eq!(case.missing(), expected);
    check(case("FROM alpine").image("alpine:latest", "x"), &["alpine:latest linux/arm64"]);
    check(
        case("FROM alpine AS base\nRUN --mount=type=cache,target=/c x\nFROM base").image("base", "x"),
        &["base linux/arm64"],
    );
    check(case("FROM scratch AS scratch\nFROM alpine").image("scratch", "x"), &["alpine linux/arm64"]);
    assert_eq!(case("FROM scratch").image("scratch", "x").lowered().steps.len(), 1);
    let lowered =
        case("FROM alpine AS files\nFROM scratch\nCOPY --from=files /a /b").directory("files").lowered();
    assert_eq!(steps(&lowered), ["scratch", "copy Context(\"files\") [\"/a\"] to /b on s0"]);
}

#[test]
fn triggers_run_first_and_are_gone_from_the_result() {
    let with_trigger = |text: &str, trigger: &'static str| {
        case(text).base("alpine", |config| config.on_build = Some(vec![trigger.to_string()]))
    };
    let lowered = with_trigger("FROM alpine\nRUN last", "RUN first").lowered();
    assert_eq!(
        steps(&lowered)[1..],
        [
            "run [\"/bin/sh\", \"-c\", \"first\"] in / as `` on s0",
            "run [\"/bin/sh\", \"-c\", \"last\"] in / as `` on s1"
        ]
    );
    assert_eq!(lowered.config.config.on_build, None);
    // A context that stands in for a stage is finished; so are its triggers.
    let replaced = case("FROM scratch AS base\nFROM base\nRUN x")
        .image("base", "x")
        .base("base", |config| config.on_build = Some(vec!["RUN never".to_string()]));
    assert_eq!(steps(&replaced.lowered()).len(), 2);
    let asks = with_trigger("FROM alpine", "COPY --from=other /a /a");
    assert_eq!(asks.missing(), ["other linux/arm64"]);
    assert_eq!(steps(&asks.base("other", |_| {}).lowered()).len(), 3);
    // A stage that nothing but the trigger names.
    let lowered =
        with_trigger("FROM scratch AS app\nCOPY x /\nFROM alpine", "COPY --from=app /x /x").lowered();
    assert_eq!(steps(&lowered).last().unwrap(), "copy Step(StepId(2)) [\"/x\"] to /x on s0");
    let circle = with_trigger("FROM alpine AS a\nFROM a AS b\nFROM a", "COPY --from=b /x /x");
    assert_eq!(
        circle.problems(),
        ["1 dockerfile::stage-cycle: stage `a` needs itself, by way of a trigger of its base image"]
    );
}

#[test]
fn a_base_gives_its_config_and_clears_what_is_not_known() {
    let lowered = case("FROM b\nENTRYPOINT [\"e\"]").base("b", |config| {
        config.env = vec!["A=1".to_string()];
        config.cmd = Some(vec!["c".to_string()]);
        config.user = "u".to_string();
        config.extra.insert("Domainname".to_string(), json!("d"));
    });
    let config = lowered.lowered().config;
    assert_eq!(config.config.env[0], "A=1");
    assert!(config.config.env[1].starts_with("PATH="));
    assert_eq!((config.config.cmd, config.config.user.as_str()), (None, "u"));
    assert!(config.config.extra.is_empty());
    assert_eq!(config.architecture, "arm64");
}

#[test]
fn problems_name_their_line_and_come_before_any_image() {
    let check = |text: &str, expected: &[&str]| assert_eq!(case(text).problems(), expected, "{text}");
    check("FROM ${nothing}", &["1 dockerfile::empty-base: the base name `${nothing}` is empty"]);
    check(
        "FROM alpine\nRUN --network=host x",
        &["2 dockerfile::entitlement: `RUN --network=host` needs the entitlement `network.host`"],
    );
    check(
        "FROM alpine\nRUN --security=insecure x",
        &["2 dockerfile::entitlement: `RUN --security=insecure` needs the entitlement `security.insecure`"],
    );
    check(
        "FROM alpine\nRUN --device=vendor.com/gpu x",
        &["2 dockerfile::device: `RUN --device=vendor.com/gpu` needs the buildkit engine"],
    );
    check("FROM scratch\nSTOPSIGNAL ${X:-nonsense}", &["2 dockerfile::signal: `nonsense` is not a signal"]);
    check(
        "FROM scratch\nVOLUME /a ${X}",
        &["2 dockerfile::volume: the path `${X}` of VOLUME is empty after expansion"],
    );
    check("FROM scratch\nRUN x\nENV a=1 \\\n b=${X:?no}", &["4 dockerfile::expand: X: no"]);
    check("ARG X=${Y:?no}\nFROM scratch", &["1 dockerfile::expand: Y: no"]);
    check(
        "FROM scratch AS Base\nFROM Base AS unused\nFROM scratch",
        &["2 dockerfile::base-name: `Base` is not an image reference: repository names are lower case"],
    );
    check(
        "FROM scratch\nCOPY https://user:secret@x/y /",
        &["2 dockerfile::remote-copy: COPY cannot take `https://xxxxx:xxxxx@x/y`"],
    );
    check(
        "FROM scratch\nADD --checksum=sha256:12 https://x/y /",
        &[
            "2 dockerfile::checksum: `--checksum`: digest `sha256:12` is not of the form `sha256:` and 64 lower-case hex digits",
        ],
    );
    check(
        "FROM scratch\nADD --checksum=abc a /",
        &["2 dockerfile::checksum: `--checksum` is for a file over HTTP or a repository"],
    );
    check(
        "FROM scratch\nADD --checksum=abc https://x/a.git https://x/b.git /",
        &["2 dockerfile::checksum: `--checksum` is for one source; give each source an ADD of its own"],
    );
    check(
        "FROM scratch\nADD https://x/y.git?colour=red /",
        &["2 dockerfile::git-url: `https://x/y.git?colour=red`: `colour` is no option of a git URL"],
    );
    let platform = case("FROM --platform=a/b/c/d scratch").problems();
    assert!(platform[0].starts_with("1 dockerfile::platform: "), "{platform:?}");
}

#[test]
fn add_takes_from_elsewhere() {
    let check = |add: &str, steps_expected: &[&str], sources: &[&str], history: &str| {
        let lowered = case(&format!("FROM scratch\nARG V=1.2\n{add}")).lowered();
        let found = steps(&lowered);
        assert_eq!(found[1..], *steps_expected, "{add}");
        let named: Vec<String> = lowered.sources.iter().map(ToString::to_string).collect();
        assert_eq!(named, sources, "{add}");
        let last = lowered.config.history.last().and_then(|entry| entry.created_by.clone());
        assert_eq!(last.as_deref(), Some(history), "{add}");
    };
    check(
        "ADD https://user:secret@host/dir/v$V?x /d/",
        &["copy Remote(0) [\"v1.2\"] to /d/ on s0"],
        &["https://xxxxx:xxxxx@host/dir/v1.2?x"],
        "ADD https://xxxxx:xxxxx@host/dir/v1.2?x /d/ # buildkit",
    );
    check(
        "ADD --keep-git-dir https://host/a.git#main:sub /src",
        &["copy Remote(0) [\"/\"] to /src on s0"],
        &["https://host/a.git#main:sub"],
        "ADD https://host/a.git#main:sub /src # buildkit",
    );
    check(
        "ADD github.com/a/b.git /",
        &["copy MainContext [\"github.com/a/b.git\"] to / on s0"],
        &[],
        "ADD github.com/a/b.git / # buildkit",
    );
    check(
        "ADD a b https://host/c*d d git@host:e.git /",
        &[
            "copy MainContext [\"a\", \"b\"] to / on s0",
            "copy Remote(0) [\"c\\\\*d\"] to / on s1",
            "copy MainContext [\"d\"] to / on s2",
            "copy Remote(1) [\"/\"] to / on s3",
            "merge s0 to s4",
        ],
        &["https://host/c*d", "git@host:e.git"],
        "ADD a b https://host/c*d d git@host:e.git / # buildkit",
    );
    let merged = case("FROM scratch\nADD a https://host/b /").lowered();
    assert_eq!(merged.new_layers(), 1);
}

#[test]
fn files_can_be_a_base() {
    let lowered = case("FROM files\nCOPY --from=files a /").directory("files").lowered();
    assert_eq!(
        steps(&lowered),
        [
            "scratch",
            "copy Context(\"files\") [\"/\"] to / on s0",
            "copy Context(\"files\") [\"a\"] to / on s1"
        ]
    );
    assert_eq!((lowered.base_history, lowered.new_layers()), (0, 2));
}
