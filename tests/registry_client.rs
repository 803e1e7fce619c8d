//! The registry client against registries: one with faults on demand, and Debian's `docker-registry`.

#![allow(clippy::unwrap_used, reason = "the lint knows test functions, not what they call")]

mod support_registry;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::future::BoxFuture;
use mab::base::{Digest, Platform, Reference, Secret};
use mab::http::Retries;
use mab::oci::{Descriptor, Index, Manifest, media_type};
use mab::publish::about::About;
use mab::publish::early::EarlyBlobs;
use mab::publish::journal::Action;
use mab::publish::looks::TagLooks;
use mab::publish::publication::publish;
use mab::publish::push::{ImagePush, PushError, PushEvent, PushReport, PushedName};
use mab::publish::release::Release;
use mab::publish::{BlobSource, PushSource};
use mab::registry::{Credential, Credentials, Pushed, Registry, RegistryError, RegistryOptions};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use support_registry::docker::DockerRegistry;
use support_registry::{Access, Fault, FaultyRegistry};

/// Signed by its own key, for `localhost`, until the year 2126.
const CERTIFICATE: &[u8] = include_bytes!("support_registry/localhost.pem");
const LAYER: &[u8] = b"the bytes of a layer, some of which arrive";

fn client(credentials: Credentials) -> Registry {
    let retries = Retries { first_pause: Duration::ZERO, attempts: 4, ..Retries::default() };
    Registry::new(RegistryOptions { credentials, retries, ..RegistryOptions::default() })
}

fn anybody() -> Registry {
    client(Credentials::none())
}

fn login(reference: &Reference, username: &str, password: &str) -> Registry {
    let credential = Credential::Basic { username: username.into(), password: Secret::new(password) };
    client(Credentials::fixed(reference.registry(), credential))
}

fn quiet(_: u64, _: u64) {}

fn layer() -> Descriptor {
    Descriptor::of(media_type::OCI_LAYER_GZIP, LAYER)
}

fn opened(bytes: &[u8]) -> io::Result<File> {
    let mut file = tempfile::tempfile()?;
    file.write_all(bytes)?;
    file.rewind()?;
    Ok(file)
}

async fn push_layer(client: &Registry, to: &Reference, from: &[String]) -> Result<Pushed, RegistryError> {
    client.push_blob(to, &layer(), &|| opened(LAYER), from, &quiet).await
}

async fn pull_layer(client: &Registry, from: &Reference) -> Result<Vec<u8>, RegistryError> {
    client.blob_bytes(from, &layer(), 1000).await
}

/// Blobs in memory, each opened as a file.
#[derive(Default)]
struct Blobs(BTreeMap<Digest, Vec<u8>>);

impl Blobs {
    fn add(&mut self, media_type: &str, bytes: &[u8]) -> Descriptor {
        let descriptor = Descriptor::of(media_type, bytes);
        self.0.insert(descriptor.digest, bytes.into());
        descriptor
    }

