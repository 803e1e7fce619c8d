//! Contexts that are no directories: repositories, files over HTTP, archives, standard input.

use std::io::Write as _;
use std::process::Stdio;

use crate::support::forge::Forge;
use crate::support::surroundings::needs;
use crate::support::{Image, Layout, Project, Repository, Web};

const BUILD: [&str; 4] = ["bake", "app", "-o", "type=oci,dest=out.tar"];

fn of(keys: &str) -> Project {
    Project::of(&format!("[target.app]\nplatforms = [\"linux/amd64\"]\n{keys}\n"))
}

fn image(project: &Project) -> Image {
    project.mab(&BUILD).run().succeeded();
    Layout::open(&project.path("out.tar")).only_image()
}

fn archive(files: &[(&str, &str)]) -> Vec<u8> {
    let mut archive = tar::Builder::new(Vec::new());
    for (path, text) in files {
        let mut header = tar::Header::new_ustar();
        header.set_size(text.len() as u64);
        header.set_mode(0o644);
        header.set_mtime(1_400_000_000);
        archive.append_data(&mut header, path, text.as_bytes()).expect("memory takes it");
    }
    archive.into_inner().expect("memory takes it")
}

fn gzipped(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).expect("memory takes it");
    encoder.finish().expect("memory takes it")
}

#[test]
fn an_offline_check_asks_nobody() {
    let web = Web::start();
    web.page("/context", "FROM scratch\n");
    let project = of(&format!("context = \"{}\"", web.url("/context")));
    let ran = project.mab(&["check", "--offline", "app"]).run().failed(2);
    assert!(
        ran.stdout.contains("is not looked at: `--offline` fetches nothing"),
        "{}{}",
        ran.stdout,
        ran.stderr
    );
    assert_eq!(web.requests(), [""; 0]);
    project.mab(&["check", "app"]).run().succeeded();
    assert_eq!(web.requests(), ["GET /context"]);
}

#[test]
fn a_repository_is_a_context_with_its_dockerfile() {
    if !needs("git") {
        return;
    }
    let repository = Repository::new("app");
    repository.file("file", "root").file("sub/Dockerfile", "FROM scratch\nCOPY . /all\n");
    // As in BuildKit, ignore files are for directories alone.
    repository.file("sub/file", "sub").file("sub/.dockerignore", "file").commit(1_400_000_000);
    let web = Web::start();
    web.repositories(&repository.served(), None);
    let url = web.url("/git/app.git");
    let project = of(&format!("context = \"{url}#main:sub\""));
    assert_eq!(image(&project).layers.concat(), ["all", "all/.dockerignore", "all/Dockerfile", "all/file"]);
    project.mab(&["bake", "app", "--print"]).run().succeeded();
    let plan = project.mab(&["plan"]).with(&["app"]).run().succeeded();
    assert!(plan.stdout.contains("build app linux/amd64"), "{}", plan.stdout);
    let project = of(&format!(
        "context = \"{url}\"\ndockerfile = \"sub/Dockerfile\"\nargs = {{ BUILDKIT_CONTEXT_KEEP_GIT_DIR = \"1\" }}"
    ));
    let image = image(&project);
    assert!(image.has("all/.git/HEAD") && image.has("all/file"), "{:?}", image.layers);
}

#[test]
fn a_dockerfile_in_a_repository_does_not_lead_out_of_it() {
    if !needs("git") {
        return;
    }
    let repository = Repository::new("app");
    std::os::unix::fs::symlink("/etc/passwd", repository.path("Dockerfile")).unwrap();
    std::os::unix::fs::symlink("../../../etc/passwd", repository.path("other")).unwrap();
    repository.commit(1_400_000_000);
    let web = Web::start();
    web.repositories(&repository.served(), None);
    for dockerfile in ["Dockerfile", "other", "../../../../../etc/passwd", "/etc/passwd"] {
        let url = web.url("/git/app.git");
        let project = of(&format!("context = \"{url}\"\ndockerfile = \"{dockerfile}\""));
        project.mab(&BUILD).run().failed(2).says("cannot be read").does_not_say("root:");
    }
}

