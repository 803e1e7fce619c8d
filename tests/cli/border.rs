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
