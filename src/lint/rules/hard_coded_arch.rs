//! `hard-coded-arch`.

use crate::base::Platform;
use crate::diag::Place;
use crate::dockerfile::{Instruction, InstructionKind};
use crate::lint::finding::within;
use crate::lint::shell::{Command, Shell};
use crate::lint::trace::{Runs, StageTrace};
use crate::lint::{Finding, Level, Rule, View};

pub const RULE: Rule = Rule {
    name: "hard-coded-arch",
    summary: "one architecture is written into an address, a file name or a compiler's flag",
    level: Level::Warning,
    url: None,
    why: "A download of `tool-linux-amd64`, a `GOARCH=amd64`, an `/usr/lib/x86_64-linux-gnu` is right for one of the target's \
          platforms and wrong for all others. Use `TARGETARCH`, or choose by it where upstream has other names. Scripts that \
          choose between cases are taken to do so.",
    bad: "FROM busybox\nRUN wget https://example.com/releases/tool-linux-amd64.tar.gz\n",
    good: "FROM busybox\nARG TARGETARCH\nRUN wget https://example.com/releases/tool-linux-$TARGETARCH.tar.gz\n",
    check,
};

/// Names of architectures as people write them, and what they are.
const NAMES: [(&str, &str); 9] = [
    ("x86_64", "amd64"),
    ("x86-64", "amd64"),
    ("amd64", "amd64"),
    ("aarch64", "arm64"),
    ("arm64v8", "arm64"),
    ("arm64", "arm64"),
    ("armv7", "arm"),
    ("ppc64le", "ppc64le"),
    ("s390x", "s390x"),
];

/// A word that should not know an architecture.
struct Suspect {
    word: String,
    place: Place,
    what: &'static str,
}

fn check(view: &View<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (_, stage) in view.traced() {
        let suspects = stage.uses.iter().flat_map(|at| suspects(at.instruction)).chain(image(stage));
        for Suspect { word, place, what } in suspects {
            let Some((name, architecture)) = architecture_in(&word) else { continue };
            let Some(platform) = wrong_platform(view, stage, architecture) else { continue };
            let place = within(&within(&place, &word), name);
            findings.push(
                Finding::new(format!("{what} is for {architecture} on every platform, {platform} too"))
                    .at(place, "one architecture")
                    .help("declare `ARG TARGETARCH` in the stage and use `$TARGETARCH`, or choose by it"),
            );
        }
    }
    findings
}

/// A platform for which the stage runs and `architecture` is wrong.
fn wrong_platform<'v>(view: &View<'v>, stage: &StageTrace<'_>, architecture: &str) -> Option<&'v Platform> {
    if let Runs::On(platform) = &stage.runs
        && platform.architecture == architecture
    {
        return None;
    }
    view.needing_platform(stage.stage.index, |platform| platform.architecture != architecture)
}

/// The base image, if its name is one architecture's.
fn image(stage: &StageTrace<'_>) -> Option<Suspect> {
    let written = &stage.stage.from.image;
    let name = stage.image.as_ref().filter(|name| **name == written.value)?;
    let reference: crate::base::Reference = name.parse().ok()?;
    let first = reference.repository().split('/').next()?;
    let tag = reference.tag().unwrap_or_default();
    let is_of_one = NAMES.iter().any(|(name, _)| first == *name || tag.ends_with(&format!("-{name}")));
    (is_of_one && matches!(stage.runs, Runs::OnTarget)).then(|| Suspect {
        word: name.clone(),
        place: written.place.clone().unwrap_or_else(|| stage.stage.from.place.clone()),
        what: "the base image",
    })
}

