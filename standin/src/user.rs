//! Who asks: the client certificate is taken at the handshake whatever it is, and judged when
//! the request comes, as Kubernetes does. A bad one is answered with 401, not with an alert.

use std::sync::Arc;

use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, RootCertStore,
    SignatureScheme,
    client::danger::HandshakeSignatureValid,
    crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, UnixTime},
    server::{
        WebPkiClientVerifier,
        danger::{ClientCertVerified, ClientCertVerifier},
    },
};
use x509_parser::prelude::{FromDer as _, X509Certificate};

/// Someone who showed a certificate that is good.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct User {
    pub(crate) name: String,
    pub(crate) groups: Vec<String>,
}

/// Judges client certificates against `--client-ca-file`.
#[derive(Debug)]
pub(crate) struct Judge(Option<Arc<dyn ClientCertVerifier>>);

impl Judge {
    pub(crate) fn new(authorities: Option<RootCertStore>) -> Result<Self, String> {
        let Some(roots) = authorities else {
            return Ok(Self(None));
        };
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
        verifier
            .build()
            .map(|verifier| Self(Some(verifier)))
            .map_err(|error| error.to_string())
    }

    /// Nobody, someone, or why the certificate is not good.
    pub(crate) fn user(&self, shown: Option<&[CertificateDer<'_>]>) -> Result<Option<User>, Error> {
        let (Some(verifier), Some([leaf, chain @ ..])) = (&self.0, shown) else {
            return Ok(None);
        };
        verifier.verify_client_cert(leaf, chain, UnixTime::now())?;
        let (_, parsed) = X509Certificate::from_der(leaf)
            .map_err(|_| Error::InvalidCertificate(CertificateError::BadEncoding))?;
        let subject = parsed.subject();
        let text = |value: &x509_parser::x509::AttributeTypeAndValue<'_>| {
            value.as_str().unwrap_or_default().to_owned()
        };
        let name = subject
            .iter_common_name()
            .next()
            .map(text)
            .unwrap_or_default();
        Ok(Some(User {
            name,
            groups: subject.iter_organization().map(text).collect(),
        }))
    }
}

/// Asks for a certificate and takes any, or none.
#[derive(Debug)]
pub(crate) struct AnyClient(pub(crate) Arc<CryptoProvider>);

impl ClientCertVerifier for AnyClient {
    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
