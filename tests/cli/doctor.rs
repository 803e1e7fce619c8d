//! What `mab doctor` finds on machines that lack something, each broken on purpose, and what failures say of it.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::support::surroundings::{needs, needs_root};
use crate::support::{Account, Project, Ran, Registry, base};

/// The findings of a run with `--json`, by check and subject.
fn findings(ran: &Ran) -> BTreeMap<(String, String), Value> {
    let report: Value =
        serde_json::from_str(&ran.stdout).unwrap_or_else(|error| panic!("{error}: {}", ran.stderr));
    assert_eq!(report["version"], 1);
    let text = |value: &Value| value.as_str().unwrap_or_default().to_string();
    let findings = report["findings"].as_array().expect("there are findings").iter();
    findings.map(|found| ((text(&found["check"]), text(&found["subject"])), found.clone())).collect()
}

fn level<'a>(findings: &'a BTreeMap<(String, String), Value>, check: &str, subject: &str) -> &'a str {
    let key = (format!("doctor::{check}"), subject.to_string());
    findings
        .get(&key)
        .and_then(|found| found["level"].as_str())
        .unwrap_or_else(|| panic!("{key:?}: {findings:?}"))
}

#[test]
fn every_platform_that_can_be_emulated_runs_a_program() {
    if !needs_root() || !needs("qemu-s390x-static") {
        return;
    }
    let ran = Project::new().mab(&["doctor", "--json", "--offline"]).run().succeeded();
    let found = findings(&ran);
    for platform in ["amd64", "arm64", "arm/v7", "386", "riscv64", "s390x", "ppc64le"] {
        assert_eq!(level(&found, "platform", &format!("linux/{platform}")), "good", "{}", ran.stdout);
    }
    // What is left of the disk is the machine's own affair.
    for check in ["kernel", "userns", "ids", "overlay", "binfmt", "store", "clock"] {
        assert_eq!(level(&found, check, ""), "good", "{}", ran.stdout);
    }
    for check in ["registry", "builder"] {
        assert_eq!(level(&found, check, ""), "note");
    }
}

#[test]
fn a_user_without_subordinate_ids_is_told_how_to_get_some() {
    let Some(account) = Account::plain() else { return };
    let project = Project::new().owned_by(account);
    let ran = project.mab(&["doctor", "ids"]).run().succeeded();
    let (text, remedy) = ran.stdout.split_once("    remedy").expect("there is a remedy");
    assert_eq!(
        text,
        "⚠ ids  one only\n    \
             symptom  files can belong to root only: `chown` and `USER` with another user fail in RUN\n    \
             test     mab-account not named in /etc/subuid and /etc/subgid\n"
    );
    assert_eq!(
        remedy,
        "   sudo usermod --add-subuids 100000-165535 --add-subgids 100000-165535 mab-account\n1 warning\n"
    );
}

#[test]
fn a_user_with_subordinate_ids_has_nothing_to_complain_of() {
    let Some(account) = Account::with_subordinate_ids() else { return };
    let project = Project::new().owned_by(account);
    let ran = project.mab(&["doctor", "userns", "ids", "overlay", "mounts", "store"]).run().succeeded();
    assert_eq!(ran.redactor.redact(&ran.stdout).matches('✓').count(), 5, "{}", ran.stdout);
    assert!(ran.stdout.ends_with("nothing is wrong\n"), "{}", ran.stdout);
}

/// Starts a command as an ordinary user whom the kernel lets make no user namespace.
const WITHOUT_NAMESPACES: [&str; 8] = [
    "unshare",
    "--user",
    "--map-user=1000",
    "--map-group=1000",
    "--keep-caps",
    "sh",
    "-c",
    "echo 0 > /proc/sys/user/max_user_namespaces && exec setpriv --inh-caps=-all --ambient-caps=-all \"$0\" \"$@\"",
];

