//! Facts about the file as a whole: lines, comments, directives, heredocs, stages.

use super::*;

/// The instructions of all stages as `text`, one per line; what was read, not what was meant.
fn check_texts(text: &str, expected: &[&str]) {
    let dockerfile = dockerfile(text);
    let texts: Vec<&str> = dockerfile
        .global_args
        .iter()
        .map(|arg| arg.text.as_str())
        .chain(dockerfile.stages.iter().flat_map(|stage| {
            let instructions = stage.instructions.iter().map(|instruction| instruction.text.as_str());
            std::iter::once(stage.from.text.as_str()).chain(instructions)
        }))
        .collect();
    assert_eq!(texts, expected, "{text:?}");
}

#[test]
fn lines_become_instructions() {
    check_texts("FROM a", &["FROM a"]);
    check_texts("\u{feff}FROM a\n", &["FROM a"]);
    check_texts("\n\n  \tFROM a\r\n\r\nRUN b\r\n", &["FROM a", "RUN b"]);
    check_texts("from a\nrUn b", &["from a", "rUn b"]);
    check_texts("ARG a\nARG b=1\nFROM a", &["ARG a", "ARG b=1", "FROM a"]);
}

#[test]
#[should_panic(expected = "from-arguments")]
fn there_are_no_trailing_comments() {
    dockerfile("FROM a # comment");
}

#[test]
fn continuation_lines_are_joined() {
    check_texts("FROM a\nRUN b \\\n  c", &["FROM a", "RUN b   c"]);
    check_texts("FROM a\nRUN b\\  \t\nc", &["FROM a", "RUN bc"]);
    check_texts("FROM a\nRUN b \\\n# comment\n   # another\nc", &["FROM a", "RUN b c"]);
    check_texts("FROM a\nRUN b \\\n\n \t\nc", &["FROM a", "RUN b c"]);
    check_texts("FROM a\nRUN b \\\\\nRUN c", &["FROM a", "RUN b \\\\", "RUN c"]);
    check_texts("FROM a\nRUN b \\\r\nc\r\n", &["FROM a", "RUN b c"]);
    check_texts("\\\nFROM a", &["FROM a"]);
    check_texts("FROM a\nRUN b \\", &["FROM a", "RUN b"]);
    check_texts("FROM a\nRUN b \\\n\\\nc", &["FROM a", "RUN b c"]);
    check_texts("# escape=`\nFROM a\nRUN b\\\nRUN c `\n d", &["FROM a", "RUN b\\", "RUN c  d"]);
}

#[test]
fn an_empty_line_in_a_continuation_is_warned_about() {
    let text = "FROM a\nRUN b \\\n\n\n c\nRUN d";
    let warnings = dockerfile(text).warnings;
    assert_eq!(warnings.len(), 1);
    assert_eq!(
        describe(&warnings[0], text),
        "3 no-empty-continuation \"\" a continued instruction has an empty line | \
         remove the line, or make it a comment"
    );
    assert!(!warnings[0].is_error());
}

#[test]
fn places_span_whole_instructions() {
    let text = "FROM a\nRUN b \\\n# x\n  c <<E\nbody\nE\nUSER d\n";
    let dockerfile = dockerfile(text);
    let stage = &dockerfile.stages[0];
    let places: Vec<&str> =
        stage.instructions.iter().map(|instruction| &text[instruction.place.span.clone()]).collect();
    assert_eq!(places, ["RUN b \\\n# x\n  c <<E\nbody\nE", "USER d"]);
    assert_eq!(&text[stage.place.span.clone()], text.trim_end());
    assert_eq!(stage.instructions[1].place.line(), 7);
}

#[test]
fn directives_stand_at_the_top() {
    let directives = |text: &str| {
        let directives = dockerfile(text).directives;
        let check = directives.check.map(|check| check.value);
        (directives.syntax.map(|syntax| syntax.value), directives.escape, check.is_some())
    };
    let syntax = |name: &str| Some(name.to_string());
    for (text, expected) in [
        ("FROM a", (None, '\\', false)),
        ("# syntax=docker/dockerfile:1\nFROM a", (syntax("docker/dockerfile:1"), '\\', false)),
        ("#SYNTAX = b c d \n#  escape =  `\n# check=skip=all\nFROM a", (syntax("b"), '`', true)),
        ("  # syntax=b\n # escape=`\nFROM a", (None, '`', false)),
        ("# syntax=b\n # check=skip=A\nFROM a", (syntax("b"), '\\', false)),
        ("\u{feff}# syntax=b\r\nFROM a", (syntax("b"), '\\', false)),
        ("# comment\n# syntax=b\nFROM a", (None, '\\', false)),
        ("\n# escape=`\nFROM a", (None, '\\', false)),
        ("# other=x\n# escape=`\nFROM a", (None, '\\', false)),
        ("# escape=\nFROM a", (None, '\\', false)),
        ("FROM a\n# syntax=b", (None, '\\', false)),
        ("#!/usr/bin/x\n# syntax=b\n# escape=`\n# check=skip=A\nFROM a", (syntax("b"), '\\', true)),
    ] {
        assert_eq!(directives(text), expected, "{text:?}");
    }
}

