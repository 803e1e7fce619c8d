//! Every instruction: its forms, its flags, its mistakes.

use super::*;

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(ToString::to_string).collect()
}

fn shell(text: &str) -> ShellOrExec {
    ShellOrExec::Shell(text.to_string())
}

fn exec(arguments: &[&str]) -> ShellOrExec {
    ShellOrExec::Exec(words(arguments))
}

fn pairs(pairs: &[(&str, &str)]) -> Vec<KeyValue> {
    pairs.iter().map(|(key, value)| KeyValue { key: key.to_string(), value: value.to_string() }).collect()
}

/// The problems of the instruction in the second line.
fn check_problem(text: &str, expected: &str) {
    assert_eq!(problems(&format!("FROM a\n{text}")), format!("2 {expected}"), "{text}");
}

#[test]
fn commands_have_two_forms() {
    for (text, expected) in [
        ("CMD a  b", shell("a  b")),
        ("CMD [\"a\", \"b c\"]", exec(&["a", "b c"])),
        ("CMD  [ \"\\u0061\\n\" ] ", exec(&["a\n"])),
        ("CMD []", exec(&[])),
        ("CMD", shell("")),
        ("CMD ['a']", shell("['a']")),
        ("CMD [\"a\",]", shell("[\"a\",]")),
        ("CMD [\"a\"] && b", shell("[\"a\"] && b")),
        ("CMD [ -e x ] || y", shell("[ -e x ] || y")),
        ("CMD -- --help", shell("--help")),
        ("CMD $x \"y\"", shell("$x \"y\"")),
    ] {
        assert_eq!(kind(text), InstructionKind::Cmd(Cmd { command: expected.clone() }), "{text}");
        let entrypoint = InstructionKind::Entrypoint(Entrypoint { command: expected });
        assert_eq!(kind(&text.replace("CMD", "entrypoint")), entrypoint, "{text}");
    }
    check_problem(
        "CMD [\"a\", 1]",
        "json-form \"[\\\"a\\\", 1]\" the JSON array of CMD holds something that is no string | \
         put every element in double quotes",
    );
    check_problem(
        "CMD --help",
        "unknown-flag \"--help\" CMD has no flag `--help` | \
         CMD takes no flags; write `--` before arguments that begin with two dashes",
    );
}

#[test]
fn env_and_label_have_pairs() {
    for (text, expected, legacy) in [
        ("a=b", pairs(&[("a", "b")]), false),
        ("a=b c='d e' f=\"g\\\" h\"", pairs(&[("a", "b"), ("c", "'d e'"), ("f", "\"g\\\" h\"")]), false),
        ("a=b\\ c d=", pairs(&[("a", "b\\ c"), ("d", "")]), false),
        ("\"a b\"=c=d", pairs(&[("\"a b\"", "c=d")]), false),
        ("a b", pairs(&[("a", "b")]), true),
        ("a \t b=c  'd'", pairs(&[("a", "b=c  'd'")]), true),
        ("a=b\\", pairs(&[("a", "b")]), false),
    ] {
        let env = InstructionKind::Env(Env { pairs: expected.clone(), legacy });
        assert_eq!(kind(&format!("ENV {text}")), env, "{text}");
        let label = InstructionKind::Label(Label { pairs: expected, legacy });
        assert_eq!(kind(&format!("LABEL {text}")), label, "{text}");
    }
    check_problem("ENV", "missing-argument \"ENV\" ENV needs an argument");
    check_problem("ENV a", "key-value \"ENV a\" ENV gives `a` no value | write `ENV key=value`");
    check_problem("LABEL =b", "blank-name \"LABEL =b\" a name is missing before `=` in LABEL");
    check_problem(
        "ENV a=b c",
        "key-value \"ENV a=b c\" `c` has no `=`, unlike the words before it | write `ENV key=value`, or quote the value",
    );
}

