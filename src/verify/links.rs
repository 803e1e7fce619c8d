//! What programs need of the image: their loader, their libraries, their interpreter.

use std::cell::OnceCell;
use std::collections::{BTreeMap, HashSet};

use super::allowed::Allowed;
use super::finding::{Code, Finding, shown};
use super::image::{Image, Program, is_executable};
use super::names;
use super::start::interpreter;
use crate::layer::EntryKind;
use crate::scan::{Elf, ElfKind, Found};

/// What drivers of the machine bring into a container.
const FROM_MACHINE: [&str; 4] = ["libcuda.so", "libnvidia-", "libnvcuvid.so", "libcudadebugger.so"];

/// Programs of the image that lack something. How it starts is looked at elsewhere, and is an error; what else is
/// in it may never be used.
pub(super) fn findings(image: &Image<'_>, allowed: &Allowed, told_of: &[String]) -> Vec<Finding> {
    let names = Names::default();
    let mut grouped: BTreeMap<(usize, Code), BTreeMap<String, Finding>> = BTreeMap::new();
    let is_judged =
        |program: &Program<'_>| !allowed.has(program.path) && !told_of.contains(&shown(program.path));
    for program in image.programs().filter(is_judged) {
        for (code, missing) in missing(image, &program, &names) {
            let of_layer = grouped.entry((program.layer, code)).or_default();
            let finding = of_layer.remove(&missing);
            let finding = finding.unwrap_or_else(|| Finding::warning(code, "").in_layer(Some(program.layer)));
            of_layer.insert(missing, finding.of_file(shown(program.path)));
        }
    }
    grouped.into_values().filter_map(told).collect()
}

/// What one layer's programs lack, as one finding.
fn told(by_missing: BTreeMap<String, Finding>) -> Option<Finding> {
    let lines: Vec<String> = by_missing.iter().map(|(missing, finding)| line(finding, missing)).collect();
    let count = lines.len();
    let (missing, finding) = by_missing.into_iter().next()?;
    let help = help(finding.code, &missing);
    if count == 1 {
        return Some(
            Finding { message: format!("{}, which the image does not have", lines[0]), ..finding }.help(help),
        );
    }
    let what = match finding.code {
        Code::NoLoader => "loaders",
        Code::NoInterpreter => "interpreters",
        _ => "libraries",
    };
    let message = format!("{count} {what} that programs need are not in the image");
    Some(Finding { message, lines, paths: Vec::new(), count: 0, ..finding }.help(help))
}

fn line(finding: &Finding, missing: &str) -> String {
    let first = finding.paths.first().map(String::as_str).unwrap_or_default();
    match finding.count {
        1 => format!("`{first}` needs `{missing}`"),
        count => format!("`{first}` and {} more need `{missing}`", count - 1),
    }
}

fn help(code: Code, missing: &str) -> &'static str {
    match code {
        Code::NoLoader if missing.contains("musl") => {
            "it is built for musl (Alpine); use a build for glibc, or a static one"
        }
        Code::NoLoader => {
            "it is built for glibc; use a base with glibc such as debian, a build for musl, or a static one"
        }
        Code::NoInterpreter => "install it, or write the script for what the image has",
        _ => {
            "install the package that has it in the final stage, or copy it from where the program was built"
        }
    }
}

/// The program that an image starts with, made for its platform.
pub(super) struct Started<'i> {
    pub path: Vec<u8>,
    pub elf: &'i Elf,
    pub layer: Option<usize>,
    /// What messages call it.
    pub subject: String,
}

impl Started<'_> {
    fn needs(&self, what: &str) -> String {
        format!("{} needs {what}", self.subject)
    }
}

/// What keeps the program from starting.
pub(super) fn of_program(image: &Image<'_>, program: &Started<'_>) -> Vec<Finding> {
    let missing = missing_of(image, program.elf, &Names::default());
    let found = missing.into_iter().map(|(code, missing)| {
        let message = program.needs(&format!("`{missing}`, which the image does not have"));
        let finding = Finding::error(code, message).in_layer(program.layer).of_file(shown(&program.path));
        finding.help(help(code, &missing))
    });
    found.collect()
}

