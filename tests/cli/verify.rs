//! Images that their platform cannot run, or that lack what they need: `tests/corpus/verify`, and `mab verify`.
//!
//! A case is a folder: `Dockerfile`, `files` (what is in the context, a line for each), and `told`, which is what a bake says,
//! to the letter. `MAB_BLESS=1` writes the latter anew.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use serde_json::Value;

use crate::builders::{configure, fleet, foreign, sockets, worker};
use crate::support::engine::engines;
use crate::support::program::{Elf, zip};
use crate::support::project::native;
use crate::support::{Project, Registry, base, repository, skip};

/// `MODE PATH KIND …`, where the kind is `text` with the text, `elf`, `library` or `object` with an architecture, a
/// loader, libraries and `runpath=PATH`, `jar` with a member and its architecture, or `mach-o`.
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
            let (search, needed): (Vec<&str>, Vec<&str>) =
                rest.split(' ').skip(2).partition(|word| word.starts_with("runpath="));
            let program = program.needing(&needed);
            search.iter().fold(program, |program, word| program.searching(&word["runpath=".len()..])).bytes()
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

#[test]
fn what_was_judged_before_or_elsewhere_is_compared_as_on_the_first_day() {
    let Some(base) = base() else { return };
    let folder = repository().join("tests/corpus/verify/platforms-differ");
    let project = case(&folder, &base);
    let bake = || {
        let (to, from) = ("app.cache-to=type=local,dest=shared", "app.cache-from=type=local,src=shared");
        let arguments = ["bake", "app", "--progress", "plain", "--set", to, "--set", from];
        told(&project.mab(&arguments).run().succeeded().errors())
    };
    let first = bake();
    assert!(first.contains("`/srv/only.txt` is there for linux/arm64, but not for linux/amd64"), "{first}");
    assert_eq!(bake(), first);
    // Another machine, which has the shared cache and not this store.
    fs::remove_dir_all(project.store()).expect("the bake made it");
    assert_eq!(bake(), first);
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

/// Whoever builds: what comes of it is judged and tested here.
#[test]
fn images_of_workers_and_engines_are_tested_before_they_are_merged() {
    let Some(base) = base() else { return };
    let dockerfile = "FROM busybox\nCOPY server /server\nCMD [\"/server\"]\n";
    let tests = "[target.app.test.runs]\nrun = [\"cat\", \"/etc/passwd\"]\n\
                 expect = { stdout-matches = \"^root:\", files = [\"/server\"], config = { cmd = [\"/server\"] } }\n";
    let platform = native();
    let architecture = platform.trim_start_matches("linux/").to_string();
    let mut builders = Vec::new();
    if let Some(sockets) = sockets() {
        builders.push(format!("unix://{}", sockets[0].display()));
    }
    builders.extend(engines().into_iter().map(|engine| format!("docker://{}", engine.socket())));
    for endpoint in builders {
        let project = Project::native_app(&base, dockerfile);
        project.write("multiarch.toml", format!("{}{tests}", project.read("multiarch.toml")));
        configure(&project, &[worker(&endpoint, &[&platform])]);
        let bake = || project.mab(&["bake", "app", "--builder", "fleet"]).run();
        write(&project, &format!("0755 server elf {architecture}"));
        bake().succeeded().says("done in");
        project.edit("multiarch.toml", "^root:", "^nobody-at-all:");
        let ran = bake().failed(1).says("test::failed\n");
        ran.says(&format!("not run, because `test app {platform}` failed: merge app"));
        project.edit("multiarch.toml", "^nobody-at-all:", "^root:");
        write(&project, "0755 server elf riscv64");
        let ran =
            bake().failed(1).says(&format!("`/server` is for riscv64, but the image is for {platform}"));
        ran.says("brought by this line");
    }
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
    let packed = fs::read(project.path("image.tar")).expect("it was written");
    project.write("image.tar.zst", zstd::encode_all(&packed[..], 1).expect("memory takes it"));
    project.write("old.tar", without_layout(&project.path("docker.tar")));
    let files = ["./image.tar", "./image.tar.zst", "./layout", "./docker.tar:1", "./old.tar", "./old.tar:1"];
    let mut places: Vec<String> = files.into_iter().map(str::to_string).collect();
    places.push(digest);
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

/// What is left of an archive for `docker load` where it is as Docker wrote them before version 25.
fn without_layout(path: &Path) -> Vec<u8> {
    let mut archive = tar::Archive::new(fs::File::open(path).expect("it was written"));
    let mut old = tar::Builder::new(Vec::new());
    for entry in archive.entries().expect("it is a tar") {
        let entry = entry.expect("it is whole");
        let name = entry.path().expect("it has a name").into_owned();
        if name != Path::new("index.json") && name != Path::new("oci-layout") {
            let header = entry.header().clone();
            old.append(&header, entry).expect("memory takes it");
        }
    }
    old.into_inner().expect("memory takes it")
}

/// An image whose index says another platform than its config.
#[test]
fn a_config_that_says_another_platform_is_told() {
    let project = Project::of(&WRONG.replace("arm64", "amd64"));
    write(&project, "0755 server elf amd64");
    project.bake(&["app", "-o", "type=oci,dest=layout,tar=false"]);
    let index: Value = serde_json::from_str(&project.read("layout/index.json")).expect("it is JSON");
    let mut entry = index["manifests"][0].clone();
    let blob =
        |digest: &Value| format!("layout/blobs/{}", digest.as_str().expect("a digest").replace(':', "/"));
    let document: Value = serde_json::from_str(&project.read(&blob(&entry["digest"]))).expect("it is JSON");
    if document["manifests"].is_array() {
        entry = document["manifests"][0].clone();
    }
    entry["platform"] = serde_json::json!({ "os": "linux", "architecture": "arm64" });
    let index = serde_json::json!({ "schemaVersion": 2, "manifests": [entry] });
    project.write("layout/index.json", index.to_string());
    let ran = project.mab(&["verify", "./layout"]).run().failed(1);
    assert_eq!(ran.stdout, "linux/arm64: 1 layer: 2 errors\n");
    ran.says("verify::wrong-config\n\n  × its config says linux/amd64, but it stands for linux/arm64\n")
        .says("help: build the image for the platform that it is published for, and make the index again")
        .says("`/server` is for amd64, but the image is for linux/arm64");
}

/// Small files that say much: each of 256 names has 255 letters, and the file has them once.
#[test]
fn a_layer_that_is_made_to_be_too_much_is_told() {
    let project = Project::of(
        "[target.app]\nplatforms = [\"linux/amd64\"]\ndockerfile-inline = \"FROM scratch\\nCOPY many /many\"\n",
    );
    let name = "n".repeat(255);
    let bytes = Elf::program("amd64").needing(&vec![name.as_str(); 256]).bytes();
    for number in 0..1000 {
        project.write(&format!("many/{number}"), &bytes);
    }
    let ran = project.mab(&["bake", "app"]).run().failed(1);
    ran.says("verify::too-much\n\n  × a layer has more programs than can be looked at\n")
        .says("layer 1 of 1, made by `COPY many /many`")
        .says("help: split the layer; `verify = \"off\"` in the target lets it pass unseen");
}

#[test]
fn the_layers_of_a_base_that_is_named_are_judged_when_that_is_asked_for() {
    let Some(registry) = Registry::of_this_run() else { return };
    let (base, app) = (registry.repository("base"), registry.repository("app"));
    let annotation =
        |key: &str, value: &str| format!("\"manifest:org.opencontainers.image.base.{key}={value}\"");
    let project = Project::of(&format!(
        "[project]\nplatforms = [\"linux/arm64\"]\n\
         [target.base]\nverify = \"off\"\ntags = [\"{base}:1\"]\ndockerfile-inline = \"FROM scratch\\nCOPY server /\"\n\
         [target.app]\ntags = [\"{app}:1\"]\ndockerfile-inline = \"FROM {base}:1\\nCOPY own /\"\nannotations = [{}]\n",
        annotation("name", &format!("{base}:1"))
    ));
    write(&project, "0755 server elf amd64");
    write(&project, "0755 own elf arm64");
    project.bake(&["base", "--push"]);
    project.bake(&["app", "--push"]);
    let name = format!("{app}:1");
    let ran = project.mab(&["verify", &name]).run().succeeded();
    assert_eq!(ran.stdout, "linux/arm64: 1 layer (and 1 of its base, not judged): nothing is wrong\n");
    let ran = project.mab(&["verify", "--base", &name]).run().failed(1);
    assert_eq!(ran.stdout, "linux/arm64: 2 layers: 1 error\n");
    ran.says("`/server` is for amd64, but the image is for linux/arm64").says("layer 1 of 2");
    // A base that nobody can look at leaves nothing out, nor does one that is the image itself.
    let mut named = format!("name={base}:1");
    for other in [format!("name={base}:none"), format!("name={name}")] {
        project.edit("multiarch.toml", &named, &other);
        named = other;
        project.bake(&["app", "--push"]);
        project.mab(&["verify", &name]).run().failed(1).says("layer 1 of 2");
    }
}

#[test]
fn what_is_no_image_is_refused() {
    let project = wrong();
    project.write("text.tar", "no tar at all");
    project.write("layout/index.json", r#"{"schemaVersion": 2, "manifests": []}"#);
    project.write("other/index.json", "[1");
    for (place, said) in [
        ("./nowhere", "image::not-there\n\n  × `./nowhere` does not exist"),
        ("./text.tat", "did you mean `text.tar`?"),
        ("./text.tar", "`./text.tar` is no archive of images: "),
        ("./layout", "there is no such image"),
        ("./other", "`index.json` in `./other` cannot be used"),
        ("target:app", "`app` is a target, which has no image by itself"),
        ("UPPER/Case", "image::bad-name"),
    ] {
        project.mab(&["verify", place]).run().failed(2).says(said);
    }
}
