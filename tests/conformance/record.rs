//! What a case's image is, platform by platform, as it stands in `image.txt`.

use std::collections::BTreeMap;

/// An image's description by platform.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Record(pub BTreeMap<String, String>);

impl Record {
    pub fn parse(text: &str) -> Self {
        let mut record = Self::default();
        let mut platforms = Vec::new();
        for line in text.lines() {
            if let Some(names) = line.strip_prefix("== ") {
                platforms = names.split(", ").map(String::from).collect();
                continue;
            }
            for platform in &platforms {
                let text = record.0.entry(platform.clone()).or_default();
                text.push_str(line);
                text.push('\n');
            }
        }
        record
    }

    /// Platforms whose images are the same are told once.
    pub fn text(&self) -> String {
        let mut texts: Vec<(&String, Vec<&str>)> = Vec::new();
        for (platform, text) in &self.0 {
            match texts.iter_mut().find(|(known, _)| *known == text) {
                Some((_, platforms)) => platforms.push(platform),
                None => texts.push((text, vec![platform])),
            }
        }
        texts.iter().map(|(text, platforms)| format!("== {}\n{text}", platforms.join(", "))).collect()
    }

    /// The same for some platforms only.
    pub fn of(&self, is_wanted: impl Fn(&str) -> bool) -> Self {
        let wanted = self.0.iter().filter(|(platform, _)| is_wanted(platform));
        Self(wanted.map(|(platform, text)| (platform.clone(), text.clone())).collect())
    }
}

/// The lines that only one of two texts has; empty when they are equal.
pub fn difference(expected: &str, actual: &str) -> String {
    if expected == actual {
        return String::new();
    }
    let (left, right): (Vec<&str>, Vec<&str>) = (expected.lines().collect(), actual.lines().collect());
    let gone = left.iter().filter(|line| !right.contains(line)).map(|line| format!("  - {line}\n"));
    let new = right.iter().filter(|line| !left.contains(line)).map(|line| format!("  + {line}\n"));
    let lines: String = gone.chain(new).collect();
    if lines.is_empty() {
        "  the same lines in another order, or another number of times\n".to_string()
    } else {
        lines
    }
}
