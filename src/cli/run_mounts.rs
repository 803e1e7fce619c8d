//! `--mount`, `--volume` and `--tmpfs` with Docker's meaning.

use std::path::{Path, PathBuf};

use crate::config::split_csv;
use crate::engine::RunMount;

/// The mode of a tmpfs that nobody gives another one.
const TMPFS_MODE: u32 = 0o1777;
const TYPES: &str = "there are `type=bind,source=PATH,target=PATH[,readonly]` and `type=tmpfs,target=PATH[,tmpfs-size=BYTES][,tmpfs-mode=OCTAL]`";

/// `type=bind,source=PATH,target=PATH[,readonly]`, `type=tmpfs,target=PATH[,tmpfs-size=BYTES]`
pub fn mount(text: &str) -> Result<RunMount, String> {
    let fields = split_csv(text).ok_or_else(|| "a quote is not closed".to_string())?;
    let mut given = Given::default();
    for field in &fields {
        let (key, value) =
            field.split_once('=').map_or((field.as_str(), None), |(key, value)| (key, Some(value)));
        given.take(&key.to_ascii_lowercase(), value)?;
    }
    given.mount()
}

#[derive(Default)]
struct Given {
    kind: Option<String>,
    source: Option<PathBuf>,
    target: Option<PathBuf>,
    is_read_only: bool,
    is_flat: bool,
    size: Option<u64>,
    mode: Option<u32>,
}

impl Given {
    fn take(&mut self, key: &str, value: Option<&str>) -> Result<(), String> {
        let text = || value.filter(|value| !value.is_empty()).ok_or_else(|| format!("`{key}` needs a value"));
        match key {
            "type" => self.kind = Some(text()?.to_string()),
            "source" | "src" => self.source = Some(PathBuf::from(text()?)),
            "target" | "destination" | "dst" => self.target = Some(absolute(text()?)?),
            "readonly" | "ro" => self.is_read_only = flag(key, value)?,
            "bind-recursive" => {
                self.is_flat = match text()? {
                    "enabled" | "writable" => false,
                    "disabled" => true,
                    other => {
                        return Err(format!(
                            "`bind-recursive={other}`: there are `enabled`, `writable` and `disabled`"
                        ));
                    }
                };
            }
            "bind-nonrecursive" => self.is_flat = flag(key, value)?,
            // All mounts of a sandbox end with it, and none is seen outside.
            "bind-propagation" | "consistency" => drop(text()?),
            "tmpfs-size" => self.size = Some(size(text()?)?),
            "tmpfs-mode" => self.mode = Some(mode(text()?)?),
            _ => return Err(format!("`{key}` is no key of a mount; {TYPES}")),
        }
        Ok(())
    }

    fn mount(self) -> Result<RunMount, String> {
        let target = self.target.ok_or_else(|| format!("a mount needs a `target`; {TYPES}"))?;
        match self.kind.as_deref() {
            Some("bind") => Ok(RunMount::Bind {
                source: self.source.ok_or("a mount of type bind needs a `source`")?,
                target,
                is_read_only: self.is_read_only,
                is_recursive: !self.is_flat,
            }),
            Some("tmpfs") if self.source.is_some() => {
                Err("a mount of type tmpfs has no `source`".to_string())
            }
            Some("tmpfs") => {
                Ok(RunMount::Tmpfs { target, size: self.size, mode: self.mode.unwrap_or(TMPFS_MODE) })
            }
            Some("volume") | None => {
                Err(format!("there are no volumes, since nothing is kept of a run; {TYPES}"))
            }
            Some(other) => Err(format!("`type={other}` is no mount; {TYPES}")),
        }
    }
}

/// `SOURCE:TARGET[:OPTIONS]`
pub fn volume(text: &str) -> Result<RunMount, String> {
    let mut parts = text.split(':');
    let (source, target) = match (parts.next(), parts.next()) {
        (Some(source), Some(target)) if !source.is_empty() => (source, target),
        _ => {
            return Err(
                "a bind is `SOURCE:TARGET[:ro]`; there are no volumes, since nothing is kept of a run"
                    .to_string(),
            );
        }
    };
    if !source.starts_with(['/', '.', '~']) {
        return Err(format!(
            "`{source}` would be the name of a volume, and there are none; a folder here is `./{source}`"
        ));
    }
    let mut is_read_only = false;
    for option in parts.next().unwrap_or_default().split(',').filter(|option| !option.is_empty()) {
        match option {
            "ro" | "readonly" => is_read_only = true,
            "rw" => is_read_only = false,
            // For SELinux, and for what mounts later do: nothing of either lasts here.
            "z" | "Z" | "nocopy" | "cached" | "delegated" | "consistent" => {}
            "rprivate" | "private" | "rslave" | "slave" | "rshared" | "shared" => {}
            _ => return Err(format!("`{option}` is no option of a bind: there are `ro` and `rw`")),
        }
    }
    if parts.next().is_some() {
        return Err("a bind is `SOURCE:TARGET[:ro]`".to_string());
    }
    let target = absolute(target)?;
    Ok(RunMount::Bind { source: PathBuf::from(source), target, is_read_only, is_recursive: true })
}

