//! Flags of bake that change what is asked, and lists of what there is.

use serde_json::{Value, json};

use crate::support::Project;

#[test]
fn targets_and_variables_are_listed() {
    let own = Project::of(
        "[vars]\ngo = \"1.23\"\n[var.channels]\ntype = \"list\"\ndefault = [\"a\"]\nhelp = \"where to\"\n\
         [var.token]\nsecret = true\nenv = \"TOKEN\"\n\
         [group.default]\ntargets = [\"web\"]\n[target._t]\n[target.web]\ndescription = \"the shop\"\n[target.api]\n",
    );
    let list = |project: &Project, what: &str| {
        project.mab(&["bake", "--list", what]).with_env("TOKEN", "x").run().succeeded().stdout
    };
    assert_eq!(list(&own, "targets"), "TARGET   DESCRIPTION\ndefault  web\napi\nweb      the shop\n");
    assert_eq!(
        list(&own, "variables"),
        "VARIABLE  TYPE    VALUE  DESCRIPTION\nchannels  list    [\"a\"]  where to\ngo        string  1.23\ntoken     string  ***\n"
    );
    let bake = Project::new().file(
        "docker-bake.hcl",
        "variable \"GO\" {\n  type = string\n  default = \"1.23\"\n  description = \"the compiler\"\n}\n\
         variable \"NUMBERS\" { default = [1, 2] }\ngroup \"all\" { targets = [\"a\"] }\n\
         target \"a\" { description = \"one\" }\ntarget \"_b\" {}\n",
    );
    let parsed = |what: &str| serde_json::from_str::<Value>(&list(&bake, what)).expect("it is JSON");
    assert_eq!(
        parsed("type=targets,format=json"),
        json!([{ "name": "a", "description": "one" }, { "name": "all", "description": "a", "group": true }])
    );
    assert_eq!(
        parsed("variables,format=json"),
        json!([
            { "name": "GO", "description": "the compiler", "type": "string", "value": "1.23" },
            { "name": "NUMBERS", "value": "[1,2]" }
        ])
    );
    own.mab(&["bake", "--list", "tragets"]).run().failed(2).says("there are `targets`");
}

#[test]
fn attestations_that_nobody_writes_are_refused_and_none_is_accepted() {
    let own = Project::of("[target.default]\ndockerfile-inline = \"FROM scratch\\nENV A=1\"\n");
    let bake = Project::new().file(
        "docker-bake.hcl",
        "target \"default\" {\n  dockerfile-inline = \"FROM scratch\\nENV A=1\"\n}\n",
    );
    for project in [own, bake] {
        for asked in [&["--sbom"][..], &["--provenance=mode=max"], &["--attest", "type=sbom"]] {
            project.mab(&["bake"]).with(asked).run().failed(2).says("attest");
        }
        project.bake(&[
            "--sbom=false",
            "--provenance=false",
            "--attest",
            "type=sbom,disabled=true",
            "--builder=default",
        ]);
        project.mab(&["bake", "--builder", "farm"]).run().failed(2).says("there is no builder `farm`");
    }
}
