//! FROM lines and what stands before them: global arguments declared, base names and platforms expanded.

use super::instructions::expand_problem;
use super::scope::Globals;
use super::setting::Setting;
use crate::base::Platform;
use crate::diag::{Located, Problem};
use crate::dockerfile::{Instruction, InstructionKind, Stage, expand_word};

/// What a FROM line says once its variables have values.
pub(super) struct ExpandedFrom {
    pub image: String,
    pub platform: Option<Platform>,
}

/// Takes an ARG from before the first FROM.
pub(super) fn declare_globals(
    setting: &Setting<'_>,
    instruction: &Instruction,
    globals: &mut Globals,
    problems: &mut Vec<Problem>,
) {
    let InstructionKind::Arg(arg) = &instruction.kind else { return };
    for declaration in &arg.declarations {
        // A default that a given value replaces is not even looked at.
        let default = declaration.default.as_ref().filter(|_| !setting.args.contains_key(&declaration.name));
        let expanded = default.map(|word| {
            expand_word(word, setting.dockerfile.directives.escape, &|name| globals.get(name)).map_err(
                |error| expand_problem(&error).at(instruction.place.of_part(word, &error.at), "here"),
            )
        });
        match expanded.transpose() {
            Ok(default) => globals.declare(&declaration.name, default.map(|text| text.value), setting.args),
            Err(problem) => problems.push(problem),
        }
    }
}

pub(super) fn expand_from(
    setting: &Setting<'_>,
    stage: &Stage,
    globals: &Globals,
) -> Result<ExpandedFrom, Box<Problem>> {
    let expand = |word: &Located<String>| {
        let place = || word.place.clone().unwrap_or_else(|| stage.place.clone());
        expand_word(&word.value, setting.dockerfile.directives.escape, &|name| globals.get(name))
            .map(|text| (text.value, place()))
            .map_err(|error| {
                Box::new(expand_problem(&error).at(place().of_part(&word.value, &error.at), "here"))
            })
    };
    let (image, place) = expand(&stage.from.image)?;
    if image.is_empty() {
        return Err(Box::new(
            Problem::input(
                "dockerfile::empty-base",
                format!("the base name `{}` is empty", stage.from.image.value),
            )
            .at(place, "expands to nothing")
            .help("only arguments declared before the first FROM have a value here; give it a default"),
        ));
    }
    let platform = match &stage.from.platform {
        None => None,
        Some(word) => {
            let (text, place) = expand(word)?;
            let parsed = if is_system(&text) {
                Ok(Platform::new(&text, &setting.build.architecture, setting.build.variant.as_deref()))
            } else {
                text.parse::<Platform>()
            };
            Some(parsed.map_err(|error| {
                Box::new(
                    Problem::input("dockerfile::platform", error.to_string())
                        .at(place, "this platform")
                        .help("write a platform such as `linux/arm64`, or `$BUILDPLATFORM`"),
                )
            })?)
        }
    };
    Ok(ExpandedFrom { image, platform })
}

/// Whether a platform is an operating system only, which means this machine's architecture.
fn is_system(platform: &str) -> bool {
    ["linux", "windows", "darwin", "freebsd"].iter().any(|system| system.eq_ignore_ascii_case(platform))
}
