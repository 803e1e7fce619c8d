//! What is behind a failed exchange.

use std::error::Error;
use std::io;

/// The last cause, which says most; the outer ones only say that a request failed.
pub fn innermost(error: &reqwest::Error) -> String {
    causes(error).last().map_or_else(|| "the request failed".to_string(), |cause| cause.to_string())
}

/// The other side speaks TLS, but is not who it should be.
pub fn is_certificate_error(error: &reqwest::Error) -> bool {
    causes(error).any(|cause| matches!(cause.downcast_ref(), Some(rustls::Error::InvalidCertificate(_))))
}

/// What is behind an error, outermost first. What an io::Error wraps is asked for itself, because its `source` is
/// the wrapped error's.
fn causes(error: &reqwest::Error) -> impl Iterator<Item = &(dyn Error + 'static)> {
    std::iter::successors(error.source(), |cause| next_cause(*cause))
}

fn next_cause<'a>(cause: &'a (dyn Error + 'static)) -> Option<&'a (dyn Error + 'static)> {
    match cause.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
        Some(wrapped) => Some(wrapped),
        None => cause.source(),
    }
}
