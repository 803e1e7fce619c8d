//! `mab check`: what it says to people and machines, how it ends, and what it looks at.

use serde_json::Value;

use crate::support::{Project, Ran, base};

const SUSPICIOUS: &str = "FROM scratch\nCOPY a /a\nCMD run\n";

fn check(project: &Project, arguments: &[&str]) -> Ran {
    project.mab(&["check", "--offline"]).with(arguments).run()
}

/// `LINE RULE` of every finding, from the JSON.
#[track_caller]
fn found(ran: &Ran) -> Vec<String> {
    let document: Value = serde_json::from_str(&ran.stdout).expect("the answer is JSON");
    let findings = document["findings"].as_array().expect("there are findings");
    findings
        .iter()
        .map(|one| format!("{} {}", one["start"]["line"], one["rule"].as_str().unwrap_or_default()))
        .collect()
}

#[test]
fn people_read_the_place_and_the_remedy() {
    let project = Project::new().file("Dockerfile", SUSPICIOUS);
    let ran = check(&project, &[]).succeeded();
    for text in
        ["JSONArgsRecommended", "Dockerfile:3:1", "write `CMD [\"run\"]`", "1 warning in 1 Dockerfile"]
    {
        assert!(ran.stdout.contains(text), "{text} is not in\n{}", ran.stdout);
    }
    assert_eq!(ran.stderr, "");
    let clean = Project::new().file("Dockerfile", "FROM scratch\nCOPY a /a\n");
    assert_eq!(check(&clean, &[]).succeeded().stdout, "nothing found in 1 Dockerfile\n");
}

#[test]
fn what_fails_says_so_by_its_exit_code() {
    let file = |text: &str| Project::new().file("Dockerfile", text);
    check(&file(SUSPICIOUS), &["--deny-warnings"]).failed(2);
    check(&file(&format!("# check=error=true\n{SUSPICIOUS}")), &[]).failed(2);
    check(&file(&format!("# check=skip=all;error=true\n{SUSPICIOUS}")), &[]).succeeded();
    let argument = ["--build-arg", "BUILDKIT_DOCKERFILE_CHECK=skip=JSONArgsRecommended;error=true"];
    check(&file(SUSPICIOUS), &argument).succeeded();
    let broken = check(&file("FROM scratch\nCOPPY a b\n"), &[]).failed(2);
    assert!(broken.stdout.contains("`COPPY` is not an instruction"), "{}", broken.stdout);
    check(&file(SUSPICIOUS), &["absent"]).failed(2);
}

#[test]
fn a_project_is_checked_once_for_all_its_targets() {
    let project = Project::of(
        "[project]\nplatforms = [\"linux/amd64\", \"linux/arm64\"]\n\
         [target.a]\ndockerfile = \"one\"\n[target.b]\ndockerfile = \"one\"\n\
         [target.c]\ndockerfile-inline = \"FROM scratch\\nARG TARGETARCH=amd64\\n\"\n",
    )
    .file("one", SUSPICIOUS);
    let ran = check(&project, &["--format", "json"]).succeeded();
    assert_eq!(found(&ran), ["2 arg-shadowed", "3 JSONArgsRecommended"]);
    let document: Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!(document["findings"][1]["targets"], serde_json::json!(["a", "b"]));
    assert_eq!(found(&check(&project, &["c", "--format", "json"])), ["2 arg-shadowed"]);
}

#[test]
fn the_build_file_chooses_rules() {
    let project = |lint: &str| {
        Project::of(&format!("[lint]\n{lint}\n[target.a]\nplatforms = [\"linux/amd64\"]\n"))
            .file("Dockerfile", SUSPICIOUS)
    };
    assert_eq!(
        check(&project("skip = [\"JSONArgsRecommended\"]"), &[]).succeeded().stdout,
        "nothing found in 1 Dockerfile\n"
    );
    check(&project("error = true"), &[]).failed(2);
    check(&project("error = [\"JSONArgsRecommended\"]"), &[]).failed(2);
    check(&project("error = [\"UndefinedVar\"]"), &[]).succeeded();
    check(&project("skip = [\"JsonArgsRecommended\"]"), &[])
        .failed(2)
        .says("did you mean `JSONArgsRecommended`?");
    let slip = check(&project("skips = []"), &[]).failed(2);
    assert!(slip.stdout.contains("did you mean `skip`?"), "{}", slip.stdout);
}

#[test]
fn bases_at_hand_are_looked_at() {
    let Some(base) = base() else { return };
    let project = Project::app(&base, "FROM busybox\nCOPY $undefined /a\n");
    project.edit("multiarch.toml", "linux/arm64", "linux/s390x");
    let ran = check(&project, &["--format", "json"]).failed(2);
    assert_eq!(found(&ran), ["1 base-misses-platform", "2 UndefinedVar"]);
    assert!(ran.stdout.contains("linux/s390x"), "{}", ran.stdout);
}

