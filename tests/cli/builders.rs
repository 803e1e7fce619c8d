//! Builds on the workers of a builder: real BuildKit daemons, and what came back.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::{Duration, SystemTime};

use crate::support::gate::Gate;
use crate::support::project::native;
use crate::support::proxy::Proxy;
use crate::support::surroundings::skip;
use crate::support::{Layout, Project, base};

/// The sockets of the daemons of this run: one for this machine's platform, one that emulates the other.
pub fn sockets() -> Option<[PathBuf; 2]> {
    let addresses = std::env::var("MAB_TEST_BUILDKIT").unwrap_or_default();
    let sockets: Vec<PathBuf> =
        addresses.split(',').filter_map(|address| Some(address.strip_prefix("unix://")?.into())).collect();
    match <[PathBuf; 2]>::try_from(sockets) {
        Ok(sockets) => Some(sockets),
        Err(_) => {
            skip("what builds on BuildKit workers: tests/services/start could not start two");
            None
        }
    }
}

/// A text that no run has had before this one: workers remember the steps of them all.
pub fn unseen() -> &'static str {
    static TEXT: OnceLock<String> = OnceLock::new();
    let now = || SystemTime::UNIX_EPOCH.elapsed().expect("it is after 1970").as_nanos();
    TEXT.get_or_init(|| format!("{}-{}", std::process::id(), now()))
}

/// A platform that is not this machine's.
pub fn foreign() -> &'static str {
    if native() == "linux/arm64" { "linux/amd64" } else { "linux/arm64" }
}

/// Gives a project's user a builder `fleet` of these workers.
pub fn configure(project: &Project, workers: &[String]) {
    let text = format!("[builder.fleet]\nworkers = [{}]\n", workers.join(", "));
    project.write("../home/.config/mab/config.toml", text);
}

pub fn worker(endpoint: impl std::fmt::Display, platforms: &[&str]) -> String {
    format!("{{ endpoint = \"{endpoint}\", platforms = {platforms:?} }}")
}

/// Two workers, each for one platform.
pub fn fleet(project: &Project, sockets: &[PathBuf; 2]) {
    configure(project, &of_fleet(sockets));
}

fn of_fleet(sockets: &[PathBuf; 2]) -> [String; 2] {
    let native = native();
    let of = |place: usize, platform| worker(format!("unix://{}", sockets[place].display()), &[platform]);
    [of(0, native.as_str()), of(1, foreign())]
}

