//! Programs that the image's platform cannot run.

use std::collections::BTreeMap;

use super::allowed::Allowed;
use super::finding::{Code, Finding, shown};
use super::image::{Image, Program};
use super::strangers::{is_legitimate, is_loadable};
use crate::base::Platform;
use crate::scan::{Elf, Found, Member};

/// Whether the config is for the platform under which the image stands.
pub(super) fn config(image: &Image<'_>) -> Option<Finding> {
    let config = image.config;
    if config.architecture.is_empty() && config.os.is_empty() {
        return None;
    }
    let said = Platform::new(&config.os, &config.architecture, config.variant.as_deref());
    let is_same = said.os == image.platform.os
        && said.architecture == image.platform.architecture
        && (config.variant.is_none() || said.variant == image.platform.variant);
    let message = format!("its config says {said}, but it stands for {}", image.platform);
    (!is_same).then(|| {
        Finding::error(Code::WrongConfig, message)
            .help("build the image for the platform that it is published for, and make the index again")
    })
}

/// Files by layer and by what they are for.
pub(super) fn files(image: &Image<'_>, allowed: &Allowed) -> Vec<Finding> {
    let mut grouped: BTreeMap<(usize, Code, String), Finding> = BTreeMap::new();
    let mut add = |program: &Program<'_>, code: Code, found: String, name: String| {
        let key = (program.layer, code, found.clone());
        let finding = grouped.remove(&key).unwrap_or_else(|| Finding {
            found: (code != Code::WrongFloat).then_some(found),
            is_error: code != Code::ForeignMember,
            ..Finding::error(code, "").in_layer(Some(program.layer))
        });
        grouped.insert(key, finding.of_file(name));
    };
    for program in image.programs().filter(|program| !allowed.has(program.path)) {
        match program.found {
            Found::Elf(elf) => {
                if let Some(found) = foreign(image, &program, elf) {
                    add(&program, Code::WrongPlatform, found, shown(program.path));
                } else if let Some(found) = other_float(image, &program, elf) {
                    add(&program, Code::WrongFloat, found.to_string(), shown(program.path));
                }
            }
            Found::Archive(members) => {
                if let Some(member) = foreign_member(image, members) {
                    let name = format!("{}!{}", shown(program.path), member.name);
                    add(&program, Code::ForeignMember, member.machine.to_string(), name);
                }
            }
            Found::Script(_) | Found::MachO | Found::Pe => {}
        }
    }
    let mut findings: Vec<Finding> =
        grouped.into_iter().map(|((_, _, found), finding)| told(image, finding, &found)).collect();
    findings.extend(too_much(image));
    findings
}

/// The architecture of a program that the image would load and cannot.
fn foreign(image: &Image<'_>, program: &Program<'_>, elf: &Elf) -> Option<String> {
    let architecture = elf.machine.architecture()?;
    let is_foreign = architecture != image.platform.architecture
        && is_loadable(program, elf)
        && !is_legitimate(image, program, elf, architecture);
    is_foreign.then(|| architecture.to_string())
}

/// 32-bit arm: a program that passes numbers in other registers than the libraries of the image.
fn other_float(image: &Image<'_>, program: &Program<'_>, elf: &Elf) -> Option<&'static str> {
    if image.platform.architecture != "arm" || !elf.is_dynamic || !is_loadable(program, elf) {
        return None;
    }
    let has = |loaders: [&str; 2]| loaders.iter().any(|loader| image.has(loader));
    let hard = has(["/lib/ld-linux-armhf.so.3", "/lib/ld-musl-armhf.so.1"]);
    let soft = has(["/lib/ld-linux.so.3", "/lib/ld-musl-arm.so.1"]);
    match (elf.is_hard_float()?, hard, soft) {
        (true, false, true) => Some("hard"),
        (false, true, false) => Some("soft"),
        _ => None,
    }
}

/// The first library of an archive that has libraries, and none for the image.
fn foreign_member<'m>(image: &Image<'_>, members: &'m [Member]) -> Option<&'m Member> {
    let wanted = image.platform.architecture.as_str();
    let mut libraries = members.iter().filter(|member| member.is_library && member.is_for_linux);
    let first = libraries.clone().find(|member| member.machine.architecture().is_some())?;
    let fits = |member: &Member| member.machine.architecture() == Some(wanted);
    (!libraries.any(fits)).then_some(first)
}

/// The same with its message, now that all its files are known.
fn told(image: &Image<'_>, finding: Finding, found: &str) -> Finding {
    let first = finding.paths.first().map(String::as_str).unwrap_or_default();
    let (subject, is) = match finding.count {
        1 => (format!("`{first}`"), "is"),
        2 => (format!("`{first}` and 1 more file"), "are"),
        count => (format!("`{first}` and {} more files", count - 1), "are"),
    };
    let platform = image.platform;
    match finding.code {
        Code::WrongFloat => {
            let other = if found == "hard" { "soft" } else { "hard" };
            let message = format!(
                "{subject} {is} for {found}-float arm, but the libraries of the image are {other}-float"
            );
            let help = match found {
                "soft" => {
                    "take the build for `armhf` (or `gnueabihf`), not the one for `armel` (or `gnueabi`)"
                }
                _ => "take the build for `armel` (or `gnueabi`), not the one for `armhf` (or `gnueabihf`)",
            };
            Finding { message, ..finding }.help(help)
        }
        _ => Finding {
            message: format!("{subject} {is} for {found}, but the image is for {platform}"),
            ..finding
        },
    }
}

/// Layers that are made to be too much are not believed.
fn too_much(image: &Image<'_>) -> impl Iterator<Item = Finding> {
    let judged = image.layers.iter().enumerate().skip(image.first);
    let full = judged.filter(|(_, index)| {
        index
            .as_ref()
            .is_some_and(|index| index.programs.as_ref().is_some_and(crate::scan::Programs::is_full))
    });
    full.map(|(layer, _)| {
        Finding::error(Code::TooMuch, "a layer has more programs than can be looked at")
            .in_layer(Some(layer))
            .help("split the layer; `verify = \"off\"` in the target lets it pass unseen")
    })
}