#[test]
fn the_ignore_file_is_that_of_the_context() {
    let project =
        Project::new().file("sub/Dockerfile", "FROM scratch\nCOPY a /a\n").file("sub/.dockerignore", "a\n");
    assert_eq!(found(&check(&project, &["sub/Dockerfile", "--format", "json"])), ["2 CopyIgnoredFile"]);
}

#[test]
fn sarif_names_rules_places_and_fingerprints() {
    let project = Project::new().file("Dockerfile", "FROM scratch AS Base\nCMD run\nCMD run\n");
    let ran = check(&project, &["--format", "sarif"]).succeeded();
    let document: Value = serde_json::from_str(&ran.stdout).expect("the answer is JSON");
    assert_eq!(document["version"], "2.1.0");
    let run = &document["runs"][0];
    let rules = run["tool"]["driver"]["rules"].as_array().expect("rules are described");
    assert!(
        rules
            .iter()
            .all(|rule| rule["help"]["text"].is_string() && rule["shortDescription"]["text"].is_string())
    );
    let results = run["results"].as_array().expect("there are results");
    assert_eq!(results.len(), 4);
    for result in results {
        let index = usize::try_from(result["ruleIndex"].as_u64().expect("an index")).expect("a small one");
        assert_eq!(rules[index]["id"], result["ruleId"]);
    }
    let region = &results[0]["locations"][0]["physicalLocation"]["region"];
    let expected = serde_json::json!({"startLine": 1, "startColumn": 17, "endLine": 1, "endColumn": 21});
    assert_eq!((&results[0]["ruleId"], region), (&Value::from("StageNameCasing"), &expected));
    assert_eq!(
        results[0]["fixes"][0]["artifactChanges"][0]["replacements"][0]["insertedContent"]["text"],
        "base"
    );
    let fingerprints: std::collections::BTreeSet<&str> =
        results.iter().filter_map(|result| result["partialFingerprints"]["mab/v1"].as_str()).collect();
    assert_eq!(fingerprints.len(), results.len(), "each is its own");
    // A line above changes nothing about which finding is which.
    project.edit("Dockerfile", "FROM", "# a comment\n\nFROM");
    let moved: Value = serde_json::from_str(&check(&project, &["--format", "sarif"]).stdout).unwrap();
    let moved = moved["runs"][0]["results"].as_array().unwrap();
    for (before, after) in results.iter().zip(moved) {
        assert_eq!(before["partialFingerprints"], after["partialFingerprints"]);
    }
}

#[test]
fn a_bake_checks_where_it_is_told_to() {
    let build = "[target.built]\nplatforms = [\"linux/amd64\"]\nverify = \"off\"\ndockerfile-inline = \"FROM scratch\\nCMD run\\n\"\n";
    let project = |call: &str| Project::of(&format!("{build}{call}"));
    let ran = project("").mab(&["bake", "built", "--check"]).run().succeeded();
    assert!(ran.stdout.contains("1 warning in 1 Dockerfile"), "{}", ran.stdout);
    project("").mab(&["bake", "built", "--call", "check"]).run().succeeded().does_not_say("built  ");
    let ran = project("call = \"check\"\n").mab(&["bake", "built"]).run().succeeded();
    assert!(ran.stdout.contains("JSONArgsRecommended"), "{}", ran.stdout);
    project("call = \"check\"\n")
        .mab(&["bake", "built", "--call", "build", "-o", "type=oci,dest=x.tar"])
        .run()
        .succeeded();
    let failing = project("call = \"check\"\n[lint]\nerror = true\n");
    failing.mab(&["bake", "built"]).run().failed(2);
    // Together with others it is checked first, and what it fails is not built.
    let both = "[group.default]\ntargets = [\"built\", \"checked\"]\n[target.checked]\nplatforms = [\"linux/amd64\"]\n\
                call = \"check\"\nverify = \"off\"\ndockerfile-inline = \"FROM scratch\\nCMD run\\n\"\n";
    let arguments = ["bake", "-o", "type=oci,dest=x.tar"];
    let passed = project(both);
    passed.mab(&arguments).run().succeeded().says("1 warning in 1 Dockerfile");
    assert!(passed.path("x.tar").is_file());
    let failed = project(&format!("{both}[lint]\nerror = [\"JSONArgsRecommended\"]\n"));
    failed.mab(&arguments).run().failed(2);
    assert!(!failed.path("x.tar").exists());
}

