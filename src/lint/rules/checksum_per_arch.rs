//! `checksum-per-arch`.

use crate::dockerfile::InstructionKind;
use crate::lint::arguments::{PLATFORM_ARGUMENTS, is_target_argument};
use crate::lint::finding::within;
use crate::lint::shell::{Shell, uses_variable};
use crate::lint::trace::Use;
use crate::lint::{Finding, Level, Rule, View};

pub const RULE: Rule = Rule {
    name: "checksum-per-arch",
    summary: "one checksum for a file that differs between platforms",
    level: Level::Warning,
    url: None,
    why: "The address holds `TARGETARCH`, so every platform downloads another file, and one checksum is right for at most one of \
          them. Keep a checksum for each platform: one ADD in a stage of its own for each, chosen by `FROM fetch-$TARGETARCH`.",
    bad: "FROM scratch\nARG TARGETARCH\n\
          ADD --checksum=sha256:24454f830cdb571e2c4ad15481119c43b3cafd48dd869a9b2945d1036d1dc68d https://example.com/t-$TARGETARCH /t\n",
    good: "FROM scratch AS fetch-amd64\n\
           ADD --checksum=sha256:24454f830cdb571e2c4ad15481119c43b3cafd48dd869a9b2945d1036d1dc68d https://example.com/t-x64 /t\n\
           FROM scratch AS fetch-arm64\n\
           ADD --checksum=sha256:3b2c8a4ec0dd1b1b4e7b9e3bd2cbfb3e8e0ef8e4b9b4e0d6c5b1f6a7d8e9f0a1 https://example.com/t-arm /t\n\
           FROM fetch-$TARGETARCH\n",
    check,
};

fn check(view: &View<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (_, stage, at) in view.uses() {
        let found = match &at.instruction.kind {
            InstructionKind::Add(add) => {
                let checksum = add.checksum.as_ref().filter(|checksum| !checksum.contains('$'));
                let remote = add.sources.iter().filter(|source| source.contains("://"));
                let differs = remote.into_iter().any(|source| differs(view, stage.stage.index, at, source));
                checksum.filter(|_| differs).cloned()
            }
            InstructionKind::Run(run) => checked_in_shell(&Shell::of(run)),
            _ => None,
        };
        let Some(checksum) = found else { continue };
        findings.push(
            Finding::new("the file differs between platforms, and its checksum does not")
                .at(within(at.place, &checksum), "one for all platforms")
                .help("keep one checksum for each platform, and choose by `TARGETARCH`"),
        );
    }
    findings
}

/// Whether a word comes to something else on another platform.
fn differs(view: &View<'_>, stage: usize, at: &Use<'_>, word: &str) -> bool {
    let mentions =
        PLATFORM_ARGUMENTS.iter().any(|name| is_target_argument(name) && uses_variable(word, name));
    let traces = view.variants.iter().filter_map(|variant| variant.trace.stage(stage));
    let others =
        traces.flat_map(|trace| &trace.uses).filter(|one| std::ptr::eq(one.instruction, at.instruction));
    mentions || others.into_iter().any(|one| one.value_of(word) != at.value_of(word))
}

/// The one checksum of a script that downloads by platform and checks once.
fn checked_in_shell(shell: &Shell) -> Option<String> {
    let downloads = shell.commands.iter().any(|command| {
        matches!(command.name(), "curl" | "wget")
            && command.arguments().iter().any(|word| {
                word.contains("://") && word.contains("$TARGETARCH") || word.contains("${TARGETARCH")
            })
    });
    let checks = shell.runs("sha256sum") || shell.runs("shasum");
    if !downloads || !checks || shell.is_conditional() {
        return None;
    }
    let words =
        shell.commands.iter().flat_map(|command| &command.words).flat_map(|word| word.split_whitespace());
    let is_checksum = |word: &&str| word.len() == 64 && word.bytes().all(|byte| byte.is_ascii_hexdigit());
    let checksums: Vec<&str> = words.filter(is_checksum).collect();
    match checksums[..] {
        [one] => Some(one.to_string()),
        _ => None,
    }
}