fn suspects(instruction: &Instruction) -> Vec<Suspect> {
    let suspect =
        |word: &str, what| Suspect { word: word.to_string(), place: instruction.place.clone(), what };
    match &instruction.kind {
        InstructionKind::Add(add) => {
            let remote = add.sources.iter().filter(|source| source.contains("://"));
            remote.map(|source| suspect(source, "this download")).collect()
        }
        InstructionKind::Env(env) => {
            let pairs =
                env.pairs.iter().filter(|pair| pair.value.contains("-linux-gnu") || pair.key == "GOARCH");
            pairs.map(|pair| suspect(&pair.value, "this variable")).collect()
        }
        InstructionKind::Run(run) => {
            let shell = Shell::of(run);
            if shell.is_conditional() {
                return Vec::new();
            }
            let words = shell.commands.iter().flat_map(words_of_command);
            words.map(|(word, what)| suspect(&word, what)).collect()
        }
        _ => Vec::new(),
    }
}

fn words_of_command(command: &Command) -> Vec<(String, &'static str)> {
    let mut words = Vec::new();
    for (name, value) in &command.assignments {
        if matches!(name.as_str(), "GOARCH" | "CARGO_BUILD_TARGET") {
            words.push((value.clone(), "this build"));
        } else if value.contains("://") {
            words.push((value.clone(), "this download"));
        }
    }
    let is_compiler =
        matches!(command.name(), "cargo" | "rustc" | "rustup" | "clang" | "zig" | "bun" | "deno");
    for flag in ["--target", "-target"].into_iter().filter(|_| is_compiler) {
        words.extend(command.flag(flag).map(|value| (value.to_string(), "this build")));
    }
    let installs_files = command.is("dpkg") && (command.has("-i") || command.has("--install"));
    for word in command.arguments() {
        if word.contains("://")
            && matches!(command.name(), "curl" | "wget" | "aria2c" | "apk" | "rpm" | "dnf" | "yum")
        {
            words.push((word.clone(), "this download"));
        } else if installs_files && word.ends_with(".deb") {
            words.push((word.clone(), "this package"));
        }
    }
    words
}

/// The architecture that a word names, unless a variable in it may choose one.
fn architecture_in(word: &str) -> Option<(&'static str, &'static str)> {
    if word.split('$').skip(1).any(chooses_architecture) {
        return None;
    }
    let is_end = |char: Option<char>| char.is_none_or(|char| !char.is_ascii_alphanumeric());
    NAMES.iter().copied().find(|(name, _)| {
        word.match_indices(name).any(|(at, _)| {
            let before = word[..at].chars().next_back();
            // `linux64` and `arm64v8` are names of their own; `armv7l` and `armv7hf` are not.
            is_end(before) && (is_end(word[at + name.len()..].chars().next()) || *name == "armv7")
        })
    })
}

/// Whether a variable, given by what follows its dollar, is about platforms.
fn chooses_architecture(rest: &str) -> bool {
    let rest = rest.trim_start_matches(['{', '(']).to_ascii_lowercase();
    let end = rest.find(|char: char| !char.is_ascii_alphanumeric() && char != '_').unwrap_or(rest.len());
    ["arch", "platform", "uname", "dpkg", "target", "triple"].iter().any(|word| rest[..end].contains(word))
}

#[cfg(test)]
mod tests {
    use super::architecture_in;

    #[test]
    fn words_name_architectures() {
        for (word, expected) in [
            ("https://x/tool-linux-amd64.tar.gz", Some("amd64")),
            ("https://x/tool_Linux_x86_64.zip", Some("amd64")),
            ("x86_64-unknown-linux-musl", Some("amd64")),
            ("/usr/lib/aarch64-linux-gnu", Some("arm64")),
            ("https://x/tool-$TARGETARCH-amd64", None),
            ("https://x/${ARCH}/amd64", None),
            ("https://x/$VERSION/amd64", Some("amd64")),
            ("https://x/camd64", None),
            ("arm64v8/alpine", Some("arm64")),
            ("https://x/tool-armv7l", Some("arm")),
        ] {
            assert_eq!(architecture_in(word).map(|(_, architecture)| architecture), expected, "{word}");
        }
    }
}
