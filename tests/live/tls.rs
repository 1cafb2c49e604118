//! Certificates of a test CA, and a TLS front for an origin that speaks none.

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::Arc;
use std::thread;
use tempfile::TempDir;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::{self, ServerConfig};
use tokio_rustls::{TlsAcceptor, rustls::crypto::ring};

/// A CA that nobody trusts unasked, and a certificate by it for `localhost`.
pub struct Certificates {
    pub ca: PathBuf,
    pub cert: PathBuf,
    pub key: PathBuf,
    pub ca_der: CertificateDer<'static>,
    cert_der: CertificateDer<'static>,
    key_der: PrivateKeyDer<'static>,
    _folder: TempDir,
}

impl Certificates {
    pub fn new() -> Certificates {
        let key = || KeyPair::generate().expect("a key can be made");
        let mut params = CertificateParams::new(Vec::new()).expect("no names are valid names");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let ca = CertifiedIssuer::self_signed(params, key()).expect("a CA signs itself");
        let leaf_key = key();
        let names = CertificateParams::new(vec!["localhost".to_owned()]).expect("a valid name");
        let leaf = names.signed_by(&leaf_key, &ca).expect("a CA signs");

        let folder = TempDir::new().expect("a folder can be made");
        let write = |name: &str, pem: String| {
            let path = folder.path().join(name);
            fs::write(&path, pem).expect("a file can be written");
            path
        };
        Certificates {
            ca: write("ca.pem", ca.pem()),
            cert: write("cert.pem", leaf.pem()),
            key: write("key.pem", leaf_key.serialize_pem()),
            ca_der: ca.der().clone(),
            cert_der: leaf.der().clone(),
            key_der: PrivateKeyDer::try_from(leaf_key.serialize_der()).expect("a PKCS #8 key"),
            _folder: folder,
        }
    }
}

/// A TLS front on `localhost`.
pub struct Front {
    pub address: SocketAddr,
    pub ca: PathBuf,
    _certificates: Certificates,
}

/// Takes TLS off and pipes what is inside to `plain`, until the test program ends.
pub fn terminate(plain: SocketAddr) -> Front {
    let certificates = Certificates::new();
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("ring speaks TLS 1.2 and 1.3")
        .with_no_client_auth()
        .with_single_cert(vec![certificates.cert_der.clone()], certificates.key_der.clone_key())
        .expect("the key fits the certificate");
    let listener = TcpListener::bind("localhost:0").expect("loopback has a free port");
    let address = listener.local_addr().expect("it is bound");
    thread::spawn(move || runtime().block_on(pipe_all(listener, TlsAcceptor::from(Arc::new(config)), plain)));
    Front { address, ca: certificates.ca.clone(), _certificates: certificates }
}

async fn pipe_all(listener: TcpListener, acceptor: TlsAcceptor, plain: SocketAddr) {
    listener.set_nonblocking(true).expect("a socket can be made so");
    let listener = tokio::net::TcpListener::from_std(listener).expect("it is a listener");
    while let Ok((stream, _)) = listener.accept().await {
        let acceptor = acceptor.clone();
        tokio::spawn(async move {
            // A handshake that the proxy refuses, and a peer that is gone, end the pipe: that is what is tested.
            let mut outside = acceptor.accept(stream).await?;
            let mut inside = tokio::net::TcpStream::connect(plain).await?;
            tokio::io::copy_bidirectional(&mut outside, &mut inside).await
        });
    }
}

/// A client's view of TLS: only this CA, and HTTP/2 by ALPN.
pub fn client(ca: &CertificateDer<'static>, protocol: &[u8]) -> rustls::ClientConfig {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(ca.clone()).expect("a CA certificate");
    let mut config = rustls::ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("ring speaks TLS 1.2 and 1.3")
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![protocol.to_vec()];
    config
}

/// One thread is enough for a test.
pub fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime can be made")
}