#[test]
fn arg_declares_several() {
    let args = |text: &str| {
        let InstructionKind::Arg(arg) = kind(text) else { panic!() };
        arg.declarations.into_iter().map(|arg| (arg.name, arg.default)).collect::<Vec<_>>()
    };
    let some = |value: &str| Some(value.to_string());
    assert_eq!(args("ARG a"), [("a".to_string(), None)]);
    assert_eq!(
        args("ARG a=1 b c=\"x y\" d=${a:-z}"),
        [
            ("a".to_string(), some("1")),
            ("b".to_string(), None),
            ("c".to_string(), some("\"x y\"")),
            ("d".to_string(), some("${a:-z}"))
        ]
    );
    check_problem("ARG", "missing-argument \"ARG\" ARG needs an argument");
    check_problem("ARG =x", "blank-name \"ARG =x\" a name is missing before `=` in ARG");
}

#[test]
fn plain_instructions_keep_their_words() {
    let user = |user: &str| InstructionKind::User(User { user: user.to_string() });
    let workdir = |path: &str| InstructionKind::Workdir(Workdir { path: path.to_string() });
    let volume = |paths: &[&str]| InstructionKind::Volume(Volume { paths: words(paths) });
    let expose = |ports: &[&str]| InstructionKind::Expose(Expose { ports: words(ports) });
    let stop = |signal: &str| InstructionKind::StopSignal(StopSignal { signal: signal.to_string() });
    for (text, expected) in [
        ("USER a b", user("a b")),
        ("USER  1000:$g ", user("1000:$g")),
        ("WORKDIR /a \"b\"", workdir("/a \"b\"")),
        ("VOLUME /a  /b", volume(&["/a", "/b"])),
        ("VOLUME [\"/a b\", \" /c \"]", volume(&["/a b", "/c"])),
        ("EXPOSE 80 443/TCP $p", expose(&["$p", "443/TCP", "80"])),
        ("EXPOSE 8000-8010 127.0.0.1:80:80", expose(&["127.0.0.1:80:80", "8000-8010"])),
        ("EXPOSE 80\u{a0}81", expose(&["80\u{a0}81"])),
        ("STOPSIGNAL SIGKILL", stop("SIGKILL")),
        ("STOPSIGNAL 37", stop("37")),
        ("STOPSIGNAL $s", stop("$s")),
        ("MAINTAINER A B <c>", InstructionKind::Maintainer(Maintainer { name: "A B <c>".to_string() })),
        ("SHELL [\"/bin/a\", \"-c\"]", InstructionKind::Shell(Shell { command: words(&["/bin/a", "-c"]) })),
    ] {
        assert_eq!(kind(text), expected, "{text}");
    }
    for (text, expected) in [
        ("USER", "missing-argument \"USER\" USER needs an argument"),
        ("WORKDIR", "missing-argument \"WORKDIR\" WORKDIR needs an argument"),
        ("VOLUME", "missing-argument \"VOLUME\" VOLUME needs an argument"),
        ("VOLUME []", "missing-argument \"VOLUME []\" VOLUME needs an argument"),
        ("VOLUME [\" \"]", "missing-argument \"VOLUME [\\\" \\\"]\" a path of VOLUME is empty"),
        ("EXPOSE", "missing-argument \"EXPOSE\" EXPOSE needs an argument"),
        ("EXPOSE 80/icmp", "port \"80/icmp\" `icmp` is not a protocol; EXPOSE knows tcp, udp and sctp"),
        (
            "STOPSIGNAL SIGNOPE",
            "stop-signal \"SIGNOPE\" `SIGNOPE` is not a signal | use a number, or a name such as SIGTERM",
        ),
        ("SHELL []", "missing-argument \"SHELL []\" SHELL needs an argument"),
        (
            "SHELL /bin/sh -c",
            "shell-form \"/bin/sh -c\" SHELL takes a JSON array of strings | \
             write `SHELL [\"/bin/sh\", \"-c\"]`, with double quotes",
        ),
    ] {
        check_problem(text, expected);
    }
}

