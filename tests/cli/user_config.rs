//! The user's own configuration: where it is found, what is stronger, what is said about a wrong one.

use crate::support::{Layout, Project, Registry, base};

const FILE: &str = "[target.default]\ndockerfile-inline = \"FROM scratch\\nCOPY multiarch.toml /a\\n\"\n";

fn project(config: &str) -> Project {
    let project = Project::of(FILE);
    // Beside `work`, below the home that tests have.
    project.write("../home/.config/mab/config.toml", config);
    project
}

#[test]
fn a_wrong_file_is_told_at_once_and_can_be_left_out() {
    let project = project("[store]\nbudgets = \"1GB\"\nkeep = 3\n[registri.x]\n");
    let said = project.mab(&["bake", "--print"]).run().failed(2).stderr;
    for expected in ["did you mean `budget`?", "`keep` must be a string", "did you mean `registry`?"] {
        assert!(said.contains(expected), "{said}");
    }
    project.mab(&["bake", "--print"]).with_env("MAB_CONFIG", "").run().succeeded();
    let said = project.mab(&["bake", "--print"]).with_env("MAB_CONFIG", "none.toml").run().failed(2).stderr;
    assert!(said.contains("cannot read `") && said.contains("none.toml"), "{said}");
}

#[test]
fn the_users_builders_are_found_and_those_of_the_build_file() {
    let config = "[builder.farm]\nworkers = [{ endpoint = \"10.0.0.7:1234\" }]\n";
    let project = Project::of(&format!("{FILE}{}", config.replace("farm", "shed")));
    project.write("../home/.config/mab/config.toml", config);
    for (name, expected) in [
        ("farm", "`10.0.0.7:1234` is no address of a BuildKit"),
        ("farm", "config.toml:1:10"),
        ("shed", "`10.0.0.7:1234` is no address of a BuildKit"),
        ("shed", "multiarch.toml:3:10"),
        ("fram", "did you mean `farm`?"),
        ("sheds", "did you mean `shed`?"),
        ("else", "there is no builder `else`"),
    ] {
        let said = project.mab(&["bake", "--builder", name]).run().failed(2).stderr;
        assert!(said.contains(expected), "{said}");
    }
    // Nothing is built by it.
    project.mab(&["bake", "--print", "--builder", "farm"]).run().succeeded();
}

#[test]
fn a_builder_of_the_user_is_stronger_than_one_of_the_build_file() {
    let farm =
        |port: u32| format!("[builder.farm]\nworkers = [{{ endpoint = \"tcp://10.0.0.7:{port}\" }}]\n");
    let project = Project::of(&format!("{FILE}{}", farm(1)));
    project.write("../home/.config/mab/config.toml", farm(2));
    let ran = project.mab(&["check"]).run().succeeded();
    let home = project.path("../home").canonicalize().expect("the home is there");
    assert_eq!(
        ran.stderr.replace(&format!("{}/", home.display()), "~/"),
        "\
builder::hidden

  ⚠ builder `farm` of the build file is not used: your configuration has one of that name
   ╭─[multiarch.toml:3:10]
 2 │ dockerfile-inline = \"FROM scratch\\nCOPY multiarch.toml /a\\n\"
 3 │ [builder.farm]
   ·          ──┬─
   ·            ╰── not used
 4 │ workers = [{ endpoint = \"tcp://10.0.0.7:1\" }]
   ╰────
  help: rename one of them to have both

Warning: 
  ⚠ see also `~/.config/mab/config.toml`
   ╭─[~/.config/mab/config.toml:1:10]
 1 │ [builder.farm]
   ·          ──┬─
   ·            ╰── used instead
 2 │ workers = [{ endpoint = \"tcp://10.0.0.7:2\" }]
   ╰────
"
    );
    // Of what is printed for others, the file's own is part.
    let printed = project.mab(&["bake", "--print"]).run().succeeded().stdout;
    assert!(printed.contains("tcp://10.0.0.7:1\""), "{printed}");
}

#[test]
fn what_is_kept_by_default_is_the_users_choice() {
    let project = project("[store]\npath = \"elsewhere\"\nbudget = \"1b\"\nkeep = \"1w\"\n");
    let prune = |more: &[&str]| project.mab(&["prune", "--dry-run"]).with(more).run().succeeded().stdout;
    assert_eq!(prune(&[]), "would remove nothing\n");
    // The harness names the store in the environment, which is stronger than the file.
    assert!(project.store().exists());
}

#[test]
fn mirrors_stand_before_a_registry() {
    let (Some(base), Some(registry)) = (base(), Registry::of_this_run()) else { return };
    let repository = registry.repository("hub");
    let project = Project::of(&format!(
        "[target.default]\noutput = [\"type=image,push=true,name={repository}/library/tool:1\"]\n\
         contexts = {{ base = \"oci-layout://{}\" }}\n\
         dockerfile-inline = \"FROM base\\nCOPY multiarch.toml /made-here\\n\"\n",
        base.display()
    ));
    project.bake(&[]);
    // The same below the name that Docker Hub has for it.
    project.write(
        "multiarch.toml",
        "[target.default]\ndockerfile-inline = \"FROM tool:1\\nCOPY multiarch.toml /a\\n\"\n",
    );
    project.write(
        "../home/.config/mab/config.toml",
        format!("[registry.\"docker.io\"]\nmirrors = [\"{repository}\"]\n"),
    );
    project.bake(&["--output", "type=oci,tar=false,dest=image"]);
    assert!(Layout::open(&project.path("image")).only_image().has("made-here"));
}

#[test]
fn the_schema_of_the_file_is_printed() {
    let project = Project::new();
    let text = project.mab(&["schema", "--config"]).run().succeeded().stdout;
    assert!(text.contains("\"mirrors\""), "{text}");
    assert!(project.mab(&["schema"]).run().succeeded().stdout.contains("\"tags\""));
}
