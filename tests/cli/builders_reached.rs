//! Ways to a worker that lead through other programs: ssh, kubectl, a container of a Docker Engine.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

use crate::builders::{configure, sockets, unseen, worker};
use crate::support::engine::engines;
use crate::support::project::native;
use crate::support::surroundings::{PATH, needs, needs_root, skip};
use crate::support::{Mab, Project, Ran, base};

/// The real `buildctl`, which stands at the other end of such ways.
fn buildctl() -> Option<String> {
    let path = std::env::var("MAB_TEST_BUILDCTL").ok();
    if path.is_none() {
        skip("what goes through `buildctl`: tests/services/start could not build it");
    }
    path
}

/// Puts a program into the folder that comes first in the PATH of `bake`.
fn program(project: &Project, name: &str, script: &str) {
    project.write(&format!("bin/{name}"), format!("#!/bin/sh\n{script}\n"));
    fs::set_permissions(project.path(&format!("bin/{name}")), fs::Permissions::from_mode(0o755))
        .expect("it is ours");
}

fn bake(project: &Project) -> Mab {
    let path = format!("{}:{PATH}", project.path("bin").display());
    project.mab(&["bake", "app", "--builder", "fleet", "--progress", "plain"]).with_env("PATH", path)
}

fn project() -> Project {
    Project::of("[target.app]\ncontext = \"context\"\ndockerfile-inline = \"FROM scratch\\nCOPY . /\\n\"\n")
}

/// Something that no worker has seen.
fn news(project: &Project, what: &str) {
    project.write("context/file", format!("{what} {}", unseen()));
}

#[test]
fn programs_reach_a_worker() {
    let (Some(buildctl), Some([socket, _])) = (buildctl(), sockets()) else { return };
    let socket = socket.display().to_string();
    let project = project();
    // Both leave out what is for themselves, and run the rest where `buildctl` is the real one.
    let rest = "echo \"$0 $*\" >> ../calls\nwhile [ \"$1\" != -- ]; do shift; done; shift\n";
    let log = project.path("../calls").display().to_string();
    let rest = rest.replace("../calls", &log);
    program(&project, "ssh", &format!("{rest}shift; exec \"$@\""));
    program(&project, "kubectl", &format!("{rest}exec \"$@\""));
    program(&project, "buildctl", &format!("export BUILDKIT_HOST=unix://{socket}\nexec {buildctl} \"$@\""));
    for (endpoint, expected) in [
        (
            "ssh://me@builder:2222".to_string(),
            "/ssh -T -o BatchMode=yes -o ConnectTimeout=10 -p 2222 -l me -- builder buildctl dial-stdio",
        ),
        (
            format!("ssh://builder{socket}"),
            &*format!(
                "/ssh -T -o BatchMode=yes -o ConnectTimeout=10 -- builder buildctl --addr unix://{socket} dial-stdio"
            ),
        ),
        (
            "kube-pod://buildkitd-0?namespace=ci".to_string(),
            "/kubectl --namespace ci exec -i buildkitd-0 -- buildctl dial-stdio",
        ),
    ] {
        news(&project, &endpoint);
        configure(&project, &[worker(&endpoint, &[&native()])]);
        bake(&project).run().succeeded().says("COPY . /");
        let calls = fs::read_to_string(&log).expect("it was called");
        assert!(calls.trim_end().ends_with(expected), "{calls}");
        // Nothing of it is left.
        assert!(
            crate::support::process::with_marker(&format!("{}/bin/", project.path("").display())).is_empty()
        );
    }
}

#[test]
fn programs_that_reach_nobody_say_why() {
    let project = project();
    let refused =
        "echo \"Warning: known\" >&2; echo \"me@builder: Permission denied (publickey).\" >&2; exit 255";
    program(&project, "ssh", refused);
    let check = |endpoint: &str, code: i32, expected: &[&str]| {
        news(&project, endpoint);
        configure(&project, &[worker(endpoint, &[&native()])]);
        // No program of this machine's is there.
        let ran = bake(&project).with_env("PATH", project.path("bin")).run().failed(code);
        let said = ran.stderr.split_whitespace().collect::<Vec<_>>().join(" ").replace("│ ", "");
        for text in expected {
            assert!(said.contains(text), "no `{text}` in:\n{}", ran.stderr);
        }
    };
    let denied = "`ssh` does not reach worker `ssh://me@builder`: me@builder: Permission denied (publickey).";
    check("ssh://me@builder", 4, &["builder::unreachable", denied]);
    let denied = "`ssh` does not reach the Docker Engine at `ssh://me@builder`: me@builder: Permission denied (publickey).";
    check("docker://ssh://me@builder", 4, &["builder::unreachable", denied]);
    check(
        "kube-pod://buildkitd-0",
        3,
        &["builder::program", "`kubectl`, which reaches worker `kube-pod://buildkitd-0`, cannot be started"],
    );
    check("ssh://-oProxyCommand=true", 2, &["builder::endpoint"]);
    check("docker://nobody", 2, &["docker::context", "there is no docker context `nobody`"]);
    check(
        "docker:///nowhere.sock",
        4,
        &["builder::unreachable", "there is no socket at `/nowhere.sock`, of the Docker Engine"],
    );
}

