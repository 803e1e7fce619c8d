//! How a program is installed here, as a command.

/// A program that distributions call differently.
#[derive(Clone, Copy, Debug)]
pub enum Package {
    /// `newuidmap` and `newgidmap`
    IdTools,
    /// `pasta`
    Pasta,
}

/// The command for one of the distributions that os-release names, the nearest first.
pub fn install(package: Package, distribution: &[String]) -> String {
    let is = |name: &str| distribution.iter().any(|id| id == name);
    let (tool, shadow) = if is("alpine") {
        ("apk add", "shadow-subids")
    } else if is("fedora") || is("rhel") {
        ("dnf install", "shadow-utils")
    } else if is("arch") {
        ("pacman -S", "shadow")
    } else if is("suse") || is("opensuse") {
        ("zypper install", "shadow")
    } else {
        ("apt-get install", "uidmap")
    };
    let name = match package {
        Package::IdTools => shadow,
        Package::Pasta => "passt",
    };
    format!("sudo {tool} {name}")
}
