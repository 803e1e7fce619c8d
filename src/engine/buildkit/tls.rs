//! TLS with a worker: whom it trusts, as whom it comes, and what a failed handshake means.

use std::io;
use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{AlertDescription, CertificateError, ClientConfig, RootCertStore};

use super::error::WorkerError;
use crate::model::Tls;

/// The client's side, from files in PEM. Without `ca` it is the system's authorities that are trusted.
pub(super) fn client(endpoint: &str, tls: &Tls) -> Result<ClientConfig, WorkerError> {
    let mut roots = RootCertStore::empty();
    match &tls.ca {
        Some(path) => {
            for certificate in certificates(endpoint, "ca", path)? {
                roots.add(certificate).map_err(|error| pem(endpoint, "ca", path, error))?;
            }
        }
        None => drop(roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs)),
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("the provider knows the default versions")
        .with_root_certificates(roots);
    let mut config = match (&tls.cert, &tls.key) {
        (None, None) => builder.with_no_client_auth(),
        (Some(cert), Some(key)) => {
            let chain = certificates(endpoint, "cert", cert)?;
            let key_bytes =
                PrivateKeyDer::from_pem_file(key).map_err(|error| pem(endpoint, "key", key, error))?;
            builder
                .with_client_auth_cert(chain, key_bytes)
                .map_err(|error| pem(endpoint, "key", key, error))?
        }
        _ => return Err(WorkerError::HalfIdentity { endpoint: endpoint.to_string() }),
    };
    config.alpn_protocols = vec![b"h2".to_vec()];
    Ok(config)
}

fn certificates(
    endpoint: &str,
    key: &'static str,
    path: &Path,
) -> Result<Vec<CertificateDer<'static>>, WorkerError> {
    let read = CertificateDer::pem_file_iter(path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    match read {
        Ok(found) if !found.is_empty() => Ok(found),
        Ok(_) => Err(pem(endpoint, key, path, "no certificate is in it")),
        Err(error) => Err(pem(endpoint, key, path, error)),
    }
}

fn pem(endpoint: &str, key: &'static str, path: &Path, cause: impl ToString) -> WorkerError {
    let (endpoint, path, cause) = (endpoint.to_string(), path.to_path_buf(), cause.to_string());
    WorkerError::Pem { endpoint, key, path, cause }
}

/// What a failed handshake was about.
pub(super) fn refused(endpoint: &str, error: &io::Error) -> WorkerError {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    let other = || WorkerError::Tls { endpoint: endpoint.to_string(), cause: error.to_string() };
    inner.and_then(|inner| of_tls(endpoint, inner)).unwrap_or_else(other)
}

/// What it means when a server has nothing to say after the handshake.
pub(super) fn closed(endpoint: &str) -> WorkerError {
    let cause = "it closed the connection".to_string();
    WorkerError::ClientRefused { endpoint: endpoint.to_string(), cause }
}

fn of_tls(endpoint: &str, error: &rustls::Error) -> Option<WorkerError> {
    let endpoint = endpoint.to_string();
    match error {
        rustls::Error::InvalidCertificate(certificate) => Some(match certificate {
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
                WorkerError::Expired { endpoint }
            }
            CertificateError::UnknownIssuer | CertificateError::BadSignature => {
                WorkerError::UnknownAuthority { endpoint }
            }
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                WorkerError::WrongName { endpoint }
            }
            other => WorkerError::Tls { endpoint, cause: format!("{other:?}") },
        }),
        rustls::Error::AlertReceived(alert) => {
            let cause = match alert {
                AlertDescription::CertificateRequired => "it wants one",
                AlertDescription::UnknownCA => "it is of an authority that the worker does not trust",
                AlertDescription::CertificateExpired => "it has expired",
                AlertDescription::BadCertificate
                | AlertDescription::UnsupportedCertificate
                | AlertDescription::CertificateUnknown
                | AlertDescription::AccessDenied => "it is not accepted",
                _ => return Some(WorkerError::Tls { endpoint, cause: format!("alert {alert:?}") }),
            };
            Some(WorkerError::ClientRefused { endpoint, cause: cause.to_string() })
        }
        _ => None,
    }
}