#[test]
fn copy_has_all_its_flags() {
    let InstructionKind::Copy(copy) = kind(
        "COPY --from=Build --chown=a:b --chmod=u=rwX --link --parents=true --exclude=*.md --exclude=\"a b\" x $y /z/",
    ) else {
        panic!()
    };
    assert_eq!(copy.from.as_ref().unwrap().value, "Build");
    assert_eq!((copy.chown.as_deref(), copy.chmod.as_deref()), (Some("a:b"), Some("u=rwX")));
    assert_eq!((copy.link, copy.parents), (true, true));
    assert_eq!(copy.exclude, ["*.md", "a b"]);
    assert_eq!((copy.sources, copy.destination.as_str()), (words(&["x", "$y"]), "/z/"));
    let InstructionKind::Copy(copy) = kind("COPY --link=FALSE [\"a b\", \"c\"]") else { panic!() };
    assert!(!copy.link && copy.sources == ["a b"] && copy.destination == "c");
    let InstructionKind::Copy(copy) = kind("COPY \"a b\" c") else { panic!() };
    assert_eq!(copy.sources, ["\"a", "b\""]);
}

#[test]
fn add_has_all_its_flags() {
    let InstructionKind::Add(add) = kind(
        "ADD --checksum=sha256:$s --keep-git-dir --unpack=false --chown=1 --chmod=0644 --link --exclude=x a b",
    ) else {
        panic!()
    };
    assert_eq!((add.keep_git_dir, add.unpack, add.link), (Some(true), Some(false), true));
    assert_eq!((add.checksum.as_deref(), add.chmod.as_deref()), (Some("sha256:$s"), Some("0644")));
    let InstructionKind::Add(add) = kind("ADD a b") else { panic!() };
    assert_eq!((add.keep_git_dir, add.unpack, add.checksum), (None, None, None));
}

#[test]
fn mistakes_in_copy_and_add_are_said() {
    for (text, expected) in [
        ("COPY", "missing-argument \"COPY\" COPY needs a source and a destination"),
        ("ADD [\"a\"]", "missing-argument \"ADD [\\\"a\\\"]\" ADD needs a source and a destination"),
        (
            "COPY --from=$x a b",
            "variable-in-from \"--from=$x\" `--from=$x` of COPY cannot hold a variable | \
             give the image a stage of its own, `FROM image AS name`, and use that name",
        ),
        (
            "COPY --from a b",
            "flag-value \"--from\" flag `--from` of COPY has no value | write `--from=VALUE`, without blanks",
        ),
        (
            "COPY --link=yes a b",
            "flag-value \"--link=yes\" flag `--link` of COPY is true or false, not `yes`",
        ),
        ("COPY --link= a b", "flag-value \"--link=\" flag `--link` of COPY is true or false, not ``"),
        ("COPY --link --link a b", "duplicate-flag \"--link\" flag `--link` of COPY is given twice"),
        (
            "ADD --from=x a b",
            "unknown-flag \"--from=x\" ADD has no flag `--from` | the flags of ADD are --chown, --chmod, --link, --keep-git-dir, --checksum, --unpack, --exclude",
        ),
        (
            "COPY --cown=a b c",
            "unknown-flag \"--cown=a\" COPY has no flag `--cown` | did you mean `--chown`?",
        ),
        ("COPY a <<E\nE", "heredoc-destination \"a <<E\" the destination of COPY cannot be a heredoc"),
    ] {
        check_problem(text, expected);
    }
}

#[test]
fn problems_point_into_continued_lines() {
    let text = "FROM a\nCOPY \\\n  --cown=a \\\n  b c";
    assert_eq!(
        problems(text),
        "3 unknown-flag \"--cown=a\" COPY has no flag `--cown` | did you mean `--chown`?"
    );
}