const EVERYTHING: &str = "\
[target.lib]
context = \"lib\"
platforms = [\"PLATFORM\"]
contexts = { busybox = \"oci-layout://BASE\" }

[target.app]
context = \".\"
platforms = [\"PLATFORM\"]
contexts = { busybox = \"oci-layout://BASE\", lib = \"target:lib\", assets = \"assets\" }
args = { GREETING = \"hello\" }
labels = { kind = \"test\" }
secret = [\"id=token,env=TOKEN\"]
extra-hosts = { here = \"10.9.8.7\" }
output = [\"type=oci,dest=app.tar\"]
";

const EVERYTHING_DOCKERFILE: &str = "\
FROM busybox AS build
ARG GREETING=none
COPY in/ /in/
RUN --mount=type=secret,id=token <<END
echo \"$GREETING $(cat /in/text)\" > /out
echo \"the token is $(cat /run/secrets/token)\"
sha256sum < /run/secrets/token | cut -c-64 > /sum
grep here /etc/hosts >> /out
END

FROM lib
WORKDIR /srv
COPY --from=build /out /sum ./
COPY --from=assets --chmod=600 a.css .
ENV KIND=app
CMD [\"cat\", \"out\"]
";

/// Bakes what asks for all of it on these workers, and looks at what came of it.
pub fn check_everything(base: &Path, workers: &[String]) {
    // Workers remember the steps of earlier runs.
    let greeting = format!("hello {}", unseen());
    let text = EVERYTHING
        .replace("hello", &greeting)
        .replace("PLATFORM", &native())
        .replace("BASE", base.to_str().expect("a Unicode path"));
    let project = Project::of(&text)
        .file("Dockerfile", EVERYTHING_DOCKERFILE)
        .file("lib/Dockerfile", "FROM busybox\nCOPY lib.txt /lib.txt\nRUN echo lib >> /lib.txt\n")
        .file("lib/lib.txt", "a ")
        .file("in/text", "world")
        .file("in/left-out", "x")
        .file(".dockerignore", "in/left-out\n")
        .file("assets/a.css", "a {}");
    configure(&project, workers);
    let secret = format!("correct-horse-{}", unseen());
    let bake = ["bake", "app", "--builder", "fleet", "--progress", "plain"];
    let ran = project.mab(&bake).with_env("TOKEN", &secret).run().succeeded();
    // Steps, their lines and their logs are told as those of this machine are, secrets hidden.
    let ran = ran.says("RUN --mount=type=secret").says("the token is ***").does_not_say(&secret);
    assert!(ran.stderr.contains("COPY --from=build"), "{}", ran.stderr);
    let image = Layout::open(&project.path("app.tar")).only_image();
    assert_eq!(image.text("srv/out"), format!("{greeting} world\n10.9.8.7\there\n"));
    let sum = crate::support::image::sha256(secret.as_bytes());
    assert_eq!(image.text("srv/sum").trim_end(), sum.trim_start_matches("sha256:"));
    assert_eq!(image.text("lib.txt"), "a lib\n");
    assert_eq!(image.entry("srv/a.css").mode & 0o7777, 0o600);
    assert_eq!(image.config["config"]["Labels"]["kind"], "test");
    assert_eq!(image.config["config"]["WorkingDir"], "/srv");
    let bake = ["bake", "app", "--builder", "fleet"];
    project.mab(&bake).with_env("TOKEN", "another").run().succeeded().says("nothing had to be done");
    // A worker that has all the steps still has an image to make.
    project.write("multiarch.toml", text.replace("kind = \"test\"", "kind = \"other\""));
    let ran = project.mab(&bake).with_env("TOKEN", &secret).run().succeeded();
    ran.says("done in").says("0 steps built, 5 reused").does_not_say("nothing had to be done");
}

#[test]
fn arguments_secrets_and_named_contexts_reach_a_worker() {
    let (Some(base), Some(sockets)) = (base(), sockets()) else { return };
    check_everything(&base, &of_fleet(&sockets));
}

/// Workers keep what they are sent, and take a file that looks the same for the same file.
#[test]
fn a_worker_never_takes_one_file_for_another() {
    let Some(sockets) = sockets() else { return };
    let project = Project::of(
        "[target.app]\ncontext = \"context\"\noutput = [\"type=oci,dest=app.tar\"]\n\
         dockerfile-inline = \"FROM scratch\\nCOPY . /\\n\"\n",
    );
    fleet(&project, &sockets);
    let time = SystemTime::UNIX_EPOCH + Duration::from_secs(1_234_567_890);
    for round in 0..16 {
        let text = format!("{:02} {}", round, unseen());
        // In place, and as a new file, by turns.
        if round % 2 == 0 {
            project.write("context/other", &text);
            fs::rename(project.path("context/other"), project.path("context/file")).expect("both are here");
        } else {
            project.write("context/file", &text);
        }
        let file = fs::File::options().write(true).open(project.path("context/file")).expect("it is ours");
        file.set_modified(time).expect("it is ours");
        project.bake(&["app", "--builder", "fleet"]);
        let image = Layout::open(&project.path("app.tar")).only_image();
        assert_eq!(image.text("file"), text, "round {round}");
        assert_eq!(image.entry("file").mtime, 1_234_567_890, "the user's own time");
    }
}

#[test]
fn only_what_changed_travels_and_is_told() {
    let Some(sockets) = sockets() else { return };
    let project = Project::of(
        "[target.app]\ncontext = \"context\"\ncontexts = { more = \"more\" }\n\
         dockerfile-inline = \"FROM scratch\\nCOPY . /\\nCOPY --from=more . /\\n\"\n",
    );
    fleet(&project, &sockets);
    project.write("context/a", "a".repeat(400));
    project.write("context/d/b", "b".repeat(50));
    project.write("more/c", "c".repeat(7));
    let bake = || project.bake(&["app", "--builder", "fleet", "--progress", "plain"]);
    bake().says("] pushed context (450 B)\n").says("] pushed context more (7 B)\n");
    project.write("context/d/b", "b".repeat(51));
    bake().says("] pushed context (51 B)\n").does_not_say("pushed context more");
    // What is gone needs no word, and less is sent than there is.
    fs::remove_file(project.path("context/d/b")).expect("it is there");
    bake().says("done in").does_not_say("pushed context");
}

#[test]
fn a_context_of_several_targets_travels_once() {
    let Some(sockets) = sockets() else { return };
    let target = |name: &str, more: &str| {
        format!(
            "[target.{name}]\ncontext = \"context\"\nplatforms = [\"{}\"]\n{more}\
             dockerfile-inline = \"FROM scratch\\nCOPY . /{name}/\\n\"\n",
            native()
        )
    };
    let project = Project::of(&format!("{}{}", target("one", ""), target("two", "needs = [\"one\"]\n")));
    fleet(&project, &sockets);
    project.write("context/a", "a".repeat(400));
    let ran = project.bake(&["one", "two", "--builder", "fleet", "--progress", "plain"]);
    let sent = ran.stderr.lines().filter(|line| line.contains("pushed context"));
    assert_eq!(sent.count(), 1, "{}", ran.stderr);
}

#[test]
fn a_step_that_fails_says_where_and_how() {
    let (Some(base), Some(sockets)) = (base(), sockets()) else { return };
    let project = Project::native_app(&base, "FROM busybox\nRUN echo before\nRUN echo so >&2 && exit 7\n");
    fleet(&project, &sockets);
    let ran = project.mab(&["bake", "app", "--builder", "fleet", "--progress", "quiet"]).run().failed(1);
    let platform = native();
    for expected in [
        "build::run",
        &format!("`RUN echo so >&2 && exit 7` for {platform} failed with exit code 7"),
        "Dockerfile:3:1",
        "so\n",
    ] {
        assert!(ran.stderr.contains(expected), "no `{expected}` in:\n{}", ran.stderr);
    }
}

#[test]
fn a_worker_that_is_lost_is_replaced() {
    let (Some(base), Some(sockets)) = (base(), sockets()) else { return };
    let gate = Gate::new("lost");
    gate.open(&base, &sockets[1]);
    let project = Project::native_app(&base, &format!("FROM busybox\n{}", gate.step()));
    let file = project.read("multiarch.toml");
    project.write("multiarch.toml", format!("{file}output = [\"type=oci,dest=app.tar\"]\n"));
    let proxy = Proxy::plain(&sockets[0]);
    let lost = worker(format!("tcp://127.0.0.1:{}", proxy.port), &[native().as_str()]);
    let kept = worker(format!("unix://{}", sockets[1].display()), &[native().as_str()]);
    configure(&project, &[lost, kept]);
    let bake = ["bake", "app", "--builder", "fleet", "--progress", "plain"];
    let mut running = project.mab(&bake).start();
    running.wait_for("begun");
    proxy.cut();
    running.finish().succeeded().says("was lost").says("another worker builds what it had");
    assert_eq!(Layout::open(&project.path("app.tar")).only_image().text("done"), "done\n");

    // Alone, it is the end of the build.
    let project = Project::native_app(&base, &format!("FROM busybox\n{}", gate.step()));
    let proxy = Proxy::plain(&sockets[0]);
    configure(&project, &[worker(format!("tcp://127.0.0.1:{}", proxy.port), &[native().as_str()])]);
    let mut running = project.mab(&bake).start();
    running.wait_for("begun");
    proxy.cut();
    running.finish().failed(4).says("builder::lost");
}
