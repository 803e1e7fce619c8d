//! Bake's and our keys of a target that say more than how it is built, as `bake --print` writes them.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::{Map, Value, json};

use crate::diag::Located;
use crate::model::{
    Attestation, CacheEntry, ExpectedConfig, ExpectedFile, LintFailing, Network, Policy, Project, Resources,
    Service, Swap, Target, Test, TestAction, TestMount, Variant, Verify, Worker,
};

type Object = Map<String, Value>;

/// Keys whose values are credentials, which nobody has to see.
const CREDENTIALS: [&str; 6] =
    ["access_key_id", "secret_access_key", "session_token", "token", "ghtoken", "password"];

pub fn of_target(project: &Project, target: &Target) -> Object {
    let mut object = Object::new();
    let cache = &target.cache;
    put(&mut object, "cache", cache.named.iter().map(|name| json!(name.value)));
    put(&mut object, "cache-from", cache.from.iter().map(|entry| cache_json(project, &entry.value)));
    put(&mut object, "cache-to", cache.to.iter().map(|entry| cache_json(project, &entry.value)));
    put(&mut object, "attest", target.attestations.iter().map(|one| attestation_json(&one.value)));
    put(&mut object, "policy", target.policies.iter().map(|one| policy_json(project, &one.value)));
    put(&mut object, "require", target.requirements.iter().map(|one| json!(one.value.name())));
    object
}

pub fn of_variant(variant: &Variant) -> Object {
    let mut object = Object::new();
    if let Some(resources) = &variant.resources {
        object.insert("resources".to_string(), resources_json(&resources.value));
    }
    if let Some(epoch) = &variant.source_date_epoch {
        object.insert("source-date-epoch".to_string(), json!(epoch.value));
    }
    if let Some(verify) = &variant.verify {
        object.insert("verify".to_string(), verify_json(&verify.value));
    }
    if let Some(allowed) = &variant.allow_failure {
        object.insert("allow-failure".to_string(), json!(allowed.value));
    }
    let labels = variant.worker_labels.iter().map(|(key, label)| (key.clone(), json!(label.value)));
    put_table(&mut object, "worker-labels", labels);
    put_table(&mut object, "test", variant.tests.iter().map(|test| (test.name.clone(), test_json(test))));
    object
}

/// `[project]` and `[lint]`, as far as targets do not say it.
pub fn of_project(project: &Project) -> Object {
    let mut object = Object::new();
    if let Some(branch) = &project.default_branch {
        object.insert("project".to_string(), json!({ "default-branch": branch }));
    }
    let names =
        |names: &[Located<String>]| -> Vec<Value> { names.iter().map(|name| json!(name.value)).collect() };
    let mut lint = Object::new();
    put(&mut lint, "skip", names(&project.lint.skip).into_iter());
    match &project.lint.failing {
        LintFailing::None => {}
        LintFailing::All => drop(lint.insert("error".to_string(), json!(true))),
        LintFailing::Rules(rules) => drop(lint.insert("error".to_string(), names(rules).into())),
    }
    if !lint.is_empty() {
        object.insert("lint".to_string(), Value::Object(lint));
    }
    object
}

/// `[cache.NAME]` of the project.
pub fn caches(project: &Project) -> Object {
    let caches = project.caches.values().map(|cache| {
        let mut entry = cache_json(project, &cache.entry);
        if let (Some(object), Some(trust)) = (entry.as_object_mut(), cache.trust) {
            object.insert("trust".to_string(), json!(trust));
        }
        (cache.name.clone(), entry)
    });
    caches.collect()
}

/// `[builder.NAME]` of the project.
pub fn builders(project: &Project) -> Object {
    let builders = project.builders.iter().map(|(name, builder)| {
        let workers = builder.workers.iter().map(|worker| worker_json(project, worker));
        (name.clone(), json!({ "workers": workers.collect::<Vec<Value>>() }))
    });
    builders.collect()
}

fn worker_json(project: &Project, worker: &Worker) -> Value {
    let mut object = Object::from_iter([("endpoint".to_string(), json!(worker.endpoint))]);
    put(&mut object, "platforms", worker.platforms.iter().map(|platform| json!(platform.to_string())));
    put_table(&mut object, "labels", worker.labels.iter().map(|(key, label)| (key.clone(), json!(label))));
    if let Some(count) = worker.max_parallelism {
        object.insert("max-parallelism".to_string(), json!(count));
    }
    if let Some(tls) = &worker.tls {
        let files = [("ca", &tls.ca), ("cert", &tls.cert), ("key", &tls.key)].into_iter();
        let files = files.filter_map(|(key, path)| Some((key, path.as_ref()?)));
        put_table(
            &mut object,
            "tls",
            files.map(|(key, path)| (key.to_string(), json!(relative(project, path)))),
        );
    }
    Value::Object(object)
}

