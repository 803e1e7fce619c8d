//! `WWW-Authenticate`: how a registry wants to be authenticated to.
//!
//! The grammar is RFC 9110, section 11.6.1: a list of challenges, whose parameters are lists as well, over one
//! or several header lines. Only Basic and Bearer (Docker's token authentication) are understood.

/// One understood challenge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Challenge {
    Basic,
    Bearer { realm: String, service: Option<String>, scope: Option<String> },
}

impl Challenge {
    /// The strongest understood challenge in the header lines: Bearer before Basic.
    pub fn strongest<'a>(lines: impl Iterator<Item = &'a str>) -> Option<Self> {
        let mut basic = None;
        for challenge in lines.flat_map(parse) {
            match challenge {
                Self::Bearer { .. } => return Some(challenge),
                Self::Basic => basic = Some(challenge),
            }
        }
        basic
    }
}

fn parse(line: &str) -> Vec<Challenge> {
    let mut found = Vec::new();
    let mut current: Option<Raw> = None;
    for item in items(line) {
        let (scheme, parameter) = split_scheme(item);
        if let Some(scheme) = scheme {
            found.extend(current.take().and_then(Raw::understand));
            current = Some(Raw { scheme: scheme.to_ascii_lowercase(), parameters: Vec::new() });
        }
        if let (Some(raw), Some((name, value))) = (&mut current, parameter.and_then(split_parameter)) {
            raw.parameters.push((name, value));
        }
    }
    found.extend(current.and_then(Raw::understand));
    found
}

struct Raw {
    scheme: String,
    parameters: Vec<(String, String)>,
}

impl Raw {
    fn understand(mut self) -> Option<Challenge> {
        let mut take = |wanted: &str| {
            let place = self.parameters.iter().position(|(name, _)| name == wanted)?;
            Some(self.parameters.swap_remove(place).1).filter(|value| !value.is_empty())
        };
        match self.scheme.as_str() {
            "basic" => Some(Challenge::Basic),
            "bearer" => Some(Challenge::Bearer {
                realm: take("realm")?,
                service: take("service"),
                scope: take("scope"),
            }),
            _ => None,
        }
    }
}

/// The comma-separated items; commas inside quotes (`scope="repository:a:pull,push"`) do not separate.
fn items(line: &str) -> impl Iterator<Item = &str> {
    let (mut quoted, mut escaped) = (false, false);
    line.split(move |c| {
        if escaped {
            escaped = false;
            return false;
        }
        match c {
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            ',' if !quoted => return true,
            _ => {}
        }
        false
    })
    .map(str::trim)
    .filter(|item| !item.is_empty())
}

/// An item is `scheme`, `scheme name=value` or `name=value`.
fn split_scheme(item: &str) -> (Option<&str>, Option<&str>) {
    let before_value = item.split('=').next().unwrap_or(item);
    match before_value.trim().split_once(char::is_whitespace) {
        Some((scheme, _)) => (Some(scheme), Some(item[scheme.len()..].trim_start())),
        None if item.contains('=') => (None, Some(item)),
        None => (Some(item), None),
    }
}

fn split_parameter(text: &str) -> Option<(String, String)> {
    let (name, value) = text.split_once('=')?;
    let value = value.trim();
    let value = match value.strip_prefix('"') {
        Some(quoted) => unquote(quoted),
        None => value.to_string(),
    };
    Some((name.trim().to_ascii_lowercase(), value))
}

fn unquote(quoted: &str) -> String {
    let mut value = String::new();
    let mut characters = quoted.chars();
    while let Some(c) = characters.next() {
        match c {
            '"' => break,
            '\\' => value.extend(characters.next()),
            c => value.push(c),
        }
    }
    value
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bearer(realm: &str, service: Option<&str>, scope: Option<&str>) -> Option<Challenge> {
        let owned = |text: Option<&str>| text.map(str::to_string);
        Some(Challenge::Bearer { realm: realm.into(), service: owned(service), scope: owned(scope) })
    }

    #[test]
    fn challenges_of_real_registries() {
        for (line, expected) in [
            (
                r#"Bearer realm="https://auth.docker.io/token",service="registry.docker.io",scope="repository:a/b:pull,push""#,
                bearer(
                    "https://auth.docker.io/token",
                    Some("registry.docker.io"),
                    Some("repository:a/b:pull,push"),
                ),
            ),
            (r#"Basic realm="Sonatype, Nexus""#, Some(Challenge::Basic)),
            ("Basic", Some(Challenge::Basic)),
            (r#"bearer realm="https://r/t" , service="""#, bearer("https://r/t", None, None)),
            (
                r#"Basic realm="x", Bearer realm="https://r/t",service=s"#,
                bearer("https://r/t", Some("s"), None),
            ),
            (r#"Negotiate, NTLM abc==, Basic realm="x""#, Some(Challenge::Basic)),
            (r#"Bearer realm="a\"b\\c""#, bearer(r#"a"b\c"#, None, None)),
            ("Bearer service=s", None),
            ("Negotiate", None),
            (r#"Bearer realm="unclosed"#, bearer("unclosed", None, None)),
            ("", None),
            (",,=,\"", None),
        ] {
            assert_eq!(Challenge::strongest([line].into_iter()), expected, "{line}");
        }
    }

    #[test]
    fn several_lines_are_one_list() {
        let lines = [r#"Basic realm="x""#, r#"Bearer realm="https://r/t""#];
        assert_eq!(Challenge::strongest(lines.into_iter()), bearer("https://r/t", None, None));
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_read_without_panic(line in ".{0,200}") {
            let _ = Challenge::strongest([line.as_str()].into_iter());
        }
    }
}
