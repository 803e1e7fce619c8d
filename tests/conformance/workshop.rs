//! The cases made on disk, ready for both builders: contexts, Dockerfiles, secrets, an SSH agent; and what they
//! fetch, on a server of this machine (`elsewhere`).

use std::fs;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use toml::{Table, Value};

use crate::case::Case;
use crate::context;
use crate::elsewhere::Elsewhere;
use crate::record::Record;
use crate::support::Project;

/// A project whose targets are cases.
pub struct Workshop {
    pub project: Project,
    pub base: PathBuf,
    times: Times,
    elsewhere: Elsewhere,
    /// Its socket is there as long as this is.
    _agent: UnixListener,
}

/// The times of the cases' files.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Times {
    /// For `mab`, which gives what it made for one case to another of equal content.
    SameForAll,
    /// For BuildKit, which takes a file of the same name, size and time for one it was sent before.
    OfEachCase,
    /// The same, and nothing that it was sent before has them.
    OfEachCaseAgain,
}

impl Workshop {
    pub fn new<'c>(base: &Path, cases: impl IntoIterator<Item = &'c Case>, times: Times) -> Self {
        let project = Project::new();
        let agent = UnixListener::bind(project.path("agent")).expect("the path is short enough");
        let elsewhere = Elsewhere::new(project.path("served"));
        let workshop = Self { project, base: base.to_path_buf(), times, elsewhere, _agent: agent };
        cases.into_iter().for_each(|case| workshop.prepare(case));
        workshop
    }

    pub fn agent(&self) -> PathBuf {
        self.project.path("agent")
    }

    /// A text as it is wherever the server is.
    pub fn without_address(&self, text: &str) -> String {
        self.elsewhere.without_address(text)
    }

    /// The same for a record.
    pub fn settled(&self, record: Record) -> Record {
        let settled = |(platform, text): (String, String)| (platform, self.elsewhere.without_address(&text));
        Record(record.0.into_iter().map(settled).collect())
    }

    fn prepare(&self, case: &Case) {
        let folder = self.context(case);
        let time = match self.times {
            Times::SameForAll => 1_000_000_000,
            Times::OfEachCase => case.time(""),
            Times::OfEachCaseAgain => case.time("again"),
        };
        context::make(&folder, &case.text("context"), time);
        let dockerfile = folder.join(case.dockerfile());
        if !dockerfile.exists() && case.file("Dockerfile").exists() {
            let text = fs::read(case.file("Dockerfile")).expect("the corpus is readable");
            let text = self.elsewhere.serve(case).map_or(text.clone(), |served| served.in_text(&text));
            fs::create_dir_all(dockerfile.parent().expect("it is a file")).expect("the context is writable");
            fs::write(&dockerfile, text).expect("the context is writable");
            context::set_time(&dockerfile, time + 99, 0);
            context::set_time(&folder, time, 0);
        }
        for (name, path) in case.named_contexts() {
            let description = fs::read_to_string(path).expect("the corpus is readable");
            context::make(&self.named_context(case, &name), &description, time);
        }
        for (id, secret) in &case.options.secrets {
            fs::write(self.secret(case, id), secret).expect("the project is writable");
        }
    }

    fn folder(&self, case: &Case) -> PathBuf {
        self.project.path(&case.name)
    }

    pub fn context(&self, case: &Case) -> PathBuf {
        // BuildKit keeps files by the name of their folder.
        self.folder(case).join(format!("context-{}", case.name))
    }

    pub fn named_context(&self, case: &Case, name: &str) -> PathBuf {
        self.folder(case).join(format!("context-{}-{name}", case.name))
    }

    pub fn secret(&self, case: &Case, id: &str) -> PathBuf {
        self.folder(case).join(format!("secret-{id}"))
    }

    /// The build file with a target for each case.
    pub fn build_file<'c>(&self, cases: impl IntoIterator<Item = &'c Case>) -> String {
        let cases: Vec<&Case> = cases.into_iter().collect();
        let names = cases.iter().map(|case| Value::from(case.name.clone())).collect::<Vec<_>>();
        let targets: Table =
            cases.iter().map(|case| (case.name.clone(), Value::Table(self.target(case)))).collect();
        let group = Table::from_iter([("targets".to_string(), Value::Array(names))]);
        let groups = Table::from_iter([("default".to_string(), Value::Table(group))]);
        let file = [("group", groups), ("target", targets)];
        let file: Table =
            file.into_iter().map(|(key, table)| (key.to_string(), Value::Table(table))).collect();
        toml::to_string(&file).expect("tables are TOML")
    }

    fn target(&self, case: &Case) -> Table {
        let options = &case.options;
        let path = |path: &Path| Value::from(path.to_str().expect("projects have plain names"));
        let mut contexts = Table::from_iter([(
            "busybox".to_string(),
            format!("oci-layout://{}", self.base.display()).into(),
        )]);
        for (name, _) in case.named_contexts() {
            contexts.insert(name.clone(), path(&self.named_context(case, &name)));
        }
        for (name, image) in case.image_names() {
            contexts.insert(name, format!("target:{image}").into());
        }
        let texts = |map: &std::collections::BTreeMap<String, String>| {
            Value::Table(map.iter().map(|(key, value)| (key.clone(), Value::from(value.clone()))).collect())
        };
        let secrets = options.secrets.keys().map(|id| {
            Value::Table(Table::from_iter([
                ("id".to_string(), Value::from(id.clone())),
                ("src".to_string(), path(&self.secret(case, id))),
            ]))
        });
        let list = |values: Vec<String>| Value::Array(values.into_iter().map(Value::from).collect());
        let mut target = Table::from_iter([
            ("context".to_string(), path(&self.context(case))),
            ("dockerfile".to_string(), Value::from(case.dockerfile())),
            ("platforms".to_string(), list(case.platforms())),
            ("contexts".to_string(), Value::Table(contexts)),
            ("emulate".to_string(), Value::from("allow")),
        ]);
        // Entrypoints of cases are only text.
        if !case.options.fails {
            target.insert("verify".to_string(), Value::from("off"));
        }
        let mut put = |is_said: bool, key: &str, value: Value| {
            if is_said {
                target.insert(key.to_string(), value);
            }
        };
        put(!options.args.is_empty(), "args", texts(&options.args));
        put(!options.labels.is_empty(), "labels", texts(&options.labels));
        put(!options.secrets.is_empty(), "secret", Value::Array(secrets.collect()));
        put(options.ssh, "ssh", list(vec![format!("default={}", self.agent().display())]));
        put(!options.entitlements.is_empty(), "entitlements", list(options.entitlements.clone()));
        let stage = options.stage.clone().unwrap_or_default();
        put(!stage.is_empty(), "stage", Value::from(stage));
        target
    }
}
