//! Secrets and SSH agents: a command gets them, and nothing else ever does.

use std::ffi::OsStr;
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crate::support::surroundings::needs;
use crate::support::users::User;
use crate::support::{Image, Kind, Layout, Project, base};

/// A project with one target for this machine, and these further keys.
fn app(base: &Path, dockerfile: &str, keys: &str) -> Project {
    let project = Project::native_app(base, dockerfile);
    let file = project.read("multiarch.toml");
    project.write("multiarch.toml", format!("{file}{keys}\n"));
    project
}

#[track_caller]
fn image(project: &Project) -> Image {
    Layout::open(&project.folder().join("image.tar")).only_image()
}

const OUTPUT: [&str; 4] = ["bake", "app", "-o", "type=oci,dest=../image.tar"];

/// A value that is nowhere else on this machine.
fn value(of: &str) -> String {
    format!("correct-horse-{of}-{}", std::process::id())
}

#[test]
fn a_command_gets_its_secrets_where_it_wants_them() {
    for user in User::with_ids() {
        let name = user.name;
        let text = "FROM busybox\nWORKDIR /w\n\
            RUN --mount=type=secret,id=token --mount=type=secret,id=token,target=here,mode=0440,uid=5,gid=6 \
            --mount=type=secret,id=file,env=FROM_FILE --mount=type=secret,id=BY_ID,env=FROM_ID,target=/etc/by-id \
            --mount=type=secret,id=none,env=NONE --mount=type=secret,id=none <<END\n\
            for file in /run/secrets/token here /etc/by-id; do stat -c '%n %a %u %g' $file; sha256sum < $file; done > /seen\n\
            printf %s \"$FROM_FILE\" | sha256sum >> /seen; printf %s \"$FROM_ID\" | sha256sum >> /seen\n\
            echo \"none: ${NONE-unset}\" >> /seen; ls /run/secrets >> /seen; grep -c '/token tmpfs' /proc/mounts >> /seen\n\
            END\n";
        let keys =
            "secret = [\"id=token,env=TOKEN\", { id = \"file\", src = \"../secret\" }, { id = \"BY_ID\" }]";
        let project = user.project(|base| app(base, text, keys));
        fs::write(project.folder().join("secret"), "of a file").expect("the folder is writable");
        project.mab(&OUTPUT).with_env("TOKEN", "of TOKEN").with_env("BY_ID", "of its id").run().succeeded();
        let hash = |text: &str| {
            format!("{}  -\n", crate::support::image::sha256(text.as_bytes()).trim_start_matches("sha256:"))
        };
        let (token, file, by_id) = (hash("of TOKEN"), hash("of a file"), hash("of its id"));
        let expected = format!(
            "/run/secrets/token 400 0 0\n{token}here 440 5 6\n{token}/etc/by-id 400 0 0\n{by_id}{file}{by_id}none: \ntoken\n1\n"
        );
        let image = image(&project);
        assert_eq!(image.text("seen"), expected, "{name}");
        assert!(!image.has("run/secrets") && !image.has("w/here") && !image.has("etc/by-id"), "{name}");
    }
}

/// Every file below a folder that holds `text`.
fn holding(folder: &Path, text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            found.extend(holding(&path, text));
        } else if fs::read(&path).is_ok_and(|bytes| contains(&bytes, text)) {
            found.push(path.display().to_string());
        }
    }
    found
}

fn contains(bytes: &[u8], text: &str) -> bool {
    String::from_utf8_lossy(bytes).contains(text)
}

