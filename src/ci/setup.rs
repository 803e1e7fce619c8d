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

/// The key of a registry in Docker's configuration.
fn key(host: &str) -> &str {
    if host == "docker.io" { "https://index.docker.io/v1/" } else { host }
}

/// Who logs in to a host, as words of a shell.
pub(super) struct Account<'a> {
    pub host: &'a str,
    pub user: &'a str,
    pub password: &'a str,
}

/// Variables that the user sets for the project.
pub(super) fn usual_account(host: &str) -> Account<'_> {
    Account { host, user: "$REGISTRY_USER", password: "$REGISTRY_PASSWORD" }
}

/// Writes credentials where every client of registries looks for them, with nothing but a shell.
pub(super) fn login(accounts: &[Account<'_>]) -> Option<String> {
    if accounts.is_empty() {
        return None;
    }
    let entries: Vec<String> =
        accounts.iter().map(|account| format!("\"{}\":{{\"auth\":\"%s\"}}", key(account.host))).collect();
    let values: Vec<String> = accounts
        .iter()
        .map(|Account { user, password, .. }| {
            format!("\"$(printf '%s:%s' \"{user}\" \"{password}\" | base64 | tr -d '\\n')\"")
        })
        .collect();
    Some(format!(
        "mkdir -p ~/.docker && printf '{{\"auths\":{{{}}}}}' {} > ~/.docker/config.json",
        entries.join(","),
        values.join(" ")
    ))
}
