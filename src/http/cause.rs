//! What is behind a failed exchange.

use std::error::Error;
use std::io;

/// The last cause, which says most; the outer ones only say that a request failed.
pub fn innermost(error: &(dyn Error + 'static)) -> String {
    let mut last = error;
    for cause in std::iter::successors(Some(error), |cause| next_cause(*cause)) {
        // What lies behind it speaks of TLS to whoever programs it.
        if cause.downcast_ref().is_some_and(|error: &io::Error| error.kind() == io::ErrorKind::UnexpectedEof)
        {
            return "the other side closed it in the middle".to_string();
        }
        last = cause;
    }
    last.to_string()
}

/// The other side speaks TLS, but is not who it should be.
pub fn is_certificate_error(error: &reqwest::Error) -> bool {
    causes(error).any(|cause| matches!(cause.downcast_ref(), Some(rustls::Error::InvalidCertificate(_))))
}

/// The other side answered, and not in TLS.
pub fn is_plain_answer(error: &reqwest::Error) -> bool {
    causes(error).any(|cause| matches!(cause.downcast_ref(), Some(rustls::Error::InvalidMessage(_))))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("a request failed")]
    struct Outer(#[source] io::Error);

    #[test]
    fn the_last_cause_is_told() {
        let check = |error: io::Error, expected: &str| assert_eq!(innermost(&Outer(error)), expected);
        check(io::Error::other("no route"), "no route");
        check(io::Error::other(io::Error::other("deeper")), "deeper");
        let rustls = "peer closed connection without sending TLS close_notify: see the manual";
        check(io::Error::new(io::ErrorKind::UnexpectedEof, rustls), "the other side closed it in the middle");
    }
}
