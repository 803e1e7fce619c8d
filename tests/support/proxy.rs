//! A way to a BuildKit's socket, over TCP with or without TLS: what stands between can be cut.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use tokio::io::{AsyncRead, AsyncWrite, copy_bidirectional};
use tokio::net::{TcpListener, UnixStream};
use tokio::runtime::Runtime;
use tokio_rustls::TlsAcceptor;

/// An authority, and what it has signed, as files of a folder. OpenSSL makes them.
pub struct Authority {
    folder: PathBuf,
    name: String,
}

/// A new key, and what goes with it.
const NEW_KEY: [&str; 6] = ["req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"];

impl Authority {
    /// Its certificate is `NAME.pem` in the folder.
    pub fn new(folder: &Path, name: &str) -> Self {
        let authority = Self { folder: folder.to_path_buf(), name: name.to_string() };
        let (key, certificate, subject) =
            (format!("{name}.key"), format!("{name}.pem"), format!("/CN={name}"));
        let own = ["-x509", "-days", "2", "-keyout", &key, "-out", &certificate, "-subj", &subject];
        authority.openssl(&[&NEW_KEY[..], &own].concat());
        authority
    }

    /// Signs a certificate for a host (`DNS:name` or `IP:address`); it and its key are `NAME.pem` and `NAME.key`.
    pub fn sign(&self, name: &str, host: &str, is_expired: bool) {
        let file = |ending: &str| format!("{name}.{ending}");
        let (key, request, certificate) = (file("key"), file("csr"), file("pem"));
        let (subject, host) = (format!("/CN={name}"), format!("subjectAltName={host}"));
        let asked = ["-keyout", &key, "-out", &request, "-subj", &subject, "-addext", &host];
        self.openssl(&[&NEW_KEY[..], &asked].concat());
        let (ca, ca_key) = (format!("{}.pem", self.name), format!("{}.key", self.name));
        let days = if is_expired { "-1" } else { "2" };
        let signed = ["x509", "-req", "-in", &request, "-CA", &ca, "-CAkey", &ca_key, "-CAcreateserial"];
        let options = ["-days", days, "-copy_extensions", "copy", "-out", &certificate];
        self.openssl(&[&signed[..], &options].concat());
    }

    fn openssl(&self, arguments: &[&str]) {
        let output = Command::new("openssl").args(arguments).current_dir(&self.folder).output();
        let output = output.expect("openssl starts");
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    }
}

/// Listens until it is dropped; then every connection ends.
pub struct Proxy {
    pub port: u16,
    runtime: Option<Runtime>,
}

impl Proxy {
    pub fn plain(socket: &Path) -> Self {
        Self::new(socket, None)
    }

    /// With a certificate of the folder; clients must have one that `authority` signed.
    pub fn secure(socket: &Path, folder: &Path, certificate: &str, authority: &str) -> Self {
        let pem = |name: String| {
            let certificates = CertificateDer::pem_file_iter(folder.join(name)).expect("the file is there");
            certificates.collect::<Result<Vec<_>, _>>().expect("it is PEM")
        };
        let mut roots = RootCertStore::empty();
        for root in pem(format!("{authority}.pem")) {
            roots.add(root).expect("it is an authority's");
        }
        let key = folder.join(format!("{certificate}.key"));
        let key = PrivateKeyDer::from_pem_file(key).expect("it is a key");
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let clients = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone());
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("there are some")
            .with_client_cert_verifier(clients.build().expect("there are authorities"))
            .with_single_cert(pem(format!("{certificate}.pem")), key)
            .expect("certificate and key belong together");
        config.alpn_protocols = vec![b"h2".to_vec()];
        Self::new(socket, Some(TlsAcceptor::from(Arc::new(config))))
    }

    fn new(socket: &Path, tls: Option<TlsAcceptor>) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
        let runtime = runtime.expect("threads can be started");
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).expect("loopback has free ports");
        let port = listener.local_addr().expect("it is bound").port();
        let socket = socket.to_path_buf();
        runtime.spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let (socket, tls) = (socket.clone(), tls.clone());
                tokio::spawn(async move {
                    match tls {
                        None => relay(client, &socket).await,
                        Some(tls) => {
                            if let Ok(client) = tls.accept(client).await {
                                relay(client, &socket).await;
                            }
                        }
                    }
                });
            }
        });
        Self { port, runtime: Some(runtime) }
    }

    /// Ends every connection, now.
    pub fn cut(self) {}
}

impl Drop for Proxy {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

async fn relay(mut client: impl AsyncRead + AsyncWrite + Unpin, socket: &Path) {
    if let Ok(mut server) = UnixStream::connect(socket).await {
        // How a connection ends is the client's matter.
        drop(copy_bidirectional(&mut client, &mut server).await);
    }
}
