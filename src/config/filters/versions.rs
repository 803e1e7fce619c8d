//! `semver`: versions as values with members and an order.

use std::cmp::Ordering;
use std::fmt;
use std::sync::Arc;

use minijinja::value::{DynObject, Object, ObjectRepr, Value};
use minijinja::{Error, ErrorKind};
use semver::{Version, VersionReq};

/// Longer versions are none.
const LONGEST: usize = 256;

/// A version of semver.org. Two of them compare as versions do: a pre-release comes before its release.
#[derive(Debug)]
struct Parsed(Version);

impl Object for Parsed {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Plain
    }

    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        let version = &self.0;
        Some(match key.as_str()? {
            "major" => Value::from(version.major),
            "minor" => Value::from(version.minor),
            "patch" => Value::from(version.patch),
            "prerelease" => Value::from(version.pre.as_str()),
            "build" => Value::from(version.build.as_str()),
            _ => return None,
        })
    }

    fn custom_cmp(self: &Arc<Self>, other: &DynObject) -> Option<Ordering> {
        other.downcast_ref::<Self>().map(|other| self.0.cmp_precedence(&other.0))
    }

    fn render(self: &Arc<Self>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// A leading `v` is how tags are named.
fn parse(text: &str) -> Option<Version> {
    let text = text.trim();
    let text = text.strip_prefix('v').unwrap_or(text);
    Version::parse(text).ok().filter(|_| text.len() <= LONGEST)
}

/// The filter `semver`.
pub fn filter(text: String) -> Result<Value, Error> {
    match parse(&text) {
        Some(version) => Ok(Value::from_object(Parsed(version))),
        None => {
            let shown: String = text.chars().take(64).collect();
            let message = format!("`{shown}` is not a version such as 1.2.3; `is semver` asks first");
            Err(Error::new(ErrorKind::InvalidOperation, message))
        }
    }
}

/// The test `semver`, which may ask for more: `is semver(">=1.2")`.
pub fn test(value: &Value, requirement: Option<String>) -> Result<bool, Error> {
    let text = if is_version(value) { Some(value.to_string()) } else { value.as_str().map(str::to_string) };
    let Some(version) = text.as_deref().and_then(parse) else { return Ok(false) };
    let Some(requirement) = requirement else { return Ok(true) };
    let parsed = VersionReq::parse(&requirement).map_err(|error| {
        let message = format!("`{requirement}` is not a requirement of versions: {error}");
        Error::new(ErrorKind::InvalidOperation, message)
    })?;
    Ok(parsed.matches(&version))
}

/// Whether a value is what `semver` gave.
pub fn is_version(value: &Value) -> bool {
    value.downcast_object_ref::<Parsed>().is_some()
}