#[test]
fn refused_user_namespaces_are_an_error_with_its_remedy() {
    if !needs_root() || !needs("unshare") || !needs("setpriv") {
        return;
    }
    let project = Project::new();
    let ran =
        project.mab(&["doctor", "--json", "userns", "platform"]).inside(&WITHOUT_NAMESPACES).run().failed(3);
    let found = &findings(&ran)[&("doctor::userns".to_string(), String::new())];
    assert_eq!(found["level"], "error");
    assert_eq!(found["result"], "user namespaces are refused");
    assert_eq!(found["symptom"], "every RUN fails, with `host::user-namespaces`");
    assert_eq!(
        found["test"],
        "user namespaces are not available here: cannot make a user namespace: No space left on device (os error 28)"
    );
    assert_eq!(
        found["remedy"],
        "echo user.max_user_namespaces=15000 | sudo tee /etc/sysctl.d/60-mab.conf\nsudo sysctl --system"
    );
}

#[test]
fn a_build_that_fails_leads_to_the_finding() {
    let Some(base) = base().filter(|_| needs_root() && needs("unshare") && needs("setpriv")) else { return };
    let project = Project::native_app(&base, "FROM busybox\nRUN true\n");
    let ran = project.mab(&["bake", "app"]).inside(&WITHOUT_NAMESPACES).run().failed(3);
    ran.says("host::user-namespaces").says("`mab doctor userns` tries this, and says what to do\n");
}

#[test]
fn a_full_disk_is_seen_before_a_build_sees_it() {
    if !needs_root() || !needs("unshare") {
        return;
    }
    let project = Project::new();
    let script = "mount -t tmpfs -o size=3m tmpfs ../tmp && dd if=/dev/zero of=../tmp/x bs=1M 2>/dev/null; exec \"$0\" \"$@\"";
    let store = project.folder().join("tmp/store").display().to_string();
    let ran = project.mab(&["doctor", "--json", "store", "disk", "--store", &store]);
    let ran = ran.inside(&["unshare", "--mount", "sh", "-c", script]).run().failed(3);
    let found = findings(&ran);
    assert_eq!(level(&found, "disk", ""), "error", "{}", ran.stdout);
    assert_eq!(level(&found, "store", ""), "error", "{}", ran.stdout);
    assert_eq!(found[&("doctor::disk".to_string(), String::new())]["fixable"], true);
}

#[test]
fn platforms_count_where_somebody_builds_for_them() {
    let file = "[target.default]\ndockerfile-inline = \"FROM scratch\"\nplatforms = [\"linux/ppc64\"]\n";
    let ran = Project::of(file).mab(&["doctor", "platform", "--json", "--offline"]).run().failed(3);
    assert_eq!(level(&findings(&ran), "platform", "linux/ppc64"), "error");
    let asked = ["doctor", "platform", "--json", "--offline", "--platform", "linux/sparc"];
    let ran = Project::new().mab(&asked).run().failed(3);
    assert_eq!(level(&findings(&ran), "platform", "linux/sparc"), "error");
}

#[test]
fn registries_are_asked_with_the_credentials_found() {
    let Some(registry) = Registry::of_this_run() else { return };
    let project = Project::new();
    let host = registry.repository("x").split('/').next().expect("a host").to_string();
    // `dTpw` is `u:p`, which a registry without accounts does not look at.
    let config =
        format!("{{\"auths\":{{\"{host}\":{{\"auth\":\"dTpw\"}},\"localhost:1\":{{\"auth\":\"dTpw\"}}}}}}");
    project.write("../home/.docker/config.json", config);
    let ran = project.mab(&["doctor", "registry", "clock", "--json"]).run().failed(4);
    let found = findings(&ran);
    assert_eq!(level(&found, "registry", &host), "good", "{}", ran.stdout);
    assert_eq!(level(&found, "registry", "localhost:1"), "error");
    let told = &found[&("doctor::registry".to_string(), "localhost:1".to_string())];
    assert_eq!(told["symptom"], "nothing is pulled from it or pushed to it, with `registry::unreachable`");
    assert_eq!(level(&found, "clock", ""), "good");
    assert!(!ran.stdout.contains("dTpw"), "{}", ran.stdout);
}

