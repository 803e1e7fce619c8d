//! Which machines run a platform's programs natively.

use crate::base::Platform;

/// A platform's row in a matrix.
pub(super) struct Runner {
    /// `linux/arm64`
    pub platform: String,
    /// `linux-arm64`
    pub name: String,
    /// The architecture of the machine.
    pub machine: Machine,
    /// Its programs are emulated there.
    pub is_emulated: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Machine {
    Amd64,
    Arm64,
}

impl Machine {
    pub fn name(self) -> &'static str {
        match self {
            Self::Amd64 => "amd64",
            Self::Arm64 => "arm64",
        }
    }
}

impl Runner {
    pub fn of(platform: &Platform) -> Self {
        let (machine, is_emulated) = match platform.architecture.as_str() {
            "amd64" | "386" => (Machine::Amd64, false),
            "arm64" => (Machine::Arm64, false),
            // Servers for arm64 mostly cannot run programs for 32 bits.
            "arm" => (Machine::Arm64, true),
            _ => (Machine::Amd64, true),
        };
        Self { platform: platform.to_string(), name: platform.file_name(), machine, is_emulated }
    }
}