    /// An image for two platforms that share a layer.
    fn image(&mut self) -> Descriptor {
        let images = ["amd64", "arm64"].map(|architecture| {
            let config = self
                .add(media_type::OCI_CONFIG, format!(r#"{{"architecture":"{architecture}"}}"#).as_bytes());
            let own = self.add(media_type::OCI_LAYER_GZIP, architecture.as_bytes());
            let shared = self.add(media_type::OCI_LAYER_GZIP, LAYER);
            let manifest = Manifest::new(config, vec![shared, own]);
            self.add(media_type::OCI_MANIFEST, &manifest.to_bytes())
                .with_platform(&Platform::linux(architecture))
        });
        let index = Index::merge(images.to_vec()).unwrap();
        self.add(media_type::OCI_INDEX, &index.to_bytes())
    }
}

impl BlobSource for Blobs {
    fn open(&self, digest: &Digest) -> io::Result<File> {
        opened(self.0.get(digest).ok_or(io::ErrorKind::NotFound)?)
    }
}

impl PushSource for Blobs {
    fn bring<'a>(&'a self, _: &'a Descriptor) -> BoxFuture<'a, io::Result<()>> {
        Box::pin(async { Ok(()) })
    }

    fn repositories_with(&self, _: &Digest) -> Vec<Reference> {
        Vec::new()
    }
}

#[tokio::test]
async fn manifests_are_resolved_and_checked() {
    let registry = FaultyRegistry::start(Access::Everybody).await;
    let digest =
        registry.put_manifest("app", "1", media_type::OCI_INDEX, br#"{"schemaVersion":2,"manifests":[]}"#);
    let (client, tag) = (anybody(), registry.reference("app:1"));

    let head = client.head(&tag).await.unwrap().unwrap();
    assert_eq!((head.digest, head.size, head.media_type.as_str()), (digest, 34, media_type::OCI_INDEX));
    let resolved = client.resolve(&tag).await.unwrap();
    assert_eq!((resolved.descriptor, resolved.bytes.len()), (head, 34));
    assert_eq!(client.manifest(&tag, digest).await.unwrap().descriptor.digest, digest);
    assert_eq!(client.head(&registry.reference("app:2")).await, Ok(None));
    assert!(matches!(
        client.resolve(&registry.reference("app:2")).await,
        Err(RegistryError::NotFound { .. })
    ));

    registry.plan("GET", "manifests", Fault::Corrupt);
    assert!(
        matches!(client.resolve(&tag).await, Err(RegistryError::DigestMismatch { expected, .. }) if expected == digest)
    );
    registry.plan("HEAD", "manifests", Fault::Answer(405, &[], ""));
    assert_eq!(client.head(&tag).await.unwrap().unwrap().digest, digest);
    let schema1 =
        Fault::Answer(200, &[("content-type", "application/vnd.docker.distribution.manifest.v1+json")], "{}");
    registry.plan("GET", "manifests", schema1);
    assert!(matches!(client.resolve(&tag).await, Err(RegistryError::Protocol { .. })));
}

#[tokio::test]
async fn a_tag_that_leads_where_it_is_expected_is_not_read() {
    let registry = FaultyRegistry::start(Access::Everybody).await;
    let bytes = br#"{"schemaVersion":2,"manifests":[]}"#;
    registry.put_manifest("app", "1", media_type::OCI_INDEX, bytes);
    let (client, tag) = (anybody(), registry.reference("app:1"));
    let standing = Descriptor::of(media_type::OCI_INDEX, bytes);
    assert_eq!(client.head_expecting(&tag, &standing).await, Ok(Some(standing.clone())));
    assert_eq!(registry.not_modified(), 1);

    let other = layer();
    assert_eq!(client.head_expecting(&tag, &other).await, Ok(Some(standing.clone())));
    assert_eq!(client.head_expecting(&registry.reference("app:2"), &standing).await, Ok(None));
    assert_eq!(registry.not_modified(), 1, "it leads elsewhere, or nowhere");

    let gone = tag.without_tag().with_digest(other.digest);
    assert_eq!(
        client.head_expecting(&gone, &other).await,
        Ok(None),
        "a digest says nothing about what is there"
    );
}

#[tokio::test]
async fn answers_are_bounded() {
    let registry = FaultyRegistry::start(Access::Everybody).await;
    registry.put_manifest("app", "1", media_type::OCI_MANIFEST, &vec![b' '; 4 * 1024 * 1024 + 1]);
    let too_large = anybody().resolve(&registry.reference("app:1")).await;
    assert!(matches!(too_large, Err(RegistryError::TooLarge { .. })));

    registry.put_blob("app", LAYER);
    let shorter = Descriptor { size: 5, ..layer() };
    let pulled = anybody().blob_bytes(&registry.reference("app"), &shorter, 1000).await;
    assert!(matches!(pulled, Err(RegistryError::SizeMismatch { expected: 5, .. })));
    assert!(matches!(
        anybody().blob_bytes(&registry.reference("app"), &layer(), 5).await,
        Err(RegistryError::TooLarge { limit: 5, .. })
    ));
}

#[tokio::test]
async fn answers_that_come_byte_by_byte_are_given_up() {
    let registry = FaultyRegistry::start(Access::Everybody).await;
    let app = registry.reference("app:1");
    // A byte every 40 ms is 40 s for the whole, and never silence.
    let bytes = format!(r#"{{"mediaType":"{}","x":"{}"}}"#, media_type::OCI_INDEX, "x".repeat(1000));
    registry.put_manifest("app", "1", media_type::OCI_INDEX, bytes.as_bytes());
    let impatient = anybody().adjusted(|options| {
        options.stall = Duration::from_millis(200);
        options.retries.attempts = 1;
    });
    registry.plan("GET", "/manifests/", Fault::Trickle(Duration::from_millis(40)));
    let resolved = impatient.resolve(&app).await;
    assert!(matches!(resolved, Err(RegistryError::Broken { .. })), "{resolved:?}");
    assert!(impatient.resolve(&app).await.is_ok());
}

#[tokio::test]
async fn a_blob_that_comes_byte_by_byte_is_asked_for_again() {
    let registry = FaultyRegistry::start(Access::Everybody).await;
    // 25 bytes a second are 80 s for the whole, and never silence.
    let bytes = vec![b'x'; 2000];
    registry.put_blob("app", &bytes);
    let blob = Descriptor::of("application/octet-stream", &bytes);
    let impatient = anybody().adjusted(|options| options.stall = Duration::from_millis(200));
    registry.plan("GET", "blobs", Fault::Trickle(Duration::from_millis(40)));
    let since = std::time::Instant::now();
    let pulled = impatient.blob_bytes(&registry.reference("app"), &blob, 4000).await;
    assert_eq!(pulled.as_deref().ok(), Some(&bytes[..]), "{pulled:?}");
    assert!(since.elapsed() < Duration::from_secs(40), "{:?}", since.elapsed());
}

#[tokio::test]
async fn tags_come_in_pages() {
    let registry = FaultyRegistry::start(Access::Everybody).await;
    for tag in ["a", "b", "c", "d", "e"] {
        registry.put_manifest("app", tag, media_type::OCI_INDEX, b"{}");
    }
    assert_eq!(anybody().tags(&registry.reference("app")).await.unwrap(), ["a", "b", "c", "d", "e"]);
    assert_eq!(registry.requests("tags/list").len(), 3);
}

#[tokio::test]
async fn one_token_serves_all_and_is_renewed() {
    let registry = FaultyRegistry::start(Access::Token(None)).await;
    registry.put_blob("app", LAYER);
    let (client, app) = (anybody(), registry.reference("app"));
    let pulls = (0..8).map(|_| pull_layer(&client, &app));
    for pulled in futures_util::future::join_all(pulls).await {
        assert_eq!(pulled.unwrap(), LAYER);
    }
    assert_eq!(registry.requests("/token"), ["GET /token?scope=repository:app:pull&service=test"]);

    registry.plan("GET", "blobs", Fault::Revoke);
    pull_layer(&client, &app).await.unwrap();
    assert_eq!(registry.requests("/token").len(), 2);
}

#[tokio::test]
async fn a_push_goes_on_when_its_token_ends() {
    let registry = FaultyRegistry::start(Access::Token(Some("me:secret"))).await;
    let app = registry.reference("app");
    registry.plan("PUT", "uploads", Fault::Revoke);
    assert_eq!(push_layer(&login(&app, "me", "secret"), &app, &[]).await, Ok(Pushed::Uploaded));
    assert_eq!(registry.blob("app", layer().digest).as_deref(), Some(LAYER));
    assert_eq!((registry.requests("POST").len(), registry.requests("PUT").len()), (1, 2));
}

#[tokio::test]
async fn who_is_not_let_in_is_told_how() {
    let check = async |access: Access, credential: Option<(&str, &str)>, detail: &str, anonymous: bool| {
        let registry = FaultyRegistry::start(access).await;
        let reference = registry.reference("app:1");
        let client = credential.map_or_else(anybody, |(name, password)| login(&reference, name, password));
        let error = client.resolve(&reference).await.unwrap_err();
        let RegistryError::Unauthorized { detail: told, anonymous: nobody, .. } = &error else {
            panic!("{error:?}")
        };
        assert_eq!((told.as_str(), *nobody), (detail, anonymous));
        let help = error.problem().help.unwrap();
        assert!(help.contains(&format!("mab login {}", reference.registry())), "{help}");
    };
    check(Access::Basic("me:secret"), None, "authentication required", true).await;
    check(Access::Basic("me:secret"), Some(("me", "wrong")), "authentication required", false).await;
    check(Access::Token(Some("me:secret")), Some(("me", "wrong")), "incorrect username or password", false)
        .await;
    check(Access::Challenge("Negotiate"), Some(("me", "secret")), "authentication required", true).await;
}

#[tokio::test]
async fn credentials_of_every_kind_are_shown() {
    let check = async |access: Access, credential: Credential, token_requests: &[&str]| {
        let registry = FaultyRegistry::start(access).await;
        registry.put_blob("app", LAYER);
        let reference = registry.reference("app");
        let client = client(Credentials::fixed(reference.registry(), credential));
        assert_eq!(pull_layer(&client, &reference).await.unwrap(), LAYER);
        assert_eq!(registry.requests("/token"), token_requests);
    };
    let basic = || Credential::Basic { username: "me".into(), password: Secret::new("secret") };
    let get = "GET /token?scope=repository:app:pull&service=test";
    check(Access::Basic("me:secret"), basic(), &[]).await;
    check(Access::Token(Some("me:secret")), basic(), &[get]).await;
    let identity = Credential::IdentityToken { username: String::new(), token: Secret::new("refresh") };
    check(Access::Token(Some("refresh")), identity, &["POST /token"]).await;
    check(Access::Token(None), Credential::RegistryToken(Secret::new("t0")), &[]).await;
}

#[tokio::test]
async fn a_server_without_oauth_gets_the_identity_token_as_password() {
    let registry = FaultyRegistry::start(Access::Token(Some("0:refresh"))).await;
    registry.put_blob("app", LAYER);
    registry.plan("POST", "/token", Fault::Answer(404, &[], ""));
    let reference = registry.reference("app");
    let identity = Credential::IdentityToken { username: "0".into(), token: Secret::new("refresh") };
    let client = client(Credentials::fixed(reference.registry(), identity));
    assert_eq!(pull_layer(&client, &reference).await.unwrap(), LAYER);
}

#[tokio::test]
async fn credentials_do_not_follow_redirects() {
    let storage = FaultyRegistry::start(Access::Everybody).await;
    storage.put_blob("stored", LAYER);
    let registry = FaultyRegistry::start(Access::Basic("me:secret")).await;
    registry.put_blob("app", LAYER);
    let client = login(&registry.reference("app"), "me", "secret");
    // The first pull teaches the client to show its credentials at once.
    pull_layer(&client, &registry.reference("app")).await.unwrap();
    let target = storage.url(&format!("/v2/stored/blobs/{}", layer().digest));
    registry.plan("GET", "blobs", Fault::Redirect(target));
    assert_eq!(pull_layer(&client, &registry.reference("app")).await.unwrap(), LAYER);
    assert_eq!(storage.authorizations(), [None]);
    assert!(registry.authorizations().last().unwrap().is_some());
}

#[tokio::test]
async fn nothing_leaves_over_an_unprotected_line() {
    let open = r#"Bearer realm="http://token.invalid/token",service="x""#;
    let registry = FaultyRegistry::start(Access::Challenge(open)).await;
    let reference = registry.reference("app:1");
    let refused = login(&reference, "me", "secret").resolve(&reference).await;
    assert!(
        matches!(&refused, Err(RegistryError::Protocol { detail, .. }) if detail.contains("not protected by TLS")),
        "{refused:?}"
    );

    let registry = FaultyRegistry::start(Access::Everybody).await;
    registry.plan("GET", "manifests", Fault::Redirect("http://other.invalid/".into()));
    let refused = anybody().resolve(&registry.reference("app:1")).await;
    assert!(matches!(refused, Err(RegistryError::Protocol { .. })), "{refused:?}");
    registry.plan("GET", "manifests", Fault::Redirect("file:///etc/passwd".into()));
    let refused = anybody().resolve(&registry.reference("app:1")).await;
    assert!(matches!(refused, Err(RegistryError::Protocol { .. })), "{refused:?}");
    for _ in 0..11 {
        registry.plan("GET", "manifests", Fault::Redirect(registry.url("/v2/app/manifests/1")));
    }
    let refused = anybody().resolve(&registry.reference("app:1")).await;
    assert!(matches!(refused, Err(RegistryError::Protocol { .. })), "{refused:?}");
}

#[tokio::test]
async fn passing_failures_pass_and_lasting_ones_are_named() {
    let registry = FaultyRegistry::start(Access::Everybody).await;
    registry.put_manifest("app", "1", media_type::OCI_INDEX, b"{}");
    let (client, tag) = (anybody(), registry.reference("app:1"));
    let too_many = Fault::Answer(429, &[("retry-after", "0")], r#"{"errors":[{"code":"TOOMANYREQUESTS"}]}"#);
    for fault in [too_many, Fault::Answer(503, &[], ""), Fault::Lost] {
        registry.plan("GET", "manifests", fault);
    }
    assert!(client.resolve(&tag).await.is_ok());
    assert_eq!(registry.requests("GET /v2/app").len(), 4);

    for _ in 0..4 {
        registry.plan("GET", "manifests", Fault::Answer(502, &[], "<html>"));
    }
    assert!(matches!(client.resolve(&tag).await, Err(RegistryError::Unavailable { status: 502, .. })));
    registry.plan("GET", "manifests", Fault::Answer(429, &[("retry-after", "3600")], ""));
    let limited = client.resolve(&tag).await;
    assert!(
        matches!(limited, Err(RegistryError::RateLimited { retry_after: Some(after), .. }) if after.as_secs() == 3600)
    );
    registry.plan(
        "GET",
        "manifests",
        Fault::Answer(403, &[], r#"{"errors":[{"code":"DENIED","message":"no"}]}"#),
    );
    assert!(
        matches!(client.resolve(&tag).await, Err(RegistryError::Denied { detail, .. }) if detail == "no")
    );
}

#[tokio::test]
async fn loopback_is_asked_for_tls_once() {
    let registry = FaultyRegistry::start(Access::Everybody).await;
    registry.put_blob("app", LAYER);
    let client = anybody();
    for _ in 0..3 {
        pull_layer(&client, &registry.reference("app")).await.unwrap();
    }
    assert_eq!(registry.greetings(), 1);
}

/// Answers every request over TLS with an empty index, as `localhost`, and counts them.
fn tls_registry() -> (String, Arc<AtomicUsize>) {
    let certificates = CertificateDer::pem_slice_iter(CERTIFICATE).map(Result::unwrap).collect();
    let key = PrivateKeyDer::from_pem_slice(include_bytes!("support_registry/localhost-key.pem")).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config =
        rustls::ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let config = Arc::new(config.with_no_client_auth().with_single_cert(certificates, key).unwrap());
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("localhost:{}", listener.local_addr().unwrap().port());
    let answered = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&answered);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let connection = rustls::ServerConnection::new(Arc::clone(&config)).unwrap();
            let mut stream = rustls::StreamOwned::new(connection, stream.unwrap());
            let mut head = Vec::new();
            let mut byte = [0];
            while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte).is_ok_and(|read| read == 1) {
                head.push(byte[0]);
            }
            if head.is_empty() {
                continue;
            }
            counter.fetch_add(1, Ordering::SeqCst);
            let kind = media_type::OCI_INDEX;
            let _ = write!(
                stream,
                "HTTP/1.1 200 OK\r\ncontent-type: {kind}\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{{}}"
            );
            stream.conn.send_close_notify();
            let _ = stream.flush();
        }
    });
    (address, answered)
}

#[tokio::test]
async fn certificates_are_verified_even_on_loopback() {
    let (address, answered) = tls_registry();
    let reference: Reference = format!("{address}/app:1").parse().unwrap();
    let refused = anybody().resolve(&reference).await;
    let problem = refused.unwrap_err().problem();
    assert_eq!(problem.code, "registry::certificate");
    let settings = format!("`ca = \"FILE.pem\"` in `[registry.\"{address}\"]`");
    assert!(problem.help.unwrap_or_default().ends_with(&settings));
    assert_eq!(answered.load(Ordering::SeqCst), 0);

    let trusting = |name: &str| {
        let root_certificates = BTreeMap::from([(name.to_string(), vec![CERTIFICATE.to_vec()])]);
        Registry::new(RegistryOptions { root_certificates, ..RegistryOptions::default() })
    };
    // Whoever answers for one registry does not for another.
    let refused = trusting("registry.example.com").resolve(&reference).await;
    assert!(matches!(&refused, Err(RegistryError::Certificate { .. })), "{refused:?}");
    let resolved = trusting(&address).resolve(&reference).await.unwrap();
    assert_eq!(resolved.bytes, b"{}");
}

#[tokio::test]
async fn a_silent_host_is_unreachable() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let reference = format!("{}/app:1", listener.local_addr().unwrap()).parse().unwrap();
    drop(listener);
    let error = anybody().resolve(&reference).await.unwrap_err();
    assert!(
        matches!(&error, RegistryError::Unreachable { cause, .. } if cause.contains("refused")),
        "{error:?}"
    );
}

