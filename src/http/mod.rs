//! HTTP as everything here speaks it: TLS and its roots, proxies, and why an exchange failed.
//!
//! Knows no registry and no build; what is asked, followed and tried again is up to those who ask.

mod cause;
mod client;
mod pace;
mod retry;
mod roots;

pub use cause::{innermost, is_certificate_error, is_plain_answer};
pub use client::{ClientOptions, Clients, is_loopback};
pub use pace::Pace;
pub use retry::{Attempts, Retries, Transient, parse_retry_after, retrying};
