//! A command that fills the file system of the store, with the real program on a small tmpfs.
//!
//! Needs Linux, root and a static busybox; where one is missing the test says so and passes, except with `CI` set.

#![cfg(target_os = "linux")]

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

/// Its file system lives in a mount namespace of its own, which ends with the script.
const SCRIPT: &str = r#"
mount -t tmpfs -o size=64M store "$1/store" && cd "$1/project" || exit 99
"$2" bake --store "$1/store" --progress plain -o type=cacheonly 2>"$1/first"; echo "first $?"
"$2" bake small --store "$1/store" --progress plain -o type=cacheonly 2>"$1/second"; echo "second $?"
echo "mounts $(grep -c "$1" /proc/mounts)"
"#;

#[test]
fn a_step_that_fills_the_store_is_stopped_and_the_store_stays_usable() {
    let busybox = ["/usr/bin/busybox", "/bin/busybox"].map(Path::new).into_iter().find(|path| path.exists());
    let (Some(busybox), true) = (busybox, rustix::process::geteuid().is_root()) else {
        assert!(std::env::var_os("CI").is_none(), "needs root and a busybox");
        return eprintln!("skipped: needs root and a busybox");
    };
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    fs::create_dir_all(path("project/root/bin")).unwrap();
    fs::create_dir(path("store")).unwrap();
    fs::copy(busybox, path("project/root/bin/busybox")).unwrap();
    symlink("busybox", path("project/root/bin/sh")).unwrap();
    let fill = "RUN busybox dd if=/dev/zero of=/big bs=64k; busybox sleep 1000";
    let write = |name: &str, content: &str| fs::write(path("project").join(name), content).unwrap();
    write("Dockerfile", &format!("FROM scratch\nCOPY root/ /\n{fill}\n"));
    write("Small", "FROM scratch\nCOPY root/ /\nRUN echo small > /small\n");
    let targets =
        "[target.default]\ncontext = \".\"\n[target.small]\ncontext = \".\"\ndockerfile = \"Small\"\n";
    write("multiarch.toml", targets);
    let script = ["-m", "--propagation", "private", "sh", "-c", SCRIPT, "sh"];
    let mut command = Command::new("unshare");
    let ran = command.args(script).arg(folder.path()).arg(env!("CARGO_BIN_EXE_mab")).output().unwrap();
    let said = |name: &str| fs::read_to_string(path(name)).unwrap_or_default();
    let told = said("first");
    assert_eq!(
        String::from_utf8_lossy(&ran.stdout),
        "first 3\nsecond 0\nmounts 1\n",
        "{told}{}",
        said("second")
    );
    let platform = mab::base::Platform::host();
    let message = format!(
        "`{fill}` for {platform} was stopped: the store `{}` is on a file system with less than 1.3 MiB left\n",
        path("store").display()
    );
    assert!(told.contains(&message), "{told}");
    assert!(told.contains("\nstore::full\n"), "{told}");
    assert!(!fs::read_to_string("/proc/mounts").unwrap().contains(&*folder.path().to_string_lossy()));
}