#[tokio::test]
async fn cut_blobs_are_resumed() {
    let check = async |faults: &[Fault], ranges: usize| {
        let registry = FaultyRegistry::start(Access::Everybody).await;
        registry.put_blob("app", LAYER);
        faults.iter().for_each(|fault| registry.plan("GET", "blobs", fault.clone()));
        let seen = Mutex::new(Vec::new());
        let mut bytes = Vec::new();
        let progress = |done, total| seen.lock().unwrap().push((done, total));
        anybody().pull_blob(&registry.reference("app"), &layer(), &mut bytes, &progress).await.unwrap();
        assert_eq!((bytes.as_slice(), registry.requests("GET").len() - 1), (LAYER, ranges), "{faults:?}");
        let seen = seen.into_inner().unwrap();
        assert!(
            seen.is_sorted() && seen.last() == Some(&(LAYER.len() as u64, LAYER.len() as u64)),
            "{seen:?}"
        );
    };
    check(&[], 1).await;
    check(&[Fault::Cut(10), Fault::Cut(5)], 3).await;
    check(&[Fault::Cut(10), Fault::IgnoreRange], 2).await;
    check(&[Fault::Cut(0), Fault::Lost, Fault::Cut(0)], 4).await;
    check(&[Fault::Cut(10), Fault::Answer(500, &[], ""), Fault::Cut(1)], 4).await;
}

