//! `name-mapping`.

use crate::diag::Place;
use crate::dockerfile::{Instruction, InstructionKind};
use crate::lint::finding::{first_line, variable_within, within};
use crate::lint::shell::{Command, Shell};
use crate::lint::{Finding, Level, Rule, View};

pub const RULE: Rule = Rule {
    name: "name-mapping",
    summary: "upstream has other names for architectures, or the variant of arm is lost",
    level: Level::Warning,
    url: None,
    why: "`TARGETARCH` is `amd64` and `arm64`. Compiler triples, Debian's multiarch folders and many downloads say `x86_64` and \
          `aarch64`, Node.js says `x64`: the name must be translated. For 32-bit arm `TARGETARCH` is `arm` alone; what processor \
          is meant is in `TARGETVARIANT`, and Go compiles for v7 unless `GOARM` says otherwise.",
    bad: "FROM rust\nARG TARGETARCH\nRUN rustup target add $TARGETARCH-unknown-linux-musl\n",
    good: "FROM rust\nARG TARGETARCH\nRUN case $TARGETARCH in amd64) arch=x86_64 ;; arm64) arch=aarch64 ;; esac && \
           rustup target add $arch-unknown-linux-musl\n",
    check,
};

fn check(view: &View<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (variant, stage, at) in view.uses() {
        let place = at.place;
        for word in words(at.instruction) {
            if let Some(wanted) = misnamed(&word) {
                findings.push(
                    Finding::new(format!("`$TARGETARCH` is `amd64` or `arm64` here, and {wanted}"))
                        .at(
                            variable_within(&within(place, &word), "TARGETARCH"),
                            "not the name that is used here",
                        )
                        .help("translate it: `case $TARGETARCH in amd64) arch=… ;; arm64) arch=… ;; esac`"),
                );
            }
        }
        if let InstructionKind::Run(run) = &at.instruction.kind
            && let Some(variant_name) =
                variant.platform().variant.as_deref().filter(|name| matches!(*name, "v5" | "v6"))
            && variant.platform().architecture == "arm"
            && view.needing(stage.stage.index).iter().any(|needing| needing.platform() == variant.platform())
            && loses_variant(&Shell::of(run), stage)
        {
            findings.push(
                Finding::new(format!("go compiles for arm v7 here, and linux/arm/{variant_name} is older"))
                    .at(go_place(place), "without `GOARM`")
                    .help("declare `ARG TARGETVARIANT` and set `GOARM=${TARGETVARIANT#v}`")
                    .only_for(variant.platform()),
            );
        }
    }
    findings
}

fn go_place(place: &Place) -> Place {
    let go = within(place, "go build");
    if go == *place { first_line(place) } else { go }
}

/// Words that may hold an address or a name made with an architecture.
fn words(instruction: &Instruction) -> Vec<String> {
    match &instruction.kind {
        InstructionKind::Add(add) => add.sources.clone(),
        InstructionKind::Copy(copy) => copy.sources.clone(),
        InstructionKind::Env(env) => env.pairs.iter().map(|pair| pair.value.clone()).collect(),
        InstructionKind::Run(run) => {
            let commands = Shell::of(run).commands;
            let of_command = |command: &Command| {
                let assigned = command.assignments.iter().map(|(_, value)| value.clone());
                let named =
                    command.flag("--arch").filter(|_| matches!(command.name(), "npm" | "yarn" | "pnpm"));
                let named = named.map(|value| format!("npm --arch={value}"));
                assigned.chain(command.words.iter().cloned()).chain(named).collect::<Vec<_>>()
            };
            commands.iter().flat_map(of_command).collect()
        }
        _ => Vec::new(),
    }
}

/// What is wanted instead of `$TARGETARCH` in a word that has it.
fn misnamed(word: &str) -> Option<&'static str> {
    /// Text beside the variable, `@` in its place, and whose names are wanted there.
    const WANTED: [(&str, &str); 15] = [
        ("@-unknown-linux", "a triple says `x86_64` or `aarch64`"),
        ("@-linux-gnu", "Debian's folders and triples say `x86_64` or `aarch64`"),
        ("@-linux-musl", "a triple says `x86_64` or `aarch64`"),
        ("@-alpine-linux", "a triple says `x86_64` or `aarch64`"),
        ("awscli-exe-linux-@", "this download says `x86_64` or `aarch64`"),
        ("linux/static/stable/@", "this download says `x86_64` or `aarch64`"),
        ("docker-compose-linux-@", "this download says `x86_64` or `aarch64`"),
        ("Miniconda3-latest-Linux-@", "this download says `x86_64` or `aarch64`"),
        ("Miniforge3-Linux-@", "this download says `x86_64` or `aarch64`"),
        ("-Linux-@.tar.gz/ninja", "this download says `x86_64` or `aarch64`"),
        ("s6-overlay-@", "this download says `x86_64` or `aarch64`"),
        ("ziglang.org/download/", "this download says `x86_64` or `aarch64`"),
        ("nodejs.org/dist/", "Node.js says `x64` or `arm64`"),
        ("protoc-", "protoc's downloads say `x86_64` or `aarch_64`"),
        ("npm --arch=@", "npm says `x64` or `arm64`"),
    ];
    let marked = word.replace("${TARGETARCH}", "@").replace("$TARGETARCH", "@");
    if !marked.contains('@') || marked == word {
        return None;
    }
    WANTED.iter().find(|(text, _)| marked.contains(text)).map(|(_, wanted)| *wanted)
}

fn loses_variant(shell: &Shell, stage: &crate::lint::trace::StageTrace<'_>) -> bool {
    let is_set_for_all = stage.uses.iter().any(|at| {
        matches!(&at.instruction.kind, InstructionKind::Env(env) if env.pairs.iter().any(|pair| pair.key == "GOARM"))
    });
    let compiles = shell.commands.iter().any(|command| {
        command.is("go") && matches!(command.verb(), "build" | "install") && command.sets("GOARCH").is_some()
    });
    compiles && !is_set_for_all && !shell.sets("GOARM")
}

#[cfg(test)]
mod tests {
    use super::misnamed;

    #[test]
    fn names_of_others_are_known() {
        for (word, expected) in [
            ("https://nodejs.org/dist/v20.1.0/node-v20.1.0-linux-${TARGETARCH}.tar.xz", true),
            ("/usr/lib/$TARGETARCH-linux-gnu/libssl.so", true),
            ("https://example.com/tool-linux-$TARGETARCH", false),
            ("protoc-25-linux-x86_64.zip", false),
            ("me@x86_64-linux-gnu", false),
        ] {
            assert_eq!(misnamed(word).is_some(), expected, "{word}");
        }
    }
}