/// `PATH[:size=BYTES,mode=OCTAL]`
pub fn tmpfs(text: &str) -> Result<RunMount, String> {
    let (target, options) = text.split_once(':').unwrap_or((text, ""));
    let (mut bytes, mut access) = (None, TMPFS_MODE);
    for option in options.split(',').filter(|option| !option.is_empty()) {
        match option.split_once('=').unwrap_or((option, "")) {
            ("size", value) => bytes = Some(size(value)?),
            ("mode", value) => access = mode(value)?,
            ("rw" | "nosuid" | "nodev" | "noexec", "") => {}
            _ => {
                return Err(format!(
                    "`{option}` is no option of a tmpfs: there are `size=BYTES` and `mode=OCTAL`"
                ));
            }
        }
    }
    Ok(RunMount::Tmpfs { target: absolute(target)?, size: bytes, mode: access })
}

/// The source of a bind, from `folder`; it has to be there.
pub fn from_folder(mount: RunMount, folder: &Path) -> Result<RunMount, String> {
    let RunMount::Bind { source, target, is_read_only, is_recursive } = mount else { return Ok(mount) };
    let found = folder.join(&source).canonicalize();
    let source = found.map_err(|error| format!("cannot mount `{}`: {error}", source.display()))?;
    Ok(RunMount::Bind { source, target, is_read_only, is_recursive })
}

fn absolute(path: &str) -> Result<PathBuf, String> {
    match path.starts_with('/') && Path::new(path) != Path::new("/") {
        true => Ok(PathBuf::from(path)),
        false => Err(format!("`{path}` is not an absolute path below `/`")),
    }
}

fn flag(key: &str, value: Option<&str>) -> Result<bool, String> {
    match value {
        None | Some("true" | "1") => Ok(true),
        Some("false" | "0") => Ok(false),
        Some(other) => Err(format!("`{key}={other}` is neither true nor false")),
    }
}

/// Bytes, or with Docker's units, which are powers of 1024.
pub fn size(text: &str) -> Result<u64, String> {
    let digits = text.trim_end_matches(|letter: char| letter.is_ascii_alphabetic());
    let unit = match text[digits.len()..].to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "k" | "kb" => 1 << 10,
        "m" | "mb" => 1 << 20,
        "g" | "gb" => 1 << 30,
        _ => 0,
    };
    let bytes =
        digits.parse::<u64>().ok().and_then(|number| number.checked_mul(unit)).filter(|bytes| *bytes > 0);
    bytes.ok_or_else(|| format!("`{text}` is no size: write `64m`, or bytes"))
}

fn mode(text: &str) -> Result<u32, String> {
    let mode = u32::from_str_radix(text, 8).ok().filter(|mode| *mode <= 0o7777);
    mode.ok_or_else(|| format!("`{text}` is no mode: write it in octal, such as `1777`"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(mount: Result<RunMount, String>) -> String {
        match mount {
            Ok(RunMount::Bind { source, target, is_read_only, is_recursive }) => format!(
                "bind {} {}{}{}",
                source.display(),
                target.display(),
                if is_read_only { " ro" } else { "" },
                if is_recursive { "" } else { " flat" }
            ),
            Ok(RunMount::Tmpfs { target, size, mode }) => {
                format!("tmpfs {} {size:?} {mode:o}", target.display())
            }
            Ok(RunMount::Script { .. }) => unreachable!("nobody asks for a script"),
            Err(error) => error,
        }
    }

    #[test]
    fn mounts_are_written_as_for_docker() {
        let check = |text: &str, expected: &str| assert_eq!(shown(mount(text)), expected, "{text}");
        check("type=bind,source=.,target=/src,readonly", "bind . /src ro");
        check("type=bind,src=/a,dst=/b,ro=false,bind-recursive=disabled", "bind /a /b flat");
        check(r#"type=bind,"source=/a,b",destination=/c"#, "bind /a,b /c");
        check("type=tmpfs,target=/t", "tmpfs /t None 1777");
        check("type=tmpfs,target=/t,tmpfs-size=64m,tmpfs-mode=700", "tmpfs /t Some(67108864) 700");
        check("type=bind,target=/b", "a mount of type bind needs a `source`");
        check("type=bind,source=.,target=b", "`b` is not an absolute path below `/`");
        check("type=bind,source=.,target=/", "`/` is not an absolute path below `/`");
        check(
            "source=x,target=/b",
            &format!("there are no volumes, since nothing is kept of a run; {TYPES}"),
        );
        check("type=tmpfs,target=/t,tmpfs-mode=9", "`9` is no mode: write it in octal, such as `1777`");
        check("kind=x", &format!("`kind` is no key of a mount; {TYPES}"));
    }

    #[test]
    fn binds_and_tmpfs_have_a_short_form() {
        let check = |text: &str, expected: &str| assert_eq!(shown(volume(text)), expected, "{text}");
        check("/a:/b", "bind /a /b");
        check("./a:/b:ro,z", "bind ./a /b ro");
        check("a:/b", "`a` would be the name of a volume, and there are none; a folder here is `./a`");
        check("/b", "a bind is `SOURCE:TARGET[:ro]`; there are no volumes, since nothing is kept of a run");
        check("/a:/b:wo", "`wo` is no option of a bind: there are `ro` and `rw`");
        assert_eq!(shown(tmpfs("/t:size=1k,mode=755")), "tmpfs /t Some(1024) 755");
        assert_eq!(shown(tmpfs("/t:size=x")), "`x` is no size: write `64m`, or bytes");
    }
}
