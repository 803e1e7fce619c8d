//! The sandbox with its real helper process: what a step sees, what it cannot do, what it leaves behind.
//!
//! Needs Linux, a static busybox, and either root or user namespaces; where one of them is missing a test says
//! so and passes, except under `CI=true`.

#![cfg(target_os = "linux")]
#![expect(clippy::unwrap_used, reason = "helpers of tests are not tests to clippy")]

use std::ffi::OsString;
use std::fs;
use std::io::Read;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use mab::engine::embedded::emulate::{Emulator, Execution, HostFacts, decide};
use mab::engine::embedded::sandbox::{
    Changes, ExecRequest, ExitStatus, HelperTask, IdMap, Isolation, Limits, Mount, Network, RunRequest,
    SandboxError, Stdio, Supervisor, SupervisorOptions, TaskOutput, UnpackTarget, User,
};
use mab::layer::Compression;

/// A store on disk, a busybox root as the only layer, and a helper.
struct Scene {
    folder: tempfile::TempDir,
    supervisor: Supervisor,
}

struct Ran {
    status: ExitStatus,
    output: String,
    upper: PathBuf,
}

impl Scene {
    async fn new() -> Option<Self> {
        Self::with(Isolation::for_this_user(false)).await
    }

    async fn with(isolation: Isolation) -> Option<Self> {
        Self::emulating(isolation, Vec::new()).await
    }

    async fn limited(limit: impl FnOnce(&mut Limits)) -> Option<Self> {
        let scene =
            Self::started(Isolation::for_this_user(false), |options| limit(&mut options.limits)).await?;
        let is_limited = !scene.supervisor.control_groups().is_empty();
        if is_limited { Some(scene) } else { skip("this user can make no control groups") }
    }

    async fn emulating(isolation: Isolation, emulators: Vec<Emulator>) -> Option<Self> {
        Self::started(isolation, |options| options.emulators = emulators).await
    }

