//! What a test expects of an image's config against what the config says. Pure.

use std::collections::{BTreeMap, BTreeSet};

use super::check::matches;
use crate::model::{ExpectedConfig, Port};
use crate::oci::ContainerConfig;

/// What is other than expected.
pub fn wrong(expect: &ExpectedConfig, config: &ContainerConfig) -> Vec<String> {
    let mut wrong = Vec::new();
    let stop_signal = config.stop_signal.as_deref().unwrap_or_default();
    // An empty value means what is named beside it.
    for (name, expected, found, usual) in [
        ("user", &expect.user, config.user.as_str(), ["root", "0"]),
        ("working directory", &expect.workdir, config.working_dir.as_str(), ["/", ""]),
        ("stop signal", &expect.stop_signal, stop_signal, ["SIGTERM", "15"]),
    ] {
        let Some(expected) = expected else { continue };
        if found != expected && !(found.is_empty() && usual.contains(&expected.as_str())) {
            wrong.push(format!("the {name} is {} instead of {}", shown(found), shown(expected)));
        }
    }
    for (name, expected, found) in [
        ("entrypoint", &expect.entrypoint, &config.entrypoint),
        ("command", &expect.cmd, &config.cmd),
        ("shell", &expect.shell, &config.shell),
    ] {
        let found = found.as_deref().unwrap_or_default();
        if let Some(expected) = expected.as_ref().filter(|expected| expected.as_slice() != found) {
            wrong.push(format!("the {name} is {} instead of {}", words(found), words(expected)));
        }
    }
    let env: BTreeMap<&str, &str> =
        config.env.iter().map(|variable| variable.split_once('=').unwrap_or((variable, ""))).collect();
    let labels: BTreeMap<&str, &str> =
        config.labels.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    wrong.extend(values("variable", (&expect.env, &expect.env_matches), &env));
    let set = expect.unset.iter().filter(|name| env.contains_key(name.as_str()));
    // Its value may be what nobody should see.
    wrong.extend(set.map(|name| format!("the variable `{name}` is set")));
    wrong.extend(values("label", (&expect.labels, &expect.labels_matches), &labels));
    let normal = |port: &String| Port::parse(port).map_or_else(|| port.clone(), |port| port.to_string());
    let ports = expect.ports.as_ref().map(|ports| ports.iter().map(ToString::to_string).collect());
    wrong.extend(sets("exposed ports", ports, config.exposed_ports.keys().map(normal).collect()));
    let volumes = expect.volumes.as_ref().map(|volumes| volumes.iter().cloned().collect());
    wrong.extend(sets("volumes", volumes, config.volumes.keys().cloned().collect()));
    wrong
}

fn values(
    kind: &str,
    (equal, matching): (&BTreeMap<String, String>, &BTreeMap<String, String>),
    found: &BTreeMap<&str, &str>,
) -> Vec<String> {
    let mut wrong = Vec::new();
    for (name, expected) in equal {
        match found.get(name.as_str()) {
            Some(value) if value == expected => {}
            Some(value) => {
                wrong.push(format!("the {kind} `{name}` is {} instead of {}", shown(value), shown(expected)));
            }
            None => wrong.push(format!("the {kind} `{name}` is not set")),
        }
    }
    for (name, pattern) in matching {
        match found.get(name.as_str()) {
            Some(value) if matches(pattern, value) => {}
            Some(value) => {
                wrong.push(format!(
                    "the {kind} `{name}` is {}, which `{pattern}` does not match",
                    shown(value)
                ));
            }
            None => wrong.push(format!("the {kind} `{name}` is not set")),
        }
    }
    wrong
}

fn sets(kind: &str, expected: Option<BTreeSet<String>>, found: BTreeSet<String>) -> Option<String> {
    let list = |members: &BTreeSet<String>| {
        let members: Vec<&str> = members.iter().map(String::as_str).collect();
        shown(&members.join(", "))
    };
    let expected = expected.filter(|expected| *expected != found)?;
    Some(format!("the {kind} are {} instead of {}", list(&found), list(&expected)))
}

fn shown(text: &str) -> String {
    if text.is_empty() { "nothing".to_string() } else { format!("`{}`", text.escape_debug()) }
}

fn words(words: &[String]) -> String {
    if words.is_empty() { "nothing".to_string() } else { format!("`{words:?}`") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(expect: ExpectedConfig, expected: &[&str]) {
        let text = |text: &str| text.to_string();
        let config = ContainerConfig {
            entrypoint: Some(vec![text("/app"), text("serve")]),
            env: vec![text("A=1"), text("B=x=y"), text("TOKEN=hidden")],
            labels: BTreeMap::from([(text("version"), text("1.2.3"))]),
            exposed_ports: [("80/tcp", ()), ("53/udp", ())]
                .map(|(port, ())| (text(port), serde_json::json!({})))
                .into(),
            ..ContainerConfig::default()
        };
        assert_eq!(wrong(&expect, &config), expected);
    }

    fn map(name: &str, value: &str) -> BTreeMap<String, String> {
        BTreeMap::from([(name.to_string(), value.to_string())])
    }

    #[test]
    fn what_is_empty_is_what_it_means() {
        let expect = |user: &str, workdir: &str, signal: &str| ExpectedConfig {
            user: Some(user.into()),
            workdir: Some(workdir.into()),
            stop_signal: Some(signal.into()),
            ..ExpectedConfig::default()
        };
        check(expect("root", "/", "SIGTERM"), &[]);
        check(expect("", "", ""), &[]);
        check(
            expect("app", "/srv", "SIGINT"),
            &[
                "the user is nothing instead of `app`",
                "the working directory is nothing instead of `/srv`",
                "the stop signal is nothing instead of `SIGINT`",
            ],
        );
    }

    #[test]
    fn words_are_compared_one_by_one() {
        let entrypoint = Some(vec!["/app serve".to_string()]);
        let cmd = Some(Vec::new());
        check(
            ExpectedConfig { entrypoint, cmd, ..ExpectedConfig::default() },
            &[r#"the entrypoint is `["/app", "serve"]` instead of `["/app serve"]`"#],
        );
        check(
            ExpectedConfig { entrypoint: Some(Vec::new()), ..ExpectedConfig::default() },
            &[r#"the entrypoint is `["/app", "serve"]` instead of nothing"#],
        );
    }

    #[test]
    fn variables_and_labels_may_have_others_beside_them() {
        check(ExpectedConfig { env: map("B", "x=y"), ..ExpectedConfig::default() }, &[]);
        check(
            ExpectedConfig {
                env: map("A", "2"),
                env_matches: map("C", "."),
                unset: vec!["TOKEN".into(), "HTTP_PROXY".into()],
                labels: map("none", ""),
                labels_matches: map("version", "^2"),
                ..ExpectedConfig::default()
            },
            &[
                "the variable `A` is `1` instead of `2`",
                "the variable `C` is not set",
                "the variable `TOKEN` is set",
                "the label `none` is not set",
                "the label `version` is `1.2.3`, which `^2` does not match",
            ],
        );
    }

    #[test]
    fn ports_and_volumes_are_all_there_are() {
        let port = |text| Port::parse(text).expect("it is a port");
        let ports = Some(vec![port("53/udp"), port("80")]);
        check(ExpectedConfig { ports, ..ExpectedConfig::default() }, &[]);
        check(
            ExpectedConfig {
                ports: Some(vec![port("80")]),
                volumes: Some(vec!["/data".into()]),
                ..ExpectedConfig::default()
            },
            &[
                "the exposed ports are `53/udp, 80` instead of `80`",
                "the volumes are nothing instead of `/data`",
            ],
        );
    }
}
