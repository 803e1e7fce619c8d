//! ADD of git repositories, served by git itself over HTTP.

use crate::support::surroundings::needs;
use crate::support::{Image, Kind, Layout, Project, Ran, Repository, Web};

const FILE: &str = "[target.app]\nplatforms = [\"linux/amd64\"]\n";
const BUILD: [&str; 4] = ["bake", "app", "-o", "type=oci,dest=out.tar"];

fn project(dockerfile: &str) -> Project {
    Project::of(FILE).file("Dockerfile", dockerfile)
}

fn build(project: &Project) -> Ran {
    project.mab(&BUILD).run().succeeded()
}

fn image(project: &Project) -> Image {
    Layout::open(&project.path("out.tar")).only_image()
}

fn served(repository: &Repository) -> Web {
    let web = Web::start();
    web.repositories(&repository.served(), None);
    web
}

#[test]
fn refs_name_commits_and_folders() {
    if !needs("git") {
        return;
    }
    let repository = Repository::new("app");
    let first = repository.file("file", "one").file("dir/sub/inner", "inner").commit(1_400_000_000);
    repository.git(&["tag", "light"]);
    repository.git(&["tag", "--annotate", "--message=v1", "v1"]);
    repository.file("file", "two").commit(1_500_000_000);
    repository.git(&["checkout", "--quiet", "-b", "dev/x"]);
    repository.file("file", "three").commit(1_600_000_000);
    repository.git(&["checkout", "--quiet", "main"]);
    repository.publish();
    let web = served(&repository);
    let url = web.url("/git/app.git");
    for (reference, text) in [
        ("", "two"),
        ("#main", "two"),
        ("#refs/heads/main", "two"),
        ("#light", "one"),
        ("#v1", "one"),
        ("?tag=v1", "one"),
        ("?branch=dev/x", "three"),
        ("#dev/x", "three"),
        (&format!("#{first}"), "one"),
        (&format!("?ref={first}"), "one"),
        (&format!("?fetch-by-commit&checksum={first}"), "one"),
        (&format!("?checksum={}#v1", &first[..10]), "one"),
    ] {
        let project = project(&format!("FROM scratch\nADD {url}{reference} /src\n"));
        build(&project);
        let image = image(&project);
        assert_eq!(image.text("src/file"), text, "{reference}");
        assert!(!image.has("src/.git"), "{reference}");
    }
    for reference in ["#v1:dir/sub", "?tag=v1&subdir=dir/sub", "#:dir/sub"] {
        let project = project(&format!("FROM scratch\nADD {url}{reference} /src/\n"));
        build(&project);
        assert_eq!(image(&project).layers.concat(), ["src", "src/inner"], "{reference}");
    }
}

#[test]
fn files_are_what_git_knows_of_them() {
    if !needs("git") {
        return;
    }
    let repository = Repository::new("app");
    repository.file("plain", "x").file("program", "x");
    std::os::unix::fs::symlink("plain", repository.path("link")).unwrap();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o711);
    std::fs::set_permissions(repository.path("program"), mode).unwrap();
    repository.commit(1_400_000_000);
    let web = served(&repository);
    let project = project(&format!("FROM scratch\nADD {} /a/\n", web.url("/git/app.git")));
    build(&project);
    let image = image(&project);
    for (path, mode) in [("a/plain", 0o644), ("a/program", 0o755)] {
        let entry = image.entry(path);
        assert_eq!((entry.mode, entry.owner, entry.mtime), (mode, (0, 0), 1_400_000_000), "{path}");
    }
    assert_eq!(image.entry("a/link").kind, Kind::Symlink("plain".into()));
}

#[test]
fn a_commit_that_is_known_is_asked_about_and_not_fetched() {
    if !needs("git") {
        return;
    }
    let repository = Repository::new("app");
    let commit = repository.file("file", "one").commit(1_400_000_000);
    let web = served(&repository);
    let url = web.url("/git/app.git");
    let project = project(&format!("FROM scratch\nADD {url}#main /\n"));
    build(&project);
    assert!(web.requests().iter().any(|request| request.starts_with("POST /git/app.git/git-upload-pack")));
    build(&project).says("nothing had to be done");
    let asked = web.requests();
    assert!(asked.len() <= 2, "only what the ref is: {asked:?}");
    repository.file("file", "two").commit(1_500_000_000);
    build(&project);
    assert_eq!(image(&project).text("file"), "two");
    web.requests();
    project.write("Dockerfile", format!("FROM scratch\nADD {url}#{commit} /\n"));
    build(&project);
    assert_eq!(image(&project).text("file"), "one");
    assert_eq!(web.requests(), [""; 0], "a commit that is here is not asked for");
}

