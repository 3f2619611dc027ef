//! TLS on one provider (ring): the client side with the public roots or an own CA file, and a throw-away CA for simulations.

use super::{NetError, url::Url};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use std::io;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// How to connect: shared by all connections.
#[derive(Clone)]
pub struct Connector {
    config: Arc<ClientConfig>,
}

impl std::fmt::Debug for Connector {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Connector")
    }
}

fn provider() -> Arc<rustls::crypto::CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

impl Connector {
    /// Trusts the public roots, and the certificates of `ca_file` beside them when given.
    pub fn new(ca_file: Option<&Path>) -> Result<Connector, NetError> {
        let mut roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
        if let Some(path) = ca_file {
            let wrong = |reason: String| NetError::CaFile { path: path.display().to_string(), reason };
            let certificates = CertificateDer::pem_file_iter(path).map_err(|e| wrong(e.to_string()))?;
            let mut count = 0;
            for certificate in certificates {
                let certificate = certificate.map_err(|e| wrong(e.to_string()))?;
                roots.add(certificate).map_err(|e| wrong(e.to_string()))?;
                count += 1;
            }
            if count == 0 {
                return Err(wrong("it holds no certificate in PEM form".to_owned()));
            }
        }
        let config = ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .expect("ring supports the default TLS versions")
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Connector { config: Arc::new(config) })
    }

    /// Opens a TCP connection, with TLS where the URL asks for it.
    pub async fn connect(&self, url: &Url) -> Result<Stream, NetError> {
        let address = url.address();
        let tcp = TcpStream::connect((url.host.as_str(), url.port)).await;
        let tcp = tcp.map_err(|source| NetError::Connect { address: address.clone(), source })?;
        // Orders are small: waiting to fill a segment only delays them.
        tcp.set_nodelay(true).map_err(|source| NetError::Connect { address: address.clone(), source })?;
        if !url.tls {
            return Ok(Stream::Plain(tcp));
        }
        let wrong = |_| NetError::Url { url: address.clone(), reason: "its host is not a valid server name" };
        let name = ServerName::try_from(url.host.clone()).map_err(wrong)?;
        let tls = TlsConnector::from(self.config.clone()).connect(name, tcp).await;
        let tls = tls.map_err(|source| NetError::Tls { address: address.clone(), source })?;
        Ok(Stream::Client(Box::new(tls)))
    }
}

/// A server's side, with a certificate (and those between it and the root) and its key from files in PEM form.
pub fn server_config(certificate: &Path, key: &Path) -> Result<Arc<ServerConfig>, NetError> {
    let wrong = |path: &Path, reason: String| NetError::CaFile { path: path.display().to_string(), reason };
    let chain: Result<Vec<_>, _> =
        CertificateDer::pem_file_iter(certificate).and_then(|found| found.collect::<Result<Vec<_>, _>>());
    let chain = chain.map_err(|e| wrong(certificate, e.to_string()))?;
    let private = PrivateKeyDer::from_pem_file(key).map_err(|e| wrong(key, e.to_string()))?;
    let config = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .expect("ring supports the default TLS versions")
        .with_no_client_auth()
        .with_single_cert(chain, private)
        .map_err(|e| wrong(certificate, e.to_string()))?;
    Ok(Arc::new(config))
}

/// A byte stream, with or without TLS.
#[derive(Debug)]
pub enum Stream {
    /// TCP.
    Plain(TcpStream),
    /// TLS, we are the client.
    Client(Box<tokio_rustls::client::TlsStream<TcpStream>>),
    /// TLS, we are the server.
    Server(Box<tokio_rustls::server::TlsStream<TcpStream>>),
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Stream::Plain(s) => Pin::new(s).poll_read(cx, buf),
            Stream::Client(s) => Pin::new(s).poll_read(cx, buf),
            Stream::Server(s) => Pin::new(s).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Stream::Plain(s) => Pin::new(s).poll_write(cx, buf),
            Stream::Client(s) => Pin::new(s).poll_write(cx, buf),
            Stream::Server(s) => Pin::new(s).poll_write(cx, buf),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Stream::Plain(s) => Pin::new(s).poll_flush(cx),
            Stream::Client(s) => Pin::new(s).poll_flush(cx),
            Stream::Server(s) => Pin::new(s).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Stream::Plain(s) => Pin::new(s).poll_shutdown(cx),
            Stream::Client(s) => Pin::new(s).poll_shutdown(cx),
            Stream::Server(s) => Pin::new(s).poll_shutdown(cx),
        }
    }
}

/// A CA made for one run: its certificate in PEM form for clients, and a server configuration signed by it.
#[derive(Debug)]
pub struct ThrowAwayCa {
    /// The CA's certificate in PEM form.
    pub ca_pem: String,
    /// For the server, good for the names given.
    pub server: Arc<ServerConfig>,
}

impl ThrowAwayCa {
    /// Makes a CA and a certificate for `names` (host names or addresses).
    pub fn new(names: &[&str]) -> Result<ThrowAwayCa, NetError> {
        let wrong = |reason: String| NetError::CaFile { path: "throw-away CA".to_owned(), reason };
        let failed = |e: rcgen::Error| wrong(e.to_string());
        let ca_key = rcgen::KeyPair::generate().map_err(failed)?;
        let mut ca = rcgen::CertificateParams::new(Vec::<String>::new()).map_err(failed)?;
        ca.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        ca.distinguished_name.push(rcgen::DnType::CommonName, "qcat sim throw-away CA");
        let ca_certificate = ca.self_signed(&ca_key).map_err(failed)?;
        let issuer = rcgen::Issuer::new(ca, ca_key);
        let key = rcgen::KeyPair::generate().map_err(failed)?;
        let names: Vec<String> = names.iter().map(|n| (*n).to_owned()).collect();
        let leaf = rcgen::CertificateParams::new(names).map_err(failed)?.signed_by(&key, &issuer).map_err(failed)?;
        let private = PrivateKeyDer::try_from(key.serialize_der()).map_err(|e| wrong(e.to_owned()))?;
        let server = ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .expect("ring supports the default TLS versions")
            .with_no_client_auth()
            .with_single_cert(vec![leaf.der().clone()], private)
            .map_err(|e| wrong(e.to_string()))?;
        Ok(ThrowAwayCa { ca_pem: ca_certificate.pem(), server: Arc::new(server) })
    }
}
