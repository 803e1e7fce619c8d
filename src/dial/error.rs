//! Why there is no connection: each reason with its own message, and the next step.

use std::path::PathBuf;

use crate::diag::{Kind, Problem};

/// What was dialled, and what is wrong.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", fault.message(peer))]
pub struct DialError {
    /// As messages call it, such as ``worker `tcp://a:1` ``.
    pub peer: String,
    pub fault: Fault,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    NoSocket(PathBuf),
    NotPermitted,
    Refused,
    Unreachable(String),
    /// So many seconds.
    Silent(u64),
    Pem {
        key: &'static str,
        path: PathBuf,
        cause: String,
    },
    HalfIdentity,
    UnknownAuthority,
    Expired,
    WrongName,
    ClientRefused(String),
    Tls(String),
    NoProgram {
        program: String,
        cause: String,
    },
    /// The program that stands for the peer ended, and said this.
    Ended {
        program: String,
        cause: String,
    },
}

impl Fault {
    pub fn of(self, peer: &str) -> DialError {
        DialError { peer: peer.to_string(), fault: self }
    }

    fn message(&self, peer: &str) -> String {
        match self {
            Self::NoSocket(path) => format!("there is no socket at `{}`, of {peer}", path.display()),
            Self::NotPermitted => format!("this user may not connect to {peer}"),
            Self::Refused => format!("{peer} refuses connections"),
            Self::Unreachable(cause) => format!("{peer} cannot be reached: {cause}"),
            Self::Silent(seconds) => format!("{peer} does not answer within {seconds} seconds"),
            Self::Pem { key, path, cause } => {
                format!("cannot read `{}`, the `{key}` of {peer}: {cause}", path.display())
            }
            Self::HalfIdentity => format!("{peer} has `cert` without `key`, or `key` without `cert`"),
            Self::UnknownAuthority => {
                format!("the certificate of {peer} is of an authority that is not trusted")
            }
            Self::Expired => format!("the certificate of {peer} has expired"),
            Self::WrongName => format!("the certificate of {peer} is for another name"),
            Self::ClientRefused(cause) => format!("{peer} refuses this client's certificate: {cause}"),
            Self::Tls(cause) => format!("{peer} does not speak TLS as expected: {cause}"),
            Self::NoProgram { program, cause } => {
                format!("`{program}`, which reaches {peer}, cannot be started: {cause}")
            }
            Self::Ended { program, cause } => format!("`{program}` does not reach {peer}: {cause}"),
        }
    }
}

impl DialError {
    /// Whether it may be otherwise at another time.
    pub fn is_of_the_network(&self) -> bool {
        matches!(self.fault, Fault::Refused | Fault::Silent(_) | Fault::Unreachable(_) | Fault::Ended { .. })
    }

    pub fn problem(&self) -> Problem {
        let (kind, code) = match &self.fault {
            Fault::Pem { .. } | Fault::HalfIdentity => (Kind::Input, "builder::tls"),
            Fault::NoSocket(_)
            | Fault::NotPermitted
            | Fault::Refused
            | Fault::Unreachable(_)
            | Fault::Silent(_)
            | Fault::Ended { .. } => (Kind::Remote, "builder::unreachable"),
            Fault::NoProgram { .. } => (Kind::Host, "builder::program"),
            Fault::UnknownAuthority
            | Fault::Expired
            | Fault::WrongName
            | Fault::ClientRefused(_)
            | Fault::Tls(_) => (Kind::Remote, "builder::certificate"),
        };
        Problem::new(kind, code, self.to_string()).help(self.help())
    }

    fn help(&self) -> String {
        let text = match &self.fault {
            Fault::NoSocket(_) => "start the daemon there, or correct the path",
            Fault::NotPermitted => "run as a user of the socket's group",
            Fault::Refused => "start the daemon there, or correct host and port",
            Fault::Unreachable(_) => "check the address, and the network to it",
            Fault::Silent(_) => "check that it is alive; with TLS, that the worker has `tls`",
            Fault::Pem { .. } => "name a file in PEM",
            Fault::HalfIdentity => "give both, or neither",
            Fault::UnknownAuthority => "set `tls.ca` of the worker to the authority that signed it",
            Fault::Expired => "renew it on the worker",
            Fault::WrongName => "use the name it is for in the `endpoint`, or issue it for this one",
            Fault::ClientRefused(_) => {
                "set `tls.cert` and `tls.key` of the worker to what its authority signed, and is still valid"
            }
            Fault::Tls(_) => "check whether somebody listens there with TLS",
            Fault::NoProgram { program, .. } => {
                return format!("install `{program}`, or add its folder to PATH");
            }
            Fault::Ended { program, .. } => {
                return format!(
                    "see whether the same `{program}` command works in a terminal, without questions"
                );
            }
        };
        text.to_string()
    }
}
