//! `mab login` and `mab logout`: who one is to a registry, kept for every tool that reads Docker's config.

use super::Failure;
use super::plan::Document;
use super::session;
use crate::base::{Reference, Secret};
use crate::diag::Problem;
use crate::facts::Facts;
use crate::registry::{Credential, Keeping};

#[derive(Clone, Debug)]
pub struct LoginOptions {
    pub registry: String,
    pub username: String,
    pub secret: Secret,
    /// The secret is an identity token, which buys access tokens, and no password.
    pub is_token: bool,
}

/// Nothing is kept that the registry does not know.
pub async fn login(options: LoginOptions, facts: &Facts) -> Result<Document, Failure> {
    let LoginOptions { registry, username, secret, is_token } = options;
    let name = registry_name(&registry)?;
    if secret.expose().is_empty() {
        return Err(vec![Problem::input("login::no-password", "the password is empty")]);
    }
    let credential = match is_token {
        true => Credential::IdentityToken { username: username.clone(), token: secret },
        false => Credential::Basic { username: username.clone(), password: secret },
    };
    let client = session::registry(facts, false).map_err(|problem| vec![*problem])?;
    let was_asked = client.check_credential(&name, &credential).await.map_err(failed)?;
    let kept = session::credential_places(facts).keep(name.registry(), &credential).await.map_err(failed)?;
    let mut warnings = Vec::new();
    if !was_asked {
        let message = format!("`{}` lets in everybody and did not look at the password", name.registry());
        warnings.push(Problem::warning("login::not-asked", message));
    }
    let place = match &kept {
        Keeping::File(path) => {
            format!("kept in {}, which only you can read; it is not encrypted", path.display())
        }
        Keeping::Helper(name) => format!("kept by docker-credential-{name}"),
    };
    let who = if username.is_empty() { String::new() } else { format!(" as {username}") };
    Ok(Document { text: format!("logged in to {}{who}\n  {place}\n", name.registry()), warnings })
}

pub async fn logout(registries: &[String], facts: &Facts) -> Result<Document, Failure> {
    let mut text = String::new();
    for registry in registries {
        let name = registry_name(registry)?;
        let gone = session::credential_places(facts).forget(name.registry()).await.map_err(failed)?;
        text.push_str(&match gone.is_empty() {
            true => format!("{} was not logged in to\n", name.registry()),
            false => format!("logged out of {}\n", name.registry()),
        });
    }
    Ok(Document { text, warnings: Vec::new() })
}

/// A registry as credentials are kept for it; what Docker takes as its name is taken too.
fn registry_name(text: &str) -> Result<Reference, Failure> {
    let host = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://")).unwrap_or(text);
    let host = host.split('/').next().unwrap_or_default();
    let wrong = || {
        let problem = Problem::input("login::no-registry", format!("`{text}` is not a registry's name"));
        vec![problem.help("write its host, and its port if it has one: `ghcr.io`, `registry.local:5000`")]
    };
    let name: Reference = format!("{host}/login").parse().map_err(|_| wrong())?;
    let is_hub = matches!(host, "docker.io" | "index.docker.io" | "registry-1.docker.io");
    if is_hub || name.registry() == host { Ok(name) } else { Err(wrong()) }
}

fn failed(error: crate::registry::RegistryError) -> Failure {
    vec![error.problem()]
}