#[test]
fn a_secret_is_nowhere_but_in_its_command() {
    let Some(base) = base() else { return };
    let (token, key) = (value("token"), value("key"));
    let text = "FROM busybox\n\
        RUN --mount=type=secret,id=token,env=TOKEN --mount=type=secret,id=key,target=/key <<END\n\
        echo \"the token is $TOKEN.\"; cat /key; cat /key >&2; env\n\
        head -c 65530 /dev/zero | tr '\\0' x; echo $TOKEN; printf %s $TOKEN\n\
        test \"$(cat /key | wc -l)\" = 3 && echo read > /seen\n\
        END\n\
        RUN --mount=type=secret,id=token,env=TOKEN echo \"again $TOKEN\"; test ! -e /fail || exit 7\n";
    let keys = "secret = [{ id = \"token\", env = \"MY_TOKEN\" }, { id = \"key\", src = \"../keys/key\" }]";
    let project = app(&base, text, keys);
    fs::create_dir(project.folder().join("keys")).expect("the folder is writable");
    let file = project.folder().join("keys/key");
    fs::write(&file, format!("-----BEGIN-----\n{key}\n-----END-----\n")).expect("the folder is writable");
    let mut said = Vec::new();
    let mut run = |arguments: &[&str], code: i32| {
        let ran = project.mab(arguments).with_env("MY_TOKEN", &token).run().failed(code);
        said.extend([ran.stdout.clone(), ran.stderr.clone()]);
        ran
    };
    let plain = run(
        &[
            "bake",
            "app",
            "--progress",
            "plain",
            "-o",
            "type=oci,dest=../image.tar",
            "-o",
            "type=local,dest=root",
        ],
        0,
    );
    assert!(plain.stderr.contains("| the token is ***."), "{}", plain.stderr);
    assert!(plain.stderr.contains("| TOKEN=***"), "{}", plain.stderr);
    run(&["bake", "app", "--progress", "json", "--no-cache", "--metadata-file", "metadata.json"], 0);
    run(&["bake", "--print", "app"], 0);
    run(&["plan", "app", "--format", "json"], 0);
    project.edit("Dockerfile", "test ! -e /fail", "false");
    let failed = run(&["bake", "app"], 1);
    assert!(failed.stderr.contains("again ***"), "{}", failed.stderr);
    for secret in [&token, &key] {
        assert!(said.iter().all(|text| !text.contains(secret.as_str())), "{secret} was said");
        let image = image(&project);
        assert_eq!(image.text("seen"), "read\n");
        let is_in = |kind: &Kind| matches!(kind, Kind::File(bytes) if contains(bytes, secret));
        assert!(!image.tree.values().any(|entry| is_in(&entry.kind)), "{secret} is in the image");
        let mut found = holding(project.folder(), secret);
        found.retain(|path| *path != file.display().to_string());
        assert_eq!(found, [""; 0], "{secret}");
    }
}

#[test]
fn whether_there_is_a_secret_decides_and_its_value_does_not() {
    let Some(base) = base() else { return };
    let text = "FROM busybox\nRUN --mount=type=secret,id=token,env=TOKEN echo ${TOKEN:+given} > /seen\n";
    let project = app(&base, text, "secret = [\"id=token,env=TOKEN\"]");
    project.mab(&OUTPUT).with_env("TOKEN", "one").run().succeeded();
    assert_eq!(image(&project).text("seen"), "given\n");
    project.mab(&OUTPUT).with_env("TOKEN", "two").run().succeeded().says("nothing had to be done");
    project.mab(&OUTPUT).run().succeeded().does_not_say("nothing had to be done");
    assert_eq!(image(&project).text("seen"), "\n");
}

#[test]
fn a_secret_that_cannot_be_read_is_told_where_it_is_declared() {
    let Some(base) = base() else { return };
    let text = "FROM busybox\nRUN --mount=type=secret,id=key true\n";
    let project = app(&base, text, "secret = [\"id=key,src=nowhere\"]");
    project
        .mab(&OUTPUT)
        .run()
        .failed(2)
        .says("the secret `key` cannot be read from")
        .says("multiarch.toml:5");
    project.write("nowhere", vec![b'x'; 500 * 1024 + 1]);
    project.mab(&OUTPUT).run().failed(2).says("it is larger than 500 KiB");
    project.write("nowhere", vec![b'x'; 500 * 1024]);
    project.mab(&OUTPUT).run().succeeded();
}

/// A real agent with one key.
struct Agent {
    folder: tempfile::TempDir,
    process: Child,
}