#[test]
fn a_checksum_is_kept_to() {
    if !needs("git") {
        return;
    }
    let repository = Repository::new("app");
    let first = repository.file("file", "one").commit(1_400_000_000);
    let second = repository.file("file", "two").commit(1_500_000_000);
    let web = served(&repository);
    let url = web.url("/git/app.git");
    build(&project(&format!("FROM scratch\nADD --checksum={} {url}#main /\n", &second[..12])));
    let project = project(&format!("FROM scratch\nADD --checksum={first} {url}#main /\n"));
    let message = format!("`{url}#main` is at commit {second}, not {first}");
    project.mab(&BUILD).run().failed(4).says(&message).says("Dockerfile:2");
}

#[test]
fn the_repository_can_come_along() {
    if !needs("git") {
        return;
    }
    let repository = Repository::new("app");
    let first = repository.file("file", "one").commit(1_400_000_000);
    let commit = repository.file("file", "two").commit(1_500_000_000);
    repository.git(&["tag", "--annotate", "--message=v1", "v1"]);
    repository.publish();
    let web = served(&repository);
    let url = web.url("/git/app.git");
    for (reference, flag, commit) in [
        ("#main", "--keep-git-dir", &commit),
        ("?keep-git-dir=true#v1", "", &commit),
        (&format!("#{first}"), "--keep-git-dir=true", &first),
    ] {
        let project = project(&format!("FROM scratch\nADD {flag} {url}{reference} /src/\n"));
        project.bake(&["app", "-o", "type=local,dest=out"]);
        let folder = project.path("out/src");
        let git = |arguments: &[&str]| {
            let output = std::process::Command::new("git")
                .args(["-c", "safe.directory=*"])
                .args(arguments)
                .current_dir(&folder)
                .output()
                .unwrap();
            String::from_utf8_lossy(&output.stdout).trim().to_string()
        };
        assert_eq!(git(&["rev-parse", "HEAD"]), **commit, "{reference}");
        assert_eq!(git(&["config", "remote.origin.url"]), url, "{reference}");
        assert_eq!(git(&["status", "--porcelain"]), "", "{reference}");
    }
}

#[test]
fn submodules_come_unless_they_are_not_wanted() {
    if !needs("git") {
        return;
    }
    let inner = Repository::new("inner");
    inner.file("inner-file", "inner").commit(1_400_000_000);
    let repository = Repository::new("app");
    repository.file("file", "one").commit(1_400_000_000);
    // One folder serves both.
    let web = Web::start();
    std::fs::rename(inner.served().join("inner.git"), repository.served().join("inner.git")).unwrap();
    web.repositories(&repository.served(), None);
    repository.git(&["submodule", "--quiet", "add", &web.url("/git/inner.git"), "module"]);
    repository.commit(1_500_000_000);
    let url = web.url("/git/app.git");
    for (query, expected) in [("", true), ("?submodules=false", false)] {
        let project = project(&format!("FROM scratch\nADD {url}{query} /\n"));
        build(&project);
        let image = image(&project);
        assert_eq!(image.has("module/inner-file"), expected, "{query}");
        assert!(!image.has("module/.git"), "{query}");
        assert_eq!(image.text("file"), "one", "{query}");
    }
}

#[test]
fn submodules_are_named_from_where_they_are_and_passwords_stay_out_of_files() {
    if !needs("git") {
        return;
    }
    let [deep, inner, repository] = ["deep", "inner", "app"].map(Repository::new);
    deep.file("file", "deep").commit(1_400_000_000);
    repository.file("file", "one").commit(1_400_000_000);
    let group = repository.served().join("group");
    std::fs::create_dir(&group).unwrap();
    let web = Web::start();
    web.repositories(&repository.served(), None);
    let module = |of: &Repository, module: &Repository, name: &str, url: &str| {
        let bare = format!("{name}.git");
        std::fs::rename(module.served().join(&bare), group.join(&bare)).unwrap();
        of.git(&["submodule", "--quiet", "add", &web.url(&format!("/git/group/{bare}")), name]);
        of.file(".gitmodules", &format!("[submodule \"{name}\"]\n\tpath = {name}\n\turl = {url}\n"));
        of.commit(1_500_000_000);
    };
    module(&inner, &deep, "deep", "../deep.git");
    module(&repository, &inner, "inner", "../group/inner.git");
    // What `user:pa55w0rd` is in base 64.
    web.repositories(&repository.served(), Some("Basic dXNlcjpwYTU1dzByZA=="));
    let url = web.url("/git/app.git").replace("http://", "http://user:pa55w0rd@");
    let project = project(&format!("FROM scratch\nADD --keep-git-dir {url} /\n"));
    project.bake(&["app", "-o", "type=local,dest=out"]);
    assert_eq!(std::fs::read_to_string(project.path("out/inner/deep/file")).unwrap(), "deep");
    for path in walk(&project.path("out")) {
        let content = std::fs::read(&path).unwrap();
        assert!(!String::from_utf8_lossy(&content).contains("pa55w0rd"), "{}", path.display());
    }
}