/// What lets in with `u:p`, and with nothing else.
#[test]
fn credentials_that_are_refused_are_told_with_the_remedy() {
    let host = crate::login::registry();
    let project = Project::new();
    for (credentials, said) in [("dTpw", "good"), ("dTp3cm9uZw==", "error")] {
        let config = format!("{{\"auths\":{{\"{host}\":{{\"auth\":\"{credentials}\"}}}}}}");
        project.write("../home/.docker/config.json", config);
        let ran = project.mab(&["doctor", "registry", "--json"]).run();
        assert_eq!(ran.code, Some(if said == "good" { 0 } else { 4 }), "{}{}", ran.stdout, ran.stderr);
        let found = findings(&ran);
        assert_eq!(level(&found, "registry", &host), said, "{}", ran.stdout);
        assert!(!ran.stdout.contains(credentials) && !ran.stdout.contains("wrong\""), "{}", ran.stdout);
        let told = &found[&("doctor::registry".to_string(), host.clone())];
        if said == "good" {
            assert_eq!(told["result"], "lets in u, without TLS");
            continue;
        }
        assert_eq!(told["result"], "refuses the credentials");
        assert_eq!(
            told["symptom"],
            "nothing is pulled from it or pushed to it, with `registry::unauthorized`"
        );
        let remedy = told["remedy"].as_str().expect("there is a remedy");
        assert_eq!(remedy, format!("the credentials are wrong or expired; run `mab login {host}`"));
    }
}

#[test]
fn a_disk_that_is_nearly_full_is_relieved_of_what_nobody_used() {
    let Some(base) = base().filter(|_| needs_root() && needs("unshare")) else { return };
    let project = Project::native_app(&base, "FROM busybox\nRUN head -c 9000000 /dev/urandom > /large\n");
    project.bake(&["app"]);
    let store = project.store().display().to_string();
    // The store on a file system of its own, as it would be after six weeks.
    let script = "cp -a \"$0\" \"$0.kept\" && mount -t tmpfs -o size=200m none \"$0\" && cp -a \"$0.kept/.\" \"$0\" && \
                  find \"$0\" -exec touch -h -d '42 days ago' {} + && exec \"$@\"";
    let aged = ["unshare", "--mount", "sh", "-c", script, &store];
    let seen = project.mab(&["doctor", "disk", "--offline"]).inside(&aged).run().succeeded();
    assert!(seen.stdout.contains("remedy   mab prune --unused-for 2"), "{}", seen.stdout);
    assert!(seen.stdout.ends_with("1 warning; `mab doctor --fix` puts 1 of them right\n"), "{}", seen.stdout);
    std::fs::remove_dir_all(format!("{store}.kept")).expect("it was copied");
    let fixed =
        project.mab(&["doctor", "disk", "--fix", "--json", "--offline"]).inside(&aged).run().succeeded();
    let report: Value = serde_json::from_str(&fixed.stdout).expect("it is JSON");
    assert_eq!(report["fixed"][0]["check"], "doctor::disk", "{}", fixed.stdout);
    assert_eq!(report["fixed"][0]["done"], true, "{}", fixed.stdout);
    let said = report["fixed"][0]["result"].as_str().expect("it says what it did");
    let freed =
        said.strip_prefix("removed ").and_then(|said| said.strip_suffix(" that no build used for two weeks"));
    assert!(freed.is_some_and(|freed| freed.ends_with("MB") || freed.ends_with("MiB")), "{said}");
}

#[test]
fn a_worker_that_is_not_there_is_told_with_its_builder() {
    let project = Project::new();
    let config = "[builder.farm]\nworkers = [{ endpoint = \"tcp://localhost:1\" }]\n";
    project.write("../home/.config/mab/config.toml", config);
    let ran = project.mab(&["doctor", "builder", "--json"]).run().failed(4);
    assert_eq!(level(&findings(&ran), "builder", "farm tcp://localhost:1"), "error");
}

#[test]
fn a_check_that_does_not_exist_is_refused() {
    let ran = Project::new().mab(&["doctor", "usrns"]).run().failed(2);
    ran.says("the checks are kernel, userns, ids, overlay,");
}