impl Agent {
    fn of(user: &User) -> Option<Self> {
        if !["ssh-agent", "ssh-add", "ssh-keygen", "ldd"].into_iter().all(needs) {
            return None;
        }
        let folder =
            tempfile::Builder::new().prefix("mab-test-").tempdir().expect("there is a place for files");
        let key = folder.path().join("key");
        let mut keygen = Command::new("ssh-keygen");
        keygen.args(["-q", "-t", "ed25519", "-N", "", "-C", KEY, "-f"]).arg(&key);
        assert!(keygen.status().expect("it starts").success());
        user.give(folder.path());
        // Says when it has the key, and ends with its input.
        let script = "ssh-add -q \"$0\" && echo ready && exec cat";
        let mut process = user
            .command("ssh-agent")
            .arg("-a")
            .arg(folder.path().join("agent"))
            .args(["sh", "-c", script])
            .arg(&key)
            .env("HOME", folder.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("it starts");
        let mut line = String::new();
        let output = process.stdout.as_mut().expect("it is a pipe");
        BufReader::new(output).read_line(&mut line).expect("it is readable");
        assert_eq!(line, "ready\n");
        Some(Self { folder, process })
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        drop(self.process.stdin.take());
        // It has ended, or is going to.
        let _ = self.process.wait();
    }
}

const KEY: &str = "a-key-of-mab";

/// Puts this machine's `ssh-add` with all it needs into `client` of the project, and gives the command for it.
fn client(project: &Project) -> &'static str {
    let listed = Command::new("ldd").arg("/usr/bin/ssh-add").output().expect("it starts");
    let listed = String::from_utf8_lossy(&listed.stdout).into_owned();
    let libraries = listed.split_whitespace().filter(|word| word.starts_with('/'));
    fs::create_dir(project.path("client")).expect("the folder is writable");
    for file in libraries.chain(["/usr/bin/ssh-add"]) {
        let name = Path::new(file).file_name().expect("it is a file");
        let name = if name.to_string_lossy().starts_with("ld-") { OsStr::new("loader") } else { name };
        fs::copy(file, project.path("client").join(name)).expect("it is readable");
    }
    "/client/loader --library-path /client /client/ssh-add"
}

/// Lists the agent's keys, and tries to have them forgotten.
fn asking(client: &str, mount: &str) -> String {
    format!(
        "FROM busybox\nRUN --mount=source=client,target=/client --mount=type=ssh,{mount} <<END\n\
         {client} -l | cut -d' ' -f3 > /seen; {client} -D 2>/dev/null; echo $? >> /seen; {client} -l | wc -l >> /seen\n\
         stat -c '%a %u %g' $SSH_AUTH_SOCK >> /seen; echo $SSH_AUTH_SOCK >> /seen\nEND\n"
    )
}

#[test]
fn an_agent_answers_in_the_sandbox_and_keeps_its_keys() {
    for user in User::all() {
        let name = user.name;
        let Some(agent) = Agent::of(&user) else { return };
        let project = user.project(|base| {
            let project = app(base, "", "ssh = [\"default\"]");
            project.write("Dockerfile", asking(client(&project), "required"));
            project
        });
        let ran = project.mab(&OUTPUT).with_env("SSH_AUTH_SOCK", agent.path("agent")).run().succeeded();
        let image = image(&project);
        let expected = format!("{KEY}\n1\n1\n600 0 0\n/run/buildkit/ssh_agent.0\n");
        assert_eq!(image.text("seen"), expected, "{name}: {}", ran.stderr);
        assert!(!image.has("run/buildkit"), "{name}");
        project.mab(&OUTPUT).run().failed(2).says("SSH_AUTH_SOCK is not set");
        let ran = project.mab(&OUTPUT).with_env("SSH_AUTH_SOCK", agent.path("nowhere"));
        ran.with(&["--no-cache"]).run().failed(2).says("no agent answers at");
    }
}

#[test]
fn keys_need_no_agent() {
    let users = User::with_ids();
    let Some(agent) = users.first().and_then(Agent::of) else { return };
    for user in users {
        let name = user.name;
        let project = user.project(|base| {
            let project = app(base, "", "ssh = [\"deploy=../key\"]");
            project.write(
                "Dockerfile",
                asking(client(&project), "id=deploy,required,uid=5,gid=6,mode=0660,target=sock"),
            );
            fs::copy(agent.path("key"), project.folder().join("key")).expect("the folder is writable");
            project
        });
        project.mab(&OUTPUT).run().succeeded();
        assert_eq!(image(&project).text("seen"), format!("{KEY}\n1\n1\n660 5 6\n/sock\n"), "{name}");
        // The address of a socket cannot be as long.
        let deep = project.folder().join("deep".repeat(30)).display().to_string();
        project.mab(&OUTPUT).with(&["--store", &deep]).run().succeeded();
        let key = project.folder().join("key");
        let mut lock = Command::new("ssh-keygen");
        lock.args(["-q", "-p", "-P", "", "-N", "a passphrase", "-f"]).arg(&key);
        assert!(lock.status().expect("what makes keys is here").success());
        project.mab(&OUTPUT).with(&["--no-cache"]).run().failed(2).says("one has a passphrase");
        fs::write(key, "no key").expect("the folder is writable");
        project.mab(&OUTPUT).with(&["--no-cache"]).run().failed(2).says("`ssh-add` does not take the keys");
    }
}
