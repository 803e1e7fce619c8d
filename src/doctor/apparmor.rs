//! AppArmor's restriction of user namespaces, and the profile that lifts it for mab alone.
//!
//! Ubuntu from 23.10 on lets only programs with a profile that says `userns,` have capabilities in a user namespace.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

const FOLDER: &str = "/etc/apparmor.d";
const NAME: &str = "mab";

/// Whether only programs with a profile may use user namespaces here.
pub fn is_restricting() -> bool {
    let setting = fs::read_to_string("/proc/sys/kernel/apparmor_restrict_unprivileged_userns");
    setting.is_ok_and(|setting| setting.trim() == "1")
}

/// Whether a profile of ours is there for the program.
pub fn has_profile(program: &Path) -> bool {
    let path = Path::new(FOLDER).join(NAME);
    fs::read_to_string(path).is_ok_and(|text| text == profile(program))
}

/// The profile: it allows user namespaces, and confines nothing.
pub fn profile(program: &Path) -> String {
    format!(
        "abi <abi/4.0>,\ninclude <tunables/global>\n\nprofile {NAME} \"{}\" flags=(unconfined) {{\n  userns,\n\n  \
         include if exists <local/{NAME}>\n}}\n",
        program.display()
    )
}

/// The commands that install it.
pub fn commands(program: &Path) -> String {
    format!(
        "sudo tee {FOLDER}/{NAME} > /dev/null <<'END'\n{}END\nsudo apparmor_parser --replace {FOLDER}/{NAME}",
        profile(program)
    )
}

/// Installs it, which only root may do.
pub fn install(program: &Path) -> io::Result<()> {
    let is_plain = |path: &Path| path.to_str().is_some_and(|text| !text.contains(['"', '\n', '\\']));
    if !is_plain(program) {
        return Err(io::Error::other(format!("AppArmor cannot name `{}`", program.display())));
    }
    let path = PathBuf::from(FOLDER).join(NAME);
    let file = tempfile::Builder::new().prefix(".mab-").tempfile_in(FOLDER)?;
    fs::write(file.path(), profile(program))?;
    fs::set_permissions(file.path(), std::os::unix::fs::PermissionsExt::from_mode(0o644))?;
    file.persist(&path).map_err(|error| error.error)?;
    let mut command = Command::new("apparmor_parser");
    let output = command.arg("--replace").arg(&path).stdin(Stdio::null()).output()?;
    if output.status.success() {
        return Ok(());
    }
    Err(io::Error::other(format!("apparmor_parser: {}", String::from_utf8_lossy(&output.stderr).trim())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_profile_is_for_one_program() {
        assert_eq!(
            profile(Path::new("/usr/local/bin/mab")),
            "abi <abi/4.0>,\ninclude <tunables/global>\n\nprofile mab \"/usr/local/bin/mab\" flags=(unconfined) {\n  \
             userns,\n\n  include if exists <local/mab>\n}\n"
        );
    }
}
