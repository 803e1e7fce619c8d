//! `flavor`: what holds for all rules of a target, in docker/metadata-action's words.

use super::csv;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Flavor {
    pub latest: Latest,
    pub prefix: Affix,
    pub suffix: Affix,
}

/// Whether the tag `latest` is made as well.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Latest {
    /// The rule that gives the version says it.
    #[default]
    Auto,
    Always,
    Never,
}

/// What stands before or after all tags.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Affix {
    pub text: String,
    /// Also before or after `latest`.
    pub on_latest: bool,
}

impl Flavor {
    /// What one line says, such as `prefix=v,onlatest=true`; later ones win.
    pub fn add(&mut self, line: &str) -> Result<(), String> {
        let mut pairs = Vec::new();
        for field in csv::fields(line)? {
            match csv::pair(&field) {
                (Some(key), value) => pairs.push((key, value)),
                (None, text) => return Err(format!("`{text}` is not of the form `key=value`")),
            }
        }
        self.add_pairs(&pairs)
    }

    /// `onlatest` is about the prefix or suffix before it.
    pub fn add_pairs(&mut self, pairs: &[(String, String)]) -> Result<(), String> {
        let mut last = None;
        for (key, value) in pairs {
            // It is so there: what follows another `=` is left out.
            let value = value.split('=').next().unwrap_or_default().trim();
            match key.as_str() {
                "latest" => {
                    self.latest = match value {
                        "auto" => Latest::Auto,
                        "true" => Latest::Always,
                        "false" => Latest::Never,
                        _ => return Err("`latest` is `auto`, `true` or `false`".to_string()),
                    }
                }
                "prefix" | "suffix" => {
                    let is_prefix = key == "prefix";
                    let affix = if is_prefix { &mut self.prefix } else { &mut self.suffix };
                    affix.text = value.to_string();
                    last = Some(is_prefix);
                }
                "onlatest" => {
                    let on_latest = match value {
                        "true" => true,
                        "false" => false,
                        _ => return Err("`onlatest` is `true` or `false`".to_string()),
                    };
                    match last {
                        Some(true) => self.prefix.on_latest = on_latest,
                        Some(false) => self.suffix.on_latest = on_latest,
                        None => {}
                    }
                }
                other => {
                    return Err(format!(
                        "there is no `{other}` here; there are `latest`, `prefix`, `suffix` and `onlatest`"
                    ));
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_add_up() {
        let affix = |text: &str, on_latest| Affix { text: text.to_string(), on_latest };
        let check = |lines: &[&str], expected: Result<Flavor, &str>| {
            let mut flavor = Flavor::default();
            let added = lines.iter().try_for_each(|line| flavor.add(line));
            assert_eq!(added.map(|()| flavor), expected.map_err(str::to_string), "{lines:?}");
        };
        let auto = Flavor::default();
        check(&[], Ok(auto.clone()));
        check(&["latest=false"], Ok(Flavor { latest: Latest::Never, ..auto.clone() }));
        check(
            &["latest=true", "prefix=v,onlatest=true,suffix=-x"],
            Ok(Flavor { latest: Latest::Always, prefix: affix("v", true), suffix: affix("-x", false) }),
        );
        check(&["onlatest=true"], Ok(auto.clone()));
        check(&["suffix=a=b"], Ok(Flavor { suffix: affix("a", false), ..auto }));
        check(&["latest=maybe"], Err("`latest` is `auto`, `true` or `false`"));
        check(&["prefix"], Err("`prefix` is not of the form `key=value`"));
        check(
            &["prefx=a"],
            Err("there is no `prefx` here; there are `latest`, `prefix`, `suffix` and `onlatest`"),
        );
    }
}
