//! Tests of images: what runs in them, what is looked at, and what a failure keeps from happening.

use std::path::Path;

use crate::support::surroundings::is_root;
use crate::support::users::User;
use crate::support::{Project, Ran, Registry, base};

const DOCKERFILE: &str = "FROM busybox\n\
    RUN echo 'app:x:1000:1000::/srv:/bin/sh' >> /etc/passwd; echo 'app:x:1000:' >> /etc/group\n\
    RUN mkdir -p /srv/www; echo index > /srv/www/index.html; echo key > /srv/old.pem; \
    printf '#!/bin/sh\\necho serving on $1\\nexec httpd -f -p $1 -h /srv/www\\n' > /srv/serve; chmod 750 /srv/serve; chown app:app /srv/serve\n\
    WORKDIR /srv\nENV GREETING=hello\nUSER app\nENTRYPOINT [\"/srv/serve\"]\nCMD [\"8080\"]\n";

fn project(base: &Path, tests: &str) -> Project {
    let project = Project::app(base, DOCKERFILE);
    let file = project.read("multiarch.toml");
    project.write("multiarch.toml", format!("{file}{tests}"));
    project
}

fn test(project: &Project, arguments: &[&str]) -> Ran {
    project.mab(&["test", "app", "--progress", "quiet"]).with(arguments).run()
}

/// The lines of the results, without how long each took.
fn results(ran: &Ran) -> Vec<String> {
    let is_time =
        |word: &&str| word.trim_end_matches(',').strip_suffix('s').is_some_and(|n| n.parse::<f64>().is_ok());
    let clean =
        |line: &str| line.split_whitespace().filter(|word| !is_time(word)).collect::<Vec<_>>().join(" ");
    ran.stdout.lines().map(clean).collect()
}

const TESTS: &str = r##"
[target.app.test.run]
run = ["sh", "-c", "echo $GREETING from $(uname -m) as $(id -un) in $(pwd); cat; echo oops >&2; exit 3"]
stdin = "what is read\n"
env = { GREETING = "good morning" }
expect = { exit = 3, stdout-matches = "^good morning from (x86_64|aarch64) as app in /srv$\nwhat is read", stderr-matches = "oops" }

[target.app.test.script]
script = """
test "$(cat /data/fixture)" = given
echo made > /tmp-made
"""
user = "0"
mounts = ["fixtures:/data"]
expect = { files = ["/tmp-made", "/srv/www/index.html"] }

[target.app.test.shebang]
script = """#!/bin/awk -f
BEGIN { print "from awk" }
"""
platforms = ["linux/amd64"]
expect = { stdout-matches = "from awk" }

[target.app.test.service]
run = ["wget", "-q", "-O", "-", "http://127.0.0.1:8080/"]
service = { ports = [8080], log-matches = "serving on 8080" }
expect = { stdout-matches = "^index$" }

[target.app.test.opens]
run = ["/srv/serve", "9090"]
expect = { ports = [9090] }

[target.app.test.looks]
expect = { files = ["/bin/sh", { path = "/srv/serve", mode = "0750", owner = "app:app" }], absent = ["**/*.key"], max-size = "50MB", max-layer-size = "50MB" }

[target.app.test.starts-as-app]
expect.config = { user = "app", workdir = "/srv", entrypoint = ["/srv/serve"], cmd = ["8080"], env = { GREETING = "hello" }, unset = ["TOKEN"], ports = [], volumes = [] }
"##;

#[test]
fn images_are_tried_on_every_platform_by_every_user_and_once() {
    for user in User::with_ids() {
        let name = user.name;
        let project = user.project(|base| project(base, TESTS).file("fixtures/fixture", "given\n"));
        let first = test(&project, &[]).succeeded();
        let names = |platform: &str, tests: &[&str], note: &str| {
            tests.iter().map(|test| format!("ok app {platform} {test}{note}")).collect::<Vec<_>>()
        };
        let native = ["looks", "opens", "run", "script", "service", "shebang", "starts-as-app"];
        let foreign = ["opens", "run", "script", "service"];
        let mut expected = names("linux/amd64", &native, "");
        expected.push("ok app linux/arm64 looks".to_string());
        expected.extend(names("linux/arm64", &foreign, " emulated"));
        expected.push("ok app linux/arm64 starts-as-app".to_string());
        expected.push("13 passed (0 as before), 0 failed".to_string());
        assert_eq!(results(&first), expected, "{name}");
        assert_eq!(
            test(&project, &[]).succeeded().stdout.lines().last(),
            Some("13 passed (13 as before), 0 failed")
        );
        // What is mounted decides as well, and what is in the image.
        project.write("fixtures/fixture", "given\n\n");
        let mounted = test(&project, &["--platform", "linux/amd64"]).succeeded();
        assert_eq!(mounted.stdout.lines().last(), Some("7 passed (6 as before), 0 failed"), "{name}");
        project.edit("Dockerfile", "echo index", "echo index; echo index");
        let edited = test(&project, &["--platform", "linux/amd64"]).succeeded();
        assert_eq!(edited.stdout.lines().last(), Some("7 passed (0 as before), 0 failed"), "{name}");
        let again = test(&project, &["--again", "--platform", "linux/amd64"]).succeeded();
        assert_eq!(again.stdout.lines().last(), Some("7 passed (0 as before), 0 failed"), "{name}");
    }
}

