//! Images that their platform cannot run, or that lack what they need: `tests/corpus/verify`, and `mab verify`.
//!
//! A case is a folder: `Dockerfile`, `files` (what is in the context, a line for each), and `told`, which is what a bake says,
//! to the letter. `MAB_BLESS=1` writes the latter anew.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use serde_json::Value;

use crate::builders::{fleet, foreign, sockets};
use crate::support::program::{Elf, zip};
use crate::support::project::native;
use crate::support::{Project, Registry, base, repository, skip};

/// `MODE PATH KIND …`, where the kind is `text` with the text, `elf`, `library` or `object` with an architecture, a
/// loader and libraries, `jar` with a member and its architecture, or `mach-o`.
fn write(project: &Project, line: &str) {
    let mut words = line.splitn(4, ' ');
    let mut word = || words.next().unwrap_or_default();
    let (mode, path, kind, rest) = (word(), word(), word(), word());
    let mut more = rest.split(' ');
    let mut next = || more.next().unwrap_or_default();
    let bytes = match kind {
        "text" => rest.replace("\\n", "\n").replace("\\r", "\r").into_bytes(),
        "elf" => {
            let (program, loader) = (Elf::program(next()), next());
            let program = if loader.is_empty() { program } else { program.started_by(loader) };
            let needed: Vec<&str> = rest.split(' ').skip(2).collect();
            program.needing(&needed).bytes()
        }
        "library" => {
            let library = Elf::library(next());
            let needed: Vec<&str> = rest.split(' ').skip(1).collect();
            if needed.is_empty() { library.bytes() } else { library.needing(&needed).bytes() }
        }
        "object" => Elf::object(next()).bytes(),
        "jar" => zip(&[("META-INF/MANIFEST.MF", b"1".to_vec()), (next(), Elf::library(next()).bytes())]),
        "mach-o" => b"\xcf\xfa\xed\xfe\x0c\0\0\x01 and so on".to_vec(),
        other => panic!("no file is `{other}`: {line}"),
    };
    project.write(path, bytes);
    let mode = u32::from_str_radix(mode, 8).expect("a mode has octal digits");
    fs::set_permissions(project.path(path), fs::Permissions::from_mode(mode)).expect("it was just written");
}

fn case(folder: &Path, base: &Path) -> Project {
    let read = |name: &str| fs::read_to_string(folder.join(name)).unwrap_or_default();
    let project = Project::app(base, &read("Dockerfile"));
    let mut file = project.read("multiarch.toml");
    let keys = read("keys.toml");
    if let Some((platforms, more)) = keys.split_once('\n') {
        file = file.replace("[\"linux/amd64\", \"linux/arm64\"]", platforms) + more;
    }
    project.write("multiarch.toml", file);
    read("files").lines().for_each(|line| write(&project, line));
    project
}

/// What is said of images: warnings, and the report at the end.
fn told(errors: &str) -> String {
    let is_said = |line: &&str| !line.starts_with('[') || line.contains("warning");
    let lines: Vec<&str> = errors.lines().skip(1).filter(is_said).collect();
    let text = format!("\n{}\n", lines.join("\n").trim());
    let ends = ["\nimage  ", "\nnot run, because", "\nfailed after", "\ndone in"];
    let end = ends.iter().filter_map(|end| text.find(end)).min().unwrap_or(text.len());
    format!("{}\n", text[..end].trim())
}

#[test]
fn every_finding_is_told_to_the_letter() {
    let Some(base) = base() else { return };
    if native() != "linux/amd64" {
        return skip("recorded on amd64: programs of the build platform");
    }
    let mut wrong = Vec::new();
    let mut cases: Vec<_> = fs::read_dir(repository().join("tests/corpus/verify"))
        .expect("the corpus is there")
        .map(|entry| entry.expect("it can be read").path())
        .collect();
    cases.sort();
    assert!(cases.len() >= 15, "the corpus is not whole");
    for folder in cases {
        let ran = case(&folder, &base).mab(&["bake", "app", "--progress", "plain"]).run();
        let said = format!("exit {}\n{}", ran.code.unwrap_or(-1), told(&ran.errors()));
        let expected = fs::read_to_string(folder.join("told")).unwrap_or_default();
        if said == expected {
            continue;
        }
        if std::env::var_os("MAB_BLESS").is_some() {
            fs::write(folder.join("told"), &said).expect("the corpus is writable");
        }
        wrong.push(format!("{}:\n{said}", folder.display()));
    }
    assert!(wrong.is_empty(), "{}\nMAB_BLESS=1 accepts them", wrong.join("\n"));
}

const WRONG: &str = "[project]\nplatforms = [\"linux/arm64\"]\n[target.app]\ndockerfile-inline = \
                     \"FROM scratch\\nCOPY server /\\nENTRYPOINT [\\\"/server\\\"]\"\n";

fn wrong() -> Project {
    let project = Project::of(WRONG);
    write(&project, "0755 server elf amd64");
    project
}

