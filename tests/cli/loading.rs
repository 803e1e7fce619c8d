//! `--load`: images into real Docker Engines, and how much of them travels.

use serde_json::Value;

use crate::support::engine::{Engine, engines};
use crate::support::project::native;
use crate::support::{Project, base};

/// Bytes that no compression makes fewer, and that nobody else has.
fn noise(name: &str, length: usize) -> Vec<u8> {
    let name = name.bytes().fold(0, |sum: u64, byte| sum.wrapping_mul(31).wrapping_add(byte.into()));
    let mut state = 0x2545_f491_4f6c_dd1d ^ name;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    };
    (0..length / 8).flat_map(|_| next()).collect()
}

/// Bakes into an Engine and returns how many bytes it was sent.
fn load(project: &Project, engine: &Engine) -> u64 {
    let bake = ["bake", "app", "--load", "--progress", "json"];
    let ran = project.mab(&bake).with_env("DOCKER_HOST", &engine.address).run().succeeded();
    let events = ran.stderr.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let pushed = events.filter(|event| event["event"] == "transfer" && event["what"] == "push");
    let pushed: Vec<Value> = pushed.collect();
    let last = pushed.last().unwrap_or_else(|| panic!("nothing was sent: {}", ran.stderr));
    assert_eq!(last["done"], last["total"], "all of it is told");
    last["done"].as_u64().expect("a number")
}

const LARGE: usize = 4 << 20;

/// An image for two platforms with one large layer and a small one above it.
fn project(base: &std::path::Path, name: &str) -> Project {
    let project = Project::app(base, "FROM busybox\nCOPY large /large\nCOPY small /small\n");
    let file = project.read("multiarch.toml");
    project.write("multiarch.toml", format!("{file}images = [\"{name}\"]\ntags = [\"1\"]\n"));
    project.write("large", noise(name, LARGE));
    project.write("small", "one\n");
    project
}

#[test]
fn engines_are_sent_the_layers_that_they_lack() {
    let Some(base) = base() else { return };
    for (place, engine) in engines().iter().enumerate() {
        let name = format!("mab-test-load-{place}-{}", std::process::id());
        let project = project(&base, &name);
        let image = format!("{name}:1");
        let all = load(&project, engine);
        assert!(all > LARGE as u64, "{all}");
        let mut ids = vec![engine.id(&image)];
        for text in ["two\n", "three\n"] {
            project.write("small", text);
            let less = load(&project, engine);
            assert!(less < 100_000, "{}: {less} of {all} bytes", engine.address);
            assert_eq!(engine.read(&image, "small"), text.as_bytes());
            assert_eq!(engine.read(&image, "large").len(), LARGE);
            ids.push(engine.id(&image));
        }
        // What is removed there is sent again.
        ids.iter().for_each(|id| engine.remove_image(id));
        project.write("small", "four\n");
        assert!(load(&project, engine) > LARGE as u64);
        assert_eq!(engine.read(&image, "small"), b"four\n");
        engine.remove_image(&image);
    }
}

#[test]
fn a_store_of_containerds_takes_every_platform_and_the_classic_one_its_own() {
    let Some(base) = base() else { return };
    for (place, engine) in engines().iter().enumerate() {
        let name = format!("mab-test-platforms-{place}-{}", std::process::id());
        let project = project(&base, &name);
        let bake = project.mab(&["bake", "app", "--load"]).with_env("DOCKER_HOST", &engine.address);
        let ran = bake.run().succeeded();
        let expected = match engine.is_classic() {
            true => vec![native()],
            false => vec!["linux/amd64".to_string(), "linux/arm64".to_string()],
        };
        assert_eq!(engine.platforms(&format!("{name}:1")), expected, "{}", ran.stderr);
        let warning = format!("keeps one platform of an image: {} is loaded, and not linux/", native());
        assert_eq!(ran.stderr.contains(&warning), engine.is_classic(), "{}", ran.stderr);
        // The image is the one that a registry gets: only the classic store makes another of it.
        engine.remove_image(&format!("{name}:1"));
    }
}

/// Zstd is newer than some Engines, and is sent to all that can take it.
#[test]
fn layers_of_any_compression_are_loaded() {
    let Some(base) = base() else { return };
    for (place, engine) in engines().iter().enumerate() {
        for compression in ["zstd", "uncompressed"] {
            let name = format!("mab-test-{compression}-{place}-{}", std::process::id());
            let project = project(&base, &name);
            let output = format!("type=docker,compression={compression}");
            let bake = project.mab(&["bake", "app", "-o", &output]).with_env("DOCKER_HOST", &engine.address);
            bake.run().succeeded();
            assert_eq!(engine.read(&format!("{name}:1"), "small"), b"one\n");
            engine.remove_image(&format!("{name}:1"));
        }
    }
}

#[test]
fn an_engine_that_is_not_there_is_named() {
    let project =
        Project::of("[target.app]\ndockerfile-inline = \"FROM scratch\\nCOPY multiarch.toml /\\n\"\n");
    let bake = project.mab(&["bake", "app", "--load"]).with_env("DOCKER_HOST", "unix:///nowhere.sock");
    let ran = bake.run().failed(4);
    ran.says("load::no-engine").says("`/nowhere.sock`").says("--output type=docker,dest=image.tar");
}
