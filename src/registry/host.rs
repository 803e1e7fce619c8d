//! Which machine a registry's name stands for, and whether it may be spoken to without TLS.

use crate::http::is_loopback;

const HUB: &str = "docker.io";
const HUB_ADDRESS: &str = "registry-1.docker.io";
/// What Docker files Docker Hub's credentials under, a relic of the first protocol.
const HUB_CREDENTIAL_KEY: &str = "https://index.docker.io/v1/";

/// A registry, under one name.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Host(String);

impl Host {
    /// The host of a reference's registry; Docker Hub's several names become one.
    pub fn of(registry: &str) -> Self {
        match registry {
            "index.docker.io" | HUB_ADDRESS => Self(HUB.to_string()),
            other => Self(other.to_ascii_lowercase()),
        }
    }

    /// The name in messages.
    pub fn name(&self) -> &str {
        &self.0
    }

    /// Host and port that requests go to.
    pub fn address(&self) -> &str {
        if self.0 == HUB { HUB_ADDRESS } else { &self.0 }
    }

    /// What credential helpers are asked for.
    pub fn credential_key(&self) -> &str {
        if self.0 == HUB { HUB_CREDENTIAL_KEY } else { &self.0 }
    }

    pub fn is_loopback(&self) -> bool {
        is_loopback(without_port(&self.0))
    }
}

fn without_port(address: &str) -> &str {
    match address.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|b| b.is_ascii_digit()) && !host.is_empty() => host,
        _ => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn docker_hub_has_one_name_and_another_address() {
        for name in ["docker.io", "index.docker.io", "registry-1.docker.io"] {
            let host = Host::of(name);
            assert_eq!(
                (host.name(), host.address(), host.credential_key()),
                ("docker.io", "registry-1.docker.io", "https://index.docker.io/v1/"),
            );
        }
    }

    #[test]
    fn only_this_machine_is_loopback() {
        for (name, expected) in [
            ("localhost", true),
            ("localhost:5000", true),
            ("127.0.0.1:5000", true),
            ("127.9.9.9", true),
            ("[::1]:5000", true),
            ("localhost.example.com", false),
            ("127.0.0.1.example.com", false),
            ("10.0.0.1:5000", false),
            ("registry.local:5000", false),
        ] {
            assert_eq!(Host::of(name).is_loopback(), expected, "{name}");
        }
    }
}
