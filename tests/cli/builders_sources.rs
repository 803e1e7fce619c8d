//! What ADD takes from repositories, on workers of a builder: the same files with the same times, whichever of the two
//! sides fetches them.

use std::path::Path;

use crate::builders::{configure, sockets, worker};
use crate::support::daemon::Daemon;
use crate::support::project::native;
use crate::support::surroundings::needs;
use crate::support::{Layout, Project, Repository, Web};

const TIME: u64 = 1_400_000_000;

const DOCKERFILE: &str = "\
FROM scratch
ADD URL#main:dir /dir/
ADD URL#main:dir/sub /sub/
ADD --chown=7:8 URL#main /all/
";

/// A repository, and the server that it lasts as long as.
fn served() -> (Repository, Web) {
    let repository = Repository::new("app");
    repository.file("file", "a file").file("dir/other", "other").file("dir/sub/inner", "inner");
    repository.commit(TIME as i64);
    let web = Web::start();
    web.repositories(&repository.served(), None);
    (repository, web)
}

/// Bakes what takes a whole repository and folders of it on a worker, and looks at what came of it.
fn check(socket: &Path) {
    let (_repository, web) = served();
    let file =
        format!("[target.app]\nplatforms = [\"{}\"]\noutput = [\"type=oci,dest=app.tar\"]\n", native());
    let dockerfile = DOCKERFILE.replace("URL", &web.url("/git/app.git"));
    let project = Project::of(&file).file("Dockerfile", &dockerfile);
    configure(&project, &[worker(format!("unix://{}", socket.display()), &[native().as_str()])]);
    project.bake(&["app", "--builder", "fleet"]);
    let image = Layout::open(&project.path("app.tar")).only_image();
    for (path, text, owner) in [
        ("dir/other", "other", (0, 0)),
        ("dir/sub/inner", "inner", (0, 0)),
        ("sub/inner", "inner", (0, 0)),
        ("all/file", "a file", (7, 8)),
        ("all/dir/sub/inner", "inner", (7, 8)),
    ] {
        let entry = image.entry(path);
        assert_eq!((image.text(path).as_str(), entry.mtime, entry.owner), (text, TIME, owner), "{path}");
    }
    for path in ["dir/file", "dir/inner", "sub/other", "all/.git"] {
        assert!(!image.has(path), "{path}");
    }
    assert_eq!(image.entry("dir/sub").mtime, TIME);
}

#[test]
fn folders_of_repositories_have_the_times_of_their_commit_on_workers() {
    let Some([socket, _]) = sockets() else { return };
    if needs("git") {
        check(&socket);
    }
}

/// The identifiers that workers see are the same.
#[test]
fn one_commit_with_several_options_is_taken_with_each() {
    let Some([socket, _]) = sockets() else { return };
    if !needs("git") {
        return;
    }
    let (_repository, web) = served();
    let file =
        format!("[target.app]\nplatforms = [\"{}\"]\noutput = [\"type=oci,dest=app.tar\"]\n", native());
    let add = |(options, folder)| format!("ADD {}?ref=main&{options} /{folder}/\n", web.url("/git/app.git"));
    let lines = [("keep-git-dir=true", "git"), ("keep-git-dir=false", "plain"), ("subdir=dir", "folder")];
    let dockerfile = format!("FROM scratch\n{}", lines.map(add).concat());
    let project = Project::of(&file).file("Dockerfile", &dockerfile);
    configure(&project, &[worker(format!("unix://{}", socket.display()), &[native().as_str()])]);
    project.bake(&["app", "--builder", "fleet"]);
    let image = Layout::open(&project.path("app.tar")).only_image();
    assert!(image.has("git/.git") && !image.has("plain/.git"));
    for path in ["git/file", "plain/file", "folder/other"] {
        assert_eq!(image.entry(path).mtime, TIME, "{path}");
    }

    // Frontends say nothing of the times that they are to have.
    let refused = |dockerfile: &str, arguments: &[&str]| {
        project.write("Dockerfile", dockerfile);
        project.mab(&[&["bake", "app", "--builder", "fleet"], arguments].concat()).run()
    };
    let line = add(("mtime=checkout", "now"));
    let ran = refused(&format!("{dockerfile}{line}"), &[]).failed(2).says("builder::git-times");
    ran.says("`app` asks for one repository with two kinds of `mtime`").says("Dockerfile:5:1");
    let hidden = format!("ARG TIMES\n{}", add(("mtime=$TIMES", "now")));
    let ran = refused(&format!("{dockerfile}{hidden}"), &["--set", "app.args.TIMES=checkout"]);
    ran.failed(3).says("does not do one repository with two kinds of `mtime`");
}

#[test]
fn a_folder_that_a_repository_does_not_have_is_told_with_its_line() {
    let Some([socket, _]) = sockets() else { return };
    if !needs("git") {
        return;
    }
    let (_repository, web) = served();
    let dockerfile = format!("FROM scratch\nADD {}#main:nowhere /\n", web.url("/git/app.git"));
    let project = Project::of("[target.app]\n").file("Dockerfile", &dockerfile);
    configure(&project, &[worker(format!("unix://{}", socket.display()), &[native().as_str()])]);
    let ran = project.mab(&["bake", "app", "--builder", "fleet", "--progress", "quiet"]).run();
    assert_ne!(ran.code, Some(0));
    ran.says("nowhere").says("Dockerfile:2:1");
}

/// It knows no other times than that of its checkout.
#[test]
fn the_oldest_worker_is_sent_the_files_of_repositories() {
    let Some(daemon) = Daemon::oldest() else { return };
    if !needs("git") {
        return;
    }
    check(&daemon.socket);
    let (_repository, web) = served();
    let dockerfile = format!("FROM scratch\nADD --keep-git-dir=true {}#main /\n", web.url("/git/app.git"));
    let project = Project::of("[target.app]\n").file("Dockerfile", &dockerfile);
    configure(&project, &[worker(format!("unix://{}", daemon.socket.display()), &[native().as_str()])]);
    let ran = project.mab(&["bake", "app", "--builder", "fleet"]).run().failed(2);
    ran.says("builder::language")
        .says("`app` asks for `ADD --keep-git-dir` with the times of the commit, and that needs Dockerfile 1.26")
        .says("Dockerfile:2:1");
}
