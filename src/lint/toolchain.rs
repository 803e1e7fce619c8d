//! Compilers and package managers as RUN calls them: what they leave, and how they are told of a platform.

use super::shell::{Command, Shell};

/// A build whose result is machine code of one architecture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Compiler {
    pub name: &'static str,
    /// What makes it build for another platform.
    pub cross: &'static str,
}

/// A build that ends in the same files on every architecture, or that any architecture can do for another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Portable {
    pub name: &'static str,
    pub advice: &'static str,
}

/// The compiler of machine code that `command` starts.
pub(super) fn compiler(command: &Command) -> Option<Compiler> {
    let found = |name, cross| Some(Compiler { name, cross });
    match (command.name(), command.verb()) {
        ("go", "build" | "install") => found("go", "GOOS=$TARGETOS GOARCH=$TARGETARCH"),
        ("cargo", "build" | "install" | "rustc") => found("cargo", "--target with the triple of $TARGETARCH"),
        ("gcc" | "g++" | "cc" | "c++" | "clang" | "clang++", _) => {
            found("the C compiler", "the cross compiler of $TARGETARCH")
        }
        ("rustc", _) => found("rustc", "--target with the triple of $TARGETARCH"),
        ("swift", "build") => found("swift", "--swift-sdk of $TARGETARCH"),
        ("zig", "build" | "build-exe") => found("zig", "-Dtarget of $TARGETARCH"),
        ("bun", "build") if command.has("--compile") => found("bun", "--target of $TARGETARCH"),
        ("deno", "compile") => found("deno", "--target of $TARGETARCH"),
        ("dotnet", "publish") if command.has("--self-contained") || command.flag("-r").is_some() => {
            found("dotnet", "-a $TARGETARCH")
        }
        ("ghc" | "stack" | "cabal", "build" | "install") => found("the Haskell compiler", "a cross compiler"),
        ("pyinstaller" | "nuitka" | "native-image", _) => {
            found("this tool", "a stage of the target's platform")
        }
        _ => None,
    }
}

/// Whether `command` is told which platform to build for, by a variable or by a constant.
pub(super) fn is_told_a_platform(command: &Command) -> bool {
    let told_by_variable = |name: &str| command.sets(name).is_some();
    command.uses_target()
        || ["GOARCH", "GOOS", "CARGO_BUILD_TARGET", "CC", "CXX"].into_iter().any(told_by_variable)
        || ["--target", "-target", "-a", "--arch", "-r", "--runtime", "-Dtarget", "--swift-sdk"]
            .into_iter()
            .any(|flag| command.flag(flag).is_some())
}

/// Whether a script may learn of the platform without saying so: it calls programs of the project's own, or
/// helpers that read the arguments from the environment.
pub(super) fn may_know_the_platform(shell: &Shell) -> bool {
    shell.uses_any(super::arguments::is_target_argument)
        || shell.commands.iter().any(|command| {
            let name = command.words.first().map_or("", String::as_str);
            name.starts_with("xx-")
                || name.starts_with("./")
                || name.contains(".sh")
                || matches!(
                    command.name(),
                    "make"
                        | "cmake"
                        | "ninja"
                        | "meson"
                        | "bazel"
                        | "just"
                        | "task"
                        | "mage"
                        | "goreleaser"
                        | "cross"
                        | "source"
                        | "."
                )
                || matches!(command.name(), "sh" | "bash" | "python" | "python3" | "node")
                    && !command.arguments().is_empty()
                || command.sets("GOARCH").is_some()
        })
}

