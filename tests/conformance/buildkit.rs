//! Cases built by a BuildKit that runs, through `buildctl`.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::Value;

use crate::case::Case;
use crate::image::{self, Base, Blobs};
use crate::record::Record;
use crate::support::skip;
use crate::workshop::Workshop;

/// How many builds run at one time.
const AT_ONCE: usize = 6;

/// How a build ended that made no image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// A step's process failed, and not what describes the build.
    pub is_of_a_step: bool,
    pub log: String,
}

/// The daemons that `tests/services/start` brought: one that is root, and one in a user namespace of its
/// own, where an emulator is registered that the rest of the machine does not see.
pub struct BuildKit {
    buildctl: PathBuf,
    daemons: Vec<Daemon>,
}

struct Daemon {
    address: String,
    platforms: Vec<String>,
}

impl BuildKit {
    /// None, said aloud, where none runs.
    pub fn find() -> Option<Self> {
        let (Some(buildctl), Ok(addresses)) =
            (std::env::var_os("MAB_TEST_BUILDCTL"), std::env::var("MAB_TEST_BUILDKIT"))
        else {
            skip("what asks a real BuildKit: tests/services/start could not start one");
            return None;
        };
        let mut buildkit = Self { buildctl: buildctl.into(), daemons: Vec::new() };
        for address in addresses.split(',') {
            let format = "{{range .}}{{range .Platforms}}{{.OS}}/{{.Architecture}}\n{{end}}{{end}}";
            let arguments = ["debug", "workers", "--format", format].map(OsString::from);
            let (succeeded, output) = buildkit.run(address, &arguments);
            assert!(succeeded, "{output}");
            let platforms = output.lines().map(String::from).collect();
            buildkit.daemons.push(Daemon { address: address.to_string(), platforms });
        }
        Some(buildkit)
    }

    /// A configuration with the daemons as one builder; the emulating one stands for a machine of another kind.
    pub fn builder(&self, name: &str) -> String {
        let native = |daemon: &Daemon| daemon.platforms.first().cloned().unwrap_or_default();
        let own = self.daemons.first().map(native).unwrap_or_default();
        let other = if own == "linux/amd64" { "linux/arm64" } else { "linux/amd64" };
        let workers = self.daemons.iter().enumerate().map(|(place, daemon)| {
            let platform = if place == 0 { &own } else { other };
            format!("{{ endpoint = \"{}\", platforms = [\"{platform}\"] }}", daemon.address)
        });
        let workers: Vec<String> = workers.collect();
        format!("[builder.{name}]\nworkers = [{}]\n", workers.join(", "))
    }

    /// Whether one of them builds a case for a platform.
    pub fn builds(&self, case: &Case, platform: &str) -> bool {
        self.daemon_for(case, platform).is_some()
    }

    fn daemon_for(&self, case: &Case, platform: &str) -> Option<usize> {
        if !case.runs() {
            return Some(0);
        }
        self.daemons.iter().position(|daemon| daemon.platforms.iter().any(|known| known == platform))
    }

    fn run(&self, address: &str, arguments: &[OsString]) -> (bool, String) {
        let mut command = Command::new(&self.buildctl);
        command.arg("--addr").arg(address).args(arguments).stdin(Stdio::null());
        let output = command.output().expect("buildctl starts");
        let text = [output.stdout, output.stderr].concat();
        (output.status.success(), String::from_utf8_lossy(&text).into_owned())
    }

    /// What BuildKit makes of every case.
    pub fn build_all(
        &self,
        workshop: &Workshop,
        cases: &[&Case],
    ) -> BTreeMap<String, Result<Record, Failure>> {
        let base = Base::read(&workshop.base);
        // Cases whose bases are other cases' images come after those.
        let (later, first): (Vec<&Case>, Vec<&Case>) =
            cases.iter().partition(|case| !case.options.images.is_empty());
        let results = Mutex::new(BTreeMap::new());
        for cases in [first, later] {
            let next = AtomicUsize::new(0);
            std::thread::scope(|scope| {
                for _ in 0..AT_ONCE {
                    scope.spawn(|| {
                        while let Some(case) = cases.get(next.fetch_add(1, Ordering::Relaxed)) {
                            let result = self.build(workshop, case, &base);
                            results.lock().expect("no build panics").insert(case.name.clone(), result);
                        }
                    });
                }
            });
        }
        results.into_inner().expect("no build panics")
    }