#[tokio::test]
async fn changed_blobs_are_refused() {
    let registry = FaultyRegistry::start(Access::Everybody).await;
    registry.put_blob("app", LAYER);
    registry.plan("GET", "blobs", Fault::Corrupt);
    let pulled = pull_layer(&anybody(), &registry.reference("app")).await;
    assert!(
        matches!(pulled, Err(RegistryError::DigestMismatch { expected, .. }) if expected == layer().digest)
    );
    registry.plan("GET", "blobs", Fault::Cut(10));
    registry.plan("GET", "blobs", Fault::Answer(206, &[("content-range", "bytes 20-21/42")], "xx"));
    let pulled = pull_layer(&anybody(), &registry.reference("app")).await;
    assert!(matches!(pulled, Err(RegistryError::Protocol { .. })), "{pulled:?}");
}

#[tokio::test]
async fn blobs_are_skipped_mounted_or_uploaded() {
    let registry = FaultyRegistry::start(Access::Everybody).await;
    let (client, app) = (anybody(), registry.reference("app"));
    let neighbours = ["empty".to_string(), "base".to_string()];
    assert_eq!(push_layer(&client, &registry.reference("base"), &[]).await, Ok(Pushed::Uploaded));
    assert_eq!(push_layer(&client, &app, &neighbours).await, Ok(Pushed::Mounted));
    assert_eq!(push_layer(&client, &app, &neighbours).await, Ok(Pushed::AlreadyThere));
    assert!(client.has_blob(&app, layer().digest).await.unwrap());
    assert_eq!(registry.requests("PUT").len(), 1);

    registry.refuse_mounts();
    assert_eq!(
        push_layer(&client, &registry.reference("second"), &neighbours[1..]).await,
        Ok(Pushed::Uploaded)
    );
    assert_eq!(registry.requests("POST /v2/second").len(), 1);
    registry.plan("POST", "third", Fault::Answer(400, &[], ""));
    assert_eq!(
        push_layer(&client, &registry.reference("third"), &neighbours[1..]).await,
        Ok(Pushed::Uploaded)
    );
    let empty = Descriptor::of(media_type::OCI_LAYER, b"");
    let pushed = client.push_blob(&app, &empty, &|| opened(b""), &[], &quiet).await;
    assert_eq!(pushed, Ok(Pushed::Uploaded));
}