#[test]
fn flags_are_words_of_their_own() {
    let InstructionKind::Run(run) = kind(
        "RUN   --network=none  --mount='type=bind,\"source=a,b\",target=/c' --mount=target=\"/d e\" -- --x y",
    ) else {
        panic!()
    };
    assert_eq!((run.network, run.command), (Network::None, shell("--x y")));
    let targets: Vec<_> =
        run.mounts.iter().map(|mount| mount.options.last().unwrap().value.clone()).collect();
    assert_eq!(targets, [Some("/c".to_string()), Some("/d e".to_string())]);
    assert_eq!(run.mounts[0].options[1].value.as_deref(), Some("a,b"));
    let stage = &dockerfile("# escape=`\nFROM a\nRUN --network=n`one --mount=target='/a`'b' x").stages[0];
    assert!(matches!(&stage.instructions[0].kind, InstructionKind::Run(run)
        if run.network == Network::None && run.mounts[0].options[0].value.as_deref() == Some("/a'b")));
    let InstructionKind::Run(run) = kind("RUN a --network=none") else { panic!() };
    assert_eq!((run.network, run.command), (Network::Default, shell("a --network=none")));
}

#[test]
fn run_knows_its_modes() {
    let InstructionKind::Run(run) =
        kind("RUN --network=host --security=insecure --device=vendor.com/gpu=all,required --device=name=x b")
    else {
        panic!()
    };
    assert_eq!((run.network, run.security), (Network::Host, Security::Insecure));
    let device = |name: &str, required| Device { name: name.to_string(), required };
    assert_eq!(run.devices, [device("vendor.com/gpu=all", true), device("x", false)]);
    for (text, expected) in [
        (
            "RUN --network=bridge a",
            "flag-value \"--network=bridge\" flag `--network` of RUN does not know `bridge` | it is one of default, none, host",
        ),
        (
            "RUN --security=insecur a",
            "flag-value \"--security=insecur\" flag `--security` of RUN does not know `insecur` | did you mean `insecure`?",
        ),
        ("RUN []", "missing-argument \"RUN []\" RUN needs an argument"),
        ("RUN --device=required a", "device \"--device=required\" the device has no name"),
        ("RUN --device=a,b a", "device \"--device=a,b\" `b` is not an option of a device"),
    ] {
        check_problem(text, expected);
    }
}

#[test]
fn heredocs_make_scripts() {
    let script = |text: &str| match kind(text) {
        InstructionKind::Run(run) => run.script(),
        other => panic!("{other:?}"),
    };
    let shell = |text: &str| Script::Shell(text.to_string());
    for (text, expected) in [
        ("RUN a b", shell("a b")),
        ("RUN [\"a\"]", Script::Exec(words(&["a"]))),
        ("RUN <<E\na\nb\nE", shell("a\nb\n")),
        ("RUN <<-E\n\ta\n\tE", shell("a\n")),
        ("RUN <<E\n#!/bin/x\na\nE", Script::File { name: "E".into(), content: "#!/bin/x\na\n".into() }),
        ("RUN <<-E\n\t#!/bin/x\n\tE", Script::File { name: "E".into(), content: "#!/bin/x\n".into() }),
        ("RUN python3 <<E\na\nE", shell("python3 <<E\na\nE")),
        ("RUN << E\na\nE", shell("a\n")),
        ("RUN cat << E\na\nE", shell("cat << E\na\nE")),
        ("RUN cat <<-E <<'F' > x\n\ta\nE\nb\nF", shell("cat <<-E <<'F' > x\n\ta\nE\nb\nF")),
    ] {
        assert_eq!(script(text), expected, "{text}");
    }
}

fn mount(options: &str) -> Result<MountSpec, MountError> {
    let InstructionKind::Run(run) = kind(&format!("RUN --mount={options},dst=$T x")) else { panic!() };
    run.mounts[0].resolve(&mut |word| Ok(word.replace("$T", "/t")))
}

