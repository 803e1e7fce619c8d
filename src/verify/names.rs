//! What people call architectures in paths, package names and URLs.

/// The words for an architecture, its own name first. Longer words stand before those they begin with.
pub(super) fn words(architecture: &str) -> &'static [&'static str] {
    match architecture {
        "amd64" => &["amd64", "x86_64", "x86-64", "x8664", "x64"],
        "386" => &["386", "i386", "i486", "i586", "i686", "ia32", "x86"],
        "arm64" => &["arm64", "aarch64", "arm64v8", "armv8"],
        "arm" => {
            &["armv7l", "armv7hf", "armv7", "armv6l", "armv6", "armv5", "armhf", "armel", "arm32", "arm"]
        }
        "ppc64le" => &["ppc64le", "ppc64el", "powerpc64le"],
        "s390x" => &["s390x"],
        "riscv64" => &["riscv64", "riscv64gc"],
        "loong64" => &["loong64", "loongarch64"],
        "mips64le" => &["mips64le", "mips64el"],
        "mipsle" => &["mipsle", "mipsel"],
        "mips64" => &["mips64"],
        "mips" => &["mips"],
        "ppc64" => &["ppc64", "powerpc64"],
        "ppc" => &["ppc", "powerpc"],
        _ => &[],
    }
}

/// The word for `architecture` in a text, standing by itself: `x64` in `linux-x64`, not in `max64`.
pub(super) fn mentioned(text: &str, architecture: &str) -> Option<&'static str> {
    words(architecture).iter().copied().find(|word| places(text, word).next().is_some())
}

fn places<'t>(text: &'t str, word: &'t str) -> impl Iterator<Item = usize> + 't {
    let bytes = text.as_bytes();
    let starts = bytes.windows(word.len()).enumerate();
    let same = starts.filter(|(_, window)| window.eq_ignore_ascii_case(word.as_bytes()));
    same.map(|(start, _)| start).filter(move |start| {
        let before = start.checked_sub(1).map(|before| bytes[before]);
        let after = bytes.get(start + word.len());
        // `linux64`, `musleabihf` and `x86_64` go on; `linux_x64` and `arm64-v8a` do not.
        let joins = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
        let begins_inside = after == Some(&b'_') && matches!(word, "x86");
        !joins(before.as_ref()) && !joins(after) && !begins_inside
    })
}

/// A text in which the architecture is only called that, so that it is the same for all.
pub(super) fn neutral(text: &str, architecture: &str) -> String {
    let mut text = text.to_string();
    for word in words(architecture) {
        let starts: Vec<usize> = places(&text, word).collect();
        for start in starts.into_iter().rev() {
            text.replace_range(start..start + word.len(), "ARCH");
        }
    }
    // The systems for 32-bit arm say how they pass numbers.
    match architecture {
        "arm" => text.replace("gnueabihf", "gnu").replace("gnueabi", "gnu").replace("musleabihf", "musl"),
        _ => text,
    }
}

/// Whether a name is nothing but some architecture's: `setarch` is called so, for those that the processor runs.
pub(super) fn is_architecture(name: &str) -> bool {
    const KNOWN: [&str; 14] = [
        "amd64", "386", "arm64", "arm", "ppc64le", "s390x", "riscv64", "loong64", "mips64le", "mipsle",
        "mips64", "mips", "ppc64", "ppc",
    ];
    const OTHERS: [&str; 5] = ["linux32", "linux64", "ppc32", "s390", "uname26"];
    OTHERS.contains(&name) || KNOWN.iter().any(|architecture| words(architecture).contains(&name))
}

/// What is left of a name without the word for an architecture, to compare it with others. What says nothing but a
/// system, as `linux-x64` does, is one with all its like.
pub(super) fn without_architecture(name: &str, architecture: &str) -> Option<String> {
    const SYSTEMS: [&str; 12] = [
        "linux", "darwin", "macos", "osx", "mac", "win32", "win", "windows", "android", "freebsd", "musl",
        "gnu",
    ];
    let word = mentioned(name, architecture)?;
    let start = places(name, word).next()?;
    let rest = format!("{}{}", &name[..start], &name[start + word.len()..]);
    let mut parts = rest.split(|part: char| !part.is_ascii_alphanumeric()).filter(|part| !part.is_empty());
    let is_bare = parts.all(|part| SYSTEMS.contains(&part.to_ascii_lowercase().as_str()));
    Some(if is_bare { String::new() } else { rest })
}

/// Whether a component of a path is a toolchain's name for the architecture: `aarch64-linux-gnu`,
/// `arm-none-eabi`, `x86_64-unknown-linux-musl`.
pub(super) fn is_triplet(component: &str, architecture: &str) -> bool {
    let Some((first, rest)) = component.split_once('-') else { return false };
    let is_of = first == architecture
        || words(architecture).contains(&first)
        || (architecture == "arm" && first.starts_with("arm") && !first.starts_with("arm64"))
        || (architecture == "riscv64" && first.starts_with("riscv64"));
    const SYSTEMS: [&str; 8] = ["linux", "none", "elf", "eabi", "unknown", "android", "pc", "musl"];
    is_of && rest.split('-').any(|part| SYSTEMS.contains(&part))
}
