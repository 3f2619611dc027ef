//! TLS to PostgreSQL in the words of libpq's `sslmode`.
//!
//! Tests: in the contract suite, against a server with a certificate of its own.

use crate::store::{SslMode, StoreError};
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};
use std::path::Path;
use std::sync::Arc;
use tokio_postgres_rustls::MakeRustlsConnect;

/// What is verified of the server's certificate, besides that the server has its key.
#[derive(Debug)]
enum Verifier {
    /// Nothing.
    None(Arc<CryptoProvider>),
    /// That it comes from a known authority; for whom does not matter.
    Chain(Arc<WebPkiServerVerifier>),
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let Verifier::Chain(verifier) = self else { return Ok(ServerCertVerified::assertion()) };
        // Names are looked at last, so one that differs means that all else is well.
        match verifier.verify_server_cert(certificate, intermediates, name, ocsp, now) {
            Err(Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) => Ok(ServerCertVerified::assertion()),
            verified => verified,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        match self {
            Verifier::None(p) => {
                verify_tls12_signature(message, certificate, signed, &p.signature_verification_algorithms)
            }
            Verifier::Chain(verifier) => verifier.verify_tls12_signature(message, certificate, signed),
        }
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        match self {
            Verifier::None(p) => {
                verify_tls13_signature(message, certificate, signed, &p.signature_verification_algorithms)
            }
            Verifier::Chain(verifier) => verifier.verify_tls13_signature(message, certificate, signed),
        }
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        match self {
            Verifier::None(provider) => provider.signature_verification_algorithms.supported_schemes(),
            Verifier::Chain(verifier) => verifier.supported_verify_schemes(),
        }
    }
}

fn roots(ca_file: Option<&Path>) -> Result<RootCertStore, StoreError> {
    let Some(path) = ca_file else {
        return Ok(RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() });
    };
    let wrong = |reason: String| StoreError::Refused(format!("the certificates of {}: {reason}", path.display()));
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(path).map_err(|e| wrong(e.to_string()))? {
        let certificate = certificate.map_err(|e| wrong(e.to_string()))?;
        roots.add(certificate).map_err(|e| wrong(e.to_string()))?;
    }
    if roots.is_empty() { Err(wrong("there is none in PEM form".to_owned())) } else { Ok(roots) }
}

/// How to make connections of a mode.
pub(super) fn connector(mode: &SslMode) -> Result<MakeRustlsConnect, StoreError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .expect("ring supports the default TLS versions");
    let config = match mode {
        SslMode::VerifyFull { ca_file } => config.with_root_certificates(roots(ca_file.as_deref())?),
        SslMode::VerifyCa { ca_file } => {
            let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots(ca_file.as_deref())?), provider);
            let verifier = verifier.build().map_err(|e| StoreError::Refused(e.to_string()))?;
            config.dangerous().with_custom_certificate_verifier(Arc::new(Verifier::Chain(verifier)))
        }
        SslMode::Disable | SslMode::Prefer | SslMode::Require => {
            config.dangerous().with_custom_certificate_verifier(Arc::new(Verifier::None(provider)))
        }
    };
    Ok(MakeRustlsConnect::new(config.with_no_client_auth()))
}
