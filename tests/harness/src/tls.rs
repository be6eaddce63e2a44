//! TLS termination for DynamoDB, with a generated certificate authority.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;

/// Serves until dropped.
pub struct TlsProxy {
    pub url: String,
    /// A file for `SSL_CERT_FILE`: the authority's certificate, followed by every root that this machine trusts, so
    /// that it is as long as Lambda's.
    pub roots: PathBuf,
    server: JoinHandle<()>,
}

impl TlsProxy {
    /// Starts a proxy for the DynamoDB at `upstream`, and writes the roots into `folder`.
    pub async fn start(upstream: &str, folder: &Path) -> Self {
        let mut authority = CertificateParams::default();
        // If both certificates had the same name, OpenSSL would treat the second as self-signed.
        authority.distinguished_name.push(DnType::CommonName, "authority");
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority = CertifiedIssuer::self_signed(authority, KeyPair::generate().expect("a key")).expect("a CA");
        let key = KeyPair::generate().expect("a key");
        let names = CertificateParams::new(["127.0.0.1".to_owned()]).expect("a name");
        let certificate = names.signed_by(&key, &authority).expect("a certificate");

        let system = openssl_probe::probe().cert_file.map(fs::read_to_string).expect("a bundle").expect("PEM");
        let roots = folder.join("roots.pem");
        fs::write(&roots, authority.pem() + &system).expect("a file");

        let provider = Arc::new(tokio_rustls::rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("TLS 1.2 and 1.3")
            .with_no_client_auth()
            .with_single_cert(
                vec![certificate.der().clone()],
                PrivateKeyDer::try_from(key.serialize_der()).expect("a key"),
            )
            .expect("a certificate and its key");
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let url = format!("https://{}", listener.local_addr().expect("a bound address"));
        let upstream = upstream.replace("http://", "");
        let server = tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.expect("a connection");
                stream.set_nodelay(true).expect("a socket");
                let (acceptor, upstream) = (acceptor.clone(), upstream.clone());
                tokio::spawn(async move {
                    // A client that disconnects ends only its own connection.
                    let Ok(mut client) = acceptor.accept(stream).await else { return };
                    let mut server = TcpStream::connect(upstream).await.expect("DynamoDB");
                    server.set_nodelay(true).expect("a socket");
                    let _ = tokio::io::copy_bidirectional(&mut client, &mut server).await;
                });
            }
        });
        Self { url, roots, server }
    }
}

impl Drop for TlsProxy {
    fn drop(&mut self) {
        self.server.abort();
    }
}
