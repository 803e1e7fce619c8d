//! `mab bake URL`: build files of a repository that git serves, and files over HTTP.

use crate::support::surroundings::needs;
use crate::support::{Layout, Project, Repository, Web};

const BAKE: &str = r#"
variable "TAG" { default = "dev" }

target "default" {
  dockerfile = "Containerfile"
  contexts = { more = "more" }
  platforms = ["linux/amd64"]
  output = ["type=oci,dest=out.tar"]
  tags = ["r.example/app:${TAG}"]
}

target "mine" {
  inherits = ["default"]
  context = "cwd://"
  dockerfile-inline = "FROM scratch\nCOPY mine /\n"
}

target "torn" {
  inherits = ["default"]
  context = "cwd://"
}

target "reaching" {
  inherits = ["default"]
  contexts = { more = "out" }
}

target "secretive" {
  inherits = ["default"]
  secret = ["id=key,src=../key"]
}

target "asked" {
  inherits = ["default"]
  args = { WHERE = BAKE_CMD_CONTEXT }
}
"#;

fn repository() -> Repository {
    let repository = Repository::new("app");
    repository
        .file("docker-bake.hcl", BAKE)
        .file("Containerfile", "FROM scratch\nCOPY a /\nCOPY --from=more b /\n");
    repository
        .file("a", "one")
        .file("more/b", "two")
        .file("sub/docker-bake.hcl", "target \"default\" {\n  tags = [\"x:sub\"]\n}\n");
    std::os::unix::fs::symlink("/etc", repository.path("out")).expect("the folder is ours");
    std::os::unix::fs::symlink("/etc/hostname", repository.path("link.hcl")).expect("the folder is ours");
    repository.commit(1_400_000_000);
    repository
}

fn served(repository: &Repository) -> Web {
    let web = Web::start();
    web.repositories(&repository.served(), None);
    web
}

#[test]
fn a_bake_file_of_a_repository_is_built_with_its_files() {
    if !needs("git") {
        return;
    }
    let repository = repository();
    let web = served(&repository);
    let url = web.url("/git/app.git#main");
    let project = Project::new().file("mine", "mine");
    project.mab(&["bake", &url]).run().succeeded();
    let image = Layout::open(&project.path("out.tar")).only_image();
    assert_eq!((image.text("a"), image.text("b")), ("one".to_string(), "two".to_string()));
    project.mab(&["bake", &url, "mine", "--set", "mine.contexts.more="]).run().succeeded();
    assert_eq!(Layout::open(&project.path("out.tar")).only_image().text("mine"), "mine");
    let printed = project.mab(&["bake", &format!("{url}:sub"), "--print"]).run().succeeded().stdout;
    assert!(printed.contains("x:sub"), "{printed}");
    project.write("here.hcl", "target \"default\" {\n  args = { WHO = \"here\" }\n}\n");
    let files = ["bake", &url, "-f", "docker-bake.hcl", "-f", "cwd://here.hcl", "--print"];
    let printed = project.mab(&files).run().succeeded().stdout;
    assert!(printed.contains("\"WHO\": \"here\"") && printed.contains("\"context\": \".\""), "{printed}");
    let other = web.url("/git/other.git");
    let printed = project.mab(&["bake", &url, &other, "asked", "--print"]).run().succeeded().stdout;
    assert!(printed.contains(&format!("\"WHERE\": \"{other}\"")), "{printed}");
    project.mab(&["plan", &url]).run().succeeded();
}

#[test]
fn it_reaches_no_further_than_its_files_and_the_folder_it_is_baked_in() {
    if !needs("git") {
        return;
    }
    let repository = repository();
    let web = served(&repository);
    let url = web.url("/git/app.git");
    let project = Project::new().file("mine", "mine");
    project.mab(&["bake", &url, "reaching"]).run().failed(2).says("--allow fs.read=/etc");
    let outside = project.folder().join("key");
    std::fs::write(&outside, "private").expect("the folder is ours");
    let ran = project.mab(&["bake", &url, "secretive"]).run().failed(2);
    ran.says("the build file is not from here").says("/key`");
    project.mab(&["bake", &url, "secretive"]).with_env("BAKE_ALLOW_REMOTE_FS_ACCESS", "1").run().succeeded();
    project
        .mab(&["bake", &url, "torn"])
        .run()
        .failed(2)
        .says("the context is here, and the Dockerfile elsewhere");
    let said = "there is no file `link.hcl` in";
    project.mab(&["bake", &url, "-f", "link.hcl", "--print"]).run().failed(2).says(said);
    project
        .mab(&["bake", &url, "-f", "../../x", "--print"])
        .run()
        .failed(2)
        .says("there is no file `../../x`");
    project.mab(&["bake", &url, "--changed"]).run().failed(2).says("`--changed` compares files here");
}

#[test]
fn our_own_format_comes_from_elsewhere_as_well() {
    if !needs("git") {
        return;
    }
    let repository = Repository::new("app");
    let file = "[target.default]\nplatforms = [\"linux/amd64\"]\noutput = [\"type=oci,dest=own.tar\"]\n\
                args = { HOST = \"{{ env('WHO', 'nobody') }}\" }\n";
    repository
        .file("multiarch.toml", file)
        .file("Dockerfile", "FROM scratch\nARG HOST\nLABEL who=$HOST\nCOPY a /\n");
    repository.file("a", "one").commit(1_400_000_000);
    let web = served(&repository);
    let url = web.url("/git/app.git");
    let project = Project::new();
    project.mab(&["bake", &url]).run().succeeded();
    assert_eq!(Layout::open(&project.path("own.tar")).only_image().text("a"), "one");
    let asking = || project.mab(&["bake", &url]).with_env("WHO", "me");
    asking().run().failed(2).says("reads the variable `WHO`").says("--allow env=WHO");
    asking().with(&["--allow", "env=WHO"]).run().succeeded();
    let printed = project.mab(&["bake", &url, "--print"]).run().succeeded().stdout;
    assert!(printed.contains("\"context\": \".\""), "{printed}");
}

#[test]
fn a_token_is_for_the_build_file_and_a_file_may_come_alone() {
    if !needs("git") {
        return;
    }
    let repository = repository();
    let web = Web::start();
    web.repositories(&repository.served(), Some("basic eC1hY2Nlc3MtdG9rZW46dG9rZW4="));
    let url = web.url("/git/app.git");
    let project = Project::new().file("Dockerfile", "FROM scratch\nCOPY Dockerfile /\n");
    project.mab(&["bake", &url, "--print"]).run().failed(4);
    project.mab(&["bake", &url, "--print"]).with_env("BUILDX_BAKE_GIT_AUTH_TOKEN", "token").run().succeeded();
    web.page(
        "/bake.hcl",
        "target \"default\" {\n  output = [\"type=oci,dest=out.tar\"]\n  platforms = [\"linux/amd64\"]\n}\n",
    );
    project.mab(&["bake", &web.url("/bake.hcl")]).run().succeeded();
    assert!(Layout::open(&project.path("out.tar")).only_image().has("Dockerfile"));
    web.page("/multiarch.toml", "[target.default]\n");
    let alone = project.mab(&["bake", &web.url("/multiarch.toml"), "--print"]).run().failed(2);
    alone.says("a multiarch.toml without its folder");
}
