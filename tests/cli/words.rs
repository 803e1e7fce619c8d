//! Words of the file that say more than how an image is built: what is done with them, and what is told where
//! nothing can be done yet.

use crate::support::{Layout, Project, base};

/// Everything that no engine of this version does, in a target of its own, beside one that asks for nothing.
const WISHES: &str = r#"
[project]
platforms = ["linux/amd64"]
[cache.ci]
type = "registry"
ref = "r.example/cache"
[target._t]
dockerfile-inline = "FROM scratch"
[target.plain]
inherits = ["_t"]
verify = "off"
attest = ["type=provenance,disabled=true"]
on."linux/amd64".allow-failure = false
[target.cached]
inherits = ["_t"]
cache = ["ci"]
cache-to = ["type=inline"]
[target.attested]
inherits = ["_t"]
attest = ["type=sbom"]
policy = ["filename=x.rego"]
[target.tested]
inherits = ["_t"]
verify = "error"
resources = { memory = "1g" }
test.starts = { run = ["/server"] }
on."linux/amd64" = { allow-failure = true, worker-labels = { pool = "arm" } }
"#;

#[test]
fn what_cannot_be_done_yet_is_told_of_the_selected_targets() {
    let project = Project::of(WISHES);
    project.mab(&["plan", "plain", "cached"]).run().succeeded();
    for (target, keys) in [
        ("attested", &["attest", "policy"][..]),
        ("tested", &["resources", "allow-failure", "worker-labels"]),
    ] {
        let ran = project.mab(&["plan", target, "plain"]).run().failed(2);
        for key in keys {
            assert!(
                ran.stderr.contains(&format!("target `{target}` asks for `{key}`, but")),
                "{}",
                ran.stderr
            );
        }
        assert_eq!(ran.stderr.matches("plan::unsupported").count(), keys.len(), "{}", ran.stderr);
    }
}

#[test]
fn platforms_go_by_the_names_of_sets() {
    let project = Project::of(
        "[platforms]\nservers = [\"linux/amd64\", \"linux/arm64\"]\n[target.default]\n\
         platforms = [\"servers\", \"linux/riscv64\"]\ndockerfile-inline = \"FROM scratch\"\n",
    );
    let ran = project.mab(&["plan", "--platform", "servers"]).run().succeeded();
    assert!(ran.stdout.contains("linux/arm64") && !ran.stdout.contains("riscv64"), "{}", ran.stdout);
    let ran = project.mab(&["plan", "--platform", "server"]).run().failed(2);
    assert!(ran.stderr.contains("did you mean `servers`?"), "{}", ran.stderr);
    project.mab(&["plan", "--platform", "linux/amd46"]).run().failed(2);
}

#[test]
fn an_epoch_of_the_file_yields_to_the_environment() {
    let Some(base) = base() else { return };
    let project = Project::of(&format!(
        "[project]\nplatforms = [\"linux/amd64\"]\nsource-date-epoch = 1000\n[target.default]\n\
         contexts = {{ busybox = \"oci-layout://{}\" }}\n\
         dockerfile-inline = \"FROM busybox\\nARG SOURCE_DATE_EPOCH\\nRUN echo $SOURCE_DATE_EPOCH > /epoch\"\n",
        base.display()
    ));
    let epoch = |environment: &[(&str, &str)]| {
        let mut mab = project.mab(&["bake", "-o", "type=oci,dest=out.tar"]);
        for (name, value) in environment {
            mab.env(name, value);
        }
        mab.run().succeeded();
        let image = Layout::open(&project.path("out.tar")).only_image();
        (image.text("epoch"), image.config["created"].as_str().unwrap_or_default().to_string())
    };
    assert_eq!(epoch(&[]), ("1000\n".to_string(), "1970-01-01T00:16:40Z".to_string()));
    let given = [("SOURCE_DATE_EPOCH", "2000")];
    assert_eq!(epoch(&given), ("2000\n".to_string(), "1970-01-01T00:33:20Z".to_string()));
}

