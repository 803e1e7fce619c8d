//! Workers that cannot be used: one message each, with the next step.

use std::os::unix::net::UnixListener;

use crate::builders::{configure, foreign, sockets, unseen};
use crate::support::project::native;
use crate::support::proxy::{Authority, Proxy};
use crate::support::surroundings::needs;
use crate::support::{Project, Web, base};

/// With something that no worker has seen.
fn project() -> Project {
    let text = "[target.app]\ndockerfile-inline = \"FROM scratch\\nCOPY multiarch.toml /a\\n\"\n";
    Project::of(&format!("# {}\n{text}", unseen()))
}

/// Bakes with one worker, and expects its refusal to hold all of `expected`.
#[track_caller]
fn check(project: &Project, worker: &str, code: i32, expected: &[&str]) {
    configure(project, &[worker.to_string()]);
    let ran = project.mab(&["bake", "app", "--builder", "fleet", "--progress", "quiet"]).run().failed(code);
    for text in expected {
        assert!(ran.stderr.contains(text), "{worker}: no `{text}` in:\n{}", ran.stderr);
    }
}

#[test]
fn what_is_no_worker_is_said_to_be_none() {
    let project = project();
    let closed = std::net::TcpListener::bind("127.0.0.1:0").expect("loopback has free ports");
    let port = closed.local_addr().expect("it is bound").port();
    drop(closed);
    let web = Web::start();
    let socket = project.path("silent.sock");
    let _silent = UnixListener::bind(&socket).expect("the path is short enough");
    let endpoint = |text: &str| format!("{{ endpoint = \"{text}\" }}");
    check(
        &project,
        &endpoint("ftp://a:1"),
        2,
        &["builder::endpoint", "`ftp://a:1` is no address of a BuildKit"],
    );
    check(
        &project,
        &endpoint("unix:///nowhere/buildkitd.sock"),
        4,
        &["builder::unreachable", "there is no socket at `/nowhere/buildkitd.sock`"],
    );
    check(
        &project,
        &endpoint(&format!("tcp://127.0.0.1:{port}")),
        4,
        &["builder::unreachable", &format!("worker `tcp://127.0.0.1:{port}` refuses connections")],
    );
    check(
        &project,
        &endpoint(&format!("tcp://{}", web.address)),
        4,
        &["builder::no-buildkit", &format!("what answers at `tcp://{}` is no BuildKit", web.address)],
    );
    check(
        &project,
        &endpoint(&format!("unix://{}", socket.display())),
        4,
        &["builder::unreachable", "does not answer within 10 seconds"],
    );
}

#[test]
fn certificates_of_both_sides_are_looked_at() {
    let Some([daemon, _]) = sockets() else { return };
    if !needs("openssl") {
        return;
    }
    let project = project();
    let folder = project.path("../tls");
    std::fs::create_dir(&folder).expect("the folder is new");
    let (ours, other) = (Authority::new(&folder, "ca"), Authority::new(&folder, "other"));
    ours.sign("server", "IP:127.0.0.1", false);
    ours.sign("expired", "IP:127.0.0.1", true);
    ours.sign("elsewhere", "DNS:builder.example.com", false);
    ours.sign("client", "DNS:client", false);
    ours.sign("late", "DNS:client", true);
    other.sign("stranger", "DNS:client", false);
    let worker = |proxy: &Proxy, tls: &str| {
        let path = |name: &str| folder.join(name).display().to_string();
        let tls = tls.split_whitespace().map(|pair| {
            let (key, name) = pair.split_once('=').expect("a pair");
            format!("{key} = \"{}\"", path(name))
        });
        let tls: Vec<String> = tls.collect();
        format!("{{ endpoint = \"tcp://127.0.0.1:{}\", tls = {{ {} }} }}", proxy.port, tls.join(", "))
    };
    let proxy = |certificate: &str| Proxy::secure(&daemon, &folder, certificate, "ca");
    let server = proxy("server");
    let identity = "cert=client.pem key=client.key";
    for (proxy, tls, kind, expected) in [
        (&server, &format!("ca=other.pem {identity}"), 4, "is of an authority that is not trusted"),
        (&proxy("expired"), &format!("ca=ca.pem {identity}"), 4, "has expired"),
        (&proxy("elsewhere"), &format!("ca=ca.pem {identity}"), 4, "is for another name"),
        (&server, &"ca=ca.pem".to_string(), 4, "refuses this client's certificate: it wants one"),
        (
            &server,
            &"ca=ca.pem cert=stranger.pem key=stranger.key".to_string(),
            4,
            "refuses this client's certificate",
        ),
        (
            &server,
            &"ca=ca.pem cert=late.pem key=late.key".to_string(),
            4,
            "refuses this client's certificate: it has expired",
        ),
        (&server, &"ca=ca.pem cert=client.pem".to_string(), 2, "has `cert` without `key`"),
        (&server, &format!("ca=none.pem {identity}"), 2, "none.pem`, the `ca` of worker"),
    ] {
        check(&project, &worker(proxy, tls), kind, &[expected]);
    }
    // Without TLS there, and without it here.
    let plain = Proxy::plain(&daemon);
    check(&project, &worker(&plain, &format!("ca=ca.pem {identity}")), 4, &["builder::certificate"]);
    let without = format!("{{ endpoint = \"tcp://127.0.0.1:{}\" }}", server.port);
    check(&project, &without, 4, &["is no BuildKit"]);
    // And with everything right.
    configure(&project, &[worker(&server, &format!("ca=ca.pem {identity}"))]);
    project.bake(&["app", "--builder", "fleet"]).says("done in");
}