/// Libraries of the program that are somewhere in the image, and nowhere where its loader looks for them. Nothing is
/// said where that cannot be known: somebody may tell the loader of further folders.
pub(super) fn out_of_reach(image: &Image<'_>, program: &Started<'_>) -> Vec<Finding> {
    let Started { path, elf, .. } = program;
    let is_told = |file: &str| image.tree().get(file.as_bytes()).is_some();
    let knows_more = ["etc/ld.so.cache", "etc/ld.so.preload"].into_iter().any(is_told)
        || elf.interpreter.as_deref().is_none_or(|loader| loader.contains("musl"));
    let Some(folders) = searched(image, path, elf).filter(|_| !knows_more) else { return Vec::new() };
    let tree = image.tree();
    let mut findings = Vec::new();
    for name in elf.needed.iter().filter(|name| !name.contains('/')) {
        let is_found = |folder: &String| image.has(&format!("{folder}/{name}"));
        let places = tree.walk(tree.root()).filter(|node| tree.name(*node) == name.as_bytes());
        let places: Vec<String> = places.map(|node| shown(tree.path(node))).collect();
        let is_usual = |place: &String| is_in_usual_folder(place, &image.platform.architecture);
        let Some(place) = places.first() else { continue };
        if folders.iter().any(is_found) || places.iter().any(is_usual) {
            continue;
        }
        let message =
            program.needs(&format!("`{name}`, which is at `{place}`, where its loader does not look"));
        let finding = Finding::warning(Code::NoLibrary, message).in_layer(program.layer);
        findings.push(finding.of_file(shown(path)).help(
            "copy it to `/usr/lib`, link the program with `-Wl,-rpath`, run `ldconfig`, or set `LD_LIBRARY_PATH`",
        ));
    }
    findings
}

/// The folders that the program and the image's variables name; nothing where one of them depends on the machine.
fn searched(image: &Image<'_>, path: &[u8], elf: &Elf) -> Option<Vec<String>> {
    let path = shown(path);
    let origin = path.rsplit_once('/').map_or("", |(folder, _)| folder);
    let variables = image.config.config.env.iter();
    let variable = variables.filter_map(|variable| variable.strip_prefix("LD_LIBRARY_PATH=")).next_back();
    let named = elf.search.iter().map(String::as_str).chain(variable);
    let named = named.flat_map(|list| list.split(':')).filter(|folder| !folder.is_empty());
    let folders = named.map(|folder| folder.replace("${ORIGIN}", origin).replace("$ORIGIN", origin));
    folders.map(|folder| (!folder.contains('$') && folder.starts_with('/')).then_some(folder)).collect()
}

/// Where every loader looks: the system's folders, those of the architecture in them, and what those have for
/// processors that can more.
fn is_in_usual_folder(place: &str, architecture: &str) -> bool {
    let Some((folder, _)) = place.trim_start_matches('/').rsplit_once('/') else { return false };
    let roots = ["lib", "lib64", "libx32", "lib32", "usr/lib", "usr/lib64", "usr/lib32", "usr/local/lib"];
    roots.iter().any(|root| {
        let below = folder.strip_prefix(root);
        below.is_some_and(|below| {
            let below = below.trim_start_matches('/');
            let first = below.split('/').next().unwrap_or_default();
            below.is_empty()
                || below.contains("hwcaps")
                || (names::is_triplet(first, architecture) && !below.contains('/'))
        })
    })
}

fn missing(image: &Image<'_>, program: &Program<'_>, names: &Names) -> Vec<(Code, String)> {
    match program.found {
        Found::Elf(elf) => {
            let is_ours = elf.machine.architecture() == Some(&image.platform.architecture);
            let is_loaded = matches!(elf.kind, ElfKind::Executable | ElfKind::Shared) && elf.is_for_linux();
            match is_ours && is_loaded && !is_for_elsewhere(image, program.path, elf) {
                true => missing_of(image, elf, names),
                false => Vec::new(),
            }
        }
        Found::Script(script) if is_executable(program.entry) && is_command(image, program.path) => {
            let missing = interpreter(image, script);
            missing
                .map(|_| (Code::NoInterpreter, script.searched().unwrap_or(&script.interpreter).to_string()))
                .into_iter()
                .collect()
        }
        Found::Script(_) | Found::MachO | Found::Pe | Found::Archive(_) => Vec::new(),
    }
}