#[test]
fn a_file_over_http_is_an_archive_or_a_dockerfile() {
    let web = Web::start();
    let files = [("Dockerfile", "FROM scratch\nCOPY a /\n"), ("a", "text")];
    web.page("/context.tar.gz", gzipped(&archive(&files))).page("/plain", archive(&files));
    web.page("/Dockerfile", "FROM scratch\nCOPY Dockerfile /there\n");
    for path in ["/context.tar.gz", "/plain"] {
        let image = image(&of(&format!("context = \"{}\"", web.url(path))));
        assert_eq!((image.text("a").as_str(), image.entry("a").mtime), ("text", 1_400_000_000), "{path}");
    }
    let image = image(&of(&format!("context = \"{}\"", web.url("/Dockerfile"))));
    assert!(image.has("there"));
}

#[test]
fn archives_are_contexts() {
    let project = of("context = \"context.tar.gz\"\ndockerfile = \"build/Dockerfile\"");
    let files = [("build/Dockerfile", "FROM scratch\nCOPY a /\n"), ("a", "text")];
    project.write("context.tar.gz", gzipped(&archive(&files)));
    assert_eq!(image(&project).text("a"), "text");
    project.mab(&BUILD).run().succeeded().says("nothing had to be done");
    project.write("context.tar.gz", gzipped(&archive(&[files[0], ("a", "other")])));
    assert_eq!(image(&project).text("a"), "other");
    project.write("context.tar.gz", "no archive");
    project.mab(&BUILD).run().failed(2).says("multiarch.toml:3");
    std::fs::remove_file(project.path("context.tar.gz")).unwrap();
    project.mab(&BUILD).run().failed(2).says("context.tar.gz` cannot be read");
}

#[test]
fn hostile_archives_stay_where_they_are() {
    let dockerfile = "FROM scratch\nCOPY . /\n";
    let outside = tempfile::TempDir::new().unwrap();
    let outside = outside.path().display().to_string();
    for (name, forge) in [
        ("above", Forge::default().file("../../escaped", "x")),
        ("through a link", Forge::default().symlink("out", &outside).file("out/escaped", "x")),
        ("a link to a secret", Forge::default().hardlink("shadow", "../../../../etc/shadow")),
        ("a mark of a layer", Forge::default().file(".wh.gone", "")),
    ] {
        let project = of("context = \"context.tar\"");
        let bytes = forge.file("Dockerfile", dockerfile).bytes();
        project.write("context.tar", bytes);
        let ran = project.mab(&BUILD).run();
        assert_ne!(ran.code, Some(70), "{name}: {}", ran.stderr);
        assert!(!std::path::Path::new(&outside).join("escaped").exists(), "{name}");
        assert!(!project.folder().join("escaped").exists(), "{name}");
        assert_eq!(ran.code, Some(2), "{name}: {}", ran.stderr);
    }
}

#[test]
fn standard_input_is_a_context_or_a_dockerfile() {
    let with_input = |project: &Project, input: &[u8]| {
        let mut child = project.mab(&BUILD).command().stdin(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(input).unwrap();
        assert!(child.wait().unwrap().success());
        Layout::open(&project.path("out.tar")).only_image()
    };
    let files = [("Dockerfile", "FROM scratch\nCOPY a /\n"), ("a", "text")];
    let context = of("context = \"-\"");
    assert_eq!(with_input(&context, &archive(&files)).text("a"), "text");
    assert_eq!(with_input(&context, b"FROM scratch\nENV A=1\n").config["config"]["Env"][1], "A=1");
    let dockerfile = of("dockerfile = \"-\"").file("b", "text");
    assert_eq!(with_input(&dockerfile, b"FROM scratch\nCOPY b /\n").text("b"), "text");
}

#[test]
fn named_contexts_can_be_all_of_these() {
    if !needs("git") {
        return;
    }
    let repository = Repository::new("app");
    repository.file("file", "from git").commit(1_400_000_000);
    let web = Web::start();
    web.repositories(&repository.served(), None);
    web.page("/a.tar", archive(&[("file", "from http")]));
    let contexts = format!(
        "contexts = {{ git = \"{}\", http = \"{}\", archive = \"a.tar\", unused = \"{}\" }}",
        web.url("/git/app.git"),
        web.url("/a.tar"),
        web.url("/unused.tar")
    );
    let project = of(&contexts)
        .file("Dockerfile", "FROM git\nCOPY --from=http file /http\nCOPY --from=archive file /archive\n");
    project.write("a.tar", archive(&[("file", "from an archive")]));
    let image = image(&project);
    let texts = ["file", "http", "archive"].map(|path| image.text(path));
    assert_eq!(texts, ["from git", "from http", "from an archive"]);
    assert!(!web.requests().iter().any(|request| request.contains("unused")));
}
