//! Files of others: what one of a pull request may reach outside of its folder.

use crate::support::{Mab, Project};

const FILE: &str = r#"
[var.token]
default = "none"
env = "TOKEN"

[target.default]
context = "../shared"
tags = ["example.com/app:{{ env('STAMP', 'x') }}-{{ vars.token }}"]
output = ["type=oci,dest=../out.tar"]
secret = [{ id = "key", src = "link" }, { id = "npm", env = "NPM" }]
ssh = ["default"]
"#;

fn project() -> Project {
    let project = Project::new().file("app/multiarch.toml", FILE).file("shared/Dockerfile", "FROM scratch\n");
    project.write("key", "private");
    std::os::unix::fs::symlink("../key", project.path("app/link")).expect("the folder is writable");
    project
}

fn print(project: &Project, more: &[&str]) -> Mab {
    let mab = project.mab(&["bake", "--print", "-f", "app"]).with(more);
    mab.with_env("STAMP", "7").with_env("TOKEN", "t").with_env("NPM", "n")
}

#[test]
fn a_file_of_ones_own_is_not_stopped() {
    print(&project(), &[]).run().succeeded();
}

#[test]
fn everything_that_is_missing_is_said_at_once() {
    let project = project();
    let pull_request = print(&project, &[]).with_env("GITHUB_ACTIONS", "true").with_env("CI", "true");
    let ran = pull_request.with_env("GITHUB_EVENT_NAME", "pull_request").run().failed(2);
    assert_eq!(ran.stdout, "");
    let said: String = ran.stderr.split_whitespace().collect::<Vec<_>>().join(" ");
    for flag in ["env=NPM", "env=STAMP", "env=TOKEN", "ssh"] {
        assert!(said.contains(&format!("--allow {flag}")), "{said}");
    }
    for path in ["out.tar", "shared", "key"] {
        assert!(said.contains(&format!("/{path}`")), "{path}: {said}");
    }
    assert!(!said.contains("/link"), "symlinks are followed: {said}");
    assert!(said.contains("multiarch.toml:"), "{said}");
}

#[test]
fn what_is_granted_may_be_reached() {
    let project = project();
    let folder = project.path(".").canonicalize().expect("the folder is there");
    let grants = ["--allow", "ssh,env=TOKEN,env=ST*,env=NPM,fs.write=out.tar,fs.read=key"];
    let bordered = |more: &[&str]| print(&project, more).with_env("MAB_BORDER", "on");
    let said = bordered(&grants).run().failed(2).stderr;
    assert!(said.contains("fs.read") && !said.contains("fs.write"), "{said}");
    let shared = format!("fs.read={}", folder.join("shared").display());
    bordered(&grants).with(&["--allow", &shared]).run().succeeded();
    bordered(&grants).with_env("MAB_ALLOW", &shared).run().succeeded();
    bordered(&grants[..0]).with(&["--allow", "fs=*,ssh,env=*"]).run().succeeded();
    let said = bordered(&[]).with_env("MAB_ALLOW", "fs").run().failed(2).stderr;
    assert!(said.contains("`MAB_ALLOW` has `fs`"), "{said}");
}

/// What a run says in words, under the border.
fn refused(project: &Project, arguments: &[&str]) -> String {
    let mab = project.mab(arguments).with_env("MAB_BORDER", "on").with_env("TOKEN", "hunter2");
    let ran = mab.with_env("STAMP", "7").run().failed(2);
    assert!(!ran.stderr.contains("hunter2") && ran.stdout.is_empty(), "{}{}", ran.stdout, ran.stderr);
    ran.stderr.split_whitespace().filter(|word| *word != "│").collect::<Vec<_>>().join(" ")
}

fn granted(project: &Project, arguments: &[&str], grants: &str) -> String {
    let mab = project.mab(arguments).with(&["--allow", grants]).with_env("MAB_BORDER", "on");
    mab.with_env("TOKEN", "hunter2").with_env("STAMP", "7").run().succeeded().stdout
}

#[test]
fn explanations_show_what_is_granted_alone() {
    let project = Project::of(
        "[var.token]\nenv = \"TOKEN\"\n[target.default]\nlabels.a = \"{{ env('STAMP') }}\"\n[target.other]\ncontext = \"../shared\"\n",
    );
    for path in ["default.labels.a", "vars.token", "other.context"] {
        let said = refused(&project, &["explain", path]);
        assert!(said.contains("--allow env=STAMP --allow env=TOKEN"), "{said}");
        assert_eq!(said.contains("fs.read="), path == "other.context", "{said}");
        assert!(
            said.contains("multiarch.toml:2:7") && said.contains("╰── reads the variable `STAMP`"),
            "{said}"
        );
    }
    let explained = granted(&project, &["explain", "default.labels.a"], "env=STAMP,env=TOKEN");
    assert!(explained.starts_with("default.labels.a = \"7\"\n"), "{explained}");
    assert!(granted(&project, &["explain", "vars.token"], "env=*").starts_with("vars.token = \"hunter2\"\n"));
    granted(&project, &["explain", "other.context"], "env=*,fs.read=../shared");
}

#[test]
fn lists_of_variables_show_what_is_granted_alone() {
    let own = Project::of("[var.token]\nenv = \"TOKEN\"\n[target.default]\n");
    let bake = Project::new().file("docker-bake.hcl", "variable \"TOKEN\" {}\ntarget \"default\" {}\n");
    for project in [own, bake] {
        let arguments = ["bake", "--list", "variables"];
        assert!(refused(&project, &arguments).contains("--allow env=TOKEN"));
        assert!(granted(&project, &arguments, "env=TOKEN").contains("hunter2"));
    }
}

