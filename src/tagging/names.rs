//! What names in patterns stand for: those of every rule (`{{branch}}`, `{{date '…'}}`), of versions, and of schedules.

use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::expression::{Call, Datum, Names, Operand};
use super::moment;
use super::occasion::{Occasion, Reference};
use super::versions::Release;

/// Names of prefixes, suffixes, values, conditions and labels.
pub struct Globals<'a> {
    pub occasion: &'a Occasion,
    pub reference: &'a Reference,
}

/// Names of the patterns of versions.
pub struct OfRelease<'a> {
    pub release: &'a Release,
    pub escapes: bool,
}

/// Names of the patterns of schedules.
pub struct Times<'a>(pub &'a Occasion);

impl Globals<'_> {
    fn base(&self) -> &str {
        match self.reference {
            Reference { tag: Some(_), .. } => &self.occasion.pushed_from,
            Reference { pull_request: Some(_), .. } => &self.occasion.base_branch,
            _ => "",
        }
    }

    pub fn is_default_branch(&self) -> bool {
        let Reference { branch, is_known, .. } = self.reference;
        let is_it = branch.is_some() && *branch == self.occasion.default_branch;
        is_it || (*is_known && self.occasion.is_about_default_branch)
    }
}

impl Names for Globals<'_> {
    fn value(&self, call: &Call) -> Result<Option<Datum>, String> {
        let text = |text: &str| Ok(Some(Datum::Text(text.to_string())));
        match call.name.as_str() {
            "branch" => text(self.reference.branch.as_deref().unwrap_or_default()),
            "tag" => text(self.reference.tag.as_deref().unwrap_or_default()),
            "sha" => text(&self.occasion.short_sha),
            "base_ref" => text(self.base()),
            "is_default_branch" => text(if self.is_default_branch() { "true" } else { "false" }),
            "is_not_default_branch" => text(if self.is_default_branch() { "false" } else { "true" }),
            _ => Times(self.occasion).value(call),
        }
    }

    fn escapes(&self) -> bool {
        self.occasion.is_compatible
    }
}

impl Names for OfRelease<'_> {
    fn value(&self, call: &Call) -> Result<Option<Datum>, String> {
        Ok(self.release.member(&call.name).filter(|_| call.arguments.is_empty() && call.named.is_empty()))
    }

    fn escapes(&self) -> bool {
        self.escapes
    }
}

impl Names for Times<'_> {
    fn value(&self, call: &Call) -> Result<Option<Datum>, String> {
        match call.name.as_str() {
            "date" => date(call, self.0.now, self.0.is_compatible).map(Some),
            "commit_date" => date(call, self.0.commit_date, self.0.is_compatible).map(Some),
            _ => Ok(None),
        }
    }

    fn escapes(&self) -> bool {
        self.0.is_compatible
    }
}

/// `date 'FORMAT' tz='ZONE'`
fn date(call: &Call, time: Timestamp, is_compatible: bool) -> Result<Datum, String> {
    let name = &call.name;
    let mut zone = TimeZone::UTC;
    for (key, value) in &call.named {
        zone = match (key.as_str(), value) {
            ("tz", Operand::Text(text)) => match moment::zone(text) {
                Some(zone) => zone,
                // There it is told in the log, and the time stays as it is.
                None if is_compatible && !text.is_empty() => TimeZone::UTC,
                None => return Err(format!("there is no time zone `{text}`")),
            },
            ("tz", _) => {
                return Err(format!("`tz` of `{name}` is a quoted name, such as `tz='Europe/Berlin'`"));
            }
            (other, _) => return Err(format!("`{name}` knows `tz` and not `{other}`")),
        };
    }
    match call.arguments.first() {
        Some(Operand::Text(format)) => moment::format(format, time, &zone).map(Datum::Text),
        // There a format without quotes is a name without a value, and so no format.
        Some(Operand::Name(_)) => Ok(Datum::Text(moment::iso(time, &zone))),
        _ => Err(format!("`{name}` needs a format: `{{{{{name} 'YYYYMMDD'}}}}`")),
    }
}