/// An OpenSSH server for each connection, in place of a way to its host. Its host key and the user's are in the folder.
const SSH: &str = "\
UserKnownHostsFile FOLDER/known
IdentityFile FOLDER/user
IdentitiesOnly yes
ProxyCommand unshare --mount sh -c 'mount -t tmpfs tmpfs /run && mkdir /run/sshd && exec /usr/sbin/sshd -i -E FOLDER/log -f FOLDER/sshd_config'
";
const SSHD: &str = "\
HostKey FOLDER/host
AuthorizedKeysFile FOLDER/authorized
StrictModes no
PermitRootLogin yes
UsePAM no
SetEnv PATH=BUILDCTL:/usr/bin:/bin
";

#[test]
fn ssh_itself_reaches_a_worker() {
    let (Some(buildctl), Some([socket, _])) = (buildctl(), sockets()) else { return };
    if !needs_root() || !needs("sshd") || !needs("ssh-keygen") {
        return;
    }
    let project = project();
    let folder = project.path("../ssh");
    fs::create_dir(&folder).expect("the folder is new");
    for key in ["host", "user", "other"] {
        let path = folder.join(key);
        let keygen =
            Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(path).status();
        assert!(keygen.expect("ssh-keygen starts").success());
    }
    let tools = Path::new(&buildctl).parent().expect("programs are in folders").display().to_string();
    for (name, text) in [("config", SSH), ("sshd_config", SSHD)] {
        let text = text.replace("FOLDER", &folder.display().to_string()).replace("BUILDCTL", &tools);
        project.write(&format!("../ssh/{name}"), text);
    }
    program(&project, "ssh", &format!("exec /usr/bin/ssh -F {}/config \"$@\"", folder.display()));
    let knows = |key: &str| {
        let key = project.read(&format!("../ssh/{key}.pub"));
        project.write("../ssh/known", format!("builder {key}"));
    };
    let endpoint = format!("ssh://root@builder{}", socket.display());
    configure(&project, &[worker(&endpoint, &[&native()])]);
    let baked = |what: &str| {
        news(&project, what);
        bake(&project).run()
    };
    let lets_in = |key: &str| {
        fs::copy(folder.join(format!("{key}.pub")), folder.join("authorized")).expect("both are ours");
    };
    knows("host");
    lets_in("user");
    baked("ssh").succeeded().says("COPY . /");
    let refused = |ran: Ran, why: &str| {
        let said = ran.failed(4).stderr.split_whitespace().collect::<Vec<_>>().join(" ").replace("│ ", "");
        assert!(said.contains(&format!("`ssh` does not reach worker `{endpoint}`: {why}")), "{said}");
    };
    knows("other");
    refused(baked("another host"), "Host key verification failed.");
    knows("host");
    lets_in("other");
    refused(baked("another user"), "root@builder: Permission denied");
}

#[test]
fn a_container_of_an_engine_is_a_worker() {
    let (Some(buildctl), Some([socket, _]), Some(base)) = (buildctl(), sockets(), base()) else { return };
    // Containers of the newest Engine want a newer runc than distributions have.
    for engine in engines().into_iter().take(1) {
        let image = format!("mab-test-buildctl-{}", unseen());
        let container = Project::native_app(&base, "FROM busybox\n");
        let text = container.read("multiarch.toml");
        container.write("multiarch.toml", format!("{text}images = [\"{image}\"]\ntags = [\"1\"]\n"));
        container.mab(&["bake", "app", "--load"]).with_env("DOCKER_HOST", &engine.address).run().succeeded();
        let name = format!("{image}:1");
        let folder = socket.parent().map(Path::display).expect("sockets are in folders");
        // It may be linked to what this machine has.
        let libraries = ["/lib", "/lib64"].into_iter().filter(|folder| Path::new(folder).exists());
        let binds = libraries
            .map(|folder| format!("{folder}:{folder}:ro"))
            .chain([format!("{buildctl}:/bin/buildctl"), format!("{folder}:/run/buildkit:ro")]);
        let binds: Vec<String> = binds.collect();
        // Where `buildctl` looks for it in a container of `moby/buildkit`, too.
        assert!(socket.ends_with("buildkitd.sock"));
        let running = engine.start(&name, &["sleep", "600"], &binds);
        let project = project();
        news(&project, &engine.address);
        configure(&project, &[worker(format!("docker-container://{}", running.id), &[&native()])]);
        let bake = || bake(&project).with_env("DOCKER_HOST", &engine.address);
        bake().run().succeeded().says("COPY . /");

        // One that stands still is started by those who say so.
        running.stop();
        let inspect = |words: &[&str]| {
            let inspected = project.mab(&[&["builder", "inspect", "fleet"][..], words].concat());
            inspected.with_env("DOCKER_HOST", &engine.address).run()
        };
        inspect(&[]).failed(4);
        let started = inspect(&["--bootstrap"]).succeeded();
        assert!(started.stdout.contains("of 4 slots free"), "{}", started.stdout);
        inspect(&[]).succeeded();
        configure(&project, &[worker("docker-container://nobody", &[&native()])]);
        inspect(&["--bootstrap"]).failed(4).says("there is no container `nobody`");

        news(&project, "again");
        let ran = bake().run().failed(4);
        assert!(ran.stderr.contains("there is no container `nobody`"), "{}", ran.stderr);
        let without = engine.start(&name, &["sleep", "600"], &[]);
        configure(&project, &[worker(format!("docker-container://{}", without.id), &[&native()])]);
        let ran = bake().run().failed(4);
        assert!(ran.stderr.contains("`buildctl` does not run in container"), "{}", ran.stderr);
        drop((running, without));
        engine.remove_image(&name);
    }
}