#[test]
fn other_languages_name_their_frontend_too() {
    let syntax = |text: &str| {
        let read = directive::read(&Source::new("x", text));
        read.directives.syntax.map(|syntax| syntax.value)
    };
    assert_eq!(syntax("// syntax=a/b:1\nwhatever").as_deref(), Some("a/b:1"));
    assert_eq!(syntax("#!/bin/x\n//syntax=a/b:1").as_deref(), Some("a/b:1"));
    assert_eq!(syntax("{\"syntax\": \"a/b:1\"}").as_deref(), Some("a/b:1"));
    assert_eq!(syntax("#!x\n{\"syntax\": \"a/b:1\"}").as_deref(), Some("a/b:1"));
    assert_eq!(syntax("{\"syntax\": 1}"), None);
}

#[test]
fn frontends_are_told_apart() {
    let official = |version: &str| Frontend::Official { version: version.to_string() };
    for (text, expected, newer) in [
        ("docker/dockerfile", official("latest"), false),
        ("docker/dockerfile:1.26", official("1.26"), false),
        ("docker/dockerfile:1.26.3-labs", official("1.26.3-labs"), false),
        ("docker/dockerfile:1.27", official("1.27"), true),
        ("docker/dockerfile:2", official("2"), true),
        ("docker.io/docker/dockerfile:1", official("1"), false),
        ("docker/dockerfile-upstream:master", official("master"), false),
        ("docker/dockerfile-upstream:master-labs", official("master-labs"), false),
        ("docker.io/docker/dockerfile:1.7-labs and words", official("1.7-labs"), false),
        (
            "docker/dockerfile:1.4.0@sha256:0000000000000000000000000000000000000000000000000000000000000000",
            official("1.4.0"),
            false,
        ),
        ("docker/dockerfile-x", Frontend::Other("docker/dockerfile-x".into()), false),
        ("dockerfile.v0", official(""), false),
        (" ", official(""), false),
        ("ghcr.io/docker/dockerfile:1", Frontend::Other("ghcr.io/docker/dockerfile:1".into()), false),
        ("r2d4/mockerfile", Frontend::Other("r2d4/mockerfile".into()), false),
    ] {
        let frontend = Frontend::of(text);
        assert_eq!((frontend.is_newer_than_known(), frontend), (newer, expected), "{text}");
    }
    assert_eq!(
        dockerfile("# syntax=docker/dockerfile:1.99\nFROM a").warnings[0].code,
        "dockerfile::newer-syntax"
    );
}

#[test]
fn checks_are_chosen() {
    let named = |names: &[&str]| CheckRules::Named(names.iter().map(ToString::to_string).collect());
    for (text, skip, experimental, error) in [
        ("skip=all", CheckRules::All, named(&[]), false),
        (" skip = A, B ; error = true ", named(&["A", "B"]), named(&[]), true),
        ("error=false;experimental=C;skip=D", named(&["D"]), named(&["C"]), false),
        ("", named(&[]), named(&[]), false),
    ] {
        assert_eq!(CheckOptions::parse(text), Ok(CheckOptions { skip, experimental, error }), "{text}");
    }
    for (text, expected) in [
        ("skip", "check option `skip` has no value"),
        ("skp=A", "`skp` is not a check option; did you mean `skip`?"),
        ("error=maybe", "check option `error` is true or false, not `maybe`"),
    ] {
        assert_eq!(CheckOptions::parse(text), Err(expected.to_string()));
    }
    assert!(CheckRules::All.contains("X") && !named(&["A"]).contains("X"));
}