fn put(object: &mut Object, key: &str, values: impl Iterator<Item = Value>) {
    let values: Vec<Value> = values.collect();
    if !values.is_empty() {
        object.insert(key.to_string(), json!(values));
    }
}

fn put_table(object: &mut Object, key: &str, entries: impl Iterator<Item = (String, Value)>) {
    let entries: Object = entries.collect();
    if !entries.is_empty() {
        object.insert(key.to_string(), Value::Object(entries));
    }
}

fn relative(project: &Project, path: &Path) -> String {
    path.strip_prefix(&project.root).unwrap_or(path).display().to_string()
}

fn cache_json(project: &Project, entry: &CacheEntry) -> Value {
    let mut object = Object::from_iter([("type".to_string(), json!(entry.kind.name()))]);
    if let Some(mode) = entry.mode {
        object.insert("mode".to_string(), json!(mode.name()));
    }
    for (key, value) in &entry.parameters {
        let is_path = matches!(key.as_str(), "src" | "dest" | "path");
        let shown = if is_path { relative(project, Path::new(value)) } else { value.clone() };
        if !CREDENTIALS.contains(&key.as_str()) {
            object.insert(key.clone(), json!(shown));
        }
    }
    Value::Object(object)
}

fn with_type(kind: &str, attributes: &BTreeMap<String, String>) -> Object {
    let rest = attributes.iter().map(|(key, value)| (key.clone(), json!(value)));
    std::iter::once(("type".to_string(), json!(kind))).chain(rest).collect()
}

fn attestation_json(attestation: &Attestation) -> Value {
    let mut object = with_type(attestation.kind.name(), &attestation.attributes);
    if attestation.is_disabled {
        object.insert("disabled".to_string(), json!("true"));
    }
    Value::Object(object)
}

fn policy_json(project: &Project, policy: &Policy) -> Value {
    let mut object = Object::new();
    // With several files only a line can say it.
    if policy.files.len() > 1 {
        let files: Vec<String> =
            policy.files.iter().map(|file| format!("filename={}", relative(project, file))).collect();
        return json!(files.join(","));
    }
    if let Some(file) = policy.files.first() {
        object.insert("filename".to_string(), json!(relative(project, file)));
    }
    for (key, value) in [("reset", policy.reset), ("disabled", policy.is_disabled)] {
        if value {
            object.insert(key.to_string(), json!(true));
        }
    }
    if let Some(strict) = policy.strict {
        object.insert("strict".to_string(), json!(strict));
    }
    if let Some(level) = &policy.log_level {
        object.insert("log-level".to_string(), json!(level));
    }
    Value::Object(object)
}

fn resources_json(resources: &Resources) -> Value {
    let swap = resources.memory_swap.map(|swap| match swap {
        Swap::Unlimited => json!("-1"),
        Swap::Bytes(bytes) => json!(bytes.to_string()),
    });
    let entries = [
        ("memory", resources.memory.map(|bytes| json!(bytes.to_string()))),
        ("memory-swap", swap),
        ("cpu-shares", resources.cpu_shares.map(|shares| json!(shares))),
        ("cpu-period", resources.cpu_period.map(|period| json!(period))),
        ("cpu-quota", resources.cpu_quota.map(|quota| json!(quota))),
        ("cpuset-cpus", resources.cpuset_cpus.as_ref().map(|set| json!(set))),
        ("cpuset-mems", resources.cpuset_mems.as_ref().map(|set| json!(set))),
    ];
    let said = entries.into_iter().filter_map(|(key, value)| Some((key.to_string(), value?)));
    Value::Object(said.collect())
}

fn verify_json(verify: &Verify) -> Value {
    match verify.allow.is_empty() {
        true => json!(verify.level.name()),
        false => json!({ "level": verify.level.name(), "allow": verify.allow }),
    }
}

