//! `RUN --mount`: options as written, and their meaning once variables are replaced.
//!
//! Any value but `from` may hold variables, the type too, so the meaning is found in a second step.

use super::copy::{has_variable, variable_in_from};
use super::directive::parse_bool;
use super::expand::ExpandError;
use super::instruction::is_plain;
use super::parse::Reader;
use crate::diag::{Place, Problem, Span, nearest};

/// One `--mount`, not expanded.
#[derive(Clone, Debug)]
pub struct Mount {
    pub options: Vec<MountOption>,
    pub place: Place,
}

impl PartialEq for Mount {
    fn eq(&self, other: &Self) -> bool {
        self.options == other.options
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MountOption {
    /// In lower case.
    pub key: String,
    pub value: Option<String>,
}

/// What a mount is, with the defaults of its type applied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MountSpec {
    Bind {
        /// A stage, image or named context; `None` is the build context.
        from: Option<String>,
        source: Option<String>,
        target: String,
        read_only: bool,
    },
    Cache {
        /// `None`: the cleaned target.
        id: Option<String>,
        from: Option<String>,
        source: Option<String>,
        target: String,
        sharing: Sharing,
        mode: u32,
        uid: u32,
        gid: u32,
        read_only: bool,
    },
    Tmpfs {
        target: String,
        /// In bytes.
        size: Option<u64>,
    },
    Secret {
        id: String,
        /// `None`: only the environment variable is wanted.
        target: Option<String>,
        env: Option<String>,
        required: bool,
        mode: u32,
        uid: u32,
        gid: u32,
    },
    Ssh {
        id: String,
        /// `None`: `/run/buildkit/ssh_agent.N`.
        target: Option<String>,
        required: bool,
        mode: u32,
        uid: u32,
        gid: u32,
    },
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Sharing {
    #[default]
    Shared,
    Private,
    Locked,
}

/// Why options make no mount.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MountError {
    #[error("the mount is no list of `key=value` separated by commas: {0}")]
    Csv(&'static str),
    #[error("`{0}` is not an option of a mount")]
    UnknownKey(String),
    #[error("option `{0}` of a mount needs a value")]
    NoValue(String),
    #[error("`{0}` is not a type of mount")]
    Type(String),
    #[error("`{0}` is not a way of sharing a cache")]
    Sharing(String),
    #[error("option `{key}` of a mount cannot be `{value}`")]
    Value { key: String, value: String },
    #[error("a {kind} mount has no option `{key}`")]
    NotOfType { kind: &'static str, key: String },
    #[error("a secret mount needs `id`, `source` or `target`")]
    NamelessSecret,
    #[error("a secret mount takes `id` or `source`, not both")]
    SecretNamedTwice,
    #[error("option `from` of a mount cannot hold a variable")]
    VariableInFrom,
    #[error(transparent)]
    Expand(#[from] ExpandError),
}

impl MountError {
    /// What to do about it.
    pub fn help(&self) -> Option<String> {
        let meant = match self {
            Self::UnknownKey(key) => nearest(key, KEYS),
            Self::Type(kind) => nearest(kind, TYPES),
            Self::Sharing(mode) => nearest(mode, ["shared", "private", "locked"]),
            _ => None,
        };
        match (meant, self) {
            (Some(meant), _) => Some(format!("did you mean `{meant}`?")),
            (None, Self::Type(_)) => Some(format!("it is one of {}", TYPES.join(", "))),
            (None, Self::Sharing(_)) => Some("it is one of shared, private, locked".to_string()),
            (None, Self::NotOfType { .. }) => Some("options of a type stand behind `type=`".to_string()),
            _ => None,
        }
    }
}

const TYPES: [&str; 5] = ["bind", "cache", "tmpfs", "secret", "ssh"];
const KEYS: [&str; 19] = [
    "type",
    "from",
    "source",
    "src",
    "target",
    "dst",
    "destination",
    "readonly",
    "ro",
    "readwrite",
    "rw",
    "required",
    "size",
    "id",
    "sharing",
    "mode",
    "uid",
    "gid",
    "env",
];

/// Reads one flag. What holds no variables is checked at once.
pub(super) fn read(reader: &Reader<'_>, text: &str, range: &Span) -> Result<Mount, Problem> {
    let problem = |error: MountError| {
        let code = match error {
            MountError::VariableInFrom => "dockerfile::variable-in-from",
            _ => "dockerfile::mount",
        };
        let problem = reader.problem_at(range, code, error.to_string());
        match error.help() {
            Some(help) => problem.help(help),
            None if error == MountError::VariableInFrom => variable_in_from(problem),
            None => problem,
        }
    };
    let fields = fields(text).map_err(problem)?;
    let mount =
        Mount { options: fields.iter().map(|field| option(field)).collect(), place: reader.place(range) };
    if mount.from().is_some_and(has_variable) {
        return Err(problem(MountError::VariableInFrom));
    }
    if is_plain(text) {
        mount.resolve(&mut |word| Ok(word.to_string())).map_err(problem)?;
    }
    Ok(mount)
}

fn option(field: &str) -> MountOption {
    match field.split_once('=') {
        Some((key, value)) => MountOption { key: key.to_lowercase(), value: Some(value.to_string()) },
        None => MountOption { key: field.to_lowercase(), value: None },
    }
}

/// The fields of one CSV record, as Go's `encoding/csv` reads it.
pub(super) fn fields(text: &str) -> Result<Vec<String>, MountError> {
    if text.is_empty() {
        return Err(MountError::Csv("it is empty"));
    }
    let mut fields = Vec::new();
    let mut rest = text;
    loop {
        let Some(mut quoted) = rest.strip_prefix('"') else {
            let (field, behind) = match rest.split_once(',') {
                Some((field, behind)) => (field, Some(behind)),
                None => (rest, None),
            };
            if field.contains('"') {
                return Err(MountError::Csv("a quote stands within a field that does not begin with one"));
            }
            fields.push(field.to_string());
            match behind {
                Some(behind) => rest = behind,
                None => return Ok(fields),
            }
            continue;
        };
        let mut field = String::new();
        loop {
            let (part, behind) =
                quoted.split_once('"').ok_or(MountError::Csv("a quoted field is not closed"))?;
            field.push_str(part);
            match behind.strip_prefix('"') {
                Some(doubled) => {
                    field.push('"');
                    quoted = doubled;
                }
                None => {
                    quoted = behind;
                    break;
                }
            }
        }
        fields.push(field);
        match quoted.strip_prefix(',') {
            Some(behind) => rest = behind,
            None if quoted.is_empty() => return Ok(fields),
            None => return Err(MountError::Csv("text follows a quoted field")),
        }
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Kind {
    #[default]
    Bind,
    Cache,
    Tmpfs,
    Secret,
    Ssh,
}

impl Kind {
    fn name(self) -> &'static str {
        TYPES[self as usize]
    }

    fn parse(text: &str) -> Result<Self, MountError> {
        let kinds = [Self::Bind, Self::Cache, Self::Tmpfs, Self::Secret, Self::Ssh];
        let kind = kinds.into_iter().find(|kind| kind.name() == text.to_lowercase());
        kind.ok_or_else(|| MountError::Type(text.to_string()))
    }
}

/// All options, whatever the type.
#[derive(Default)]
struct Draft {
    kind: Kind,
    from: Option<String>,
    source: Option<String>,
    target: Option<String>,
    read_only: Option<bool>,
    required: bool,
    size: Option<u64>,
    id: Option<String>,
    sharing: Option<Sharing>,
    mode: Option<u32>,
    uid: Option<u32>,
    gid: Option<u32>,
    env: Option<String>,
}

impl Mount {
    /// The `from` option, which is never expanded.
    pub fn from(&self) -> Option<&str> {
        let from = self.options.iter().rev().find(|option| option.key == "from")?;
        from.value.as_deref().filter(|from| !from.is_empty())
    }

    /// Expands the values and finds out what they mean. Order matters as in BuildKit: what only one type
    /// has stands behind `type=`.
    pub fn resolve(
        &self,
        expand: &mut dyn FnMut(&str) -> Result<String, ExpandError>,
    ) -> Result<MountSpec, MountError> {
        let mut draft = Draft::default();
        for option in &self.options {
            match &option.value {
                Some(value) => draft.set(&option.key, expand(value)?)?,
                None => draft.switch_on(&option.key)?,
            }
        }
        draft.finish()
    }
}

impl Draft {
    fn switch_on(&mut self, key: &str) -> Result<(), MountError> {
        match key {
            "readonly" | "ro" => self.read_only = Some(true),
            "readwrite" | "rw" => self.read_only = Some(false),
            "required" => self.set_required(true)?,
            _ if KEYS.contains(&key) => return Err(MountError::NoValue(key.to_string())),
            _ => return Err(MountError::UnknownKey(key.to_string())),
        }
        Ok(())
    }

    fn set(&mut self, key: &str, value: String) -> Result<(), MountError> {
        let invalid = |value: &str| MountError::Value { key: key.to_string(), value: value.to_string() };
        let bool = |value: &str| parse_bool(value).ok_or_else(|| invalid(value));
        let number = |value: &str, radix: u32| match value.starts_with('+') {
            true => Err(invalid(value)),
            false => u32::from_str_radix(value, radix).map_err(|_| invalid(value)),
        };
        let text = |value: String| Some(value).filter(|value| !value.is_empty());
        match key {
            "type" => self.kind = Kind::parse(&value)?,
            "from" => self.from = text(value),
            "source" | "src" => self.source = text(value),
            "target" | "dst" | "destination" => self.target = text(value),
            "readonly" | "ro" => self.read_only = Some(bool(&value)?),
            "readwrite" | "rw" => self.read_only = Some(!bool(&value)?),
            "required" => self.set_required(bool(&value)?)?,
            "size" if self.kind != Kind::Tmpfs => return Err(self.foreign("size")),
            "size" => self.size = Some(parse_size(&value).ok_or_else(|| invalid(&value))?),
            "id" => self.id = text(value),
            "sharing" => {
                self.sharing = Some(match value.to_lowercase().as_str() {
                    "shared" => Sharing::Shared,
                    "private" => Sharing::Private,
                    "locked" => Sharing::Locked,
                    _ => return Err(MountError::Sharing(value)),
                });
            }
            "mode" => self.mode = Some(number(&value, 8)?),
            "uid" => self.uid = Some(number(&value, 10)?),
            "gid" => self.gid = Some(number(&value, 10)?),
            "env" => self.env = text(value),
            _ => return Err(MountError::UnknownKey(key.to_string())),
        }
        Ok(())
    }

    fn set_required(&mut self, required: bool) -> Result<(), MountError> {
        if !matches!(self.kind, Kind::Secret | Kind::Ssh) {
            return Err(self.foreign("required"));
        }
        self.required = required;
        Ok(())
    }

    fn foreign(&self, key: &str) -> MountError {
        MountError::NotOfType { kind: self.kind.name(), key: key.to_string() }
    }

    fn finish(self) -> Result<MountSpec, MountError> {
        self.refuse_foreign_options()?;
        let target = self.target.clone();
        Ok(match self.kind {
            Kind::Bind => MountSpec::Bind {
                from: self.from,
                source: self.source,
                target: target.unwrap_or_default(),
                read_only: self.read_only.unwrap_or(true),
            },
            Kind::Cache => MountSpec::Cache {
                id: self.id,
                from: self.from,
                source: self.source,
                target: target.unwrap_or_default(),
                sharing: self.sharing.unwrap_or_default(),
                mode: self.mode.unwrap_or(0o755),
                uid: self.uid.unwrap_or(0),
                gid: self.gid.unwrap_or(0),
                read_only: self.read_only.unwrap_or(false),
            },
            Kind::Tmpfs => MountSpec::Tmpfs { target: target.unwrap_or_default(), size: self.size },
            Kind::Secret => self.finish_secret()?,
            Kind::Ssh => MountSpec::Ssh {
                id: self.id.or(self.source).unwrap_or_else(|| "default".to_string()),
                target,
                required: self.required,
                mode: self.mode.unwrap_or(0o600),
                uid: self.uid.unwrap_or(0),
                gid: self.gid.unwrap_or(0),
            },
        })
    }

    fn refuse_foreign_options(&self) -> Result<(), MountError> {
        let owned = matches!(self.kind, Kind::Cache | Kind::Secret | Kind::Ssh);
        let foreign = [
            ("mode", self.mode.is_some() && !owned),
            ("uid", self.uid.is_some() && !owned),
            ("gid", self.gid.is_some() && !owned),
            ("from", self.from.is_some() && self.kind == Kind::Secret),
            ("sharing", self.sharing.is_some() && self.kind != Kind::Cache),
            ("env", self.env.is_some() && self.kind != Kind::Secret),
        ];
        match foreign.into_iter().find(|(_, wrong)| *wrong) {
            Some((key, _)) => Err(self.foreign(key)),
            None => Ok(()),
        }
    }

    fn finish_secret(self) -> Result<MountSpec, MountError> {
        if self.source.is_some() && self.id.is_some() {
            return Err(MountError::SecretNamedTwice);
        }
        let named = self.source.or(self.id);
        let id = named.or_else(|| self.target.as_deref().map(|target| base_name(target).to_string()));
        let id = id.ok_or(MountError::NamelessSecret)?;
        let default_target = || format!("/run/secrets/{}", base_name(&id));
        let target = match (self.target, &self.env) {
            (None, None) => Some(default_target()),
            (target, _) => target,
        };
        Ok(MountSpec::Secret {
            id,
            target,
            env: self.env,
            required: self.required,
            mode: self.mode.unwrap_or(0o400),
            uid: self.uid.unwrap_or(0),
            gid: self.gid.unwrap_or(0),
        })
    }
}

fn base_name(path: &str) -> &str {
    path.trim_end_matches('/').rsplit('/').next().unwrap_or(path)
}

/// Bytes as docker's `units.RAMInBytes` reads them: a number, a letter for a power of 1024, `b` or `ib`.
fn parse_size(text: &str) -> Option<u64> {
    let number_end = text.rfind(|char: char| char.is_ascii_digit() || char == '.')? + 1;
    let (number, unit) = text.split_at(number_end);
    let unit = unit.trim_start_matches(' ').to_ascii_lowercase();
    let power = match unit.as_str() {
        "" | "b" => 0,
        _ => {
            let letter = unit.strip_suffix("ib").or(unit.strip_suffix('b')).unwrap_or(&unit);
            ["k", "m", "g", "t", "p"].iter().position(|known| *known == letter)? + 1
        }
    };
    let number: f64 = number.parse().ok().filter(|number: &f64| number.is_finite() && *number >= 0.0)?;
    let bytes = number * 1024_f64.powi(i32::try_from(power).ok()?);
    (bytes < i64::MAX as f64).then_some(bytes as u64)
}
