//! No text makes the parser panic, and expansion ends.

use proptest::prelude::*;

use super::*;

/// Texts that get far into the parser: keywords, flags and special chars in any order.
fn dockerfile_like() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        3 => prop::sample::select(vec![
            "FROM ", "RUN ", "COPY ", "ADD ", "ENV ", "ARG ", "LABEL ", "ONBUILD ", "HEALTHCHECK ", "SHELL ", "CMD ",
            "EXPOSE ", "VOLUME ", "STOPSIGNAL ", "a ", " AS b", "--from=", "--mount=", "type=cache,", "--link ", "--",
            "<<EOF", "<<-'E F'", "EOF", "[\"", "\"]", "${", "}", ":-", "$x", "# escape=`", "# check=", "skip=all",
        ]).prop_map(str::to_string),
        3 => prop::sample::select(vec!["\n", "\r\n", "\\\n", " ", "\t", "'", "\"", "\\", "`", "=", ",", "#", "$", "/", "*"]).prop_map(str::to_string),
        1 => any::<char>().prop_map(|char| char.to_string()),
    ];
    prop::collection::vec(piece, 0..60).prop_map(|pieces| pieces.concat())
}

fn word_like() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        4 => prop::sample::select(vec![
            "$", "${", "}", ":-", "-", ":+", "?", "#", "##", "%", "%%", "/", "//", "*", "x", "y", "'", "\"", "\\", "`", " ",
        ]).prop_map(str::to_string),
        1 => any::<char>().prop_map(|char| char.to_string()),
    ];
    prop::collection::vec(piece, 0..40).prop_map(|pieces| pieces.concat())
}

/// Everything that can be asked of a text.
fn exercise(text: &str) {
    let within = |place: &Place| {
        assert!(text.get(place.span.clone()).is_some(), "{:?} in {text:?}", place.span);
    };
    match parse(text) {
        Err(problems) => {
            assert!(!problems.is_empty());
            problems.iter().flat_map(|problem| &problem.labels).for_each(|label| within(&label.place));
        }
        Ok(file) => {
            assert!(!file.stages.is_empty());
            file.stages.iter().flat_map(|stage| &stage.instructions).for_each(|instruction| {
                within(&instruction.place);
                if let InstructionKind::Run(run) = &instruction.kind {
                    run.script();
                }
            });
            let base_of = |stage: &Stage| stage.from.image.value.clone();
            if let Ok(graph) = StageGraph::new(&file, &base_of, &|_| false) {
                assert_eq!(graph.reachable(file.stages.len() - 1).last(), Some(&(file.stages.len() - 1)));
            }
        }
    }
}

proptest! {
    #[test]
    fn any_text_is_read_or_refused(text in any::<String>()) {
        exercise(&text);
        exercise(&format!("FROM a\n{text}"));
        let _ = parse_instruction_line(&Source::new("x", text));
    }

    #[test]
    fn text_that_looks_right_is_read_or_refused(text in dockerfile_like()) {
        exercise(&text);
        exercise(&format!("FROM a\n{text}"));
        let _ = parse_instruction_line(&Source::new("x", text));
    }

    #[test]
    fn expansion_ends(word in word_like(), value in "[a*/. -]{0,20}") {
        let lookup = |name: &str| (name == "x").then(|| value.clone());
        for escape in ['\\', '`'] {
            let joined = expand_word(&word, escape, &lookup);
            let split = expand_words(&word, escape, &lookup);
            prop_assert_eq!(joined.is_ok(), split.is_ok());
        }
        let _ = expand_heredoc(&word, &lookup);
    }

    #[test]
    fn quoted_words_come_back(word in "[^'\\x00]{0,30}") {
        let expansion = expand_word(&format!("'{word}'"), '\\', &|_| None).expect("quotes protect everything");
        prop_assert_eq!(expansion.value, word);
    }

    #[test]
    fn small_values_parse_or_fail(text in "\\PC{0,20}") {
        let _ = parse_ports(&text);
        let _ = parse_duration(&text);
        let _ = signal_number(&text);
        let _ = CheckOptions::parse(&text);
        let _ = Frontend::of(&text).is_newer_than_known();
    }
}
