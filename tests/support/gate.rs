//! A step that stops where a gate is closed, until whoever watches has done what it is to stop for: what happens in the
//! middle of a build does not depend on how long that takes.

use std::path::Path;

use super::Project;
use super::project::native;

/// A file in a cache mount, which every daemon has for itself.
pub struct Gate {
    id: String,
}

impl Gate {
    /// Closed everywhere. The name is one that no other test gives.
    pub fn new(name: &str) -> Self {
        let now = std::time::SystemTime::UNIX_EPOCH.elapsed().expect("it is after 1970");
        Self { id: format!("gate-{name}-{}-{}", std::process::id(), now.as_nanos()) }
    }

    /// An instruction that says `begun`, and makes `/done` once the gate is open.
    pub fn step(&self) -> String {
        let wait =
            "for i in $(seq 3000); do [ -e /gate/open ] && break; sleep 0.1; done; cp /gate/open /done";
        format!("RUN --mount=type=cache,id={},target=/gate echo begun; {wait}\n", self.id)
    }

    /// Opens it in the BuildKit at a socket, for good.
    pub fn open(&self, base: &Path, socket: &Path) {
        let step = format!("RUN --mount=type=cache,id={},target=/gate echo done > /gate/open\n", self.id);
        let project = Project::native_app(base, &format!("FROM busybox\n{step}"));
        let platform = native();
        let worker =
            format!("{{ endpoint = \"unix://{}\", platforms = [\"{platform}\"] }}", socket.display());
        let file = project.read("multiarch.toml");
        project.write("multiarch.toml", format!("{file}[builder.there]\nworkers = [{worker}]\n"));
        project.bake(&["app", "--builder", "there"]);
    }
}
