//! A client for one question over TLS, and Go's words for what can go wrong with it.

use std::{error::Error, io, sync::Arc, time::Duration};

use rustls::{
    AlertDescription, CertificateError, ClientConfig, RootCertStore,
    pki_types::ServerName,
    sign::{CertifiedKey, SingleCertAndKey},
};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};
use tokio_rustls::TlsConnector;

use crate::files;

/// The longest answer that is read.
const ANSWER_BYTES: u64 = 16 * 1024 * 1024;
const PATIENCE: Duration = Duration::from_secs(2);

/// A server to ask, and how.
pub(crate) struct Endpoint {
    url: String,
    address: String,
    tls: Option<(Arc<ClientConfig>, ServerName<'static>)>,
}

/// What a server answered.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: String,
}

/// Why there is no answer.
#[derive(Debug)]
pub(crate) enum Failure {
    /// Nobody answers; it may pass.
    Unreachable(String),
    /// One side does not accept the other's certificate; it will not pass.
    Rejected(String),
}

impl Failure {
    pub(crate) fn words(&self) -> &str {
        match self {
            Self::Unreachable(words) | Self::Rejected(words) => words,
        }
    }
}

impl Endpoint {
    /// `url` is `https://host:port` or, for etcd alone, `http://host:port`. `expected` is the
    /// name that the server's certificate must hold, where it is not the host.
    pub(crate) fn new(
        url: &str,
        roots: Option<RootCertStore>,
        pair: Option<CertifiedKey>,
        expected: Option<&str>,
    ) -> Result<Self, String> {
        let wrong = || format!("parse {url:?}: invalid URL");
        let (scheme, rest) = url.split_once("://").ok_or_else(wrong)?;
        let authority = rest.split('/').next().unwrap_or_default();
        let (host, port) = match authority.rsplit_once(':') {
            Some((host, port)) if !port.ends_with(']') => {
                (host, port.parse().map_err(|_| wrong())?)
            }
            _ => (authority, if scheme == "https" { 443_u16 } else { 80 }),
        };
        let host = host.trim_matches(['[', ']']);
        let address = if host.contains(':') {
            format!("[{host}]:{port}")
        } else {
            format!("{host}:{port}")
        };
        let url = format!("{scheme}://{authority}");
        if scheme == "http" {
            return Ok(Self {
                url,
                address,
                tls: None,
            });
        }
        let name =
            ServerName::try_from(expected.unwrap_or(host).to_owned()).map_err(|_| wrong())?;
        let builder =
            ClientConfig::builder_with_provider(rustls::crypto::ring::default_provider().into())
                .with_safe_default_protocol_versions()
                .map_err(|error| error.to_string())?
                .with_root_certificates(roots.unwrap_or_else(RootCertStore::empty));
        let config = match pair {
            Some(pair) => builder.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(pair))),
            None => builder.with_no_client_auth(),
        };
        Ok(Self {
            url,
            address,
            tls: Some((Arc::new(config), name)),
        })
    }

    /// Asks for a path. The whole of it is given two seconds.
    pub(crate) async fn get(&self, path: &str) -> Result<Answer, Failure> {
        let host = &self.address;
        let request = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
        self.ask(path, &request).await
    }

    /// Sends JSON to a path, in the same time. Who is spoken to in HTTP/1.0 answers in one piece.
    pub(crate) async fn send(&self, verb: &str, path: &str, body: &str) -> Result<Answer, Failure> {
        let (host, length) = (&self.address, body.len());
        let request = format!(
            "{verb} {path} HTTP/1.0\r\nHost: {host}\r\nContent-Type: application/json\r\n\
             Content-Length: {length}\r\n\r\n{body}"
        );
        self.ask(path, &request).await
    }

    async fn ask(&self, path: &str, request: &str) -> Result<Answer, Failure> {
        let asked = timeout(PATIENCE, self.exchange(request)).await;
        let asked = asked.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
        asked.map_err(|error| self.failure(path, &error))
    }

    async fn exchange(&self, request: &str) -> io::Result<Answer> {
        let stream = TcpStream::connect(&self.address).await?;
        let Some((config, name)) = &self.tls else {
            return talk(stream, request).await;
        };
        let connector = TlsConnector::from(config.clone());
        talk(connector.connect(name.clone(), stream).await?, request).await
    }

    fn failure(&self, path: &str, error: &io::Error) -> Failure {
        let tls = error
            .get_ref()
            .and_then(|inner| inner.downcast_ref::<rustls::Error>());
        let told = |words: &str| format!("Get \"{}{path}\": {words}", self.url);
        match tls {
            Some(tls) => Failure::Rejected(told(&words(tls))),
            None if error.kind() == io::ErrorKind::TimedOut => {
                Failure::Unreachable(told("context deadline exceeded"))
            }
            None => {
                let reason = files::reason(error);
                Failure::Unreachable(told(&format!("dial tcp {}: {reason}", self.address)))
            }
        }
    }
}

async fn talk(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    request: &str,
) -> io::Result<Answer> {
    let sent = stream.write_all(request.as_bytes()).await;
    let mut bytes = Vec::new();
    // A peer that closes without ceremony after a whole answer has answered. One that hung up
    // before it had the whole request may have said why: TLS 1.3 tells only then whether it takes
    // a client's certificate.
    match stream.take(ANSWER_BYTES).read_to_end(&mut bytes).await {
        Err(error) if error.kind() != io::ErrorKind::UnexpectedEof => return Err(error),
        _ => sent?,
    }
    let text = String::from_utf8_lossy(&bytes);
    let status = text
        .split(' ')
        .nth(1)
        .and_then(|status| status.parse().ok());
    let body = text
        .split_once("\r\n\r\n")
        .map(|(_, body)| body.trim().to_owned());
    let (Some(status), Some(body)) = (status, body) else {
        return Err(io::ErrorKind::UnexpectedEof.into());
    };
    Ok(Answer { status, body })
}

/// Go's words for a TLS failure.
fn words(error: &rustls::Error) -> String {
    match error {
        rustls::Error::InvalidCertificate(error) => match error {
            CertificateError::UnknownIssuer | CertificateError::BadSignature => {
                "x509: certificate signed by unknown authority".into()
            }
            CertificateError::Expired
            | CertificateError::ExpiredContext { .. }
            | CertificateError::NotValidYet
            | CertificateError::NotValidYetContext { .. } => {
                "x509: certificate has expired or is not yet valid".into()
            }
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                format!("x509: certificate is not valid for this name: {error}")
            }
            CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => {
                "x509: certificate specifies an incompatible key usage".into()
            }
            other => format!("x509: {other}"),
        },
        rustls::Error::AlertReceived(alert) => {
            let alert = match alert {
                AlertDescription::BadCertificate => "bad certificate".to_owned(),
                AlertDescription::UnknownCA => "unknown certificate authority".to_owned(),
                AlertDescription::CertificateRequired => "certificate required".to_owned(),
                other => format!("{other:?}"),
            };
            format!("remote error: tls: {alert}")
        }
        other => other
            .source()
            .map_or_else(|| other.to_string(), ToString::to_string),
    }
}