    fn build(&self, workshop: &Workshop, case: &Case, base: &Base) -> Result<Record, Failure> {
        let mut record = Record::default();
        for (index, daemon) in self.daemons.iter().enumerate() {
            let mut platforms = case.platforms();
            platforms.retain(|platform| self.daemon_for(case, platform) == Some(index));
            if platforms.is_empty() {
                continue;
            }
            let output = image_folder(workshop, &case.name, index);
            let arguments = arguments(workshop, case, &platforms.join(","), index);
            let (succeeded, log) = self.run(&daemon.address, &arguments);
            if !succeeded {
                let is_of_a_step = log.contains("did not complete successfully: exit code");
                return Err(Failure { is_of_a_step, log });
            }
            let blobs = Blobs(vec![output.clone(), workshop.base.clone()]);
            record.0.extend(image::record(&image::manifests_in(&output), &blobs, base).0);
        }
        Ok(workshop.settled(record))
    }
}

/// What `buildctl` is told, for the daemon of this number.
fn arguments(workshop: &Workshop, case: &Case, platforms: &str, index: usize) -> Vec<OsString> {
    let mut arguments: Vec<OsString> = Vec::new();
    let mut flag = |name: &str, value: String| arguments.extend([name.into(), value.into()]);
    let context = workshop.context(case);
    flag("--frontend", "dockerfile.v0".to_string());
    flag("--local", format!("context={}", context.display()));
    flag("--local", format!("dockerfile={}", context.display()));
    flag("--opt", format!("filename={}", case.dockerfile()));
    flag("--opt", format!("platform={platforms}"));
    flag("--opt", format!("target={}", case.options.stage.as_deref().unwrap_or_default()));
    for (name, value) in &case.options.args {
        flag("--opt", format!("build-arg:{name}={value}"));
    }
    for (name, value) in &case.options.labels {
        flag("--opt", format!("label:{name}={value}"));
    }
    for id in case.options.secrets.keys() {
        flag("--secret", format!("id={id},src={}", workshop.secret(case, id).display()));
    }
    if case.options.ssh {
        flag("--ssh", format!("default={}", workshop.agent().display()));
    }
    for entitlement in &case.options.entitlements {
        flag("--allow", entitlement.clone());
    }
    for (name, _) in case.named_contexts() {
        flag("--opt", format!("context:{name}=local:{name}"));
        flag("--local", format!("{name}={}", workshop.named_context(case, &name).display()));
    }
    let images =
        case.image_names().into_iter().map(|(name, image)| (name, image_folder(workshop, &image, index)));
    for (name, layout) in images.chain([("busybox".to_string(), workshop.base.clone())]) {
        flag("--oci-layout", format!("{name}={}", layout.display()));
        flag("--opt", format!("context:{name}=oci-layout://{name}:latest@{}", digest_of(&layout)));
    }
    let output = image_folder(workshop, &case.name, index);
    flag("--output", format!("type=oci,dest={},tar=false,compression=uncompressed", output.display()));
    ["build", "--no-cache", "--progress", "plain"].map(OsString::from).into_iter().chain(arguments).collect()
}

fn image_folder(workshop: &Workshop, name: &str, daemon: usize) -> PathBuf {
    workshop.project.path(name).join(format!("image-{daemon}"))
}

/// The digest of what a layout is about; empty when there is no layout.
fn digest_of(layout: &Path) -> String {
    let text = std::fs::read(layout.join("index.json")).unwrap_or_default();
    let index: Value = serde_json::from_slice(&text).unwrap_or_default();
    index["manifests"][0]["digest"].as_str().unwrap_or_default().to_string()
}
