//! `mab run`: commands in images, for any platform, as any user.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::process::Stdio;

use rustix::process::Signal;
use rustix::pty::{OpenptFlags, grantpt, ioctl_tiocgptpeer, openpt, unlockpt};
use rustix::termios::{LocalModes, Winsize, tcgetattr, tcsetwinsize};

use crate::support::users::User;
use crate::support::{Mab, Project, Registry, base, project::native};

const DOCKERFILE: &str = "FROM busybox\n\
    RUN echo 'app:x:1000:1000::/home/app:/bin/sh' >> /etc/passwd\n\
    WORKDIR /srv\nENV GREETING=hello\nUSER app\nSTOPSIGNAL SIGUSR1\n\
    ENTRYPOINT [\"sh\", \"-c\", \"echo $GREETING from $(uname -m) as $(id -un) in $(pwd): $0 $*\"]\nCMD [\"all\"]\n";

/// `mab run` of the base image.
fn run(project: &Project, options: &[&str], command: &[&str]) -> Mab {
    let base = base().expect("whoever asks has looked");
    project
        .mab(&["run"])
        .with(options)
        .with(&[&format!("oci-layout://{}", base.display()), "--"])
        .with(command)
}

fn shell(project: &Project, options: &[&str], script: &str) -> Mab {
    run(project, options, &["sh", "-c", script])
}

#[test]
fn images_run_from_wherever_they_are_for_every_platform_and_user() {
    for user in User::with_ids() {
        let name = user.name;
        let project = user.project(|base| Project::app(base, DOCKERFILE));
        let said = |arguments: &[&str]| {
            project.mab(&["run", "--progress", "quiet"]).with(arguments).run().succeeded()
        };
        let everywhere = "linux/amd64 | hello from x86_64 as app in /srv: all\n\
                          linux/arm64 | hello from aarch64 as app in /srv: all\n";
        assert_eq!(said(&["--all-platforms", "app"]).stdout, everywhere, "{name}");
        let arm = "hello from aarch64 as app in /srv: some thing\n";
        assert_eq!(said(&["--platform", "linux/arm64", "target:app", "some", "thing"]).stdout, arm, "{name}");
        project.bake(&["app", "-o", "type=oci,dest=../image.tar", "-o", "type=oci,tar=false,dest=../layout"]);
        project.bake(&["app", "--platform", "linux/arm64", "-o", "type=docker,dest=../docker.tar"]);
        let other = "hello from aarch64 as app in /srv: x\n";
        for image in ["../image.tar", "oci-archive://../image.tar", "../layout", "../docker.tar"] {
            let ran = said(&["--platform", "linux/arm64", image, "--", "x"]);
            assert_eq!((ran.stdout.as_str(), ran.stderr.as_str()), (other, ""), "{name} {image}");
        }
        let alone = said(&["../docker.tar", "x"]);
        let notice = "run::emulated\n\n  ⚠ `../docker.tar` is for `linux/arm64` only, which is emulated on `linux/amd64`";
        if native() == "linux/amd64" {
            assert_eq!((alone.stdout.as_str(), alone.errors().as_str()), (other, notice), "{name}");
        }
    }
}

#[test]
fn an_image_of_a_registry_or_of_the_store_runs() {
    let (Some(base), Some(registry)) = (base(), Registry::of_this_run()) else { return };
    let project = Project::app(&base, DOCKERFILE);
    let name = registry.repository("running");
    let output = format!("type=image,name={name}:1,push=true");
    project.bake(&["app", "-o", &output, "--metadata-file", "../metadata.json"]);
    let metadata: serde_json::Value =
        serde_json::from_str(&project.read("../metadata.json")).expect("it is JSON");
    let digest = metadata["app"]["containerimage.digest"].as_str().expect("it has a digest").to_string();
    let elsewhere = Project::new();
    for (from, image) in [
        (&project, digest.clone()),
        (&elsewhere, format!("{name}:1")),
        (&elsewhere, format!("{name}@{digest}")),
    ] {
        let ran = from.mab(&["run", "--platform", "linux/amd64", &image]).run().succeeded();
        assert_eq!(ran.stdout, "hello from x86_64 as app in /srv: all\n", "{image}");
    }
    let lost = "image::not-in-store\n\n  × the store has no image `sha256:0000000000000000000000000000000000000000000000000000000000000000`\n";
    let zeros = format!("sha256:{}", "0".repeat(64));
    elsewhere.mab(&["run", &zeros]).run().failed(125).says(lost);
}