#[test]
fn a_plan_says_which_tests_would_run_and_why() {
    let Some(base) = base() else { return };
    let tests = "[target.app.test.runs]\nrun = [\"true\"]\n[target.app.test.looks]\nexpect = { files = [\"/srv\"] }\n";
    let project = project(&base, tests);
    let planned = || {
        let arguments = ["plan", "app", "--platform", "linux/amd64", "--explain"];
        let text = project.mab(&arguments).run().succeeded().stdout;
        text.lines().find(|line| line.starts_with("test ")).expect("the test node is explained").to_string()
    };
    assert_eq!(planned(), "test app linux/amd64: open: not to be known before app linux/amd64 is built");
    project.mab(&["bake", "app", "--platform", "linux/amd64"]).run().succeeded();
    let line = planned();
    assert!(line.starts_with("test app linux/amd64: hit: this store, made "), "{line}");
    project.edit("multiarch.toml", "\"true\"", "\"true\", \"again\"");
    assert_eq!(planned(), "test app linux/amd64: miss: test `runs` changed");
}

const FAILING: &str = r#"
[target.app.test.exit]
run = ["sh", "-c", "echo said; exit 4"]
expect = { stdout-matches = "other" }

[target.app.test.files]
expect = { files = ["/nothing", { path = "/srv/serve", mode = "0755", owner = "root" }], absent = ["**/*.pem"], max-layer-size = "1k" }

[target.app.test.image]
expect.config = { user = "root", cmd = ["80"], env = { GREETING = "bye" }, unset = ["GREETING"], ports = [8080] }

[target.app.test.missing]
run = ["no-such-program"]

[target.app.test.service]
run = ["true"]
service = { args = ["not-a-port"], ports = [8080] }
"#;