#[test]
fn comments_describe_and_switch_off_checks() {
    let dockerfile = dockerfile(
        "# syntax=x\n# a the first\nARG a=1 b\n\n# web serves\n# check=skip=R;error=true\nFROM c AS web\n# lost\n#\nRUN d\n\
         # check=skip=all\nRUN e\n# b late\nARG b",
    );
    let InstructionKind::Arg(arg) = &dockerfile.global_args[0].kind else { panic!() };
    let descriptions: Vec<_> = arg.declarations.iter().map(|arg| arg.description.as_deref()).collect();
    assert_eq!(descriptions, [Some("the first"), None]);
    let stage = &dockerfile.stages[0];
    assert_eq!(stage.description.as_deref(), Some("serves"));
    let check = stage.check.as_ref().unwrap();
    assert!(check.skip.contains("R") && !check.error);
    assert_eq!(stage.instructions[0].check, None);
    assert_eq!(stage.instructions[1].check.as_ref().unwrap().skip, CheckRules::All);
}

#[test]
fn stages_begin_at_from() {
    let file = dockerfile(
        "ARG V=1\nFROM --platform=$BUILDPLATFORM golang:$V AS Build.er_1\nRUN x\nfrom scratch\nFROM b as c",
    );
    let stages: Vec<_> = file
        .stages
        .iter()
        .map(|stage| {
            let platform = stage.from.platform.as_ref().map(|platform| platform.value.as_str());
            (stage.index, stage.name.as_deref(), stage.from.image.value.as_str(), platform)
        })
        .collect();
    assert_eq!(
        stages,
        [
            (0, Some("build.er_1"), "golang:$V", Some("$BUILDPLATFORM")),
            (1, None, "scratch", None),
            (2, Some("c"), "b", None)
        ]
    );
    assert_eq!(file.stages[0].written_name.as_ref().unwrap().value, "Build.er_1");
    let place = file.stages[0].from.image.place.as_ref().unwrap();
    assert_eq!(&file.source.text[place.span.clone()], "golang:$V");
    assert_eq!(file.stages[1].title(), "stage-1");
    assert_eq!(file.stages[2].from.as_keyword.as_deref(), Some("as"));
}

#[test]
fn what_is_wrong_with_a_file_is_said() {
    for (text, expected) in [
        ("", "1 no-instructions \"\" the Dockerfile has no instructions | add `FROM image` to it"),
        ("# x\n\n", "3 no-instructions \"\" the Dockerfile has no instructions | add `FROM image` to it"),
        (
            "ARG a",
            "1 no-stage \"\" the Dockerfile has no FROM, so there is nothing to build | add `FROM image` to it",
        ),
        (
            "RUN a\nFROM b\nRUN c",
            "1 no-stage \"RUN a\" RUN stands before the first FROM | begin with `FROM image`; only ARG may stand before it",
        ),
        (
            "FROM a\nCOYP b c",
            "2 unknown-instruction \"COYP\" `COYP` is not an instruction | did you mean COPY?",
        ),
        (
            "FROM a\nRUN b\n&& c",
            "3 unknown-instruction \"&&\" `&&` is not an instruction | \
             continue the line above with the escape character if this belongs to it",
        ),
        (
            "FROM",
            "1 from-arguments \"FROM\" FROM takes an image, or an image and a name | write `FROM image` or `FROM image AS name`",
        ),
        (
            "FROM a b",
            "1 from-arguments \"FROM a b\" FROM takes an image, or an image and a name | write `FROM image` or `FROM image AS name`",
        ),
        (
            "FROM a AS 1b",
            "1 stage-name \"1b\" `1b` cannot be the name of a stage | begin with a letter; then letters, digits, `-`, `_` and `.` may follow",
        ),
        (
            "FROM --platfrom=x a",
            "1 unknown-flag \"--platfrom=x\" FROM has no flag `--platfrom` | did you mean `--platform`?",
        ),
        (
            "# escape=\\\n# escape=`\nFROM a",
            "2 duplicate-directive \"# escape=`\" directive `escape` is given twice | keep one of them",
        ),
        (
            "# escape=x\nFROM a",
            "1 escape-directive \"# escape=x\" `x` cannot be the escape character | use a backslash or a backtick",
        ),
        (
            "# check=skip\nFROM a",
            "1 check-directive \"# check=skip\" check option `skip` has no value | write `# check=skip=RULE,RULE;error=true`",
        ),
        (
            "FROM a\nRUN <<E\nb",
            "2 unterminated-heredoc \"RUN <<E\" the heredoc `E` is not terminated | end it with a line that holds `E` and nothing else",
        ),
        (
            "FROM a\nCPY b c\nCOPY --form=x d e\nCOPY f",
            "2 unknown-instruction \"CPY\" `CPY` is not an instruction | did you mean COPY?\n\
             3 unknown-flag \"--form=x\" COPY has no flag `--form` | did you mean `--from`?\n\
             4 missing-argument \"COPY f\" COPY needs a source and a destination",
        ),
    ] {
        assert_eq!(problems(text), expected, "{text:?}");
    }
}