#[test]
fn a_command_finds_what_docker_would_give_it() {
    let Some(_) = base() else { return };
    let project = Project::new().file("here/file", "content\n");
    let out = |options: &[&str], script: &str| shell(&project, options, script).run().succeeded().stdout;
    assert_eq!(
        out(
            &["-e", "A=1", "-e", "B", "-u", "1000:5", "-w", "/a/b"],
            "env | sort | grep -v -e PWD -e SHLVL; id; pwd"
        ),
        "A=1\nHOME=/\nHOSTNAME=mab\nPATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin\n\
         uid=1000 gid=5 groups=5\n/a/b\n"
    );
    let given = shell(&project, &["-e", "B"], "echo $B").with_env("B", "from here").run();
    assert_eq!(given.succeeded().stdout, "from here\n");
    let mounted = out(
        &[
            "-v",
            "./here:/ro:ro",
            "--mount",
            "type=bind,source=here,target=/rw",
            "--tmpfs",
            "/t:size=1m",
            "--read-only",
        ],
        "cat /ro/file; touch /ro/a /b 2>&1; echo new > /rw/made; df /t | tail -n 1 | awk '{print $2}'; touch /t/c && echo written",
    );
    let refused = "touch: /ro/a: Read-only file system\ntouch: /b: Read-only file system\n";
    assert_eq!(mounted, format!("content\n{refused}1024\nwritten\n"));
    assert_eq!(project.read("here/made"), "new\n");
    assert_eq!(out(&["--network", "none"], "ls /sys/class/net"), "lo\n");
    assert_eq!(
        out(&["--add-host", "db:10.0.0.1", "--hostname", "box"], "tail -n 1 /etc/hosts; hostname"),
        "10.0.0.1\tdb\nbox\n"
    );
    assert_eq!(run(&project, &["--entrypoint", "echo"], &["a", "b"]).run().succeeded().stdout, "a b\n");
    // What it changed is gone.
    assert_eq!(out(&[], "touch /kept && ls /kept"), "/kept\n");
    assert_eq!(out(&[], "ls /kept 2> /dev/null || echo gone"), "gone\n");
    let left = std::fs::read_dir(project.store().join("dead")).expect("the store is there").count();
    assert_eq!(left, 0, "changes are removed");
}

#[test]
fn the_exit_code_is_the_commands_own() {
    let Some(_) = base() else { return };
    let project = Project::new();
    let code = |mab: Mab| mab.run().code;
    assert_eq!(code(shell(&project, &[], "exit 42")), Some(42));
    assert_eq!(code(shell(&project, &["--all-platforms"], "[ $(uname -m) = x86_64 ] || exit 3")), Some(3));
    run(&project, &[], &["nope"]).run().failed(127).says("run::not-found\n\n  × `nope` for ");
    let scripts = Project::app(
        &base().expect("it was there"),
        "FROM busybox\nRUN printf '#!/bin/bash\\n' > /bin/deploy; printf '#!/bin/sh\\r\\n' > /entry; chmod +x /bin/deploy /entry\n",
    );
    for (command, said) in [
        ("deploy", "linux/amd64 is a script for `/bin/bash`, which the image does not have\n"),
        ("/entry", "linux/amd64 is a script for `/bin/sh\\r`, which the image does not have\n"),
    ] {
        let words = ["run", "--platform", "linux/amd64", "target:app", "--", command];
        let said = format!("run::not-found\n\n  × `{command}` for {said}");
        scripts.mab(&words).run().failed(127).says(&said);
    }
    run(&project, &[], &["/etc"]).run().failed(126).says("run::not-executable\n\n  × `/etc` for ");
    let missing = "base::platform\n\n  × `oci-layout://";
    run(&project, &["--platform", "linux/s390x"], &["true"]).run().failed(125).says(missing);
    project.write("no.tar", "nothing of an archive");
    for (image, said) in [
        ("./nothing.tar", "image::not-there\n\n  × `./nothing.tar` does not exist"),
        ("oci-archive://nothing.tar", "`oci-archive://nothing.tar` does not exist"),
        ("oci-layout://nothing", "`oci-layout://nothing` does not exist"),
        ("./ni.tar", "did you mean `no.tar`?"),
        ("./no.tar", "image::no-archive\n\n  × `./no.tar` is no archive of images: "),
        (".", "`.` is neither an OCI layout nor an archive of images"),
    ] {
        project.mab(&["run", image]).run().failed(125).says(said);
        for verb in ["bench", "verify", "inspect"] {
            project.mab(&[verb, image]).run().failed(2).says(said);
        }
        project.mab(&["copy", image, "./copied"]).run().failed(2).says(said);
    }
    shell(&project, &["-v", "./missing:/m"], "")
        .run()
        .failed(125)
        .says("run::mount\n\n  × cannot mount `./missing`: ");
    let volume = "`data` would be the name of a volume, and there are none; a folder here is `./data`";
    shell(&project, &["-v", "data:/m"], "").run().failed(2).says(volume);
    run(&project, &["-u", "stranger"], &["true"])
        .run()
        .failed(125)
        .says("run::user\n\n  × no user `stranger` in /etc/passwd");
    run(&project, &["--entrypoint", ""], &[]).run().failed(125).says("run::no-command");
}