#[test]
fn a_failing_test_names_its_lines_and_moves_no_tag() {
    let (Some(base), Some(registry)) = (base(), Registry::of_this_run()) else { return };
    let project = project(&base, FAILING);
    let name = registry.repository("tested");
    let output = format!("type=image,name={name}:1,push=true");
    let arguments = ["bake", "app", "--platform", "linux/amd64", "--progress", "quiet", "-o", &output];
    let baked = project.mab(&arguments).run().failed(1);
    let baked = baked
        .says("test::failed\n\n  × test `exit` of `app` for linux/amd64 failed: it ended with exit code 4 instead of 0; nothing in standard output matches `other`\n")
        .says("test `missing` of `app` for linux/amd64 failed: `no-such-program` for linux/amd64 is not in the image\n")
        .says("  │ said\n")
        .says("─[multiarch.toml:6:");
    assert_eq!(registry.tags(&name), Vec::<String>::new(), "{}", baked.stderr);
    let ran = test(&project, &["--platform", "linux/amd64", "--junit", "results.xml", "--json"]).failed(1);
    let json: serde_json::Value = serde_json::from_str(&ran.stdout).expect("it is JSON");
    let reasons = |number: usize| json["tests"][number]["reasons"].to_string();
    assert_eq!(json["tests"][0]["test"], "exit");
    assert_eq!(json["tests"][0]["output"], "said");
    let files = reasons(1);
    for reason in [
        "`/nothing` is not there",
        "`/srv/serve` has mode 0750 instead of 0755",
        "`/srv/serve` belongs to 1000:1000 instead of `root`, which is 0:0",
        "`/srv/old.pem` must not be there",
        "where at most 1KiB may be",
    ] {
        assert!(files.contains(reason), "`{reason}` is not in {files}");
    }
    assert_eq!(
        json["tests"][2]["reasons"],
        serde_json::json!([
            "the user is `app` instead of `root`",
            "the command is `[\"8080\"]` instead of `[\"80\"]`",
            "the variable `GREETING` is `hello` instead of `bye`",
            "the variable `GREETING` is set",
            "the exposed ports are nothing instead of `8080`",
        ])
    );
    let service = reasons(4);
    assert!(service.contains("it ended with exit code 1 before port 8080 was open"), "{service}");
    let junit = project.read("results.xml");
    assert!(
        junit.contains(r#"<testsuite name="app linux/amd64" tests="5" failures="5" errors="0" skipped="0""#),
        "{junit}"
    );
    // Mended, the same bake goes through.
    project.write(
        "multiarch.toml",
        project.read("multiarch.toml").split("\n[target.app.test").next().expect("it has a first part"),
    );
    project.mab(&arguments).run().succeeded();
    assert_eq!(registry.tags(&name), ["1"]);
}

#[test]
fn a_test_is_tried_again_only_where_that_is_asked_for() {
    let Some(base) = base() else { return };
    let tests = "[target.app.test.second]\nmounts = [\"state:/state:rw\"]\nuser = \"0\"\nretries = 2\n\
                 script = 'echo x >> /state/tries; test $(wc -l < /state/tries) -ge 2'\n";
    let project = project(&base, tests).file("state/.keep", "");
    let ran = test(&project, &["--platform", "linux/amd64"]).succeeded();
    assert_eq!(results(&ran)[0], "ok app linux/amd64 second attempt 2");
    let without = tests.replace("retries = 2\n", "");
    project.write("multiarch.toml", project.read("multiarch.toml").replace(tests, &without));
    std::fs::remove_file(project.path("state/tries")).expect("the test made it");
    test(&project, &["--again", "--platform", "linux/amd64"]).failed(1);
}

#[test]
fn what_a_test_does_is_bounded_and_leaves_nothing() {
    let hostile = [
        ("hangs", "sleep 1000", "it took longer than 1s"),
        (
            "leaves",
            "setsid sleep 1000 < /dev/null > /dev/null 2>&1 &\\nexec > /dev/null 2>&1\\nsleep 1000",
            "it took longer than 1s",
        ),
        ("closes", "exec >&- 2>&-; sleep 1000", "it took longer than 1s"),
        ("forks", "f() { f | f & }; f; sleep 1000", "it took longer than 1s"),
        ("fails", "setsid sleep 1000 &\\nexit 5", "it ended with exit code 5 instead of 0"),
        ("floods", "yes | head -c 50000000; exit 6", "it ended with exit code 6 instead of 0"),
    ];
    for user in User::with_ids() {
        let name = user.name;
        let tests: String = hostile
            .iter()
            .map(|(name, script, _)| {
                format!("[target.app.test.{name}]\nscript = \"{script}\"\ntimeout = 1\n")
            })
            .collect();
        let project = user.project(|base| project(base, &tests));
        let ran = test(&project, &["--platform", "linux/amd64", "--json"]).failed(1);
        let json: serde_json::Value = serde_json::from_str(&ran.stdout).expect("it is JSON");
        for (test, _, reason) in &hostile {
            let tests = json["tests"].as_array().expect("it is a list");
            let found = tests.iter().find(|one| one["test"] == *test).expect("every test has a result");
            // A flood may take its second, a slow machine's exit, too.
            let reasons = found["reasons"].to_string();
            assert!(
                reasons.contains(reason) || reasons.contains("it took longer than 1s"),
                "{name} {test}: {reasons}"
            );
        }
        let left = std::fs::read_dir(project.store().join("dead")).expect("the store is there").count();
        assert_eq!(left, 0, "{name}: what tests wrote is removed");
    }
}

#[test]
fn a_test_that_fills_the_disk_is_stopped_before_it_is_full() {
    let Some(base) = base() else { return };
    if !is_root() {
        return crate::support::skip("a file system of its own needs root");
    }
    let tests = "[target.app.test.fills]\nscript = 'head -c 140000000 /dev/zero > /srv/www/full; while :; do head -c 50000 /dev/zero >> /srv/www/full; usleep 20000; done'\nuser = \"0\"\n";
    let project = project(&base, tests);
    let script = "mount -t tmpfs -o size=160m none \"$0\" && exec \"$@\"";
    std::fs::create_dir_all(project.store()).expect("it is ours");
    let store = project.store().display().to_string();
    let ran = project
        .mab(&["test", "app", "--progress", "quiet", "--platform", "linux/amd64"])
        .inside(&["unshare", "--mount", "sh", "-c", script, &store])
        .run()
        .failed(1);
    assert!(ran.stdout.contains("it was stopped: the store `"), "{}{}", ran.stdout, ran.stderr);
}

#[test]
fn what_tests_say_wrong_is_told_with_its_line() {
    let Some(base) = base() else { return };
    let check = |test: &str, said: &str| {
        let project = project(&base, &format!("[target.app.test.t]\n{test}\n"));
        project.mab(&["plan", "app"]).run().failed(2).says(said);
    };
    check("run = [\"a\"]\nservice = {}", "a service needs `ports` or `log-matches`");
    check("expect = { files = [{ mode = \"0755\" }] }", "a file that is expected needs its `path`");
    check("expect = { files = [{ path = \"/a\", mode = \"rwx\" }] }", "`rwx` is not a mode");
    check("expect = { max-size = \"much\" }", "`much` is not a size");
    check("run = [\"a\"]\nmounts = [\"here\"]", "`here` is not a mount");
}
