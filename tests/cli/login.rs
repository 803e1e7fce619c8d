//! Credentials: shown to the registry, kept where every tool looks for them, and forgotten.

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::process::Stdio;
use std::thread;

use serde_json::{Value, json};

use crate::support::Project;

/// A registry that knows `u` with the password `p`, by a token server of its own. Its address.
pub fn registry() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has free ports");
    let address = listener.local_addr().expect("it is bound").to_string();
    let own = address.clone();
    thread::spawn(move || {
        for client in listener.incoming().flatten() {
            answer(client, &own);
        }
    });
    address
}

fn answer(mut client: TcpStream, address: &str) {
    let mut reader = BufReader::new(client.try_clone().expect("a socket can be cloned"));
    let (mut first, mut authorization) = (String::new(), String::new());
    if reader.read_line(&mut first).is_err() {
        return;
    }
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).is_err() || line.trim().is_empty() {
            break;
        }
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("authorization:") {
            authorization = line[line.len() - value.len()..].trim().to_string();
        }
    }
    let (status, headers, body) = match first.split(' ').nth(1) {
        Some(path) if path.starts_with("/token") && authorization == "Basic dTpw" => {
            (200, String::new(), r#"{"token":"good"}"#)
        }
        Some("/v2/") if authorization == "Bearer good" => (200, String::new(), "{}"),
        Some(path) if path.starts_with("/v2/") => {
            let challenge =
                format!("WWW-Authenticate: Bearer realm=\"http://{address}/token\",service=\"s\"\r\n");
            (401, challenge, "{}")
        }
        _ => (401, String::new(), r#"{"details":"incorrect username or password"}"#),
    };
    let length = body.len();
    let _ = write!(
        client,
        "HTTP/1.1 {status} x\r\nConnection: close\r\nContent-Length: {length}\r\n{headers}\r\n{body}"
    );
}

/// A run with something on standard input: exit code, what it said, what it complained of.
fn run(
    project: &Project,
    arguments: &[&str],
    input: &str,
    path: Option<&str>,
) -> (Option<i32>, String, String) {
    let mut mab = project.mab(arguments);
    if let Some(path) = path {
        mab.env("PATH", path);
    }
    let mut child = mab
        .command()
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program starts");
    child.stdin.take().expect("it is piped").write_all(input.as_bytes()).expect("it reads");
    let output = child.wait_with_output().expect("it ends");
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

fn config(project: &Project) -> Value {
    serde_json::from_str(&project.read("../home/.docker/config.json")).expect("it is JSON")
}

#[test]
fn what_the_registry_knows_is_kept_and_nothing_else() {
    let registry = registry();
    let project = Project::new();
    let words = ["login", &registry, "-u", "u", "--password-stdin"];
    let (code, said, complained) = run(&project, &words, "wrong\n", None);
    assert_eq!(code, Some(4), "{complained}");
    assert!(complained.contains("does not let in with these credentials"), "{complained}");
    assert!(!complained.contains("wrong\n") && said.is_empty(), "{complained}");
    assert!(!project.path("../home/.docker/config.json").exists());

    let (code, said, complained) = run(&project, &words, "p\n", None);
    assert_eq!((code, complained.as_str()), (Some(0), ""));
    assert!(said.starts_with(&format!("logged in to {registry} as u\n  kept in ")), "{said}");
    assert_eq!(config(&project), json!({ "auths": { &registry: { "auth": "dTpw" } } }));
    let mode =
        fs::metadata(project.path("../home/.docker/config.json")).expect("it is there").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);

    // Credentials that have gone bad are told with their place.
    let of_wrong = json!({ "auths": { &registry: { "auth": "dTp3cm9uZw==" } } });
    fs::write(project.path("../home/.docker/config.json"), of_wrong.to_string()).expect("it is ours");
    let (code, _, complained) = run(&project, &["ls", &format!("{registry}/app")], "", None);
    let words: Vec<&str> = complained.split_whitespace().filter(|word| *word != "│").collect();
    assert_eq!(code, Some(4), "{complained}");
    assert!(words.join(" ").contains("(they are those of `/"), "{complained}");

    let (code, said, _) = run(&project, &["logout", &registry], "", None);
    assert_eq!((code, said), (Some(0), format!("logged out of {registry}\n")));
    assert_eq!(config(&project), json!({ "auths": {} }));
    let (code, said, _) = run(&project, &["logout", &registry], "", None);
    assert_eq!((code, said), (Some(0), format!("{registry} was not logged in to\n")));
}

#[test]
fn a_helper_keeps_what_the_file_does_not() {
    let registry = registry();
    let project = Project::new().file("../home/.docker/config.json", r#"{"credsStore":"probe","other":1}"#);
    // Made by another process: a file that this one had open for writing cannot be executed while others fork.
    let script = format!(
        "mkdir -p bin && cat > bin/docker-credential-probe <<'END' && chmod +x bin/docker-credential-probe\n\
         #!/bin/sh\nkept={0}kept\ncase $1 in\nstore) cat > $kept;;\nget) cat > /dev/null; [ -f $kept ] && cat $kept || \
         {{ echo credentials not found; exit 1; }};;\nerase) cat > /dev/null; rm $kept;;\nesac\nEND",
        project.path("").display()
    );
    let made = std::process::Command::new("sh").current_dir(project.path("")).args(["-c", &script]).status();
    assert!(made.expect("a shell starts").success());
    let path = format!("{}:/usr/bin:/bin", project.path("bin").display());
    let words = ["login", &registry, "-u", "u", "--password-stdin"];
    let (code, said, complained) = run(&project, &words, "p", Some(&path));
    assert_eq!((code, complained.as_str()), (Some(0), ""));
    assert!(said.contains("kept by docker-credential-probe"), "{said}");
    assert_eq!(config(&project), json!({ "credsStore": "probe", "other": 1, "auths": { &registry: {} } }));
    let kept: Value = serde_json::from_str(&project.read("kept")).expect("it is JSON");
    assert_eq!(kept, json!({ "ServerURL": registry, "Username": "u", "Secret": "p" }));
    let (code, said, _) = run(&project, &["logout", &registry], "", Some(&path));
    assert_eq!((code, said), (Some(0), format!("logged out of {registry}\n")));
    assert!(!project.path("kept").exists());
    assert_eq!(config(&project), json!({ "credsStore": "probe", "other": 1, "auths": {} }));
}

#[test]
fn names_of_registries_and_terminals_are_needed() {
    let project = Project::new();
    let words = ["login", "shop/api", "-u", "u", "--password-stdin"];
    let (code, _, complained) = run(&project, &words, "p", None);
    assert_eq!(code, Some(2), "{complained}");
    assert!(complained.contains("`shop/api` is not a registry's name"), "{complained}");
    let (code, _, complained) =
        run(&project, &["login", "ghcr.io", "-u", "u", "--password-stdin"], "\n", None);
    assert_eq!(code, Some(2), "{complained}");
    assert!(complained.contains("the password is empty"), "{complained}");
}