fn test_json(test: &Test) -> Value {
    let expect = &test.expect;
    let (run, script) = match &test.action {
        Some(TestAction::Run(words)) => (Some(json!(words)), None),
        Some(TestAction::Script(script)) => (None, Some(json!(script))),
        None => (None, None),
    };
    let some = |is_said: bool, value: Value| is_said.then_some(value);
    let ports: Vec<String> = expect.ports.iter().map(ToString::to_string).collect();
    let files: Vec<Value> = expect.files.iter().map(file_json).collect();
    let expected = [
        ("exit", expect.exit.map(|code| json!(code))),
        ("stdout-matches", expect.stdout.as_ref().map(|pattern| json!(pattern))),
        ("stderr-matches", expect.stderr.as_ref().map(|pattern| json!(pattern))),
        ("files", some(!files.is_empty(), json!(files))),
        ("absent", some(!expect.absent.is_empty(), json!(expect.absent))),
        ("max-size", expect.max_size.map(|bytes| json!(bytes))),
        ("max-layer-size", expect.max_layer_size.map(|bytes| json!(bytes))),
        ("ports", some(!ports.is_empty(), json!(ports))),
        ("config", expect.config.as_ref().map(config_json)),
    ];
    let expected = said(&expected);
    Value::Object(said(&[
        ("run", run),
        ("script", script),
        ("stdin", test.stdin.as_ref().map(|text| json!(text))),
        ("env", some(!test.env.is_empty(), json!(test.env))),
        ("user", test.user.as_ref().map(|user| json!(user))),
        ("workdir", test.workdir.as_ref().map(|folder| json!(folder))),
        ("expect", some(!expected.is_empty(), Value::Object(expected))),
        ("timeout", test.timeout.map(|time| json!(format!("{}ms", time.as_millis())))),
        ("retries", some(test.retries > 0, json!(test.retries))),
        ("network", network_text(test.network).map(|word| json!(word))),
        ("service", test.service.as_ref().map(service_json)),
        ("mounts", some(!test.mounts.is_empty(), test.mounts.iter().map(mount_text).collect())),
    ]))
}

/// What of it is said.
fn said(entries: &[(&str, Option<Value>)]) -> Object {
    entries.iter().filter_map(|(key, value)| Some((key.to_string(), value.clone()?))).collect()
}

fn config_json(config: &ExpectedConfig) -> Value {
    let some = |is_said: bool, value: Value| is_said.then_some(value);
    let words = |words: &Option<Vec<String>>| words.as_ref().map(|words| json!(words));
    let text = |text: &Option<String>| text.as_ref().map(|text| json!(text));
    let ports = config.ports.as_ref().map(|ports| ports.iter().map(ToString::to_string).collect());
    Value::Object(said(&[
        ("user", text(&config.user)),
        ("workdir", text(&config.workdir)),
        ("stop-signal", text(&config.stop_signal)),
        ("entrypoint", words(&config.entrypoint)),
        ("cmd", words(&config.cmd)),
        ("shell", words(&config.shell)),
        ("env", some(!config.env.is_empty(), json!(config.env))),
        ("env-matches", some(!config.env_matches.is_empty(), json!(config.env_matches))),
        ("unset", some(!config.unset.is_empty(), json!(config.unset))),
        ("labels", some(!config.labels.is_empty(), json!(config.labels))),
        ("labels-matches", some(!config.labels_matches.is_empty(), json!(config.labels_matches))),
        ("ports", ports.map(|ports: Vec<String>| json!(ports))),
        ("volumes", words(&config.volumes)),
    ]))
}

fn file_json(file: &ExpectedFile) -> Value {
    if file.mode.is_none() && file.owner.is_none() {
        return json!(file.path);
    }
    let mut object = Object::from_iter([("path".to_string(), json!(file.path))]);
    object.extend(file.mode.map(|mode| ("mode".to_string(), json!(format!("{mode:04o}")))));
    object.extend(file.owner.as_ref().map(|owner| ("owner".to_string(), json!(owner))));
    Value::Object(object)
}

fn service_json(service: &Service) -> Value {
    let mut object = Object::new();
    let ports: Vec<String> = service.ports.iter().map(ToString::to_string).collect();
    object.extend((!service.args.is_empty()).then(|| ("args".to_string(), json!(service.args))));
    object.extend((!ports.is_empty()).then(|| ("ports".to_string(), json!(ports))));
    object.extend(service.log.as_ref().map(|pattern| ("log-matches".to_string(), json!(pattern))));
    Value::Object(object)
}

fn mount_text(mount: &TestMount) -> String {
    let access = if mount.is_writable { ":rw" } else { "" };
    format!("{}:{}{access}", mount.source.display(), mount.target)
}

/// `None` for the default of tests.
fn network_text(network: Network) -> Option<&'static str> {
    match network {
        Network::None => None,
        Network::Default => Some("default"),
        Network::Host => Some("host"),
    }
}
