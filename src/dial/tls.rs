//! TLS as a client: whom it trusts, as whom it comes, and what a failed handshake means.

use std::io;
use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{AlertDescription, CertificateError, ClientConfig, RootCertStore};

use super::{DialError, Fault, First};
use crate::model::Tls;

/// The client's side, from files in PEM. Without `ca` it is the system's authorities that are trusted.
pub(super) fn client(peer: &str, tls: &Tls, first: First) -> Result<ClientConfig, DialError> {
    let mut roots = RootCertStore::empty();
    match &tls.ca {
        Some(path) => {
            for certificate in certificates(peer, "ca", path)? {
                roots.add(certificate).map_err(|error| pem(peer, "ca", path, error))?;
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
            let chain = certificates(peer, "cert", cert)?;
            let key_bytes =
                PrivateKeyDer::from_pem_file(key).map_err(|error| pem(peer, "key", key, error))?;
            builder.with_client_auth_cert(chain, key_bytes).map_err(|error| pem(peer, "key", key, error))?
        }
        _ => return Err(Fault::HalfIdentity.of(peer)),
    };
    if first == First::Server {
        config.alpn_protocols = vec![b"h2".to_vec()];
    }
    Ok(config)
}

fn certificates(
    peer: &str,
    key: &'static str,
    path: &Path,
) -> Result<Vec<CertificateDer<'static>>, DialError> {
    let read = CertificateDer::pem_file_iter(path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    match read {
        Ok(found) if !found.is_empty() => Ok(found),
        Ok(_) => Err(pem(peer, key, path, "no certificate is in it")),
        Err(error) => Err(pem(peer, key, path, error)),
    }
}

fn pem(peer: &str, key: &'static str, path: &Path, cause: impl ToString) -> DialError {
    Fault::Pem { key, path: path.to_path_buf(), cause: cause.to_string() }.of(peer)
}

/// What a failed handshake was about.
pub(super) fn refused(peer: &str, error: &io::Error) -> DialError {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    let other = || Fault::Tls(error.to_string());
    inner.and_then(of_tls).unwrap_or_else(other).of(peer)
}

/// What it means when a server has nothing to say after the handshake.
pub(super) fn closed(peer: &str) -> DialError {
    Fault::ClientRefused("it closed the connection".to_string()).of(peer)
}

fn of_tls(error: &rustls::Error) -> Option<Fault> {
    match error {
        rustls::Error::InvalidCertificate(certificate) => Some(match certificate {
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => Fault::Expired,
            CertificateError::UnknownIssuer | CertificateError::BadSignature => Fault::UnknownAuthority,
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                Fault::WrongName
            }
            other => Fault::Tls(format!("{other:?}")),
        }),
        rustls::Error::AlertReceived(alert) => {
            let cause = match alert {
                AlertDescription::CertificateRequired => "it wants one",
                AlertDescription::UnknownCA => "it is of an authority that is not trusted there",
                AlertDescription::CertificateExpired => "it has expired",
                AlertDescription::BadCertificate
                | AlertDescription::UnsupportedCertificate
                | AlertDescription::CertificateUnknown
                | AlertDescription::AccessDenied => "it is not accepted",
                _ => return Some(Fault::Tls(format!("alert {alert:?}"))),
            };
            Some(Fault::ClientRefused(cause.to_string()))
        }
        _ => None,
    }
}