#[test]
fn lines_have_a_longest_length() {
    let line = |length: usize| format!("FROM a\nRUN {}\n", "x".repeat(length - 4));
    assert!(parse(&line(65_535)).is_ok());
    let problems = parse(&line(65_536)).unwrap_err();
    assert_eq!((problems[0].code, problems[0].labels[0].place.line()), ("dockerfile::line-too-long", 2));
    assert!(parse(&format!("FROM a\nRUN <<E\n{}\nE", "x".repeat(65_536))).is_err());
}

#[test]
fn heredocs_are_collected() {
    let heredocs = |text: &str| {
        let heredocs = match kind(text) {
            InstructionKind::Run(run) => run.heredocs,
            InstructionKind::Copy(copy) => copy.heredocs,
            InstructionKind::Add(add) => add.heredocs,
            other => panic!("{other:?}"),
        };
        let show = |heredoc: &Heredoc| {
            let flags = [(heredoc.expand, "expand "), (heredoc.chomp, "chomp ")];
            let flags: String = flags.iter().filter(|(set, _)| *set).map(|(_, name)| *name).collect();
            format!("{} {flags}{} {:?}", heredoc.name, heredoc.fd, heredoc.body())
        };
        heredocs.iter().map(show).collect::<Vec<_>>().join("; ")
    };
    for (text, expected) in [
        ("RUN <<EOF\na\n\tb\nEOF", "EOF expand 0 \"a\\n\\tb\\n\""),
        ("RUN <<-EOF\n\ta\n\t\t b\n\tEOF", "EOF expand chomp 0 \"a\\n b\\n\""),
        ("RUN <<'EOF'\n$a\nEOF", "EOF 0 \"$a\\n\""),
        ("RUN <<\"E O\"\na\nE O", "E O 0 \"a\\n\""),
        ("RUN <<E\"O\"F\na\nEOF", "EOF 0 \"a\\n\""),
        ("RUN 3<<EOF cat\nEOF", "EOF expand 3 \"\""),
        ("RUN a <<A && b <<B\n1\nA\n2\nB", "A expand 0 \"1\\n\"; B expand 0 \"2\\n\""),
        ("RUN <<EOF\r\na\r\nEOF\r\n", "EOF expand 0 \"a\\r\\n\""),
        ("RUN <<EOF\n# kept\n\\\nEOF", "EOF expand 0 \"# kept\\n\\\\\\n\""),
        ("RUN <<EOF \\\n b\na\nEOF", "EOF expand 0 \"a\\n\""),
        ("RUN <<$X\na\n$X", "$X expand 0 \"a\\n\""),
        ("COPY <<a <<'b' /d/\n1\na\n2\nb", "a expand 0 \"1\\n\"; b 0 \"2\\n\""),
        ("COPY <<-a x /d/\n\t1\na", "a expand chomp 0 \"1\\n\""),
        ("ADD <<a /d\na", "a expand 0 \"\""),
        ("RUN cat <<<word", ""),
        ("RUN a << b\nx\nb", "b expand 0 \"x\\n\""),
        ("RUN cat <<\t 'E'\n$x\nE", "E 0 \"$x\\n\""),
        ("RUN cat <<- E", ""),
        ("RUN cat <<< E", ""),
        ("RUN cat <<", ""),
        ("RUN echo \"<<EOF\"", ""),
        ("RUN echo \"open <<EOF", ""),
        ("RUN [\"<<EOF\"]", ""),
    ] {
        assert_eq!(heredocs(text), expected, "{text}");
    }
}

#[test]
fn only_some_instructions_have_heredocs() {
    check_texts("FROM a\nCMD <<EOF\nRUN b", &["FROM a", "CMD <<EOF", "RUN b"]);
    check_texts("FROM a\nonbuild run <<EOF\nRUN b\nEOF\nRUN c", &["FROM a", "onbuild run <<EOF", "RUN c"]);
}
