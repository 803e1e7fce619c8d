//! Versions of the two schemes that rules know: those of semver.org as npm reads them, and those of Python (PEP 440).

use std::cmp::Ordering;
use std::sync::LazyLock;

use regex::Regex;

use super::expression::Datum;

/// Longer texts are no versions.
const LONGEST: usize = 256;
/// The largest number of which JavaScript is sure.
const LARGEST: u64 = (1 << 53) - 1;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    Semver,
    Pep440,
}

/// A version with what patterns know of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Release {
    /// As it was written.
    pub raw: String,
    /// In the spelling of its scheme, without a leading `v`.
    pub version: String,
    pub major: u64,
    pub minor: u64,
    pub patch: u64,
    /// A pre-release; in Python also what comes after a release, and development versions.
    pub is_preliminary: bool,
    build: Vec<String>,
    /// PEP 440's; 0 elsewhere.
    epoch: u64,
    /// All numbers of the release, without zeros at the end.
    numbers: Vec<u64>,
}

impl Scheme {
    pub fn parse(self, text: &str) -> Option<Release> {
        if text.len() > LONGEST {
            return None;
        }
        match self {
            Self::Semver => semver(text),
            Self::Pep440 => pep440(text),
        }
    }

    /// What a text is said not to be.
    pub fn title(self) -> &'static str {
        match self {
            Self::Semver => "a version of semver.org",
            Self::Pep440 => "a version of PEP 440",
        }
    }
}

impl Release {
    /// The order of releases that are not preliminary.
    pub fn order(&self, other: &Self) -> Ordering {
        (self.epoch, &self.numbers).cmp(&(other.epoch, &other.numbers))
    }

    pub fn member(&self, name: &str) -> Option<Datum> {
        Some(match name {
            "raw" => Datum::Text(self.raw.clone()),
            "version" => Datum::Text(self.version.clone()),
            "major" => Datum::Number(self.major),
            "minor" => Datum::Number(self.minor),
            "patch" => Datum::Number(self.patch),
            "build" => Datum::List(self.build.clone()),
            _ => {
                let index: usize = name.strip_prefix("build.")?.parse().ok()?;
                Datum::Text(self.build.get(index)?.clone())
            }
        })
    }
}

/// The order of two versions of one scheme, pre-releases among them; `None` where there is none.
pub fn order(one: &str, other: &str) -> Option<Ordering> {
    let precise = |text: &str| {
        let text = text.trim();
        semver::Version::parse(text.strip_prefix('v').unwrap_or(text)).ok()
    };
    if one.len() > LONGEST || other.len() > LONGEST {
        return None;
    }
    if let (Some(one), Some(other)) = (precise(one), precise(other)) {
        return Some(one.cmp_precedence(&other));
    }
    let (one, other) = (Scheme::Pep440.parse(one)?, Scheme::Pep440.parse(other)?);
    match one.order(&other) {
        // What comes before and after a release has an order that nobody needs here.
        Ordering::Equal if one.version != other.version && (one.is_preliminary || other.is_preliminary) => {
            None
        }
        order => Some(order),
    }
}

/// Whether a tag is a version as a whole, as semver.org has them.
pub fn is_whole(tag: &str) -> bool {
    Scheme::Semver.parse(tag).is_some()
}

fn semver(text: &str) -> Option<Release> {
    let trimmed = text.trim();
    let parsed = semver::Version::parse(trimmed.strip_prefix('v').unwrap_or(trimmed)).ok()?;
    if [parsed.major, parsed.minor, parsed.patch].into_iter().any(|number| number > LARGEST) {
        return None;
    }
    let without_build = semver::Version { build: semver::BuildMetadata::EMPTY, ..parsed.clone() };
    let build = parsed.build.as_str();
    Some(Release {
        raw: text.to_string(),
        version: without_build.to_string(),
        major: parsed.major,
        minor: parsed.minor,
        patch: parsed.patch,
        is_preliminary: !parsed.pre.is_empty(),
        build: if build.is_empty() { Vec::new() } else { build.split('.').map(str::to_string).collect() },
        epoch: 0,
        numbers: without_zeros(vec![parsed.major, parsed.minor, parsed.patch]),
    })
}

fn without_zeros(mut numbers: Vec<u64>) -> Vec<u64> {
    while numbers.last() == Some(&0) {
        numbers.pop();
    }
    numbers
}

