//! `JSONArgsRecommended`.

use crate::dockerfile::{InstructionKind, ShellOrExec};
use crate::lint::{Finding, Level, Rule, View};

pub const RULE: Rule = Rule {
    name: "JSONArgsRecommended",
    summary: "CMD or ENTRYPOINT is a text for the shell",
    level: Level::Warning,
    url: Some("https://docs.docker.com/go/dockerfile/rule/json-args-recommended/"),
    why: "A text is run as `/bin/sh -c TEXT`. The shell is process 1 then and does not pass signals on, so a `docker \
          stop` waits for its timeout and kills. A JSON array starts the program itself. Where a shell is meant, say so \
          with SHELL, or name it in the array.",
    bad: "FROM scratch\nENTRYPOINT /server --port 80\n",
    good: "FROM scratch\nENTRYPOINT [\"/server\", \"--port\", \"80\"]\n",
    check,
};

fn check(view: &View<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (_, _, at) in view.uses().filter(|(_, _, at)| !at.has_shell) {
        let command = match &at.instruction.kind {
            InstructionKind::Cmd(cmd) => &cmd.command,
            InstructionKind::Entrypoint(entrypoint) => &entrypoint.command,
            _ => continue,
        };
        let ShellOrExec::Shell(text) = command else { continue };
        let keyword = at.instruction.keyword.to_ascii_uppercase();
        let words: Vec<String> = text.split_whitespace().map(|word| format!("{word:?}")).collect();
        let finding =
            Finding::new(format!("{keyword} is a text for the shell, which does not pass signals on"))
                .at(at.place.clone(), "run by `/bin/sh -c`")
                .help(format!("write `{keyword} [{}]`", words.join(", ")));
        findings.push(finding);
    }
    findings
}