/// A build that need not be emulated.
pub(super) fn portable(command: &Command) -> Option<Portable> {
    let cross = "build in a stage `FROM --platform=$BUILDPLATFORM` and cross-compile";
    let copy = "build in a stage `FROM --platform=$BUILDPLATFORM` and copy the result, which is the same for every platform";
    let found = |name, advice| Some(Portable { name, advice });
    match (command.name(), command.verb()) {
        ("go", "build" | "install") if command.sets("CGO_ENABLED") != Some("1") => found("go", cross),
        ("cargo", "build" | "install") => found("cargo", cross),
        ("dotnet", "build" | "publish") => found("dotnet", cross),
        ("npm" | "pnpm", "run") if builds(command) => found("the build of JavaScript", copy),
        ("yarn", "build") => found("the build of JavaScript", copy),
        ("yarn" | "bun", "run") if builds(command) => found("the build of JavaScript", copy),
        ("mvn" | "mvnw", "package" | "install" | "verify") => found("maven", copy),
        ("gradle" | "gradlew", "build" | "assemble" | "bootJar" | "shadowJar") => found("gradle", copy),
        _ => None,
    }
}

fn builds(command: &Command) -> bool {
    let script = command.arguments().iter().filter(|word| !word.starts_with('-')).nth(1);
    script.is_some_and(|script| script == "build" || script.starts_with("build:"))
}

/// What a package manager installs for the machine it runs on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Installs {
    /// `node_modules`
    Node,
    /// `site-packages` and virtual environments
    Python,
    /// Gems
    Ruby,
    /// Packages of the distribution: programs and libraries below `/usr`
    System,
    /// `target/release`
    Cargo,
}

/// What `command` installs, unless it is told of another platform.
pub(super) fn installs(command: &Command) -> Option<Installs> {
    let name = command.name();
    let is_pip = matches!(name, "pip" | "pip3")
        || matches!(name, "python" | "python3") && command.flag("-m") == Some("pip")
        || name == "uv" && command.verb() == "pip";
    if is_pip && command.has("install") {
        // Wheels of another platform go below `--target`, or pip refuses.
        let is_elsewhere = command.flag("--platform").or(command.flag("--python-platform")).is_some()
            && (command.flag("--target").is_some() || command.flag("-t").is_some() || name == "uv");
        return (!is_elsewhere).then_some(Installs::Python);
    }
    match (name, command.verb()) {
        ("npm", "ci" | "install" | "i") if command.flag("--cpu").is_none() => Some(Installs::Node),
        ("pnpm" | "bun", "install" | "i" | "add") | ("yarn", "install" | "add" | "") => Some(Installs::Node),
        ("poetry" | "uv" | "pipenv", "install" | "sync") => Some(Installs::Python),
        ("bundle", "install") | ("gem", "install") => Some(Installs::Ruby),
        ("apt-get" | "apt", "install")
        | ("apk", "add")
        | ("dnf" | "microdnf" | "yum" | "zypper", "install") => Some(Installs::System),
        ("cargo", "build" | "install") if command.flag("--target").is_none() => Some(Installs::Cargo),
        _ => None,
    }
}

impl Installs {
    /// Whether a copied path is where that lands.
    pub fn holds(self, path: &str) -> bool {
        let has = |name: &str| path.split('/').any(|component| component == name);
        let below = |folders: &[&str]| folders.iter().any(|folder| path.starts_with(folder));
        match self {
            Self::Node => has("node_modules"),
            Self::Python => {
                ["site-packages", "dist-packages", "venv", ".venv"].into_iter().any(has)
                    || below(&["/opt/venv", "/root/.local", "/install"])
            }
            Self::Ruby => has("bundle") || has("gems"),
            Self::System => {
                below(&["/usr/bin/", "/usr/sbin/", "/usr/lib/", "/bin/", "/sbin/", "/lib/", "/usr/lib64/"])
                    && !has("site-packages")
                    && !has("node_modules")
                    && !has("dist-packages")
            }
            Self::Cargo => {
                path.contains("target/release")
                    || path.contains("target/debug")
                    || path.contains(".cargo/bin")
            }
        }
    }

    pub fn what(self) -> &'static str {
        match self {
            Self::Node => "node modules",
            Self::Python => "Python packages",
            Self::Ruby => "gems",
            Self::System => "the distribution's packages",
            Self::Cargo => "what cargo built",
        }
    }
}