#[test]
fn a_platform_that_nobody_offers_is_told_before_anything_runs() {
    let project = Project::of(
        "[builder.fleet]\nworkers = [{ endpoint = \"unix:///a\", platforms = [\"linux/amd64\"] }, \
         { endpoint = \"unix:///b\", platforms = [\"linux/arm64\", \"linux/arm/v7\"] }]\n\
         [target.app]\nplatforms = [\"linux/s390x\"]\ndockerfile-inline = \"FROM scratch\\nRUN [\\\"/a\\\"]\\n\"\n",
    );
    let ran = project.mab(&["bake", "app", "--builder", "fleet"]).run().failed(3);
    let expected = [
        "builder::no-worker",
        "no worker of builder `fleet` builds `app` for linux/s390x",
        "`unix:///a` offers linux/amd64\n",
        "`unix:///b` offers linux/arm64, linux/arm/v7\n",
        "multiarch.toml:1:10",
    ];
    for text in expected {
        assert!(ran.stderr.contains(text), "no `{text}` in:\n{}", ran.stderr);
    }
}

/// What workers say of themselves is asked for before anything runs, and only if something is to be built.
#[test]
fn what_workers_do_not_do_is_told_before_anything_runs() {
    let (Some(base), Some([own, emulating])) = (base(), sockets()) else { return };
    let base = base.display();
    let text = format!(
        "[target.denied]\nplatforms = [\"{}\"]\nemulate = \"deny\"\ncontexts = {{ b = \"oci-layout://{base}\" }}\n\
         dockerfile-inline = \"FROM b\\nRUN true\\n\"\n\
         [target.strange]\nplatforms = [\"linux/s390x\"]\ndockerfile-inline = \"FROM scratch\\nRUN [\\\"/a\\\"]\\n\"\n\
         [target.plain]\ndockerfile-inline = \"FROM scratch\\nCOPY multiarch.toml /\\n\"\n",
        foreign()
    );
    let project = Project::of(&format!("# {}\n{text}", unseen()));
    let asked = |endpoint: String| format!("{{ endpoint = \"{endpoint}\" }}");
    let (own, emulating) = (format!("unix://{}", own.display()), format!("unix://{}", emulating.display()));
    let nobody = "unix:///nowhere".to_string();
    configure(&project, &[asked(own.clone()), asked(emulating), asked(nobody.clone())]);
    let bake = ["bake", "denied", "strange", "plain", "--builder", "fleet", "--progress", "plain"];
    let ran = project.mab(&bake).run();
    assert_eq!(ran.code, Some(4), "{}", ran.stderr);
    // A worker that is not there might be the one.
    assert!(ran.stderr.contains("there is no socket at `/nowhere`"), "{}", ran.stderr);
    assert!(!ran.stderr.contains("COPY multiarch.toml"), "nothing ran: {}", ran.stderr);
    configure(&project, &[asked(own.clone())]);
    let ran = project.mab(&bake).run().failed(3);
    for text in [
        format!("no worker of builder `fleet` builds `denied` for {}", foreign()),
        "no worker of builder `fleet` builds `strange` for linux/s390x".to_string(),
        format!("`{own}` offers {}", native()),
    ] {
        assert!(ran.stderr.contains(&text), "no `{text}` in:\n{}", ran.stderr);
    }
    assert!(!ran.stderr.contains("COPY multiarch.toml"), "nothing ran: {}", ran.stderr);
    // A plan that says what would be found says the same.
    let plan = project.mab(&["plan", "strange", "--explain", "--builder", "fleet"]).run().failed(3);
    plan.says("no worker of builder `fleet` builds `strange` for linux/s390x");
    // One that is not there is in nobody's way.
    configure(&project, &[asked(nobody.clone()), asked(own)]);
    let ran = project.mab(&["bake", "plain", "--builder", "fleet"]).run().succeeded();
    ran.says("there is no socket at `/nowhere`").says("the other workers of the builder do without it");
    // And whoever knows all results asks nobody.
    configure(&project, &[asked(nobody)]);
    project.bake(&["plain", "--builder", "fleet"]).says("nothing had to be done");
}