#[test]
fn a_bake_mentions_what_a_check_would_say() {
    let project = Project::of("[target.app]\nplatforms = [\"linux/amd64\"]\nverify = \"off\"\n")
        .file("Dockerfile", "FROM scratch\nCOPY a /a\nCMD run\n")
        .file("a", "a");
    let bake = || project.mab(&["bake", "app"]).run();
    bake().succeeded().says("1 warning about Dockerfiles: `mab check` explains");
    // What is not built again is not judged again.
    bake().succeeded().does_not_say("about Dockerfiles");
    project.edit("Dockerfile", "FROM", "# check=error=true\nFROM");
    bake().failed(2).says("CMD is a text for the shell");
}

#[test]
fn rules_are_listed_and_explained() {
    let project = Project::new();
    let list = check(&project, &["--list"]).succeeded().stdout;
    for rule in ["StageNameCasing", "arg-not-in-stage", "host-install-in-target"] {
        assert!(list.contains(rule), "{list}");
        assert!(check(&project, &["--explain", rule]).succeeded().stdout.contains("Instead of:"));
    }
    check(&project, &["--explain", "arg-not-in-stag"]).failed(2).says("did you mean `arg-not-in-stage`?");
}

#[test]
fn a_variable_is_never_meant_by_its_own_name() {
    for (text, help) in [
        ("FROM scratch\nENV A=1 B=$A\n", "declare it above, for instance `ARG A`"),
        ("FROM scratch\nARG SOURCE=x\nCOPY $SUORCE /\n", "did you mean `$SOURCE`?"),
    ] {
        let ran = check(&Project::new().file("Dockerfile", text), &[]).succeeded();
        assert!(ran.stdout.contains(help), "{}", ran.stdout);
    }
}

/// A build file and a Dockerfile with slips beyond doubt, and with others.
const SLIPS: &str = "[project]\nplatforms = [\"linux/amd64\"]\n\n[target.a]\nno_cache = true # in snake case\n\
                     platfroms = [\"linux/amd64\"]\nvolumes = []\n";

#[test]
fn mistakes_of_the_build_file_are_answers_too() {
    let project = Project::of(SLIPS).file("Dockerfile", SUSPICIOUS);
    let ran = check(&project, &["--format", "json"]).failed(2);
    let document: Value = serde_json::from_str(&ran.stdout).expect("the answer is JSON");
    let problems = document["problems"].as_array().unwrap();
    let codes: Vec<&str> = problems.iter().map(|problem| problem["code"].as_str().unwrap()).collect();
    assert_eq!(codes, ["config::unknown-key"; 3], "{document:#}");
    assert_eq!(problems[0]["edit"]["replacement"], "no-cache");
    let ran = check(&project, &["--format", "sarif"]).failed(2);
    let sarif: Value = serde_json::from_str(&ran.stdout).expect("the answer is JSON");
    let results = sarif["runs"][0]["results"].as_array().unwrap();
    assert_eq!(results.len(), 3);
    let rules = sarif["runs"][0]["tool"]["driver"]["rules"].as_array().unwrap();
    for result in results {
        assert_eq!(result["ruleId"], "build-file");
        assert_eq!(rules[result["ruleIndex"].as_u64().unwrap() as usize]["id"], "build-file");
        assert_eq!(result["locations"][0]["physicalLocation"]["artifactLocation"]["uri"], "multiarch.toml");
    }
    let bake = "variable \"x\" {\n  default =\n}\n";
    let project = Project::new().file("docker-bake.hcl", bake);
    let ran = check(&project, &["--format", "json"]).failed(2);
    let document: Value = serde_json::from_str(&ran.stdout).expect("the answer is JSON");
    assert_eq!(document["problems"][0]["labels"][0]["file"], "docker-bake.hcl");
    let ran = check(&Project::of("[target.a]\nx = 1\n"), &[]).failed(2);
    assert!(ran.stdout.contains("1 error in the build file"), "{}", ran.stdout);
}

#[test]
fn slips_beyond_doubt_are_put_right() {
    let project = Project::of(SLIPS)
        .file("Dockerfile", "from scratch as one\nMAINTAINER me\nFROM scratch\nCOPY a /a\nCMD run\n");
    let before = (project.read("multiarch.toml"), project.read("Dockerfile"));
    let ran = check(&project, &["--diff"]).failed(2);
    for line in [
        "-no_cache = true # in snake case",
        "+no-cache = true # in snake case",
        "+platforms = [\"linux/amd64\"]",
    ] {
        assert!(ran.stdout.contains(line), "{line} is not in\n{}", ran.stdout);
    }
    assert_eq!(before, (project.read("multiarch.toml"), project.read("Dockerfile")), "nothing is written");

    let ran = check(&project, &["--fix"]).failed(2).says("multiarch.toml: 2 edits");
    assert!(ran.stdout.contains("a target has no key `volumes`"), "{}", ran.stdout);
    assert!(project.read("multiarch.toml").contains("no-cache = true # in snake case\nplatforms ="));
    assert_eq!(
        before.1,
        project.read("Dockerfile"),
        "Dockerfiles are not looked at before the build file is right"
    );

    project.edit("multiarch.toml", "volumes = []\n", "");
    check(&project, &["--fix"]).succeeded();
    let fixed = project.read("Dockerfile");
    assert!(fixed.contains("FROM scratch AS one") || fixed.contains("from scratch as one"), "{fixed}");
    assert!(
        check(&project, &["--fix"]).succeeded().stderr.is_empty(),
        "the second time there is nothing to do"
    );
    assert_eq!(fixed, project.read("Dockerfile"));
    assert_eq!(std::fs::read_dir(project.path("")).unwrap().count(), 2, "no other file is left behind");
}