#[test]
fn a_token_opens_a_private_repository() {
    if !needs("git") {
        return;
    }
    let repository = Repository::new("app");
    repository.file("file", "one").commit(1_400_000_000);
    let web = Web::start();
    // What `x-access-token:t0ken` is in base 64.
    web.repositories(&repository.served(), Some("basic eC1hY2Nlc3MtdG9rZW46dDBrZW4="));
    let file = format!("{FILE}secret = [{{ id = \"GIT_AUTH_TOKEN\", env = \"TOKEN\" }}]\n");
    let project =
        Project::of(&file).file("Dockerfile", &format!("FROM scratch\nADD {} /\n", web.url("/git/app.git")));
    let ran = project.mab(&BUILD).with_env("TOKEN", "t0ken").run().succeeded();
    assert!(!(ran.stdout + &ran.stderr).contains("t0ken"));
    assert_eq!(image(&project).text("file"), "one");
    project.mab(&BUILD).run().failed(4).says("GIT_AUTH_TOKEN").says("Dockerfile:2");
}

#[test]
fn a_token_stays_where_it_is_for_when_a_repository_moved() {
    if !needs("git") {
        return;
    }
    let repository = Repository::new("app");
    repository.file("file", "one").commit(1_400_000_000);
    let (new, old) = (served(&repository), Web::start());
    let refs = "app.git/info/refs?service=git-upload-pack";
    old.redirect(&format!("/{refs}"), &new.url(&format!("/git/{refs}")));
    let file = format!("{FILE}secret = [{{ id = \"GIT_AUTH_TOKEN\", env = \"TOKEN\" }}]\n");
    let project =
        Project::of(&file).file("Dockerfile", &format!("FROM scratch\nADD {} /\n", old.url("/app.git")));
    let ran = project.mab(&BUILD).with_env("TOKEN", "t0ken").run();
    ran.failed(4).says("the repository has moved").says("Dockerfile:2");
    let told = |web: &Web| web.requests().iter().any(|request| request.contains("authorization="));
    assert_eq!((told(&old), told(&new)), (true, false));
    // Without a secret there is none to be told.
    build(&project);
    assert_eq!(image(&project).text("file"), "one");
}

#[test]
fn servers_that_know_little_give_everything() {
    if !needs("git") {
        return;
    }
    let repository = Repository::new("app");
    repository.file("file", "one").commit(1_400_000_000);
    // Files of the repository as plain pages: the protocol that knows no shallow fetch.
    let web = Web::start();
    let root = repository.served();
    for path in walk(&root) {
        let name = path.strip_prefix(&root).unwrap().display().to_string();
        web.page(&format!("/{name}"), std::fs::read(&path).unwrap());
    }
    let refs = std::fs::read(root.join("app.git/info/refs")).unwrap();
    web.page("/app.git/info/refs?service=git-upload-pack", refs);
    let project = project(&format!("FROM scratch\nADD {} /\n", web.url("/app.git#main")));
    build(&project);
    assert_eq!(image(&project).text("file"), "one");
}

fn walk(folder: &std::path::Path) -> Vec<std::path::PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).expect("the folder is ours") {
        let path = entry.expect("the folder is ours").path();
        if path.is_dir() { files.extend(walk(&path)) } else { files.push(path) }
    }
    files
}

#[test]
fn what_is_not_there_is_told() {
    if !needs("git") {
        return;
    }
    let repository = Repository::new("app");
    let commit = repository.file("file", "one").commit(1_400_000_000);
    std::os::unix::fs::symlink("/etc", repository.path("link")).unwrap();
    let commit = {
        let _ = commit;
        repository.commit(1_400_000_001)
    };
    let web = served(&repository);
    let url = web.url("/git/app.git");
    for (source, code, message) in [
        (format!("{url}#missing"), 2, format!("the repository `{url}` has no ref `missing`")),
        (format!("{url}#main:none"), 2, format!("commit {commit} of `{url}` has no folder `none`")),
        (format!("{url}#main:link"), 2, format!("commit {commit} of `{url}` has no folder `link`")),
        (web.url("/git/absent.git"), 4, "git cannot ask for the default branch of".to_string()),
        (
            "git://127.0.0.1:1/x".to_string(),
            4,
            "git cannot ask for the default branch of `git://127.0.0.1:1/x`".to_string(),
        ),
        (format!("{url}?ref=--upload-pack=touch"), 2, "is no ref: it would be an option of git".to_string()),
    ] {
        let project = project(&format!("FROM scratch\nADD {source} /\n"));
        project.mab(&BUILD).run().failed(code).says(&message).says("Dockerfile:2");
    }
}