#[test]
fn a_bake_refuses_what_the_working_tree_does_not_fulfil() {
    let project = Project::of(
        "[project]\nplatforms = [\"linux/amd64\"]\n[target.default]\nrequire = [\"clean\", \"tag\"]\n\
         dockerfile-inline = \"FROM scratch\"\n",
    );
    let ran = project.mab(&["bake"]).run().failed(2);
    assert!(
        ran.stderr.contains("there is no git commit to be clean or tagged, or on a branch"),
        "{}",
        ran.stderr
    );
    project.mab(&["plan"]).run().succeeded();
    project.git(&["init", "-q"]);
    project.git(&["add", "."]);
    project.git(&["commit", "-q", "-m", "one"]);
    let ran = project.mab(&["bake"]).run().failed(2);
    assert!(ran.stderr.contains("no tag points at the commit"), "{}", ran.stderr);
    assert!(!ran.stderr.contains("tracked files differ"), "{}", ran.stderr);
    project.git(&["tag", "v1.0.0"]);
    project.edit("multiarch.toml", "[project]", "# changed\n[project]");
    let ran = project.mab(&["bake"]).run().failed(2);
    assert!(ran.stderr.contains("tracked files differ from the commit"), "{}", ran.stderr);
    project.git(&["commit", "-q", "-a", "-m", "two"]);
    project.git(&["tag", "v1.1.0"]);
    project.mab(&["bake"]).run().succeeded();
}

#[test]
fn several_targets_go_by_a_pattern_or_a_label() {
    let project = Project::of(
        "[project]\nplatforms = [\"linux/amd64\"]\n[group.default]\ntargets = [\"label:team=web\"]\n\
         [target._t]\ndockerfile-inline = \"FROM scratch\"\n\
         [target.api-one]\ninherits = [\"_t\"]\nneeds = [\"base\"]\n[target.api-two]\ninherits = [\"_t\"]\n\
         [target.base]\ninherits = [\"_t\"]\n\
         [target.site]\ninherits = [\"_t\"]\nlabels = { team = \"web\", tier = \"front\" }\n",
    );
    let merged = |arguments: &[&str]| {
        let ran = project.mab(&[&["plan"], arguments].concat()).run().succeeded();
        let names = ["api-one", "api-two", "base", "site"];
        names.into_iter().filter(|name| ran.stdout.contains(&format!("merge {name}"))).collect::<Vec<_>>()
    };
    assert_eq!(merged(&[]), ["site"]);
    assert_eq!(merged(&["api-*"]), ["api-one", "api-two", "base"]);
    assert_eq!(merged(&["*-two", "label:tier"]), ["api-two", "site"]);
    let ran = project.mab(&["plan", "web-*"]).run().failed(2);
    assert!(ran.stderr.contains("no target matches `web-*`"), "{}", ran.stderr);
    assert!(ran.stderr.contains("there are: api-one, api-two, base, site"), "{}", ran.stderr);
    let ran = project.mab(&["plan", "label:team=pay"]).run().failed(2);
    assert!(ran.stderr.contains("the labels are: team=web, tier=front"), "{}", ran.stderr);
}

#[test]
fn a_secret_variable_reaches_a_mount_and_nothing_that_is_printed() {
    let Some(base) = base() else { return };
    let project = Project::of(&format!(
        "[project]\nplatforms = [\"linux/amd64\"]\n[var.token]\nsecret = true\nenv = \"TOKEN\"\n[target.default]\n\
         contexts = {{ busybox = \"oci-layout://{}\" }}\nsecret = [{{ id = \"npm\", var = \"token\" }}]\n\
         dockerfile-inline = \"FROM busybox\\nRUN --mount=type=secret,id=npm wc -c < /run/secrets/npm > /length\"\n",
        base.display()
    ));
    let mab =
        |arguments: &[&str]| project.mab(arguments).with_env("TOKEN", "hunter2-hunter2").run().succeeded();
    for arguments in
        [&["bake", "-o", "type=oci,dest=out.tar"][..], &["bake", "--print"], &["plan", "--format", "json"]]
    {
        let ran = mab(arguments);
        assert!(!format!("{}{}", ran.stdout, ran.stderr).contains("hunter2"), "{arguments:?}");
    }
    assert_eq!(Layout::open(&project.path("out.tar")).only_image().text("length").trim(), "15");
}