#[test]
fn fixes_stay_within_the_project_and_keep_the_file_sound() {
    // The key that is meant is there already.
    let twice = "[target.a]\nno-cache = true\nno_cache = true\n";
    let project = Project::of(twice).file("Dockerfile", "FROM scratch\nCOPY a /a\n");
    check(&project, &["--fix"]).failed(2);
    assert_eq!(project.read("multiarch.toml"), twice);

    let outside = Project::new().file("Dockerfile", "FROM scratch\nCOPY a /a\nCMD run\n");
    let text = format!("[target.a]\ncontext = \"{}\"\n", outside.path("").display());
    let project = Project::of(&text);
    std::os::unix::fs::symlink(outside.path("Dockerfile"), project.path("linked")).unwrap();
    check(&project, &["--fix"]).succeeded();
    check(&project, &["--fix", "--dockerfile", "linked"]).succeeded();
    assert!(outside.read("Dockerfile").ends_with("CMD run\n"), "{}", outside.read("Dockerfile"));
    assert!(project.path("linked").is_symlink());
}

#[test]
fn files_of_other_tools_are_put_right() {
    for (name, before, after) in [
        (
            "docker-bake.hcl",
            "targets \"default\" {\n  no_cache = true\n  # here\n  platfroms = \"linux/amd64,linux/arm64\"\n  tags = \"r.example/app:1\"\n}\n",
            "target \"default\" {\n  no-cache = true\n  # here\n  platforms = [\"linux/amd64\", \"linux/arm64\"]\n  tags = [\"r.example/app:1\"]\n}\n",
        ),
        // A key that is there already is not written a second time.
        (
            "docker-bake.hcl",
            "target \"default\" {\n  tag = [\"a\"]\n  tags = [\"b\"]\n}\n",
            "target \"default\" {\n  tag = [\"a\"]\n  tags = [\"b\"]\n}\n",
        ),
        (
            "docker-bake.json",
            "{\"target\": {\"default\": {\"tag\": [\"a\"], \"dockerfil\": \"Dockerfile\"}}}\n",
            "{\"target\": {\"default\": {\"tags\": [\"a\"], \"dockerfile\": \"Dockerfile\"}}}\n",
        ),
        (
            "compose.yaml",
            "services:\n  app:\n    imgae: r.example/app\n    build: # here\n      contex: .\n      cache-from:\n        - type=gha\n      tags: r.example/app:1\n",
            "services:\n  app:\n    image: r.example/app\n    build: # here\n      context: .\n      cache_from:\n        - type=gha\n      tags: [\"r.example/app:1\"]\n",
        ),
    ] {
        let project = Project::new().file(name, before).file("Dockerfile", "FROM scratch\n");
        let diff = check(&project, &["--diff"]);
        assert_eq!(project.read(name), before, "{}", diff.stdout);
        assert_eq!(diff.stdout.contains("\n+"), before != after, "{}", diff.stdout);
        let ran = check(&project, &["--fix"]).succeeded();
        assert_eq!(project.read(name), after, "{}{}", ran.stderr, ran.stdout);
    }
}

#[test]
fn a_bake_file_is_checked_rather_than_the_dockerfile_beside_it() {
    let project = Project::new().file("docker-bake.hcl", "target \"default\" {\n  tags = [TAG]\n}\n");
    project.write("Dockerfile", "FROM scratch\n");
    let ran = check(&project, &[]).failed(2);
    assert!(ran.stdout.contains("there is no variable `TAG`"), "{}", ran.stdout);
    check(&project, &["Dockerfile"]).succeeded();
}

#[test]
fn circles_are_told_without_a_plan() {
    let project = Project::of(
        "[project]\nplatforms = [\"linux/amd64\"]\n[target.a]\ncontexts = { x = \"target:b\" }\n[target.b]\nneeds = [\"c\"]\n\
         [target.c]\ncontexts = { x = \"target:b\" }\n",
    );
    let ran = check(&project, &[]).failed(2);
    let said = "targets wait for each other in a circle: `b` → `c` → `b`";
    assert!(ran.stdout.contains(said) && ran.stdout.contains("`c` builds on `b`"), "{}", ran.stdout);
}
