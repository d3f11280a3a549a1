//! What a process really shows: its certificate, taken from a TLS handshake through the node's SSH
//! connection. A file that was renewed under a process that did not notice shows here.

use std::net::IpAddr;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, Error, SignatureScheme};
use tokio::net::UnixStream;
use tokio_rustls::TlsConnector;

use super::on_node;
use crate::transport::{self, Transport};

/// How long a handshake may take, in seconds.
const HANDSHAKE_SECONDS: u64 = 5;

/// What a port shows.
pub enum Served {
    /// A certificate, in PEM.
    Certificate(String),
    /// Why there is none.
    Nothing(String),
    /// Why nobody knows.
    NotAsked(String),
}

/// The certificate that is served on a port of an address of the node.
///
/// No client certificate is shown: the server's comes before it asks for one.
pub async fn served(
    transport: &Transport,
    address: IpAddr,
    port: u16,
) -> Result<Served, transport::Error> {
    let Some(connection) = transport.ssh() else {
        return Ok(Served::NotAsked("nothing runs in a directory".to_owned()));
    };
    let socket = connection.forward_to(address, port).await?;
    let limit = Duration::from_secs(HANDSHAKE_SECONDS);
    let shown = tokio::time::timeout(limit, shown(&socket)).await;
    let why = match shown.unwrap_or_else(|_| Err("no answer".to_owned())) {
        Ok(pem) => return Ok(Served::Certificate(pem)),
        Err(why) => why,
    };
    if !connection.is_forbidden(address, port).await? {
        return Ok(Served::Nothing(why));
    }
    if !on_node::Tools::of(transport).await?.has_openssl() {
        let why = "sshd forbids forwarding to it, and the node has no openssl to look with";
        return Ok(Served::NotAsked(why.to_owned()));
    }
    let pem = on_node::certificate(transport, address, port).await?;
    Ok(pem.map_or_else(
        || Served::Nothing("no handshake".to_owned()),
        Served::Certificate,
    ))
}

async fn shown(socket: &Path) -> Result<String, String> {
    let witness = Arc::new(Witness::default());
    let provider = Arc::new(ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .dangerous()
        .with_custom_certificate_verifier(Arc::clone(&witness) as Arc<dyn ServerCertVerifier>)
        .with_no_client_auth();
    let stream = UnixStream::connect(socket).await;
    let stream = stream.map_err(|error| error.to_string())?;
    let name = ServerName::try_from("localhost").expect("`localhost` is a name");
    let outcome = TlsConnector::from(Arc::new(config))
        .connect(name, stream)
        .await;
    // A server that wants a client's certificate may end it, having shown its own.
    let seen = witness
        .seen
        .lock()
        .map(|seen| seen.clone())
        .unwrap_or_default();
    match (seen, outcome) {
        (Some(der), _) => Ok(pem(&der)),
        (None, Err(error)) => Err(error.to_string()),
        (None, Ok(_)) => Err("it showed no certificate".to_owned()),
    }
}

/// Believes anything, and remembers it: nothing is said or asked over such a connection.
#[derive(Debug, Default)]
struct Witness {
    seen: Mutex<Option<Vec<u8>>>,
}

impl ServerCertVerifier for Witness {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        if let Ok(mut seen) = self.seen.lock() {
            *seen = Some(end_entity.to_vec());
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = provider().signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signed, &algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = provider().signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signed, &algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        provider()
            .signature_verification_algorithms
            .supported_schemes()
    }
}

fn provider() -> CryptoProvider {
    ring::default_provider()
}

fn pem(der: &[u8]) -> String {
    let text = STANDARD.encode(der);
    let mut pem = "-----BEGIN CERTIFICATE-----\n".to_owned();
    for line in text.as_bytes().chunks(64) {
        pem.push_str(&String::from_utf8_lossy(line));
        pem.push('\n');
    }
    pem + "-----END CERTIFICATE-----\n"
}
