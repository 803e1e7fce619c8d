//! Credential helpers: `docker-credential-NAME get`, the host on standard input, JSON on standard output.
//!
//! The protocol is docker/docker-credential-helpers'. A helper's answer is bounded in size and time.

use std::ffi::OsStr;
use std::process::Stdio;
use std::time::Duration;

use serde::Deserialize;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, Command};

use super::credentials::Credential;
use crate::base::Secret;
use crate::registry::error::printable;

/// Helpers of clouds ask their cloud, which takes its time.
const PATIENCE: Duration = Duration::from_secs(30);
const LONGEST_ANSWER: u64 = 64 * 1024;
/// The user name that marks the secret as an identity token.
pub const TOKEN_USER: &str = "<token>";

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Answer {
    #[serde(default)]
    username: String,
    #[serde(default)]
    secret: String,
}

/// Asks a helper, looked up in `path`, for a server's credential. `Ok(None)`: it has none. `Err` says why the
/// helper could not be asked, for people.
pub async fn ask(name: &str, server: &str, path: Option<&OsStr>) -> Result<Option<Credential>, String> {
    let program = format!("docker-credential-{name}");
    let (succeeded, output) = call(&program, name, "get", server, path).await?;
    understand(&program, succeeded, &output)
}

/// Hands a helper something to store or to erase.
pub async fn tell(name: &str, verb: &str, input: &str, path: Option<&OsStr>) -> Result<(), String> {
    let program = format!("docker-credential-{name}");
    match call(&program, name, verb, input, path).await? {
        (true, _) => Ok(()),
        (false, output) => {
            Err(format!("`{program}` failed: {}", printable(String::from_utf8_lossy(&output).trim())))
        }
    }
}

async fn call(
    program: &str,
    name: &str,
    verb: &str,
    input: &str,
    path: Option<&OsStr>,
) -> Result<(bool, Vec<u8>), String> {
    if !name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b)) {
        return Err(format!("`{program}` is not a helper's name"));
    }
    let mut command = Command::new(program);
    command.arg(verb).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).kill_on_drop(true);
    if let Some(path) = path {
        command.env("PATH", path);
    }
    let mut child = command.spawn().map_err(|cause| format!("`{program}` does not start: {cause}"))?;
    let exchanged = tokio::time::timeout(PATIENCE, exchange(&mut child, input)).await;
    exchanged
        .map_err(|_| format!("`{program}` gave no answer in {} s", PATIENCE.as_secs()))?
        .map_err(|cause| format!("`{program}` broke off: {cause}"))
}

async fn exchange(child: &mut Child, input: &str) -> std::io::Result<(bool, Vec<u8>)> {
    if let Some(mut stdin) = child.stdin.take() {
        // A helper that answers without reading closes the pipe, which is no failure.
        let _ = stdin.write_all(input.as_bytes()).await;
    }
    let mut output = Vec::new();
    if let Some(stdout) = child.stdout.take() {
        stdout.take(LONGEST_ANSWER).read_to_end(&mut output).await?;
    }
    Ok((child.wait().await?.success(), output))
}

fn understand(program: &str, succeeded: bool, output: &[u8]) -> Result<Option<Credential>, String> {
    if !succeeded {
        let text = String::from_utf8_lossy(output);
        // Helpers report absence as a failure with this text.
        let absent = text.contains("credentials not found");
        return if absent {
            Ok(None)
        } else {
            Err(format!("`{program}` failed: {}", printable(text.trim())))
        };
    }
    let answer: Answer = serde_json::from_slice(output)
        .map_err(|cause| format!("`{program}` answered with something else than credentials: {cause}"))?;
    Ok(match answer {
        Answer { secret, .. } if secret.is_empty() => None,
        Answer { username, secret } if username == TOKEN_USER => {
            Some(Credential::IdentityToken { username: String::new(), token: Secret::new(secret) })
        }
        Answer { username, secret } => Some(Credential::Basic { username, password: Secret::new(secret) }),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_credentials_or_absence_or_a_reason() {
        let basic = Credential::Basic { username: "u".into(), password: Secret::new("p") };
        let token = Credential::IdentityToken { username: String::new(), token: Secret::new("t") };
        for (succeeded, output, expected) in [
            (true, r#"{"ServerURL":"x","Username":"u","Secret":"p"}"#, Ok(Some(basic))),
            (true, r#"{"Username":"<token>","Secret":"t"}"#, Ok(Some(token))),
            (true, r#"{"Username":"","Secret":""}"#, Ok(None)),
            (false, "credentials not found in native keychain\n", Ok(None)),
            (false, "vault is locked\n", Err("`h` failed: vault is locked".to_string())),
        ] {
            assert_eq!(understand("h", succeeded, output.as_bytes()), expected, "{output}");
        }
        assert!(understand("h", true, b"hello").is_err());
    }

    #[tokio::test]
    async fn names_do_not_reach_beyond_helpers() {
        assert!(ask("../../bin/sh", "x", None).await.is_err());
        assert!(ask("mab-has-no-such-helper", "x", None).await.unwrap_err().contains("does not start"));
    }
}