#[test]
fn what_does_not_pass_is_neither_merged_nor_tagged() {
    let Some(registry) = Registry::of_this_run() else { return };
    let project = wrong();
    let name = format!("{}:1", registry.repository("unverified"));
    let set = format!("app.tags={name}");
    let ran = project.mab(&["bake", "app", "--push", "--set", &set]).run().failed(1);
    ran.says("not run, because `verify app linux/arm64` failed: merge app, publish");
    project.mab(&["verify", &name]).run().failed(4);
}

#[test]
fn the_level_and_the_allowed_paths_are_the_targets() {
    for (key, code, said) in [
        ("verify = \"error\"", 1, "`/server` is for amd64, but the image is for linux/arm64"),
        ("verify = \"warn\"", 0, "`/server` is for amd64, but the image is for linux/arm64"),
        ("verify = \"off\"", 0, ""),
        ("verify = { allow = [\"/opt\"] }", 1, "`/server` is for amd64"),
        ("verify = { allow = [\"/serv*\"] }", 0, ""),
        ("verify = { level = \"warn\", allow = [\"**\", \"!server\"] }", 0, "`/server` is for amd64"),
    ] {
        let project = wrong();
        project.edit("multiarch.toml", "[target.app]", &format!("[target.app]\n{key}"));
        for _ in 0..2 {
            let ran = project.mab(&["bake", "app"]).run();
            assert_eq!(ran.code, Some(code), "{key}\n{}", ran.stderr);
            match said.is_empty() {
                true => assert!(!ran.stderr.contains("is for amd64"), "{key}\n{}", ran.stderr),
                false => assert!(ran.stderr.contains(said), "{key}\n{}", ran.stderr),
            }
        }
    }
}

#[test]
fn images_of_workers_are_judged_in_the_same_way() {
    let Some(sockets) = sockets() else { return };
    let project = Project::of(&WRONG.replace("linux/arm64", foreign()));
    write(&project, &format!("0755 server elf {}", native().trim_start_matches("linux/")));
    fleet(&project, &sockets);
    let ran = project.mab(&["bake", "app", "--builder", "fleet"]).run().failed(1);
    let ran = ran.says("is for").says("brought by this line");
    ran.says(&format!("not run, because `verify app {}` failed: merge app", foreign()));
}

/// The same image in all its places.
#[test]
fn images_that_are_there_are_judged_wherever_they_are() {
    let project = wrong();
    project.edit("multiarch.toml", "[target.app]", "[target.app]\nverify = \"off\"\ntags = [\"app:1\"]");
    let output =
        "app.output=type=oci,dest=image.tar;type=oci,dest=layout,tar=false;type=docker,dest=docker.tar";
    for one in output.trim_start_matches("app.output=").split(';') {
        project.bake(&["app", "--set", &format!("app.output={one}")]);
    }
    let index: Value = serde_json::from_str(&project.read("layout/index.json")).expect("it is JSON");
    let digest = index["manifests"][0]["digest"].as_str().expect("a digest").to_string();
    let mut places =
        vec!["./image.tar".to_string(), "./layout".to_string(), "./docker.tar:1".to_string(), digest];
    if let Some(registry) = Registry::of_this_run() {
        let name = format!("{}:1", registry.repository("verify"));
        project.bake(&["app", "--push", "--set", &format!("app.tags={name}")]);
        places.push(name);
    }
    for place in places {
        let ran = project.mab(&["verify", &place]).run().failed(1);
        assert_eq!(ran.stdout, "linux/arm64: 1 layer: 1 error\n", "{place}");
        let ran = ran.says("`/server` is for amd64, but the image is for linux/arm64");
        ran.says("layer 1 of 1, made by `COPY server /`");
        let ran = project
            .mab(&["verify", "--json", "--warn", "--platform", "linux/arm64", &place])
            .run()
            .succeeded();
        let told: Value = serde_json::from_str(&ran.stdout).expect("it is JSON");
        let finding = &told["platforms"][0]["findings"][0];
        assert_eq!(finding["code"], "verify::wrong-platform", "{place}");
        assert_eq!((&finding["layer"], &finding["found"]), (&1.into(), &"amd64".into()), "{place}");
        assert_eq!(finding["paths"], serde_json::json!(["/server"]), "{place}");
        project.mab(&["verify", "--allow", "/server", &place]).run().succeeded();
        project
            .mab(&["verify", "--platform", "linux/s390x", &place])
            .run()
            .failed(2)
            .says("it is for linux/arm64");
    }
}

#[test]
fn what_is_no_image_is_refused() {
    let project = wrong();
    project.write("text.tar", "no tar at all");
    project.write("layout/index.json", r#"{"schemaVersion": 2, "manifests": []}"#);
    project.write("other/index.json", "[1");
    for (place, said) in [
        ("./nowhere", "`./nowhere` is no OCI layout and no archive of an image"),
        ("./text.tar", "is no archive of an image"),
        ("./layout", "there is no such image"),
        ("./other", "an index is none"),
        ("target:app", "`app` is a target, which has no image by itself"),
        ("UPPER/Case", "image::name"),
    ] {
        project.mab(&["verify", place]).run().failed(2).says(said);
    }
}