    async fn started(isolation: Isolation, change: impl FnOnce(&mut SupervisorOptions)) -> Option<Self> {
        let busybox =
            ["/usr/bin/busybox", "/bin/busybox"].map(Path::new).into_iter().find(|path| path.exists());
        let Some(busybox) = busybox else { return skip("there is no busybox") };
        let folder = tempfile::tempdir().unwrap();
        let bin = folder.path().join("base/bin");
        fs::create_dir_all(&bin).unwrap();
        fs::copy(busybox, bin.join("busybox")).unwrap();
        for name in [
            "sh", "ls", "cat", "id", "mknod", "dd", "ip", "touch", "mount", "sleep", "true", "hostname",
            "grep", "rm", "chmod", "env", "stat", "unshare", "find",
        ] {
            symlink("busybox", bin.join(name)).unwrap();
        }
        let mut options = SupervisorOptions::new(isolation, folder.path().join("state"));
        change(&mut options);
        options.executable = env!("CARGO_BIN_EXE_mab").into();
        match Supervisor::start(options).await {
            Ok(supervisor) => Some(Self { folder, supervisor }),
            Err(error @ SandboxError::NoUserNamespaces { .. }) => skip(&error.to_string()),
            Err(error) => panic!("{error}"),
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A request with fresh directories, to be varied.
    fn request(&self, script: &str) -> RunRequest {
        let step = tempfile::Builder::new().prefix("step-").tempdir_in(self.folder.path()).unwrap().keep();
        let (upper, work) = (step.join("upper"), step.join("work"));
        fs::create_dir(&upper).unwrap();
        fs::create_dir(&work).unwrap();
        RunRequest {
            lowers: vec![self.path("base")],
            upper,
            work,
            mounts: Vec::new(),
            argv: ["sh", "-c", script].map(OsString::from).into(),
            env: vec![("PATH".into(), "/bin".into())],
            cwd: "/".into(),
            user: User::default(),
            network: Network::None,
            hostname: RunRequest::HOSTNAME.into(),
            hosts: Some(b"127.0.0.1 localhost\n".to_vec()),
            resolv_conf: Some(b"nameserver 192.0.2.1\n".to_vec()),
            shm_size: RunRequest::SHM_SIZE,
            ulimits: Vec::new(),
            privileged: false,
            readonly: false,
            terminal: None,
        }
    }

    async fn run(&self, request: RunRequest) -> Ran {
        let upper = request.upper.clone();
        let (reader, stdio) = captured();
        let exit = self.supervisor.run(request, stdio).await.unwrap_or_else(|error| panic!("{error}"));
        Ran { status: exit.status, output: text(reader), upper }
    }

    fn has_several_ids(&self) -> bool {
        self.supervisor.id_map() != IdMap::Single || skip::<()>("this user has no subordinate ids").is_some()
    }

    async fn output(&self, script: &str) -> String {
        self.run(self.request(script)).await.output
    }
}

fn skip<T>(why: &str) -> Option<T> {
    assert!(std::env::var_os("CI").is_none(), "{why}");
    eprintln!("skipped: {why}");
    None
}

fn captured() -> (std::io::PipeReader, Stdio) {
    let (reader, writer) = std::io::pipe().unwrap();
    let error = OwnedFd::from(writer.try_clone().unwrap());
    (reader, Stdio { input: None, output: writer.into(), error })
}

fn text(mut reader: std::io::PipeReader) -> String {
    let mut text = String::new();
    reader.read_to_string(&mut text).unwrap();
    text
}

/// Everything in a directory, sorted.
fn names(directory: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut pending = vec![directory.to_owned()];
    while let Some(next) = pending.pop() {
        for entry in fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            found.push(path.strip_prefix(directory).unwrap().display().to_string());
            if path.symlink_metadata().unwrap().is_dir() {
                pending.push(path);
            }
        }
    }
    found.sort();
    found
}

#[tokio::test]
async fn a_command_runs_and_leaves_only_its_own_files() {
    let Some(scene) = Scene::new().await else { return };
    let ran = scene.run(scene.request("echo out; echo err >&2; echo x > /made; exit 3")).await;
    assert_eq!((ran.status, ran.output.as_str()), (ExitStatus::Exited(3), "out\nerr\n"));
    assert_eq!(names(&ran.upper), ["made"]);
}

#[tokio::test]
async fn a_step_sees_dockers_surroundings() {
    let Some(scene) = Scene::new().await else { return };
    for (script, expected) in [
        ("hostname", "buildkitsandbox\n"),
        ("echo $$", "1\n"),
        (
            "grep ' / ' /proc/mounts | busybox awk '{print $3}' ; grep ' / ' /proc/mounts | grep -c nosuid",
            "overlay\n0\n",
        ),
        ("umask", "0022\n"),
        (
            "grep Cap /proc/self/status",
            "CapInh:\t0000000000000000\nCapPrm:\t00000000a80425fb\nCapEff:\t00000000a80425fb\nCapBnd:\t00000000a80425fb\nCapAmb:\t0000000000000000\n",
        ),
        ("grep -E 'NoNewPrivs|Seccomp:' /proc/self/status", "NoNewPrivs:\t0\nSeccomp:\t2\n"),
        (
            "cd /dev; ls",
            "fd\nfull\nmqueue\nnull\nptmx\npts\nrandom\nshm\nstderr\nstdin\nstdout\ntty\nurandom\nzero\n",
        ),
        ("cat /etc/hosts /etc/resolv.conf", "127.0.0.1 localhost\nnameserver 192.0.2.1\n"),
        (
            "echo x > /dev/null && cat /dev/null && dd if=/dev/zero bs=5 count=1 2>/dev/null | cat -v; echo",
            "^@^@^@^@^@\n",
        ),
        ("cat /proc/interrupts /proc/timer_list /proc/keys 2>/dev/null | busybox wc -c", "0\n"),
        // The shell itself lists them: programs of a pipe come and go while it is made.
        ("echo /proc/[0-9]*", "/proc/1\n"),
        ("echo /proc/self/fd/* | busybox wc -w", "4\n"),
        ("grep -E ' /(sys|proc/sys) ' /proc/mounts | grep -c ' ro,'", "2\n"),
    ] {
        assert_eq!(scene.output(script).await, expected, "{script}");
    }
}

#[tokio::test]
async fn a_step_cannot_reach_the_host() {
    let Some(scene) = Scene::new().await else { return };
    for script in [
        "mknod /disk b 254 0 && dd if=/disk of=/dev/null bs=512 count=1",
        "mknod /dev/disk b 254 0 && dd if=/dev/disk of=/dev/null bs=512 count=1",
        "mknod /dev/shm/disk b 254 0 && dd if=/dev/shm/disk of=/dev/null bs=512 count=1",
        "mknod /null c 1 3 && echo x > /null",
        "mount -t tmpfs none /bin",
        "mount -o remount,dev /",
        "unshare -r true",
        "echo x > /etc/hosts",
        "echo 1 > /proc/sys/kernel/panic",
        "echo c > /proc/sysrq-trigger",
        "touch /sys/x",
        "hostname mine",
    ] {
        let ran = scene.run(scene.request(script)).await;
        assert_ne!(ran.status, ExitStatus::Exited(0), "{script}: {}", ran.output);
    }
}

#[tokio::test]
async fn mounts_are_made_and_their_stubs_vanish() {
    let Some(scene) = Scene::new().await else { return };
    let cache = scene.path("cache");
    fs::create_dir(&cache).unwrap();
    fs::write(cache.join("old"), "cached\n").unwrap();
    // A base whose link points out of any root, and one that dangles.
    fs::create_dir_all(scene.path("base/etc")).unwrap();
    symlink("../../../../run/resolv.conf", scene.path("base/etc/resolv.conf")).unwrap();
    let scratch = |name: &str| {
        fs::create_dir(scene.path(name)).unwrap();
        scene.path(name)
    };
    let mut request = scene.request(
        "cat /run/secrets/token /mnt/a/cache/old /etc/resolv.conf; echo new > /mnt/a/cache/new; echo over > /rw/old; \
         ls /rw; echo t > /tmp/file; echo x > /ro/old || echo refused; stat -c %a:%u /run/secrets/token",
    );
    let file = |content: &str, target: &str| Mount::File {
        content: content.into(),
        target: target.into(),
        mode: 0o400,
        uid: 0,
        gid: 0,
    };
    let bind = |target: &str, readonly| Mount::Bind {
        source: cache.clone(),
        target: target.into(),
        readonly,
        recursive: false,
    };
    request.mounts = vec![
        file("secret\n", "/run/secrets/token"),
        bind("/mnt/a/cache", false),
        bind("/ro", true),
        Mount::Tree {
            lowers: vec![cache.clone()],
            source: "/".into(),
            target: "/rw".into(),
            changes: Some(Changes { upper: scratch("rw-upper"), work: scratch("rw-work") }),
        },
        Mount::Tmpfs { target: "/tmp".into(), size: Some(1 << 20), mode: 0o1777 },
    ];
    let ran = scene.run(request).await;
    let expected = "secret\ncached\nnameserver 192.0.2.1\nnew\nold\nsh: can't create /ro/old: Read-only file system\nrefused\n400:0\n";
    assert_eq!(ran.output, expected);
    assert_eq!(names(&ran.upper), [""; 0]);
    assert_eq!(fs::read_to_string(cache.join("new")).unwrap(), "new\n");
    assert_eq!(fs::read_to_string(cache.join("old")).unwrap(), "cached\n");
}

#[tokio::test]
async fn a_changed_parent_of_a_stub_stays_changed() {
    let Some(scene) = Scene::new().await else { return };
    fs::create_dir_all(scene.path("base/etc")).unwrap();
    let before = fs::metadata(scene.path("base/etc")).unwrap().mtime();
    let ran = scene.run(scene.request("true")).await;
    assert_eq!(names(&ran.upper), [""; 0]);
    let ran = scene.run(scene.request("chmod 711 /etc")).await;
    assert_eq!(names(&ran.upper), ["etc"]);
    let changed = fs::metadata(ran.upper.join("etc")).unwrap();
    assert_eq!((changed.mode() & 0o777, changed.mtime()), (0o711, before));
    let ran = scene.run(scene.request("touch /etc/mine")).await;
    assert_eq!(names(&ran.upper), ["etc", "etc/mine"]);
}

#[tokio::test]
async fn other_users_have_no_capabilities() {
    let Some(scene) = Scene::new().await else { return };
    if !scene.has_several_ids() {
        return;
    }
    let mut request = scene.request("id; grep CapEff /proc/self/status");
    request.user = User { uid: 1000, gid: 1001, groups: vec![1002] };
    assert_eq!(scene.run(request).await.output, "uid=1000 gid=1001 groups=1002\nCapEff:\t0000000000000000\n");
}

#[tokio::test]
async fn killing_a_step_kills_everything_it_started() {
    let Some(scene) = Scene::new().await else { return };
    let (reader, stdio) = captured();
    let request = scene.request("sleep 1000 & sleep 1000 & echo started; wait");
    let mut step = scene.supervisor.start_run(request, stdio, Vec::new()).unwrap();
    let mut started = [0; 8];
    let mut reader = reader;
    reader.read_exact(&mut started).unwrap();
    step.kill();
    assert_eq!(step.wait().await.unwrap().status, ExitStatus::Signaled(9));
    // The pipe ends only when no descendant holds it any more.
    assert_eq!(text(reader), "");
}

#[tokio::test]
async fn what_is_to_happen_beside_a_command_waits_until_it_has_begun() {
    let Some(scene) = Scene::new().await else { return };
    let mut late = scene.request("");
    late.argv = ["sleep", "1000"].map(OsString::from).into();
    // A hundred thousand folders in which the program is looked for, when all else is done.
    late.env = vec![("PATH".into(), format!("{}/bin", ":".repeat(100_000)).into())];
    let (_, stdio) = captured();
    let step = scene.supervisor.start_run(late, stdio, Vec::new()).unwrap();
    let (reader, stdio) = captured();
    let request = ExecRequest {
        argv: ["/bin/cat", "/proc/1/cmdline"].map(OsString::from).into(),
        env: Vec::new(),
        cwd: "/".into(),
        user: User::default(),
        ulimits: Vec::new(),
    };
    let exit = step.start_exec(request, stdio).unwrap().wait().await.unwrap();
    assert_eq!((exit.status, text(reader).as_str()), (ExitStatus::Exited(0), "sleep\x001000\0"));
}

#[tokio::test]
async fn dropping_a_run_and_the_last_handle_kill_too() {
    let Some(scene) = Scene::new().await else { return };
    let (mut reader, stdio) = captured();
    let running =
        scene.supervisor.start_run(scene.request("echo started; sleep 1000"), stdio, Vec::new()).unwrap();
    reader.read_exact(&mut [0; 8]).unwrap();
    drop(running);
    assert_eq!(text(reader), "");

    let (mut reader, stdio) = captured();
    let running =
        scene.supervisor.start_run(scene.request("echo started; sleep 1000"), stdio, Vec::new()).unwrap();
    reader.read_exact(&mut [0; 8]).unwrap();
    drop((running, scene.supervisor));
    assert_eq!(text(reader), "");
}

#[tokio::test]
async fn a_fork_bomb_fails_and_leaves_nothing() {
    let Some(scene) = Scene::limited(|limits| limits.processes = 40).await else { return };
    let groups = scene.supervisor.control_groups().to_vec();
    assert!(groups.iter().all(|group| group.is_dir()), "{groups:?}");
    // The output ends only when all that hold it are gone, so it also shows that nothing is left.
    let ran = scene
        .run(scene.request("i=0; while [ $i -lt 100 ]; do sleep 1000 & i=$((i+1)); done; echo all"))
        .await;
    assert_eq!(ran.status, ExitStatus::Exited(2));
    assert_eq!(ran.output, "sh: can't fork: Resource temporarily unavailable\n");
    let ran = scene.run(scene.request("f() { f | f & }; f; sleep 0.1; echo done")).await;
    assert!(!ran.output.is_empty(), "{:?}", ran.status);
    // The helper still has room.
    assert_eq!(scene.output("echo fine").await, "fine\n");
    drop(scene);
    assert!(groups.iter().all(|group| !group.exists()), "{groups:?}");
}

/// Where no control group bounds processes: for an ordinary user by limits, for root too by the pid namespace.
#[tokio::test]
async fn processes_are_bounded_without_control_groups() {
    let few = |options: &mut SupervisorOptions| options.limits.processes = 400;
    let Some(scene) = Scene::started(Isolation::for_this_user(false), few).await else { return };
    let release = rustix::system::uname().release().to_string_lossy().into_owned();
    let mut numbers = release.split('.').map(|number| number.parse::<u32>().unwrap_or(0));
    let version = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    if version < (6, 14) && rustix::process::geteuid().is_root() {
        skip::<()>("pid namespaces have limits of their own since Linux 6.14");
        return;
    }
    let host = fs::read_to_string("/proc/sys/kernel/pid_max").unwrap();
    let ran = scene
        .run(scene.request("i=0; while [ $i -lt 1000 ]; do sleep 1000 & i=$((i+1)); done; echo all"))
        .await;
    assert_eq!(ran.status, ExitStatus::Exited(2));
    assert_eq!(ran.output, "sh: can't fork: Resource temporarily unavailable\n");
    assert_eq!(scene.output("echo fine").await, "fine\n");
    assert_eq!(fs::read_to_string("/proc/sys/kernel/pid_max").unwrap(), host, "the host's is left alone");
}

#[tokio::test]
async fn a_step_that_takes_all_memory_is_told_apart() {
    let Some(scene) = Scene::limited(|limits| limits.memory = 64 << 20).await else { return };
    let (_reader, stdio) = captured();
    let request = scene.request("exec dd if=/dev/zero of=/dev/null bs=200M count=1");
    let exit = scene.supervisor.run(request, stdio).await.unwrap();
    assert_eq!((exit.status, exit.memory_kills), (ExitStatus::Signaled(9), 1));
    let (_reader, stdio) = captured();
    let exit = scene.supervisor.run(scene.request("kill -9 $$; exit 4"), stdio).await.unwrap();
    assert_eq!((exit.status, exit.memory_kills), (ExitStatus::Exited(4), 0));
}

#[tokio::test]
async fn daemons_end_with_their_step() {
    let Some(scene) = Scene::new().await else { return };
    assert_eq!(scene.output("(sleep 1000 &) ; echo done").await, "done\n");
}

#[tokio::test]
async fn steps_run_at_the_same_time() {
    let Some(scene) = Scene::new().await else { return };
    let fifo = scene.path("meeting");
    fs::create_dir(&fifo).unwrap();
    let request = |script: &str| {
        let mut request = scene.request(script);
        request.mounts = vec![Mount::Bind {
            source: fifo.clone(),
            target: "/m".into(),
            readonly: false,
            recursive: false,
        }];
        request
    };
    let made = scene.run(request("busybox mkfifo /m/p")).await;
    assert_eq!(made.status, ExitStatus::Exited(0));
    let (left, right) =
        tokio::join!(scene.run(request("echo met > /m/p; echo wrote")), scene.run(request("cat /m/p")));
    assert_eq!((left.output.as_str(), right.output.as_str()), ("wrote\n", "met\n"));
}

#[tokio::test]
async fn a_missing_program_is_told_apart() {
    let Some(scene) = Scene::new().await else { return };
    let mut request = scene.request("");
    request.argv = vec!["nothing".into()];
    let (_reader, stdio) = captured();
    match scene.supervisor.run(request, stdio).await {
        Err(SandboxError::Exec { program, failure }) => {
            assert_eq!((program.as_str(), failure.errno), ("nothing", Some(2)));
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_missing_upper_directory_is_an_overlay_failure() {
    let Some(scene) = Scene::new().await else { return };
    let request = RunRequest { upper: scene.path("nowhere"), ..scene.request("") };
    let (_reader, stdio) = captured();
    let found = scene.supervisor.run(request, stdio).await;
    assert!(matches!(found, Err(SandboxError::OverlayRefused { .. })), "{found:?}");
}

#[tokio::test]
async fn layers_stack() {
    let Some(scene) = Scene::new().await else { return };
    let first = scene.run(scene.request("echo 1 > /a; echo 1 > /b")).await;
    let mut second = scene.request("cat /a; rm /a; echo 2 > /b; chmod 700 /bin");
    second.lowers.insert(0, first.upper.clone());
    let second = scene.run(second).await;
    let mut third = scene.request("ls /a; cat /b; stat -c %a /bin");
    third.lowers = vec![second.upper.clone(), first.upper.clone(), scene.path("base")];
    assert_eq!(scene.run(third).await.output, "ls: /a: No such file or directory\n2\n700\n");
}

#[tokio::test]
async fn the_environment_and_arguments_are_those_given() {
    let Some(scene) = Scene::new().await else { return };
    let mut request = RunRequest { argv: vec!["env".into()], ..scene.request("") };
    request.env.push(("NAME".into(), "a=b\nc".into()));
    assert_eq!(scene.run(request).await.output, "PATH=/bin\nNAME=a=b\nc\n");
}

#[tokio::test]
async fn tasks_remove_what_steps_left() {
    let Some(scene) = Scene::new().await else { return };
    let request = scene.request("busybox mkdir -p /d/e; touch /d/e/f; busybox chown -R 5:5 /d; chmod 0 /d");
    let step = request.upper.parent().unwrap().to_owned();
    scene.run(request).await;
    let removed = HelperTask::Remove { paths: vec![step.clone(), scene.path("missing")] };
    assert_eq!(scene.supervisor.call(removed, &[]).await.unwrap(), TaskOutput::Done);
    assert!(!step.exists());
}

#[tokio::test]
async fn layers_leave_and_come_back() {
    let Some(scene) = Scene::new().await else { return };
    if !scene.has_several_ids() {
        return;
    }
    let script = "echo 1 > /a; busybox mkdir /d; echo 2 > /d/b; busybox chown 3:4 /d/b; rm /bin/true";
    let made = scene.run(scene.request(script)).await;
    let blob = scene.path("blob");
    let export = HelperTask::Export {
        upper: made.upper.clone(),
        lowers: vec![scene.path("base")],
        compression: Compression::GZIP,
        clamp_mtime: None,
    };
    let out = fs::File::create(&blob).unwrap();
    let output = scene.supervisor.call(export, &[out.as_fd()]).await.unwrap();
    let TaskOutput::Exported(exported) = output else { panic!("{output:?}") };
    let layer = exported.into_layer().unwrap();
    assert_eq!(layer.size, fs::metadata(&blob).unwrap().len());
    let step = scene.request("cat /a /d/b; stat -c %u:%g /d/b; ls /bin/true; ls / | busybox tr '\\n' ' '");
    let target = UnpackTarget::Onto {
        lowers: vec![scene.path("base")],
        upper: step.upper.clone(),
        work: step.work.clone(),
    };
    let unpack = HelperTask::Unpack { media_type: layer.media_type.into(), target };
    let blob = fs::File::open(&blob).unwrap();
    let output = scene.supervisor.call(unpack, &[blob.as_fd()]).await.unwrap();
    let TaskOutput::Unpacked(unpacked) = output else { panic!("{output:?}") };
    assert_eq!((unpacked.diff_id, unpacked.ownership_lost), (layer.diff_id, false));
    let mut seen = scene.request("");
    seen.argv = step.argv;
    seen.lowers.insert(0, step.upper);
    assert_eq!(
        scene.run(seen).await.output,
        "1\n2\n3:4\nls: /bin/true: No such file or directory\na bin d dev etc proc sys "
    );
}

/// The program `bin/busybox` of an architecture's image in an OCI layout.
fn busybox_of(layout: &Path, architecture: &str) -> Vec<u8> {
    let blob = |digest: &mab::base::Digest| layout.join("blobs/sha256").join(digest.hex());
    let platform = mab::base::Platform::linux(architecture);
    let mut index = mab::oci::Index::parse(&fs::read(layout.join("index.json")).unwrap()).unwrap();
    let manifest = loop {
        let entry =
            index.manifests.iter().find(|entry| entry.platform().is_none_or(|found| found == platform));
        let entry = entry.expect("the layout has the architecture");
        let bytes = fs::read(blob(&entry.digest)).unwrap();
        if mab::oci::media_type::is_manifest(&entry.media_type) {
            break mab::oci::Manifest::parse(&bytes).unwrap();
        }
        index = mab::oci::Index::parse(&bytes).unwrap();
    };
    let layer = &manifest.layers[0];
    let file = fs::File::open(blob(&layer.digest)).unwrap();
    let mut reader = mab::layer::LayerReader::new(file, &layer.media_type).unwrap();
    let mut program = Vec::new();
    while let Some(entry) = reader.next_entry().unwrap() {
        if entry.path == b"bin/busybox" {
            reader.read_to_end(&mut program).unwrap();
        }
    }
    assert!(!program.is_empty(), "the image has a busybox");
    program
}

#[tokio::test]
async fn foreign_programs_run_with_a_private_registration() {
    let Some(layout) = std::env::var_os("MAB_TEST_BASE") else {
        return skip("MAB_TEST_BASE names no OCI layout").unwrap_or(());
    };
    let foreign = busybox_of(Path::new(&layout), "arm64");
    let registry = || names(Path::new("/proc/sys/fs/binfmt_misc"));
    let before = registry();
    let platform = "linux/arm64".parse().unwrap();
    let facts = HostFacts::read(std::slice::from_ref(&platform));
    let Execution::PrivateBinfmt(emulator) = decide(&platform, &facts) else {
        return skip("arm64 is not emulated privately here").unwrap_or(());
    };
    let Some(scene) = Scene::emulating(Isolation::for_this_user(true), vec![emulator]).await else { return };
    fs::remove_file(scene.path("base/bin/busybox")).unwrap();
    fs::write(scene.path("base/bin/busybox"), foreign).unwrap();
    fs::set_permissions(scene.path("base/bin/busybox"), fs::Permissions::from_mode(0o755)).unwrap();
    assert_eq!(scene.output("busybox uname -m; sh -c 'echo child'").await, "aarch64\nchild\n");
    assert_eq!(registry(), before);
}

#[tokio::test]
async fn probing_changes_nothing() {
    let Some(scene) = Scene::new().await else { return };
    let store = scene.path("store");
    fs::create_dir(&store).unwrap();
    let probe = HelperTask::Probe { store: store.clone() };
    let TaskOutput::Probed(found) = scene.supervisor.call(probe, &[]).await.unwrap() else { panic!() };
    assert_eq!((found.overlay, found.proc_mount, found.devpts_mount), (None, None, None));
    assert_eq!(names(&store), [""; 0]);
}

#[tokio::test]
async fn root_may_use_a_user_namespace_with_all_ids() {
    let Some(scene) = Scene::with(Isolation::for_this_user(true)).await else { return };
    if !scene.has_several_ids() {
        return;
    }
    let request = scene.request("busybox chown 12345:6 /bin; stat -c %u:%g /bin");
    assert_eq!(scene.run(request).await.output, "12345:6\n");
}

#[tokio::test]
async fn without_a_network_there_is_only_loopback() {
    let Some(scene) = Scene::new().await else { return };
    let output = scene.output("ip -o addr | busybox awk '{print $2, $4}'; ls /sys/class/net").await;
    assert_eq!(output.lines().filter(|line| !line.starts_with("lo")).count(), 0, "{output}");
    assert!(output.contains("lo 127.0.0.1/8"), "{output}");
}

#[tokio::test]
async fn the_default_network_does_not_reach_the_hosts_loopback() {
    let Some(scene) = Scene::new().await else { return };
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let mut request = scene.request(&format!(
        "ip -o -4 addr | busybox awk '{{print $2}}'; busybox timeout 3 nc 127.0.0.1 {port} </dev/null && echo reached"
    ));
    request.network = Network::Default;
    let ran = scene.run(request).await;
    if let Some(notice) = scene.supervisor.network_notice() {
        assert!(notice.contains("host's network"), "{notice}");
        eprintln!("skipped: {notice}");
        return;
    }
    assert!(!ran.output.contains("reached"), "{}", ran.output);
    assert!(ran.output.lines().count() >= 2, "an interface beside loopback: {}", ran.output);
}

#[test]
fn the_helper_called_by_hand_refuses() {
    let mut helper = std::process::Command::new(env!("CARGO_BIN_EXE_mab"));
    helper.arg("__mab-sandbox").stdin(std::process::Stdio::null());
    assert!(!helper.status().unwrap().success());
    assert!(fs::metadata(env!("CARGO_BIN_EXE_mab")).unwrap().permissions().mode() & 0o111 != 0);
}

#[tokio::test]
async fn a_privileged_step_has_the_devices_of_the_host() {
    let Some(scene) = Scene::new().await else { return };
    let usual = ["null", "zero", "full", "random", "urandom", "tty", "ptmx", "stdin", "stdout", "stderr"];
    let is_device = |entry: &fs::DirEntry| {
        use std::os::unix::fs::FileTypeExt as _;
        entry.file_type().is_ok_and(|kind| kind.is_char_device() || kind.is_block_device())
    };
    let names = fs::read_dir("/dev").unwrap().flatten().filter(is_device);
    let mut expected: Vec<String> = names.map(|entry| entry.file_name().into_string().unwrap()).collect();
    expected.retain(|name| !usual.contains(&name.as_str()));
    expected.sort();
    let mut request =
        scene.request("cd /dev; for name in *; do [ -b $name ] || [ -c $name ] && echo $name; done");
    request.privileged = true;
    let ran = scene.run(request).await;
    let mut found: Vec<&str> = ran.output.lines().filter(|name| !usual.contains(name)).collect();
    found.sort_unstable();
    assert_eq!(found, expected);
}
