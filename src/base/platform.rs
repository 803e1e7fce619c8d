//! What a binary runs on: operating system, architecture, variant.
//!
//! Normalised as containerd's `platforms` package does it, so that `aarch64`, `linux/arm64/v8` and
//! `arm64` are one platform: `aarch64` → `arm64`, `x86_64` → `amd64`, `armhf` → `arm/v7`,
//! `armel` → `arm/v6`, bare `arm` → `arm/v7`; the default variants `arm64/v8` and `amd64/v1` are dropped.

use std::fmt;
use std::str::FromStr;

use oci_spec::image::{Arch, Os};
use serde::{Deserialize, Serialize};

/// A normalised platform.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Platform {
    pub os: String,
    pub architecture: String,
    pub variant: Option<String>,
    /// `os.version`, which only Windows images carry; written `os(version)` as BuildKit does.
    pub os_version: Option<String>,
}

/// Why a text is not a platform.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParsePlatformError {
    #[error("platform `{0}` is not of the form `os/architecture[/variant]`")]
    Form(String),
    #[error("platform `{platform}` names the operating system `{os}`, which nobody knows")]
    UnknownOs { platform: String, os: String },
    #[error("platform `{platform}` names the architecture `{architecture}`, which nobody knows")]
    UnknownArchitecture { platform: String, architecture: String },
}

impl Platform {
    pub fn new(os: &str, architecture: &str, variant: Option<&str>) -> Self {
        let os = normalise_os(os);
        let (architecture, variant) = normalise_architecture(architecture, variant.unwrap_or(""));
        Self { os, architecture, variant: (!variant.is_empty()).then_some(variant), os_version: None }
    }

    pub fn linux(architecture: &str) -> Self {
        Self::new("linux", architecture, None)
    }

    /// The platform this program runs on.
    pub fn host() -> Self {
        Self::new(std::env::consts::OS, std::env::consts::ARCH, None)
    }

    /// Whether an image made for `self` may stand in for `wanted`: the same platform, or for 32-bit arm
    /// an older variant of it. Larger is a better fit; `None` does not fit.
    pub fn fitness(&self, wanted: &Platform) -> Option<u32> {
        if self.os != wanted.os || self.architecture != wanted.architecture {
            return None;
        }
        if self.variant == wanted.variant {
            return Some(u32::MAX);
        }
        if self.architecture != "arm" {
            return None;
        }
        let version =
            |p: &Platform| p.variant.as_deref().unwrap_or("v7").strip_prefix('v')?.parse::<u32>().ok();
        let (have, want) = (version(self)?, version(wanted)?);
        (have < want).then_some(have)
    }

    /// The platform as part of a file name: `linux-arm-v7`.
    pub fn file_name(&self) -> String {
        self.to_string().replace(['/', '(', ')'], "-")
    }
}

fn normalise_os(os: &str) -> String {
    match os.to_ascii_lowercase().as_str() {
        "macos" => "darwin".to_string(),
        other => other.to_string(),
    }
}

fn normalise_architecture(architecture: &str, variant: &str) -> (String, String) {
    let variant = variant.to_ascii_lowercase();
    let pair = |architecture: &str, variant: &str| (architecture.to_string(), variant.to_string());
    match architecture.to_ascii_lowercase().as_str() {
        "i386" | "i486" | "i586" | "i686" | "x86" => pair("386", ""),
        "x86_64" | "x86-64" | "amd64" if variant == "v1" => pair("amd64", ""),
        "x86_64" | "x86-64" | "amd64" => pair("amd64", &variant),
        "aarch64" | "arm64" if matches!(variant.as_str(), "8" | "v8") => pair("arm64", ""),
        "aarch64" | "arm64" => pair("arm64", &variant),
        "armhf" => pair("arm", "v7"),
        "armel" => pair("arm", "v6"),
        "arm" => match variant.as_str() {
            "" | "7" => pair("arm", "v7"),
            "5" | "6" | "8" => pair("arm", &format!("v{variant}")),
            _ => pair("arm", &variant),
        },
        "powerpc64" if cfg!(target_endian = "little") => pair("ppc64le", &variant),
        other => pair(other, &variant),
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.os)?;
        if let Some(version) = &self.os_version {
            write!(f, "({version})")?;
        }
        write!(f, "/{}", self.architecture)?;
        match &self.variant {
            Some(variant) => write!(f, "/{variant}"),
            None => Ok(()),
        }
    }
}

