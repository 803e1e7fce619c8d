//! `examples/cross`: a program that a real compiler makes for other platforms than the one it runs on.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::Project;
use crate::support::project::{copy_tree, native};
use crate::support::surroundings::{base_with_ids, repository, skip};

#[test]
fn a_program_is_cross_compiled_for_every_platform() {
    let (Some(base), Some(go)) = (base_with_ids(), Toolchain::of_this_machine()) else { return };
    let project = Project::new();
    copy_tree(&repository().join("examples/cross"), &project.path("cross"));
    go.write(&project, &base);
    project.bake(&["golang", "-f", "toolchain", "-o", "type=oci,dest=golang,tar=false"]);
    let mab = |words: &[&str]| {
        let golang = format!("golang=oci-layout://{}", project.path("golang").display());
        project.mab(words).with(&["-f", "cross", "--var", &golang])
    };
    mab(&["bake", "hello", "-o", "type=oci,dest=hello.tar"]).run().succeeded();
    assert_eq!(
        mab(&["run", "--all-platforms", "hello"]).run().succeeded().stdout,
        "linux/amd64 | compiled for linux/amd64\nlinux/arm64 | compiled for linux/arm64\n\
         linux/arm/v7 | compiled for linux/arm\n"
    );
    assert_eq!(mab(&["check"]).run().succeeded().stdout, "nothing found in 1 Dockerfile\n");

    // Without the platform's values the compiler makes what the machine that builds runs: a mistake of many Dockerfiles.
    project.edit("cross/Dockerfile", "GOARCH=$TARGETARCH", "GOARCH=amd64");
    mab(&["bake", "hello"])
        .run()
        .failed(1)
        .says("verify::wrong-platform")
        .says("`/hello` is for amd64, but the image is for linux/arm64")
        .says("brought by this line");
}

/// As much of this machine's Go as compiles a small program.
struct Toolchain {
    root: PathBuf,
    tools: PathBuf,
}

impl Toolchain {
    fn of_this_machine() -> Option<Self> {
        let folder = |name: &str| Some(PathBuf::from(go(&["env", name])?));
        let found = folder("GOROOT").zip(folder("GOTOOLDIR"));
        if found.is_none() {
            skip("what cross-compiles: there is no Go");
        }
        found.map(|(root, tools)| Self { root, tools })
    }

    /// A target `golang` in the folder `toolchain`.
    fn write(&self, project: &Project, base: &Path) {
        let target = format!(
            "[target.golang]\ncontext = \"go\"\nplatforms = [\"{}\"]\ncontexts = {{ busybox = \"oci-layout://{}\" }}\n\
             dockerfile-inline = \"\"\"\nFROM busybox\nCOPY . /\n\
             ENV PATH=/usr/local/go/bin:/usr/bin:/bin HOME=/root GOTOOLCHAIN=local GOPROXY=off\n\"\"\"\n",
            native(),
            base.display()
        );
        project.write("toolchain/multiarch.toml", target);
        let home = project.path("toolchain/go/usr/local/go");
        let tools = format!("pkg/tool/{}", self.tools.file_name().expect("it is a folder").to_string_lossy());
        for tool in ["asm", "compile", "link"] {
            copy(&self.tools.join(tool), &home.join(&tools).join(tool));
        }
        copy(&self.root.join("bin/go"), &home.join("bin/go"));
        copy(&self.root.join("src/go.mod"), &home.join("src/go.mod"));
        copy_tree(&self.root.join("pkg/include"), &home.join("pkg/include"));
        for package in packages().iter().map(String::as_str).chain(["runtime/cgo"]) {
            copy_files(&self.root.join("src").join(package), &home.join("src").join(package));
        }
        // Distributions link it with their libraries.
        let libraries = Command::new("ldd").arg(self.root.join("bin/go")).output().expect("there is ldd");
        let libraries = String::from_utf8(libraries.stdout).expect("it prints text");
        for library in libraries.split_whitespace().filter(|word| word.starts_with('/')) {
            copy(Path::new(library), &project.path("toolchain/go").join(library.trim_start_matches('/')));
        }
    }
}

/// What `go` says; nothing where it is not there.
fn go(arguments: &[&str]) -> Option<String> {
    let said = Command::new("go").args(arguments).output().ok()?;
    said.status.success().then(|| String::from_utf8_lossy(&said.stdout).trim().to_string())
}

/// The packages that the example takes from the standard library, for any of its platforms.
fn packages() -> BTreeSet<String> {
    let mut packages = BTreeSet::new();
    for architecture in ["amd64", "arm64", "arm"] {
        let mut list = Command::new("go");
        list.args(["list", "-deps", "-f", "{{if .Standard}}{{.ImportPath}}{{end}}", "./hello"]);
        list.current_dir(repository().join("examples/cross"));
        list.env("CGO_ENABLED", "0").env("GOOS", "linux").env("GOARCH", architecture);
        let listed = list.output().expect("there is Go");
        assert!(listed.status.success(), "{}", String::from_utf8_lossy(&listed.stderr));
        packages.extend(String::from_utf8_lossy(&listed.stdout).split_whitespace().map(str::to_string));
    }
    packages
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to.parent().expect("below the project")).expect("the folder is writable");
    fs::copy(from, to).unwrap_or_else(|error| panic!("{}: {error}", from.display()));
}

/// The files of a folder, and none of its folders. `unsafe` has none.
fn copy_files(from: &Path, to: &Path) {
    for entry in fs::read_dir(from).unwrap_or_else(|error| panic!("{}: {error}", from.display())) {
        let entry = entry.expect("the source is readable").path();
        if entry.is_file() {
            copy(&entry, &to.join(entry.file_name().expect("it is a file")));
        }
    }
}
