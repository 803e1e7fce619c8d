//! A lock as text: sorted, and one line for everything that can change alone.

use std::fmt::{self, Write as _};

use super::{Lock, LockedCommit, LockedFile, LockedImage, Section};

const HEADER: &str = "\
# What names of images, repositories and files stood for. Written by `mab lock`; to be committed.
# `mab lock --update` looks again, `mab lock --check` says whether it fits the build file.
version = 1
";

impl fmt::Display for Lock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(HEADER)?;
        for (name, LockedImage { digest, platforms }) in &self.images {
            table(f, Section::Image, name)?;
            writeln!(f, "digest = \"{digest}\"")?;
            for (platform, locked) in platforms {
                let (platform, manifest, config) =
                    (quoted(&platform.to_string()), locked.manifest, locked.config);
                writeln!(f, "{platform} = {{ manifest = \"{manifest}\", config = \"{config}\" }}")?;
            }
        }
        for (name, LockedCommit { commit, reference, object }) in &self.commits {
            table(f, Section::Git, name)?;
            writeln!(f, "commit = {}\nreference = {}", quoted(commit), quoted(reference))?;
            if object != commit {
                writeln!(f, "object = {}", quoted(object))?;
            }
        }
        for (name, LockedFile { digest }) in &self.files {
            table(f, Section::Http, name)?;
            writeln!(f, "digest = \"{digest}\"")?;
        }
        Ok(())
    }
}

fn table(f: &mut fmt::Formatter<'_>, section: Section, name: &str) -> fmt::Result {
    writeln!(f, "\n[{}.{}]", section.name(), quoted(name))
}

/// A basic string of TOML.
fn quoted(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for character in text.chars() {
        match character {
            '"' | '\\' => quoted.extend(['\\', character]),
            character if character.is_control() => {
                let _ = write!(quoted, "\\u{:04x}", u32::from(character));
            }
            character => quoted.push(character),
        }
    }
    quoted.push('"');
    quoted
}