impl FromStr for Platform {
    type Err = ParsePlatformError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let error = || ParsePlatformError::Form(text.to_string());
        let mut pieces: Vec<&str> = text.split('/').collect();
        let known_word = |word: &str| {
            !word.is_empty() && word.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-.".contains(&b))
        };
        let (os, os_version) = match pieces[0].strip_suffix(')').and_then(|os| os.split_once('(')) {
            Some((os, version)) => (os, Some(version.to_string())),
            None => (pieces[0], None),
        };
        pieces[0] = os;
        if !pieces.iter().all(|piece| known_word(piece)) {
            return Err(error());
        }
        let platform = match pieces[..] {
            ["linux" | "windows" | "darwin" | "freebsd" | "wasi"] => return Err(error()),
            [architecture] => Self::linux(architecture),
            [os, architecture] => Self::new(os, architecture, None),
            [os, architecture, variant] => Self::new(os, architecture, Some(variant)),
            _ => return Err(error()),
        };
        check_known(text, &platform)?;
        Ok(Self { os_version, ..platform })
    }
}

/// A slip such as `linux/amd46` must not become an image nobody can run. What Go knows, everybody does.
fn check_known(text: &str, platform: &Platform) -> Result<(), ParsePlatformError> {
    let (os, architecture) = (platform.os.as_str(), platform.architecture.as_str());
    if matches!(Os::from(os), Os::Other(_)) && !matches!(os, "wasip1" | "wasi") {
        return Err(ParsePlatformError::UnknownOs { platform: text.to_string(), os: os.to_string() });
    }
    if matches!(Arch::from(architecture), Arch::Other(_)) {
        let architecture = architecture.to_string();
        return Err(ParsePlatformError::UnknownArchitecture { platform: text.to_string(), architecture });
    }
    Ok(())
}

impl Serialize for Platform {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Platform {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spellings_of_one_platform_are_equal() {
        for (text, expected) in [
            ("linux/arm64/v8", "linux/arm64"),
            ("linux/aarch64", "linux/arm64"),
            ("aarch64", "linux/arm64"),
            ("Linux/x86_64", "linux/amd64"),
            ("linux/amd64/v1", "linux/amd64"),
            ("linux/amd64/v3", "linux/amd64/v3"),
            ("linux/arm", "linux/arm/v7"),
            ("linux/armel", "linux/arm/v6"),
            ("linux/arm/6", "linux/arm/v6"),
            ("linux/i386", "linux/386"),
            ("windows(10.0.17763)/amd64", "windows(10.0.17763)/amd64"),
        ] {
            assert_eq!(text.parse::<Platform>().unwrap().to_string(), expected, "{text}");
        }
    }

    #[test]
    fn malformed_platforms_are_refused() {
        for text in [
            "",
            "/",
            "linux",
            "linux/",
            "linux/arm64/v8/x",
            "linux/arm 64",
            "lin\0ux/arm64",
            "linux/amd46",
            "linus/amd64",
            "amd46",
        ] {
            assert!(text.parse::<Platform>().is_err(), "{text}");
        }
    }

    #[test]
    fn older_arm_fits_newer_arm_only() {
        let arm = |variant| Platform::new("linux", "arm", Some(variant));
        assert!(arm("v6").fitness(&arm("v7")).is_some());
        assert!(arm("v7").fitness(&arm("v6")).is_none());
        assert!(arm("v6").fitness(&arm("v7")) > arm("v5").fitness(&arm("v7")));
        assert!(Platform::linux("amd64").fitness(&Platform::linux("arm64")).is_none());
    }
}