fn pep440(text: &str) -> Option<Release> {
    static FORM: LazyLock<Regex> = LazyLock::new(|| {
        Regex::new(
            r"(?ix)^ v? (?:(?<epoch>[0-9]+)!)? (?<release>[0-9]+(?:\.[0-9]+)*)
              (?:[-_.]?(?<pre>alpha|a|beta|b|preview|pre|c|rc)[-_.]?(?<pre_number>[0-9]+)?)?
              (?:-(?<post_alone>[0-9]+)|[-_.]?(?<post>post|rev|r)[-_.]?(?<post_number>[0-9]+)?)?
              (?:[-_.]?(?<dev>dev)[-_.]?(?<dev_number>[0-9]+)?)?
              (?:\+(?<local>[a-z0-9]+(?:[-_.][a-z0-9]+)*))? $",
        )
        .expect("the form of PEP 440 is a regular expression")
    });
    let found = FORM.captures(text)?;
    let named = |name: &str| found.name(name).map(|part| part.as_str());
    let number = |name: &str| named(name).map_or(Some(0), |digits| digits.parse::<u64>().ok());
    let release: Vec<u64> =
        named("release")?.split('.').map(|part| part.parse().ok()).collect::<Option<_>>()?;
    let epoch = number("epoch")?;
    let mut version = if epoch > 0 { format!("{epoch}!") } else { String::new() };
    version.push_str(&release.iter().map(u64::to_string).collect::<Vec<_>>().join("."));
    if let Some(letters) = named("pre") {
        let letters = match letters.to_ascii_lowercase().as_str() {
            "a" | "alpha" => "a",
            "b" | "beta" => "b",
            _ => "rc",
        };
        version.push_str(&format!("{letters}{}", number("pre_number")?));
    }
    let is_post = named("post").is_some() || named("post_alone").is_some();
    if is_post {
        let name = if named("post_alone").is_some() { "post_alone" } else { "post_number" };
        version.push_str(&format!(".post{}", number(name)?));
    }
    if named("dev").is_some() {
        version.push_str(&format!(".dev{}", number("dev_number")?));
    }
    if let Some(local) = named("local") {
        let parts = local.split(['.', '_', '-']);
        let parts =
            parts.map(|part| part.parse::<u64>().map_or(part.to_ascii_lowercase(), |n| n.to_string()));
        // The library that metadata-action asks joins them so.
        version.push_str(&format!("+{}", parts.collect::<Vec<_>>().join(",")));
    }
    let at = |index: usize| release.get(index).copied().unwrap_or(0);
    Some(Release {
        raw: text.to_string(),
        version,
        major: at(0),
        minor: at(1),
        patch: at(2),
        is_preliminary: named("pre").is_some() || is_post || named("dev").is_some(),
        build: Vec::new(),
        epoch,
        numbers: without_zeros(release),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read() {
        use Scheme::{Pep440, Semver};
        for (scheme, text, expected) in [
            (Semver, "v1.2.3", Some(("1.2.3", false))),
            (Semver, " 1.2.3 ", Some(("1.2.3", false))),
            (Semver, "1.2.3+build.5", Some(("1.2.3", false))),
            (Semver, "v2.0.8-beta.67", Some(("2.0.8-beta.67", true))),
            (Semver, "v9.5.7-alpha.2+fork.3", Some(("9.5.7-alpha.2", true))),
            (Semver, "=1.2.3", None),
            (Semver, "1.2", None),
            (Semver, "v01.2.3", None),
            (Semver, "1.2.3-01", None),
            (Semver, "9007199254740992.0.0", None),
            (Pep440, "v1.2.3", Some(("1.2.3", false))),
            (Pep440, "1.2", Some(("1.2", false))),
            (Pep440, "1.1beta2", Some(("1.1b2", true))),
            (Pep440, "1.0dev4", Some(("1.0.dev4", true))),
            (Pep440, "1.2post1", Some(("1.2.post1", true))),
            (Pep440, "1.2-1", Some(("1.2.post1", true))),
            (Pep440, "1.2.3RC", Some(("1.2.3rc0", true))),
            (Pep440, "2!01.2", Some(("2!1.2", false))),
            (Pep440, "1.0+Ubuntu.01", Some(("1.0+ubuntu,1", false))),
            (Pep440, "main", None),
            (Pep440, " 1.2", None),
        ] {
            let found = scheme.parse(text);
            let found = found.as_ref().map(|release| (release.version.as_str(), release.is_preliminary));
            assert_eq!(found, expected, "{scheme:?} {text}");
        }
    }

    #[test]
    fn versions_have_an_order_where_they_are_of_one_scheme() {
        for (one, other, expected) in [
            ("1.10.0", "v1.9.9", Some(Ordering::Greater)),
            ("1.0.0-rc.1", "1.0.0", Some(Ordering::Less)),
            ("1.0.0-rc.2", "1.0.0-rc.10", Some(Ordering::Less)),
            ("1.0.0+a", "1.0.0+b", Some(Ordering::Equal)),
            ("24.1", "24.2", Some(Ordering::Less)),
            ("24.1", "1.0.0", Some(Ordering::Greater)),
            ("24.1", "24.1.dev1", None),
            ("main", "1.0.0", None),
        ] {
            assert_eq!(order(one, other), expected, "{one} {other}");
        }
    }

    #[test]
    fn releases_have_an_order() {
        let order = |scheme: Scheme, one: &str, other: &str| {
            scheme.parse(one).unwrap().order(&scheme.parse(other).unwrap())
        };
        assert_eq!(order(Scheme::Semver, "1.10.0", "v1.9.9"), Ordering::Greater);
        assert_eq!(order(Scheme::Semver, "1.0.0+a", "1.0.0+b"), Ordering::Equal);
        assert_eq!(order(Scheme::Pep440, "1.2", "1.2.0"), Ordering::Equal);
        assert_eq!(order(Scheme::Pep440, "1!0.1", "2024.1"), Ordering::Greater);
    }
}