fn missing_of(image: &Image<'_>, elf: &Elf, names: &Names) -> Vec<(Code, String)> {
    if let Some(loader) = elf.interpreter.as_deref().filter(|loader| !image.has(loader)) {
        return vec![(Code::NoLoader, loader.to_string())];
    }
    let is_missing = |name: &&String| {
        let is_from_machine = FROM_MACHINE.iter().any(|start| name.starts_with(start));
        // Paths in the place of names are rare and somebody else's to resolve.
        !is_from_machine && !name.contains('/') && !names.of(image).contains(name.as_bytes())
    };
    elf.needed.iter().filter(is_missing).map(|name| (Code::NoLibrary, name.clone())).collect()
}

/// Whether it is made for a system other than the image's, and beside something for that: prebuilt sets have files for
/// Android, and for both musl and glibc.
fn is_for_elsewhere(image: &Image<'_>, path: &[u8], elf: &Elf) -> bool {
    let written = String::from_utf8_lossy(path);
    let path = written.to_ascii_lowercase();
    if path.contains("android")
        || elf.interpreter.as_deref().is_some_and(|loader| loader.starts_with("/system/"))
    {
        return true;
    }
    let needs = |part: &str| elf.needed.iter().any(|name| name.starts_with(part));
    let is_for_musl = needs("libc.musl-")
        || elf.needed.iter().any(|name| name == "libc.so")
        || elf.interpreter.as_deref().is_some_and(|loader| loader.contains("musl"));
    match is_for_musl {
        true => path.contains("musl"),
        false => needs("libc.so.6") && has_musl_sibling(image, &written),
    }
}

fn has_musl_sibling(image: &Image<'_>, path: &str) -> bool {
    let plain = |name: &str| {
        name.replace("musl", "").replace("glibc", "").replace("gnu", "").replace(['-', '.', '_'], "")
    };
    let mut start = 0;
    for component in path.split('/') {
        let above = &path[..start.max(1) - 1];
        start += component.len() + 1;
        let Some(folder) = image.tree().get(above.as_bytes()) else { return false };
        let wanted = plain(&component.to_ascii_lowercase());
        let mut siblings = image.tree().children(folder).take(4096);
        if siblings.any(|node| {
            let name = String::from_utf8_lossy(image.tree().name(node)).to_ascii_lowercase();
            name.contains("musl") && plain(&name) == wanted
        }) {
            return true;
        }
    }
    false
}

/// Whether it is in a folder where commands are looked for.
fn is_command(image: &Image<'_>, path: &[u8]) -> bool {
    let folder = path.iter().rposition(|byte| *byte == b'/').map_or(&b""[..], |end| &path[..end]);
    image.search_path().iter().any(|searched| searched.trim_matches('/').as_bytes() == folder)
}

/// The names of all files that may be the image's libraries, collected when somebody asks.
#[derive(Default)]
struct Names(OnceCell<HashSet<Vec<u8>>>);

impl Names {
    fn of(&self, image: &Image<'_>) -> &HashSet<Vec<u8>> {
        self.0.get_or_init(|| {
            let tree = image.tree();
            let is_library = |node: &crate::layer::NodeRef| match tree.entry(*node).kind {
                EntryKind::File { .. } => match image.found(*node) {
                    Some(Found::Elf(elf)) => elf.machine.architecture() == Some(&image.platform.architecture),
                    _ => true,
                },
                EntryKind::Symlink { .. } => true,
                _ => false,
            };
            let files = tree.walk(tree.root()).filter(is_library);
            files.map(|node| tree.name(node).to_vec()).collect()
        })
    }
}