#[test]
fn mounts_have_types() {
    let some = |text: &str| Some(text.to_string());
    let target = || "/t".to_string();
    let bind = |from, source, read_only| MountSpec::Bind { from, source, target: target(), read_only };
    let cache = |id, sharing, mode, uid, read_only| MountSpec::Cache {
        id,
        from: None,
        source: None,
        target: target(),
        sharing,
        mode,
        uid,
        gid: 0,
        read_only,
    };
    let secret = |id: &str, env, required, mode| MountSpec::Secret {
        id: id.to_string(),
        target: some("/t"),
        env,
        required,
        mode,
        uid: 0,
        gid: 0,
    };
    for (options, expected) in [
        ("type=bind", bind(None, None, true)),
        ("ro=false,from=A,src=/s", bind(some("A"), some("/s"), false)),
        ("TYPE=BIND,rw", bind(None, None, false)),
        ("readwrite=true", bind(None, None, false)),
        ("type=cache", cache(None, Sharing::Shared, 0o755, 0, false)),
        (
            "type=cache,id=x,sharing=LOCKED,mode=0700,uid=5,ro",
            cache(some("x"), Sharing::Locked, 0o700, 5, true),
        ),
        ("type=tmpfs,size=64m", MountSpec::Tmpfs { target: target(), size: Some(64 << 20) }),
        ("type=tmpfs,size=1.5kib", MountSpec::Tmpfs { target: target(), size: Some(1536) }),
        ("type=secret,id=a", secret("a", None, false, 0o400)),
        ("type=secret,src=a,env=A,required,mode=440", secret("a", some("A"), true, 0o440)),
        ("type=secret", secret("t", None, false, 0o400)),
        (
            "type=ssh,required=true",
            MountSpec::Ssh {
                id: "default".into(),
                target: some("/t"),
                required: true,
                mode: 0o600,
                uid: 0,
                gid: 0,
            },
        ),
    ] {
        assert_eq!(mount(options), Ok(expected), "{options}");
    }
}

