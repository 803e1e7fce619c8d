//! `mab bench`: a command measured in each platform's image.

use crate::support::{Mab, Project, Ran, base, project::native};

fn bench(project: &Project, options: &[&str], command: &[&str]) -> Mab {
    let base = base().expect("whoever asks has looked");
    project
        .mab(&["bench"])
        .with(options)
        .with(&[&format!("oci-layout://{}", base.display()), "--"])
        .with(command)
}

#[test]
fn every_platform_has_its_times_and_emulated_ones_are_marked() {
    let Some(_) = base() else { return };
    let project = Project::new();
    let ran = bench(&project, &["--rounds", "4", "--json"], &["sh", "-c", "usleep 20000"]).run().succeeded();
    let json: serde_json::Value = serde_json::from_str(&ran.stdout).expect("it is JSON");
    let platforms = json["platforms"].as_array().expect("it is a list");
    assert_eq!(platforms.len(), 2);
    for measured in platforms {
        let is_native = measured["platform"] == native();
        assert_eq!(measured["emulated"], !is_native);
        assert_eq!(measured["seconds"].as_array().map(Vec::len), Some(4), "the warm-up does not count");
        let number = |key: &str| measured[key].as_f64().expect("it is a number");
        assert!(
            number("min") >= 0.02 && number("min") <= number("median") && number("median") <= number("max")
        );
        if is_native {
            assert_eq!(number("to-native"), 1.0);
        }
    }
    let table = bench(&project, &["--rounds", "1", "--warm-up", "0"], &["true"]).run().succeeded().stdout;
    let lines: Vec<&str> = table.lines().collect();
    assert_eq!(lines.len(), 3, "{table}");
    assert!(lines[0].starts_with("platform      median"), "{table}");
    let foreign = lines.iter().filter(|line| line.ends_with("× emulated")).count();
    assert_eq!(foreign, 1, "{table}");
    let one =
        bench(&project, &["--rounds", "1", "--platform", &native()], &["true"]).run().succeeded().stdout;
    assert_eq!(one.lines().count(), 2, "{one}");
}

#[test]
fn a_command_that_fails_is_not_measured() {
    let Some(_) = base() else { return };
    let project = Project::new();
    let ran = bench(&project, &["--platform", &native()], &["sh", "-c", "echo why; exit 3"]).run().failed(1);
    let message =
        format!("the command for {} ended with exit code 3: only what succeeds is measured", native());
    ran.says(&format!("bench::failed\n\n  × {message}\n  │ why\n"));
    bench(&project, &["--platform", &native()], &["no-such"]).run().failed(2).says("run::not-found");
}

#[test]
fn what_is_perhaps_an_option_and_goes_to_the_command_is_told() {
    let Some(base) = base() else { return };
    let (project, image) = (Project::new(), format!("oci-layout://{}", base.display()));
    let ran = |verb: &'static str, words: &[&str]| {
        project.mab(&[verb, "--platform", &native(), &image]).with(words).run()
    };
    // Options stand before the command, on either side of the image.
    let lines = |ran: Ran| ran.succeeded().stdout.lines().count();
    assert_eq!(lines(ran("bench", &["--rounds", "1", "--warm-up", "0", "true"])), 2);
    let slip = "run::misplaced\n\n  ⚠ `--round=1` is no option of `mab bench`, and goes to the command\n";
    ran("bench", &["--round=1", "true"]).failed(2).says(slip).says("did you mean `--rounds`?");
    ran("run", &["--read-ony"]).failed(127).says("did you mean `--read-only`?");
    let behind = "⚠ `--rounds` stands behind the command, which gets it";
    ran("bench", &["--rounds", "1", "true", "--rounds", "3"]).succeeded().says(behind);
    // Who says `--` means it, and commands have options of their own.
    ran("bench", &["--rounds", "1", "--", "true", "--rounds", "3"]).succeeded().does_not_say("misplaced");
    ran("run", &["--", "--read-ony"]).failed(127).does_not_say("misplaced");
    ran("run", &["--something-else"]).failed(127).does_not_say("misplaced");
    assert_eq!(
        ran("run", &["echo", "--read-only"]).succeeded().does_not_say("misplaced").stdout,
        "--read-only\n"
    );
}

#[test]
fn jobs_are_for_images_that_nodes_can_pull() {
    let Some(_) = base() else { return };
    let project = Project::new();
    bench(&project, &["--kubernetes"], &["true"])
        .run()
        .failed(2)
        .says("bench::image\n\n  × nodes of a cluster cannot pull `oci-layout://");
    let Some(registry) = crate::support::Registry::of_this_run() else { return };
    let app = Project::app(&base().expect("it was there"), "FROM busybox\nENV A=1\n");
    let name = registry.repository("benched");
    app.bake(&["app", "-o", &format!("type=image,name={name}:1,push=true")]);
    let yaml = project
        .mab(&["bench", "--kubernetes", "--rounds", "3", &format!("{name}:1"), "uname"])
        .run()
        .succeeded()
        .stdout;
    for text in [
        "name: mab-bench-linux-amd64\n",
        "name: mab-bench-linux-arm64\n",
        "completions: 3\n",
        "kubernetes.io/arch: \"arm64\"\n",
        "args: [\"uname\"]\n",
    ] {
        assert!(yaml.contains(text), "`{text}` is not in:\n{yaml}");
    }
    assert!(yaml.contains(&format!("image: \"{name}:1\"\n")), "{yaml}");
}
