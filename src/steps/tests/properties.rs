//! No Dockerfile makes lowering panic, and whatever is wrong has a place and a next step.

use proptest::prelude::*;

use super::{case_of, shown};
use crate::diag::Source;
use crate::dockerfile::Dockerfile;
use crate::steps::LowerError;

/// Lines that parse, most of the time.
fn line() -> impl Strategy<Value = String> {
    let word = || {
        prop::sample::select(vec![
            "a",
            "b",
            "$a",
            "${a:-$b}",
            "${b#*}",
            "${a:?m}",
            "'q'",
            "\"$b\"",
            "/",
            "../x",
            "80",
            "80-90/udp",
            "",
            "c d",
            "=",
            "\\",
            "${a",
            "$",
            "é",
            "0",
            "1",
            "s0",
            "scratch",
        ])
    };
    let keyword = prop::sample::select(vec![
        "FROM ",
        "FROM scratch AS ",
        "ARG a=",
        "ARG ",
        "ENV a=",
        "ENV b=",
        "LABEL x=",
        "EXPOSE ",
        "WORKDIR ",
        "USER ",
        "VOLUME ",
        "STOPSIGNAL ",
        "RUN ",
        "CMD ",
        "ENTRYPOINT [\"a\"]",
        "ONBUILD RUN ",
        "ONBUILD ENV a=",
        "COPY x ",
        "COPY --from=",
        "SHELL [\"a\"]",
        "HEALTHCHECK CMD ",
        "COPY <<E /x\n$a\nE\n#",
    ]);
    (keyword, word(), word(), prop::sample::select(vec!["", " ", " /x"]))
        .prop_map(|(keyword, first, second, end)| format!("{keyword}{first}{second}{end}"))
}

proptest! {
    #[test]
    fn any_dockerfile_is_lowered_or_refused(
        lines in prop::collection::vec(line(), 0..12),
        given in prop::option::of("[a-c$]{0,3}"),
    ) {
        let text = format!("ARG a=1\nFROM scratch AS s0\n{}", lines.join("\n"));
        let Ok(dockerfile) = Dockerfile::parse(&Source::new("Dockerfile", text.as_str())) else { return Ok(()) };
        let mut case = case_of(dockerfile);
        if let Some(value) = given {
            case = case.arg("a", &value);
        }
        if let Err(LowerError::Problems(problems)) = case.lower() {
            for problem in &problems {
                prop_assert!(!problem.labels.is_empty(), "{text}: {}", shown(problem));
                prop_assert!(problem.help.is_some(), "{text}: {}", shown(problem));
            }
        }
    }
}