#[tokio::test]
async fn broken_uploads_begin_anew() {
    let check = async |fault: Fault, expected: Result<Pushed, ()>, puts: usize| {
        let registry = FaultyRegistry::start(Access::Everybody).await;
        registry.plan("PUT", "uploads", fault.clone());
        let pushed = push_layer(&anybody(), &registry.reference("app"), &[]).await;
        assert_eq!(pushed.clone().map_err(drop), expected, "{fault:?} {pushed:?}");
        assert_eq!(registry.requests("PUT").len(), puts, "{fault:?}");
    };
    let lost = r#"{"errors":[{"code":"BLOB_UPLOAD_UNKNOWN"}]}"#;
    let immutable = r#"{"errors":[{"code":"DENIED"}]}"#;
    check(Fault::Answer(500, &[], ""), Ok(Pushed::Uploaded), 2).await;
    check(Fault::Answer(404, &[], lost), Ok(Pushed::Uploaded), 2).await;
    // The bytes arrived, so asking again finds them.
    check(Fault::Lost, Ok(Pushed::AlreadyThere), 1).await;
    check(Fault::Answer(403, &[], immutable), Err(()), 1).await;
    check(Fault::Answer(400, &[], r#"{"errors":[{"code":"DIGEST_INVALID"}]}"#), Err(()), 1).await;
}

/// Bytes received of a blob of 8 MiB whose upload is cut twice.
async fn cut_upload(registry: &FaultyRegistry) -> usize {
    let bytes: Vec<u8> = (0..8u32 << 20).map(|at| (at.wrapping_mul(at) >> 7) as u8).collect();
    let blob = Descriptor::of(media_type::OCI_LAYER, &bytes);
    registry.plan("PUT", "uploads", Fault::CutBody(5 << 20));
    registry.plan("PATCH", "uploads", Fault::CutBody(2 << 20));
    let app = registry.reference("app");
    let pushed = anybody().push_blob(&app, &blob, &|| opened(&bytes), &[], &quiet).await;
    assert_eq!(pushed, Ok(Pushed::Uploaded));
    assert_eq!(registry.blob("app", blob.digest).as_deref(), Some(&bytes[..]));
    registry.received()
}

#[tokio::test]
async fn a_cut_upload_goes_on_where_it_was_cut() {
    let registry = FaultyRegistry::start(Access::Everybody).await;
    assert_eq!(cut_upload(&registry).await, 8 << 20);
    assert_eq!((registry.requests("PATCH").len(), registry.requests("POST").len()), (2, 1));

    let forgetful = FaultyRegistry::start(Access::Everybody).await;
    forgetful.forget_uploads();
    assert_eq!(cut_upload(&forgetful).await, (5 + 8) << 20);
    assert_eq!((forgetful.requests("PATCH").len(), forgetful.requests("POST").len()), (0, 2));
}

#[tokio::test]
async fn what_an_upload_kept_of_something_else_is_sent_anew() {
    let registry = FaultyRegistry::start(Access::Everybody).await;
    registry.plan("PUT", "uploads", Fault::CutBody(3));
    registry.plan("PATCH", "uploads", Fault::Answer(416, &[], ""));
    assert_eq!(push_layer(&anybody(), &registry.reference("app"), &[]).await, Ok(Pushed::Uploaded));
    assert_eq!((registry.requests("PATCH").len(), registry.requests("POST").len()), (1, 2));
}

#[tokio::test]
async fn push_access_is_tried_without_leaving_anything() {
    let registry = FaultyRegistry::start(Access::Basic("me:secret")).await;
    let app = registry.reference("app");
    let client = login(&app, "me", "secret");
    client.begin_upload(&app).await.unwrap();
    client.drop_uploads().await;
    client.drop_uploads().await;
    assert_eq!(registry.requests("DELETE").len(), 1);
    assert!(matches!(anybody().begin_upload(&app).await, Err(RegistryError::Unauthorized { .. })));
}

#[tokio::test]
async fn the_upload_that_showed_access_carries_the_first_blob() {
    let registry = FaultyRegistry::start(Access::Everybody).await;
    let (client, app) = (anybody(), registry.reference("app"));
    client.begin_upload(&app).await.unwrap();
    assert_eq!(push_layer(&client, &app, &[]).await, Ok(Pushed::Uploaded));
    assert_eq!(push_layer(&client, &registry.reference("other"), &[]).await, Ok(Pushed::Uploaded));
    client.drop_uploads().await;
    assert_eq!(registry.requests("POST /v2/app").len(), 1);
    assert_eq!(registry.requests("POST /v2/other").len(), 1);
    assert_eq!(registry.requests("DELETE").len(), 0);
}

/// Publishes one image under its names.
async fn push_image(
    client: &Registry,
    blobs: &Blobs,
    image: &Descriptor,
    names: &[Reference],
    report: PushReport<'_>,
) -> Result<Vec<PushedName>, PushError> {
    let (release, historical) = (Release::default(), Vec::new());
    let push = ImagePush {
        image,
        names,
        release,
        historical: &historical,
        is_unguarded: false,
        asks_registry: false,
    };
    let about = About::new(Action::Publish, jiff::Timestamp::UNIX_EPOCH);
    let looks = TagLooks::new(client.clone());
    let pushed =
        publish(&looks, &EarlyBlobs::default(), blobs, std::slice::from_ref(&push), &about, report).await?;
    Ok(pushed.into_iter().flatten().collect())
}

/// What is left of requests without those for journals.
fn without_journals(requests: Vec<String>) -> Vec<String> {
    requests
        .into_iter()
        .filter(|line| !line.contains("/manifests/mab.") && !line.contains("/tags/list"))
        .collect()
}

async fn push(
    client: &Registry,
    blobs: &Blobs,
    image: &Descriptor,
    names: &[Reference],
) -> Result<(Vec<bool>, Vec<PushEvent>), String> {
    let events = Mutex::new(Vec::new());
    let report = |event| events.lock().unwrap().push(event);
    let pushed = push_image(client, blobs, image, names, &report).await.map_err(|error| error.to_string())?;
    let unchanged = pushed.iter().map(|PushedName { unchanged, .. }| *unchanged).collect();
    Ok((unchanged, events.into_inner().unwrap()))
}

#[tokio::test]
async fn tags_move_last_and_only_when_all_is_there() {
    let registry = FaultyRegistry::start(Access::Everybody).await;
    let mut blobs = Blobs::default();
    let image = blobs.image();
    let names = ["app:1.2", "app:latest", "copy:1.2"].map(|name| registry.reference(name));
    let (first, second) = (anybody(), anybody());

    registry.plan("PUT", "copy/manifests", Fault::Answer(403, &[], ""));
    assert!(push(&first, &blobs, &image, &names).await.is_err());
    assert_eq!((registry.tag("app", "1.2"), registry.tag("app", "latest")), (None, None));

    let (unchanged, events) = push(&second, &blobs, &image, &names).await.unwrap();
    assert_eq!(unchanged, [false, false, false]);
    let puts = without_journals(registry.requests("PUT"));
    let mut tags: Vec<&str> =
        puts[puts.len() - 3..].iter().map(|line| line.rsplit('/').next().unwrap()).collect();
    tags.sort_unstable();
    assert_eq!(tags, ["1.2", "1.2", "latest"]);
    let journals: Vec<String> =
        registry.requests("PUT").into_iter().filter(|line| line.contains("/manifests/mab.")).collect();
    assert_eq!(journals.len(), 4, "opened and closed in two repositories: {journals:?}");
    assert_eq!(registry.tag("copy", "1.2"), Some(image.digest));
    let uploads = registry.requests("PUT").iter().filter(|line| line.contains("uploads")).count();
    assert_eq!(uploads, 5, "five distinct blobs are uploaded once and mounted into the second repository");
    assert!(matches!(events.last(), Some(PushEvent::Name(PushedName { unchanged: false, .. }))));

    let (before, unread) = (registry.requests("").len(), registry.not_modified());
    let (unchanged, _) = push(&second, &blobs, &image, &names).await.unwrap();
    assert_eq!(unchanged, [true, true, true]);
    assert_eq!(registry.not_modified() - unread, 3, "of a tag that stays no manifest is read");
    let asked = &registry.requests("")[before..];
    assert!(asked.len() == 3 && asked.iter().all(|line| line.starts_with("HEAD")), "{asked:?}");
}

/// Where staging tags of a publication stand at its end, and what was put under digests.
async fn publish_staged(registry: &FaultyRegistry, client: &Registry) -> (usize, usize, Vec<String>) {
    let mut blobs = Blobs::default();
    let image = blobs.image();
    let (_, events) = push(client, &blobs, &image, &[registry.reference("app:1.2")]).await.unwrap();
    assert_eq!(registry.tag("app", "1.2"), Some(image.digest));
    let children = blobs.0.keys().filter(|digest| registry.tag("app", &digest.to_string()).is_some());
    let notices = events.into_iter().filter_map(|event| match event {
        PushEvent::Notice(problem) => Some(problem.message.clone()),
        _ => None,
    });
    let tags = anybody().tags(&registry.reference("app")).await.unwrap();
    let staged = tags.iter().filter(|tag| tag.starts_with("mab.staging."));
    (children.count(), staged.count(), notices.collect())
}

#[tokio::test]
async fn manifests_that_need_a_tag_have_one_until_the_own_tags_stand() {
    let documents = 3;
    for status in [400, 404, 405] {
        let registry = FaultyRegistry::start(Access::Everybody).await;
        registry.refuse_digests(status);
        assert_eq!(publish_staged(&registry, &anybody()).await, (documents, 0, Vec::new()), "{status}");
        let staged = registry.requests("/manifests/mab.staging.");
        let count = |method| staged.iter().filter(|line| line.starts_with(method)).count();
        assert_eq!((count("PUT"), count("DELETE")), (documents, documents), "{staged:?}");
    }
    // What is gone with its tag is put back, and keeps it: the index has a tag of its own.
    let registry = FaultyRegistry::start(Access::Everybody).await;
    registry.refuse_digests(400);
    registry.collect();
    let (children, staged, notices) = publish_staged(&registry, &anybody()).await;
    assert_eq!((children, staged, notices.len()), (documents, 2, 1), "{notices:?}");
    assert!(notices[0].starts_with("2 tags `mab.staging.…` stay in "), "{notices:?}");
    // Nor can every registry take tags away.
    let registry = FaultyRegistry::start(Access::Everybody).await;
    registry.refuse_digests(400);
    registry.plan("DELETE", "/manifests/", Fault::Answer(405, &[], ""));
    let (children, staged, notices) = publish_staged(&registry, &anybody()).await;
    assert_eq!((children, staged, notices.len()), (documents, documents, 1), "{notices:?}");
}

#[tokio::test]
async fn a_registry_that_collects_is_never_given_manifests_without_a_tag() {
    let registry = FaultyRegistry::start(Access::Everybody).await;
    let host = registry.reference("app").registry().to_string();
    let client = anybody().adjusted(|options| options.staging_tags = vec![host]);
    assert_eq!(publish_staged(&registry, &client).await, (3, 0, Vec::new()));
    let puts = registry.requests("PUT");
    assert!(!puts.iter().any(|line| line.contains("/manifests/sha256")), "{puts:?}");
}

#[tokio::test]
async fn a_new_tag_of_known_content_sends_no_blob() {
    let registry = FaultyRegistry::start(Access::Everybody).await;
    let mut blobs = Blobs::default();
    let image = blobs.image();
    push(&anybody(), &blobs, &image, &[registry.reference("app:1")]).await.unwrap();
    let before = registry.requests("blobs").len();
    push(&anybody(), &blobs, &image, &[registry.reference("app:2")]).await.unwrap();
    assert_eq!(registry.requests("blobs").len(), before);
    assert_eq!(registry.tag("app", "2"), Some(image.digest));

    blobs.0.insert(image.digest, b"{}".to_vec());
    let error = push(&anybody(), &blobs, &image, &[registry.reference("app:3")]).await.unwrap_err();
    assert!(error.contains("another digest"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn work_can_be_spawned() {
    let registry = FaultyRegistry::start(Access::Everybody).await;
    let (client, name) = (anybody(), registry.reference("app:1"));
    let mut blobs = Blobs::default();
    let image = blobs.image();
    let pushing = client.clone();
    let pushed = tokio::spawn(async move { push_image(&pushing, &blobs, &image, &[name], &|_| {}).await });
    assert_eq!(pushed.await.unwrap().unwrap().len(), 1);
    let from = registry.reference("app");
    let pulled = tokio::spawn(async move {
        let mut file = tempfile::tempfile().unwrap();
        client.pull_blob(&from, &layer(), &mut file, &quiet).await.map(|()| file.metadata().unwrap().len())
    });
    assert_eq!(pulled.await.unwrap(), Ok(LAYER.len() as u64));
}

#[tokio::test(flavor = "multi_thread")]
async fn debians_registry_takes_and_gives_an_image() {
    let folder = tempfile::tempdir().unwrap();
    let Some(registry) = DockerRegistry::start(folder.path()) else { return };
    let names = ["shop/app:1.2", "shop/app:latest", "shop/copy:1"];
    let names = names.map(|name| format!("{}/{name}", registry.address()).parse::<Reference>().unwrap());
    let client = login(&names[0], "me", "secret");
    let mut blobs = Blobs::default();
    let image = blobs.image();

    client.begin_upload(&names[0]).await.unwrap();
    let (unchanged, events) = push(&client, &blobs, &image, &names).await.unwrap();
    assert_eq!(unchanged, [false; 3]);
    let count = |wanted| {
        events.iter().filter(|event| matches!(event, PushEvent::Blob { how, .. } if *how == wanted)).count()
    };
    assert_eq!((count(Pushed::Uploaded), count(Pushed::Mounted)), (5, 5));
    assert_eq!(push(&client, &blobs, &image, &names).await.unwrap().0, [true; 3]);

    let mut tags = client.tags(&names[0]).await.unwrap();
    tags.retain(|tag| !tag.starts_with("mab."));
    tags.sort();
    assert_eq!(tags, ["1.2", "latest"]);
    let journals = client.tags_with_prefix(&names[0], "mab.").await.unwrap();
    assert_eq!(journals.len(), 2, "opened and closed: {journals:?}");
    let resolved = client.resolve(&names[2]).await.unwrap();
    assert_eq!((resolved.descriptor.digest, &resolved.bytes), (image.digest, &blobs.0[&image.digest]));
    assert_eq!(pull_layer(&client, &names[2]).await.unwrap(), LAYER);
    let large = vec![7; 3_000_000];
    let large_blob = Descriptor::of(media_type::OCI_LAYER, &large);
    client.push_blob(&names[0], &large_blob, &|| opened(&large), &[], &quiet).await.unwrap();
    assert_eq!(client.blob_bytes(&names[0], &large_blob, 4_000_000).await.unwrap(), large);
    let refused = anybody().resolve(&names[0]).await;
    assert!(matches!(refused, Err(RegistryError::Unauthorized { anonymous: true, .. })), "{refused:?}");
    let absent = client.resolve(&names[0].with_tag("none").unwrap()).await;
    assert!(matches!(absent, Err(RegistryError::NotFound { .. })), "{absent:?}");
}

/// A client for which `mirror` stands before the registry of `reference`.
fn mirrored(reference: &Reference, mirror: String) -> Registry {
    let retries = Retries { first_pause: Duration::ZERO, attempts: 2, ..Retries::default() };
    let mirrors = BTreeMap::from([(reference.registry().to_string(), vec![mirror])]);
    let secret = Credential::Basic { username: "user".into(), password: Secret::new("word") };
    let credentials = Credentials::fixed(reference.registry(), secret);
    Registry::new(RegistryOptions { credentials, retries, mirrors, ..RegistryOptions::default() })
}

#[tokio::test]
async fn mirrors_are_asked_first_and_only_for_what_is_pulled() {
    let (own, mirror) =
        (FaultyRegistry::start(Access::Everybody).await, FaultyRegistry::start(Access::Everybody).await);
    let place = format!("{}/hub", mirror.reference("x").registry());
    let image = own.reference("app:1");
    let client = mirrored(&image, place);
    mirror.put_blob("hub/app", LAYER);
    mirror.put_manifest("hub/app", "1", media_type::OCI_MANIFEST, b"{}");
    assert_eq!(client.resolve(&image).await.unwrap().bytes, b"{}");
    assert_eq!(pull_layer(&client, &image).await.unwrap(), LAYER);
    assert!(own.requests("app").is_empty(), "{:?}", own.requests("app"));
    // What is the registry's own is not told to others.
    assert!(mirror.authorizations().iter().all(Option::is_none));
    push_layer(&client, &image, &[]).await.unwrap();
    assert!(own.requests("app").iter().any(|request| request.starts_with("POST")));
    assert!(!mirror.requests("app").iter().any(|request| request.starts_with("POST")));
}

#[tokio::test]
async fn what_a_mirror_does_not_have_comes_from_the_registry() {
    let (own, mirror) =
        (FaultyRegistry::start(Access::Everybody).await, FaultyRegistry::start(Access::Everybody).await);
    let image = own.reference("app:1");
    own.put_blob("app", LAYER);
    own.put_manifest("app", "1", media_type::OCI_MANIFEST, b"{}");
    let client = mirrored(&image, mirror.reference("x").registry().to_string());
    assert_eq!(client.resolve(&image).await.unwrap().bytes, b"{}");
    assert_eq!(pull_layer(&client, &image).await.unwrap(), LAYER);
    assert!(!mirror.requests("app").is_empty());
    // Nobody listens there.
    let client = mirrored(&image, "127.0.0.1:1".to_string());
    assert_eq!(pull_layer(&client, &image).await.unwrap(), LAYER);
}

#[tokio::test]
async fn wrong_bytes_of_a_mirror_are_dropped() {
    let check = async |faults: &[Fault]| {
        let (own, mirror) =
            (FaultyRegistry::start(Access::Everybody).await, FaultyRegistry::start(Access::Everybody).await);
        let image = own.reference("app:1");
        own.put_blob("app", LAYER);
        mirror.put_blob("app", LAYER);
        faults.iter().for_each(|fault| mirror.plan("GET", "blobs", fault.clone()));
        let client = mirrored(&image, mirror.reference("x").registry().to_string());
        assert_eq!(pull_layer(&client, &image).await.unwrap(), LAYER, "{faults:?}");
        let mut file = tempfile::tempfile().unwrap();
        faults.iter().for_each(|fault| mirror.plan("GET", "blobs", fault.clone()));
        client.pull_blob(&image, &layer(), &mut file, &|_, _| {}).await.unwrap();
        assert_eq!(file.metadata().unwrap().len(), LAYER.len() as u64, "{faults:?}");
    };
    check(&[Fault::Corrupt]).await;
    check(&[Fault::Answer(
        200,
        &[],
        "another blob of the same registry, and a longer one than was asked for",
    )])
    .await;
    check(&[Fault::Answer(200, &[], "short")]).await;
}

#[tokio::test]
async fn what_refers_to_an_image_is_noted_by_the_registry_or_under_a_tag() {
    let registry = FaultyRegistry::start(Access::Everybody).await;
    let (client, app) = (anybody(), registry.reference("app:1"));
    let subject =
        registry.put_manifest("app", "1", media_type::OCI_INDEX, br#"{"schemaVersion":2,"manifests":[]}"#);
    let signature = |name: &str| {
        let mut manifest = Manifest::new(Descriptor::of("text/plain", b"{}"), Vec::new());
        manifest.annotations.insert("name".to_string(), name.to_string());
        let bytes = manifest.to_bytes();
        (Descriptor::of(media_type::OCI_MANIFEST, &bytes), bytes)
    };
    let digests = |found: Vec<Descriptor>| found.into_iter().map(|entry| entry.digest).collect::<Vec<_>>();
    assert_eq!(client.referrers(&app, subject).await.unwrap(), []);
    let ((first, first_bytes), (second, second_bytes)) = (signature("first"), signature("second"));
    client.push_referrer(&app, &first, &first_bytes, subject).await.unwrap();
    client.push_referrer(&app, &second, &second_bytes, subject).await.unwrap();
    client.push_referrer(&app, &first, &first_bytes, subject).await.unwrap();
    assert_eq!(digests(client.referrers(&app, subject).await.unwrap()), [first.digest, second.digest]);
    let tag = subject.to_string().replace(':', "-");
    assert!(registry.tag("app", &tag).is_some());
    // One that says it has noted it is left to it.
    let (third, third_bytes) = signature("third");
    registry.plan("PUT", "manifests", Fault::Answer(201, &[("oci-subject", "sha256:00")], ""));
    client.push_referrer(&app, &third, &third_bytes, subject).await.unwrap();
    assert_eq!(client.referrers(&app, subject).await.unwrap().len(), 2);
    let listing = r#"{"schemaVersion":2,"manifests":[]}"#;
    registry.plan("GET", "referrers", Fault::Answer(200, &[], listing));
    assert_eq!(client.referrers(&app, subject).await.unwrap(), []);
    // A tag that is somebody else's is not overwritten.
    registry.put_manifest("app", &tag, media_type::OCI_MANIFEST, &first_bytes);
    let refused = client.push_referrer(&app, &second, &second_bytes, subject).await.unwrap_err();
    assert!(refused.to_string().contains("is no index of what refers to an image"), "{refused}");
    assert_eq!(registry.tag("app", &tag), Some(first.digest));
}

/// Publishes where contents are looked at again before any tag moves, however fast all goes.
async fn publish_looking_twice(
    registry: &FaultyRegistry,
    blobs: &Blobs,
    image: &Descriptor,
) -> Result<(), PushError> {
    let push = ImagePush {
        image,
        names: &[registry.reference("app:1.2")],
        release: Release::default(),
        historical: &[],
        is_unguarded: false,
        asks_registry: false,
    };
    let about = About { fresh: Duration::ZERO, ..About::new(Action::Publish, jiff::Timestamp::UNIX_EPOCH) };
    let (looks, early) = (TagLooks::new(anybody()), EarlyBlobs::default());
    publish(&looks, &early, blobs, std::slice::from_ref(&push), &about, &|_| {}).await.map(drop)
}

#[tokio::test]
async fn what_a_registry_loses_after_the_push_is_pushed_again_before_a_tag_moves() {
    let registry = FaultyRegistry::start(Access::Everybody).await;
    let mut blobs = Blobs::default();
    let image = blobs.image();
    registry.plan("PUT", "manifests/sha256:", Fault::Unkept);
    publish_looking_twice(&registry, &blobs, &image).await.unwrap();
    assert_eq!(registry.tag("app", "1.2"), Some(image.digest));
    let index = Index::parse(&blobs.0[&image.digest]).unwrap();
    for child in &index.manifests {
        assert_eq!(registry.tag("app", &child.digest.to_string()), Some(child.digest));
        let manifest = Manifest::parse(&blobs.0[&child.digest]).unwrap();
        for blob in manifest.layers.iter().chain([&manifest.config]) {
            assert!(registry.blob("app", blob.digest).is_some(), "{}", blob.digest);
        }
    }
    // All is there again before anybody reads of it.
    let puts = registry.requests("PUT");
    let last_child = puts.iter().rposition(|line| line.contains("/manifests/sha256:")).unwrap();
    let journal = puts.iter().position(|line| line.contains("/manifests/mab.")).unwrap();
    assert!(last_child < journal, "{puts:#?}");
}

#[tokio::test]
async fn a_config_that_is_lost_under_a_manifest_that_stays_is_pushed_again() {
    let registry = FaultyRegistry::start(Access::Everybody).await;
    let mut blobs = Blobs::default();
    let image = blobs.image();
    push(&anybody(), &blobs, &image, &[registry.reference("app:old")]).await.unwrap();
    let index = Index::parse(&blobs.0[&image.digest]).unwrap();
    let child = Manifest::parse(&blobs.0[&index.manifests[0].digest]).unwrap();
    registry.lose_blob("app", child.config.digest);
    let before = registry.requests("HEAD").len();
    publish_looking_twice(&registry, &blobs, &image).await.unwrap();
    assert!(registry.blob("app", child.config.digest).is_some());
    assert_eq!(registry.tag("app", "1.2"), Some(image.digest));
    // One question for each config, and none for layers but those of the manifest that had lost something.
    let heads = registry.requests("HEAD").split_off(before);
    let asked =
        |digest: Digest| heads.iter().filter(|line| line.contains(&format!("blobs/{digest}"))).count();
    let other = Manifest::parse(&blobs.0[&index.manifests[1].digest]).unwrap();
    assert_eq!(asked(other.config.digest), 2, "it is looked at again when something was mended: {heads:#?}");
    let only_of = |layer: &&Descriptor| !child.layers.contains(layer);
    assert!(other.layers.iter().filter(only_of).all(|layer| asked(layer.digest) == 0), "{heads:#?}");
    // Nobody asks for blobs of what was pushed a moment ago.
    let before = registry.requests("HEAD").len();
    push(&anybody(), &blobs, &image, &[registry.reference("app:1.3")]).await.unwrap();
    let heads = registry.requests("HEAD").split_off(before);
    assert!(!heads.iter().any(|line| line.contains("/blobs/")), "{heads:#?}");
}

#[tokio::test]
async fn what_a_registry_does_not_keep_moves_no_tag() {
    let registry = FaultyRegistry::start(Access::Everybody).await;
    let mut blobs = Blobs::default();
    let image = blobs.image();
    for _ in 0..8 {
        registry.plan("PUT", "manifests/sha256:", Fault::Unkept);
    }
    let error = publish_looking_twice(&registry, &blobs, &image).await.unwrap_err();
    assert!(
        matches!(&error, PushError::Vanished { repository, .. } if repository.ends_with("/app")),
        "{error}"
    );
    assert_eq!(registry.tag("app", "1.2"), None);
    assert!(!registry.requests("PUT").iter().any(|line| line.contains("/manifests/mab.")));
}

#[tokio::test]
async fn a_journal_refers_to_its_image_where_registries_know_that_and_has_a_tag_everywhere() {
    for knows_referrers in [true, false] {
        let registry = FaultyRegistry::start(Access::Everybody).await;
        if knows_referrers {
            registry.know_referrers();
        }
        let mut blobs = Blobs::default();
        let (image, app) = (blobs.image(), registry.reference("app:1.2"));
        push(&anybody(), &blobs, &image, std::slice::from_ref(&app)).await.unwrap();
        let found = anybody().referrers(&app, image.digest).await.unwrap();
        let kinds: Vec<Option<&str>> = found.iter().map(|entry| entry.artifact_type.as_deref()).collect();
        let expected: &[Option<&str>] =
            if knows_referrers { &[Some("application/vnd.mab.publication.v1+json")] } else { &[] };
        assert_eq!(kinds, expected);
        let tags = anybody().tags(&app).await.unwrap();
        let journals = tags.iter().filter(|tag| tag.starts_with("mab.")).count();
        assert_eq!(
            (journals, tags.len()),
            (2, 3),
            "when it began, when it was over, and the image's own: {tags:?}"
        );
        let done = tags.iter().find(|tag| tag.ends_with(".done")).unwrap();
        let journal = registry.tag("app", done);
        if knows_referrers {
            assert_eq!(journal, Some(found[0].digest));
        }
    }
}

/// Speaks HTTP without TLS, has nothing, and notes what it is asked.
fn plain_registry() -> (u16, Arc<Mutex<Vec<String>>>) {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let (port, asked) = (listener.local_addr().unwrap().port(), Arc::new(Mutex::new(Vec::new())));
    let noted = asked.clone();
    std::thread::spawn(move || {
        for mut client in listener.incoming().flatten() {
            let mut head = vec![0; 4096];
            let length = client.read(&mut head).unwrap_or(0);
            let text = String::from_utf8_lossy(&head[..length]);
            let is_http = text.contains("HTTP/1.1");
            if is_http {
                noted.lock().unwrap().push(text.lines().next().unwrap_or_default().to_string());
            }
            let status = if is_http { "404 Not Found" } else { "400 Bad Request" };
            let _ = write!(client, "HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
        }
    });
    (port, asked)
}

#[tokio::test]
async fn a_registry_without_tls_is_told_by_its_answer() {
    let (port, asked) = plain_registry();
    // A name of loopback that does not look like it.
    let name: Reference = format!("127.1:{port}/app:1").parse().unwrap();
    let problem = anybody().head(&name).await.unwrap_err().problem();
    assert_eq!(problem.code, "registry::plain");
    assert!(problem.help.unwrap().contains("`insecure = true` in `[registry."));
    assert!(asked.lock().unwrap().is_empty(), "nothing is said without TLS");

    let insecure = vec![format!("127.1:{port}")];
    let client = Registry::new(RegistryOptions { insecure, ..RegistryOptions::default() });
    assert_eq!(client.head(&name).await.unwrap(), None);
    let asked = asked.lock().unwrap();
    assert_eq!(*asked, ["HEAD /v2/app/manifests/1 HTTP/1.1"], "that it answers is known by then");
}