#[test]
fn a_command_is_a_filter_and_ends_when_nobody_reads() {
    let Some(_) = base() else { return };
    let project = Project::new();
    let mut command = run(&project, &["-i"], &["sh", "-c", "tr a-z A-Z; echo end"]).command();
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("the program starts");
    let text = "some lines\n".repeat(20_000);
    let mut input = child.stdin.take().expect("it is a pipe");
    let written = text.clone();
    let writer = std::thread::spawn(move || input.write_all(written.as_bytes()));
    let output = child.wait_with_output().expect("it ends");
    writer.join().expect("it does not panic").expect("all is read");
    assert!(output.stdout == format!("{}end\n", text.to_uppercase()).as_bytes(), "every byte comes back");
    let mut command = run(&project, &[], &["yes"]).command();
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("the program starts");
    let mut line = String::new();
    let stdout = child.stdout.take().expect("it is a pipe");
    BufReader::new(stdout).read_line(&mut line).expect("it says something");
    assert_eq!((line.as_str(), child.wait().expect("it ends").success()), ("y\n", false));
    // What reads nothing sees the end of its input.
    assert_eq!(run(&project, &[], &["cat"]).run().succeeded().stdout, "");
}

#[test]
fn signals_reach_the_command_and_the_second_one_ends_it() {
    let Some(base) = base() else { return };
    let project = Project::native_app(&base, DOCKERFILE);
    let handled = "trap 'echo stopped; exit 9' USR1; echo up >&2; while :; do sleep 0.05; done";
    let mut running =
        project.mab(&["run", "--progress", "quiet", "--entrypoint", "sh", "app", "-c", handled]).start();
    // SIGTERM is the image's stop signal in there.
    let ran = running.wait_for("up");
    ran.signal(Signal::TERM);
    let ran = running.finish().failed(9);
    assert_eq!(ran.stdout, "stopped\n");
    // A signal without a handler ends it, though it is the first process of its namespace: the signal itself, where it
    // meets a child that the shell then follows, else the end that comes after it.
    for (platform, command) in
        [(native(), "sleep 1000"), ("linux/arm64".to_string(), "while :; do usleep 50000; done")]
    {
        let script = format!("echo up >&2; {command}");
        let mut running = shell(&project, &["--platform", &platform], &script).start();
        running.wait_for("up").signal(Signal::INT);
        let ran = running.finish();
        assert!(matches!(ran.code, Some(130 | 137)), "{:?}: {}", ran.code, ran.stderr);
    }
    let deaf = "trap 'echo again >&2' INT; echo up >&2; while :; do sleep 0.05; done";
    let mut running = shell(&project, &[], deaf).start();
    running.wait_for("up").signal(Signal::INT);
    running.wait_for("again").signal(Signal::INT);
    running.finish().failed(137);
}

#[test]
fn a_terminal_is_the_commands_own_and_comes_back_as_it_was() {
    let Some(_) = base() else { return };
    let project = Project::new();
    let controller =
        openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).expect("there are terminals");
    grantpt(&controller).and_then(|()| unlockpt(&controller)).expect("it is ours");
    let terminal =
        ioctl_tiocgptpeer(&controller, OpenptFlags::RDWR | OpenptFlags::NOCTTY).expect("it is ours");
    tcsetwinsize(&controller, Winsize { ws_row: 33, ws_col: 99, ws_xpixel: 0, ws_ypixel: 0 })
        .expect("it has a size");
    let script = "tty; stty size; ls -l /dev/console | cut -c1; echo through > /dev/tty; echo ready; read x; echo \"<$x>\"; exit 5";
    let mut command = shell(&project, &["-it", "-u", "1000"], script).command();
    let stream = |of: &OwnedFd| Stdio::from(of.try_clone().expect("a descriptor can be had twice"));
    let (input, output) = (stream(&terminal), stream(&terminal));
    let mut child =
        command.stdin(input).stdout(output).stderr(stream(&terminal)).spawn().expect("the program starts");
    drop(command);
    let mut screen = File::from(controller.try_clone().expect("a descriptor can be had twice"));
    let mut seen = String::new();
    let mut read_until = |end: &str, seen: &mut String| {
        let mut buffer = [0; 4096];
        while !seen.contains(end) {
            let read = screen.read(&mut buffer).expect("the terminal is open here");
            seen.push_str(&String::from_utf8_lossy(&buffer[..read]));
        }
    };
    read_until("ready\r\n", &mut seen);
    assert_eq!(seen, "/dev/pts/0\r\n33 99\r\nc\r\nthrough\r\nready\r\n");
    assert!(
        !tcgetattr(&terminal).expect("it is one").local_modes.contains(LocalModes::ICANON),
        "it is raw meanwhile"
    );
    File::from(controller.try_clone().expect("a descriptor can be had twice"))
        .write_all(b"typed\r")
        .expect("it takes input");
    read_until("<typed>\r\n", &mut seen);
    assert_eq!(child.wait().expect("it ends").code(), Some(5));
    assert!(
        tcgetattr(&terminal).expect("it is one").local_modes.contains(LocalModes::ICANON),
        "it is as it was"
    );
    shell(&project, &["-it"], "")
        .run()
        .failed(125)
        .says("`--tty` needs a terminal, and standard input is none");
}
