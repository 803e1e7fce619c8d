//! What a bare Linux machine needs before it can build: as lines of a POSIX shell.

use super::pipeline::Pipeline;

/// Packages, and `mab`: a release whose checksum is right, or what the user says.
pub(super) fn commands(pipeline: &Pipeline, emulates: bool) -> Vec<String> {
    let emulator = if emulates { " qemu-user-static" } else { "" };
    let packages = format!(
        "apt-get update -qq && apt-get install -qq --yes --no-install-recommends ca-certificates curl git{emulator}"
    );
    let mut commands = vec![packages];
    match &pipeline.options.install {
        Some(command) => commands.push(command.clone()),
        None => commands.extend(release(pipeline)),
    }
    commands
}

/// The release's program for the machine, checked.
pub(super) fn release(pipeline: &Pipeline) -> Vec<String> {
    let options = &pipeline.options;
    let place = format!("https://github.com/{}/releases/download/v{}", options.source, options.version);
    vec![
        "name=mab-linux-$(uname -m | sed 's/x86_64/amd64/;s/aarch64/arm64/')".to_string(),
        format!("curl -fsSL --retry 5 --remote-name-all {place}/$name {place}/SHA256SUMS"),
        "grep \" $name\\$\" SHA256SUMS | sha256sum --check --strict".to_string(),
        "install -D $name /usr/local/bin/mab && rm $name SHA256SUMS".to_string(),
    ]
}

/// Logs in to registries, one line each, by the name and password that variables hold.
pub(super) fn logins(
    pipeline: &Pipeline,
    variables: impl Fn(&str) -> (&'static str, &'static str),
) -> Vec<String> {
    let login = |host: &String| {
        let (user, password) = variables(host);
        format!("printf %s \"${password}\" | mab login {host} --username \"${user}\" --password-stdin")
    };
    pipeline.registries.iter().map(login).collect()
}

/// Variables that the user sets for the project.
pub(super) const USUAL: (&str, &str) = ("REGISTRY_USER", "REGISTRY_PASSWORD");
