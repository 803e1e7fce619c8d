//! The clients of a run: one for the world, one for this machine.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use reqwest::Url;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, RootCertStore};

use super::roots::Roots;

/// How connections are made.
#[derive(Clone, Copy, Debug)]
pub struct ClientOptions<'a> {
    pub user_agent: &'a str,
    /// Roots that are trusted besides the system's, each in PEM.
    pub root_certificates: &'a [Vec<u8>],
    pub connect_timeout: Duration,
}

/// Redirects are followed by whoever asks, who decides what may follow them.
pub struct Clients {
    /// Goes through the proxies that HTTPS_PROXY and its kin name.
    outward: reqwest::Client,
    /// For this machine, which no proxy can reach.
    loopback: reqwest::Client,
}

impl Clients {
    /// HTTP/1.1 only: large bodies go over connections of their own, each with its own window, where HTTP/2
    /// would send them through one.
    pub fn new(options: &ClientOptions<'_>) -> Result<Self, String> {
        let tls = tls_config(options.root_certificates)?;
        let builder = || {
            reqwest::Client::builder()
                .user_agent(options.user_agent)
                .tls_backend_preconfigured(tls.clone())
                .http1_only()
                .redirect(reqwest::redirect::Policy::none())
                .referer(false)
                .connect_timeout(options.connect_timeout)
        };
        let build =
            |builder: reqwest::ClientBuilder| builder.build().map_err(|error| super::innermost(&error));
        Ok(Self { outward: build(builder())?, loopback: build(builder().no_proxy())? })
    }

    pub fn of(&self, url: &Url) -> &reqwest::Client {
        if is_loopback(url.host_str().unwrap_or_default()) { &self.loopback } else { &self.outward }
    }
}

/// Whether a host name without a port is this machine: `localhost`, 127.0.0.0/8, `::1`.
pub fn is_loopback(host: &str) -> bool {
    let host = host.trim_start_matches('[').trim_end_matches(']');
    host.eq_ignore_ascii_case("localhost")
        || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

fn tls_config(additional: &[Vec<u8>]) -> Result<ClientConfig, String> {
    let mut roots = RootCertStore::empty();
    for certificate in additional.iter().flat_map(|pem| CertificateDer::pem_slice_iter(pem)) {
        let certificate = certificate.map_err(|cause| format!("a root certificate is not PEM: {cause}"))?;
        roots.add(certificate).map_err(|cause| format!("a root certificate cannot be used: {cause}"))?;
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider.clone()).with_safe_default_protocol_versions();
    let builder = builder.map_err(|cause| cause.to_string())?.dangerous();
    // It verifies all the same.
    let verifier = Arc::new(Roots::with(roots, provider));
    let mut config = builder.with_custom_certificate_verifier(verifier).with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}