#[test]
fn variables_of_bake_files_are_granted() {
    let file = "variable \"TOKEN\" {\n  default = \"none\"\n}\nvariable \"UNSET\" {}\n\
                target \"default\" {\n  context = \"../shared\"\n  args = { A = TOKEN, B = UNSET }\n}\n";
    let project = Project::new().file("docker-bake.hcl", file);
    for arguments in [&["bake", "--print"][..], &["bake"], &["explain", "default.args"]] {
        let said = refused(&project, arguments);
        assert!(said.contains("--allow env=TOKEN --allow fs.read=/"), "{said}");
        assert!(!said.contains("`UNSET`"), "{said}");
        assert!(said.contains("docker-bake.hcl:1:10"), "{said}");
    }
    let printed = granted(&project, &["bake", "--print"], "env=TOKEN,fs.read=../shared");
    assert!(printed.contains("hunter2"), "{printed}");
    // What the command line gives is no question to the environment.
    granted(&project, &["bake", "--print", "--var", "TOKEN=x"], "fs.read=../shared");
    project.mab(&["bake", "--print"]).with_env("TOKEN", "hunter2").run().succeeded();
}

#[test]
fn interpolation_in_compose_files_is_granted() {
    let file = "services:\n  a:\n    image: example.com/a:${STAMP:-1}\n    build:\n      context: .\n      args:\n        - TOKEN\n        - PLAIN=$$STAMP\n";
    let project = Project::new().file("compose.yaml", file);
    let said = refused(&project, &["bake", "--print"]);
    assert!(said.contains("--allow env=STAMP --allow env=TOKEN"), "{said}");
    assert!(said.contains("compose.yaml:3:12") && said.contains("╰── reads the variable `TOKEN`"), "{said}");
    let printed = granted(&project, &["bake", "--print"], "env=STAMP,env=TOKEN");
    assert!(printed.contains("a:7") && printed.contains("hunter2"), "{printed}");
    // A variable of `.env` is the file's own; what that asks for is not.
    let project = Project::new().file("compose.yaml", &file.replace("TOKEN", "OWN"));
    project.write(".env", "STAMP=1\nOWN=x-${TOKEN}\nHOME_PAGE=TOKEN\n");
    let said = refused(&project, &["bake", "--print"]);
    assert!(said.contains("--allow env=STAMP --allow env=TOKEN"), "{said}");
}

#[test]
fn files_that_a_build_file_brings_along_are_in_its_folder() {
    for (name, text) in [
        ("multiarch.toml", "include = [\"../secret\"]\n[target.default]\n"),
        ("multiarch.toml", "include = [\"link/secret\"]\n[target.default]\n"),
        ("compose.yaml", "include: [../secret]\nservices: {a: {build: .}}\n"),
        ("compose.yaml", "services:\n  a:\n    extends: {file: ../secret, service: b}\n    build: .\n"),
        ("compose.yaml", "services:\n  a:\n    env_file: ../secret\n    build: {context: ., args: [X]}\n"),
    ] {
        let project = outside(name, text);
        let said = refused(&project, &["bake", "--print"]);
        assert!(said.contains("if you trust it, add `--allow fs.read=/"), "{said}");
        let granted = project.mab(&["bake", "--print", "--allow", "fs.read=.."]).with_env("MAB_BORDER", "on");
        assert!(granted.run().failed(2).stderr.contains("hunter2"), "{text}");
    }
    // A pattern finds nothing there.
    let project = outside("multiarch.toml", "include = [\"link/*\"]\n[target.default]\n");
    project.mab(&["bake", "--print"]).with_env("MAB_BORDER", "on").run().succeeded();
}

/// Beside the build file's folder is a file, there is a folder with another, and a link leads to that.
fn outside(name: &str, text: &str) -> Project {
    let project = Project::new().file(name, text);
    project.write("../secret", "hunter2 is = not TOML: {\n");
    project.write("../folder/secret", "hunter2 is = not TOML: {\n");
    std::os::unix::fs::symlink("../folder", project.path("link")).expect("the folder is writable");
    project
}

#[test]
fn a_secret_variable_asks_for_its_grant() {
    let project = Project::of(
        "[var.token]\nenv = \"TOKEN\"\nsecret = true\n[target.default]\nsecret = [{ id = \"npm\", var = \"token\" }]\n",
    );
    for arguments in [&["bake", "--print"][..], &["bake"], &["plan"], &["explain", "default.secret"]] {
        let said = refused(&project, arguments);
        assert_eq!(said.matches("--allow").count(), 1, "{said}");
        assert!(said.contains("--allow env=TOKEN") && said.contains("multiarch.toml:2:7"), "{said}");
    }
    let printed = granted(&project, &["bake", "--print"], "env=TOKEN");
    assert!(printed.contains("\"TOKEN\"") && !printed.contains("hunter2"), "{printed}");
    assert!(!granted(&project, &["explain", "vars.token"], "env=TOKEN").contains("hunter2"));
}

#[test]
fn every_grant_of_bake_is_taken_or_explained() {
    let project = Project::of("[target.default]\ndockerfile-inline = \"FROM scratch\"\n");
    for taken in ["image=r.example/*", "image.push=*", "image.load=x", "ssh", "fs=*", "fs.read=a,fs.write=b"]
    {
        project.mab(&["bake", "--print", "--allow", taken]).run().succeeded();
    }
    for (refused, said) in [
        ("device=vendor.example/gpu", "`RUN --device` is not supported"),
        ("device", "steps get no devices here"),
        ("buildx.local.delete", "deletes nothing here"),
        ("network", "there are `network.host`, `security.insecure`"),
    ] {
        project.mab(&["bake", "--print", "--allow", refused]).run().failed(2).says(said);
    }
}