#[test]
fn secrets_have_default_targets() {
    let target = |options: &str| {
        let InstructionKind::Run(run) = kind(&format!("RUN --mount=type=secret,{options} x")) else {
            panic!()
        };
        match run.mounts[0].resolve(&mut |word| Ok(word.to_string())) {
            Ok(MountSpec::Secret { target, .. }) => target,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(target("id=a").as_deref(), Some("/run/secrets/a"));
    assert_eq!(target("id=a/b").as_deref(), Some("/run/secrets/b"));
    assert_eq!(target("id=a,env=A"), None);
    assert_eq!(target("id=a,env=A,target=/x").as_deref(), Some("/x"));
}

#[test]
fn mistakes_in_mounts_are_said() {
    for (options, expected) in [
        ("type=vol", "`vol` is not a type of mount"),
        ("type=cache,sharing=public", "`public` is not a way of sharing a cache"),
        ("sharing=locked", "a bind mount has no option `sharing`"),
        ("mode=755", "a bind mount has no option `mode`"),
        ("size=1m", "a bind mount has no option `size`"),
        ("required,type=secret,id=a", "a bind mount has no option `required`"),
        ("type=secret,id=a,from=b", "a secret mount has no option `from`"),
        ("type=secret,id=a,source=b", "a secret mount takes `id` or `source`, not both"),
        ("type=cache,mode=999", "option `mode` of a mount cannot be `999`"),
        ("type=cache,uid=-1", "option `uid` of a mount cannot be `-1`"),
        ("type=tmpfs,size=big", "option `size` of a mount cannot be `big`"),
        ("ro=maybe", "option `ro` of a mount cannot be `maybe`"),
        ("target", "option `target` of a mount needs a value"),
        ("tagret=x", "`tagret` is not an option of a mount"),
    ] {
        let found = mount(options).unwrap_err().to_string();
        assert_eq!(found, expected, "{options}");
    }
    for (text, expected) in [
        (
            "RUN --mount=tagret=x a",
            "mount \"--mount=tagret=x\" `tagret` is not an option of a mount | did you mean `target`?",
        ),
        (
            "RUN --mount=type=secret a",
            "mount \"--mount=type=secret\" a secret mount needs `id`, `source` or `target`",
        ),
        (
            "RUN --mount=type=cahce a",
            "mount \"--mount=type=cahce\" `cahce` is not a type of mount | did you mean `cache`?",
        ),
        (
            "RUN --mount= a",
            "mount \"--mount=\" the mount is no list of `key=value` separated by commas: it is empty",
        ),
        (
            "RUN --mount='\"a' b",
            "mount \"--mount='\\\"a'\" the mount is no list of `key=value` separated by commas: a quoted field is not closed",
        ),
        (
            "RUN --mount=from=$x,target=/a b",
            "variable-in-from \"--mount=from=$x,target=/a\" option `from` of a mount cannot hold a variable | \
             give the image a stage of its own, `FROM image AS name`, and use that name",
        ),
    ] {
        check_problem(text, expected);
    }
}

#[test]
fn healthchecks_are_read() {
    let InstructionKind::Healthcheck(Healthcheck::Probe(probe)) = kind(
        "HEALTHCHECK --interval=1m --timeout=3s --start-period=500ms --start-interval=0s --retries=3 cmd curl x",
    ) else {
        panic!()
    };
    assert_eq!(
        probe,
        Probe {
            command: shell("curl x"),
            interval: 60_000_000_000,
            timeout: 3_000_000_000,
            start_period: 500_000_000,
            start_interval: 0,
            retries: 3
        }
    );
    assert_eq!(kind("HEALTHCHECK none"), InstructionKind::Healthcheck(Healthcheck::None));
    let InstructionKind::Healthcheck(Healthcheck::Probe(probe)) = kind("HEALTHCHECK CMD [\"a\"]") else {
        panic!()
    };
    assert_eq!((probe.command, probe.interval, probe.retries), (exec(&["a"]), 0, 0));
    for (text, expected) in [
        ("HEALTHCHECK", "missing-argument \"HEALTHCHECK\" HEALTHCHECK needs an argument"),
        ("HEALTHCHECK CMD", "healthcheck \"CMD\" HEALTHCHECK CMD needs a command"),
        ("HEALTHCHECK CMD []", "healthcheck \"CMD []\" HEALTHCHECK CMD needs a command"),
        ("HEALTHCHECK NONE x", "healthcheck \"NONE x\" HEALTHCHECK NONE takes no arguments"),
        (
            "HEALTHCHECK curl x",
            "healthcheck \"curl x\" `curl` is not a form of HEALTHCHECK | write `HEALTHCHECK CMD command` or `HEALTHCHECK NONE`",
        ),
        (
            "HEALTHCHECK --interval=5 CMD a",
            "healthcheck \"--interval=5\" flag `--interval` of HEALTHCHECK: `5` is not a duration | \
             write a duration such as `30s`, `1m30s` or `500ms`",
        ),
        (
            "HEALTHCHECK --timeout=1us CMD a",
            "healthcheck \"--timeout=1us\" flag `--timeout` of HEALTHCHECK is at least 1ms, or 0 | \
             write a duration such as `30s`, `1m30s` or `500ms`",
        ),
        (
            "HEALTHCHECK --retries=-1 CMD a",
            "healthcheck \"--retries=-1\" flag `--retries` of HEALTHCHECK is a number from 0 on, not `-1`",
        ),
        (
            "HEALTHCHECK --retry=1 CMD a",
            "unknown-flag \"--retry=1\" HEALTHCHECK has no flag `--retry` | the flags of HEALTHCHECK are --interval, --timeout, --start-period, --start-interval, --retries",
        ),
    ] {
        check_problem(text, expected);
    }
}

#[test]
fn onbuild_keeps_its_trigger_raw() {
    let onbuild = |text: &str| match kind(text) {
        InstructionKind::OnBuild(onbuild) => onbuild,
        other => panic!("{other:?}"),
    };
    let plain = onbuild("ONBUILD run  --network=none a \\\n b");
    assert_eq!(plain.text, "run  --network=none a  b");
    assert!(matches!(plain.trigger.unwrap().kind, InstructionKind::Run(run) if run.network == Network::None));
    let heredoc = onbuild("ONBUILD COPY <<a <<b /d/\n1\na\n2\nb");
    assert_eq!(heredoc.text, "COPY <<a <<b /d/\n1\na\n2\nb");
    assert!(
        matches!(&heredoc.trigger.unwrap().kind, InstructionKind::Copy(copy) if copy.heredocs.len() == 2)
    );
    for (text, expected) in [
        ("ONBUILD", "missing-argument \"ONBUILD\" ONBUILD needs an argument"),
        ("ONBUILD onbuild RUN a", "trigger \"onbuild RUN a\" ONBUILD cannot be an ONBUILD trigger"),
        ("ONBUILD FROM a", "trigger \"FROM a\" FROM cannot be an ONBUILD trigger"),
        ("ONBUILD ENV a", "key-value \"ENV a\" ENV gives `a` no value | write `ENV key=value`"),
        (
            "ONBUILD CMD [\"a\", 1]",
            "json-form \"[\\\"a\\\", 1]\" the JSON array of CMD holds something that is no string | \
             put every element in double quotes",
        ),
        ("ONBUILD MAINTAINER a", "trigger \"MAINTAINER a\" MAINTAINER cannot be an ONBUILD trigger"),
    ] {
        check_problem(text, expected);
    }
}

#[test]
fn a_broken_trigger_is_a_warning() {
    let text = "FROM a\nONBUILD COPY --form=x \\\n a b";
    let file = dockerfile(text);
    let InstructionKind::OnBuild(onbuild) = &file.stages[0].instructions[0].kind else { panic!() };
    assert_eq!((onbuild.text.as_str(), &onbuild.trigger), ("COPY --form=x  a b", &None));
    assert_eq!(
        describe(&file.warnings[0], text),
        "2 unknown-flag \"--form=x\" COPY has no flag `--form` | did you mean `--from`?"
    );
    assert!(!file.warnings[0].is_error());
}

#[test]
fn triggers_of_base_images_are_read_alone() {
    let read = |text: &str| parse_instruction_line(&Source::new("ONBUILD of base", text));
    let copy = read("COPY <<a b /d/\n1\na").unwrap();
    assert!(matches!(&copy.kind, InstructionKind::Copy(copy) if copy.heredocs[0].content == "1\n"));
    assert_eq!(copy.place.source.name, "ONBUILD of base");
    for (text, code) in [
        ("", "dockerfile::trigger"),
        ("RUN a\nRUN b", "dockerfile::trigger"),
        ("FROM a", "dockerfile::trigger"),
        ("ONBUILD RUN a", "dockerfile::trigger"),
        ("RUN <<E", "dockerfile::unterminated-heredoc"),
        ("NOPE", "dockerfile::unknown-instruction"),
    ] {
        assert_eq!(read(text).unwrap_err()[0].code, code, "{text}");
    }
}

#[test]
fn the_form_of_an_instruction_is_the_next_step() {
    for (text, expected) in [
        ("COPY a", "the form is `COPY [--flag=value…] source… destination`"),
        ("EXPOSE 1/x", "the form is `EXPOSE port[-last][/tcp]…`"),
        ("HEALTHCHECK CMD", "the form is `HEALTHCHECK [--interval=30s…] CMD command` or `HEALTHCHECK NONE`"),
        ("FROM --platform=a --platform=b c", "the form is `FROM [--platform=platform] image [AS name]`"),
    ] {
        let problems = parse(&format!("FROM a\n{text}")).unwrap_err();
        assert_eq!(problems[0].help.as_deref(), Some(expected), "{text}");
    }
}
