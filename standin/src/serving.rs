//! The HTTPS side of all three servers: its certificate, its port, its connections.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use rustls::{
    ServerConfig,
    pki_types::CertificateDer,
    sign::{CertifiedKey, SingleCertAndKey},
};
use tokio::{
    net::{TcpListener, TcpStream},
    time::timeout,
};
use tokio_rustls::TlsAcceptor;

use crate::{
    arguments::Arguments,
    files,
    http::{self, Asked, Response},
    log::klog,
    refusal::Refusal,
    user::AnyClient,
};

/// How long a connection may take for all it does.
const PATIENCE: Duration = Duration::from_secs(10);

/// TLS suites of 1.2 and 1.3 by Go's names: what `--tls-cipher-suites` may hold.
const SUITES: [&str; 17] = [
    "TLS_AES_128_GCM_SHA256",
    "TLS_AES_256_GCM_SHA384",
    "TLS_CHACHA20_POLY1305_SHA256",
    "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA",
    "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256",
    "TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA",
    "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384",
    "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305",
    "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256",
    "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA",
    "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256",
    "TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA",
    "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384",
    "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305",
    "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256",
    "TLS_RSA_WITH_AES_128_GCM_SHA256",
    "TLS_RSA_WITH_AES_256_GCM_SHA384",
];

/// Answers requests.
pub(crate) trait Handler {
    /// Answers one by someone who showed these certificates.
    async fn answer(&self, asked: Asked, shown: Option<&[CertificateDer<'_>]>) -> Response;
}

/// The TLS side, from `--tls-cert-file`, `--tls-private-key-file` and the floor of versions.
/// Without a certificate, one is made in memory.
pub(crate) fn tls(arguments: &Arguments) -> Result<Arc<ServerConfig>, Refusal> {
    for suite in arguments.list("tls-cipher-suites") {
        if !SUITES.contains(&suite) {
            let words = format!("Cipher suite {suite} not supported or doesn't exist");
            return Err(Refusal::start(words));
        }
    }
    let versions: &[_] = match arguments.get("tls-min-version") {
        None | Some("VersionTLS10" | "VersionTLS11" | "VersionTLS12") => rustls::ALL_VERSIONS,
        Some("VersionTLS13") => &[&rustls::version::TLS13],
        Some(other) => return Err(Refusal::start(format!("unknown tls version {other:?}"))),
    };
    let pair = match (
        arguments.get("tls-cert-file"),
        arguments.get("tls-private-key-file"),
    ) {
        (Some(certificate), Some(key)) => {
            let read = |path| files::read(path).map_err(Refusal::start);
            files::pair(&read(certificate)?, &read(key)?).map_err(Refusal::start)?
        }
        (None, None) => self_signed().map_err(|error| {
            Refusal::start(format!("error creating self-signed certificates: {error}"))
        })?,
        _ => {
            return Err(Refusal::start(
                "tls-cert-file and tls-private-key-file must be specified together",
            ));
        }
    };
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(versions)
        .map_err(|error| Refusal::start(error.to_string()))?
        .with_client_cert_verifier(Arc::new(AnyClient(provider)))
        .with_cert_resolver(Arc::new(SingleCertAndKey::from(pair)));
    Ok(Arc::new(config))
}

fn self_signed() -> Result<CertifiedKey, String> {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]);
    let made = made.map_err(|error| error.to_string())?;
    files::pair(
        made.cert.pem().as_bytes(),
        made.signing_key.serialize_pem().as_bytes(),
    )
}

/// Takes the port.
pub(crate) async fn listen(arguments: &Arguments, port: u16) -> Result<TcpListener, Refusal> {
    let address = arguments
        .address("bind-address")
        .unwrap_or([0, 0, 0, 0].into());
    let address = SocketAddr::new(address, arguments.port(port)?);
    TcpListener::bind(address).await.map_err(|error| {
        let reason = if error.kind() == std::io::ErrorKind::AddrInUse {
            "bind: address already in use".to_owned()
        } else {
            files::reason(&error)
        };
        Refusal::start(format!(
            "failed to create listener: failed to listen on {address}: listen tcp {address}: \
             {reason}"
        ))
    })
}

/// Serves until it is dropped.
pub(crate) async fn serve(
    listener: TcpListener,
    tls: Arc<ServerConfig>,
    handler: Arc<impl Handler + 'static>,
) {
    let tasks = tokio::task::LocalSet::new();
    let accept = async {
        loop {
            match listener.accept().await {
                Ok((stream, _)) => {
                    let (tls, handler) = (tls.clone(), handler.clone());
                    tokio::task::spawn_local(async move {
                        let _ = timeout(PATIENCE, converse(stream, tls, handler)).await;
                    });
                }
                Err(error) => {
                    // Out of descriptors: those in use are given back soon.
                    klog('W', "server.go:1", &format!("accept: {error}"));
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        }
    };
    tasks.run_until(accept).await;
}

async fn converse(stream: TcpStream, tls: Arc<ServerConfig>, handler: Arc<impl Handler>) {
    let peer = stream
        .peer_addr()
        .map(|peer| peer.to_string())
        .unwrap_or_default();
    let mut stream = match TlsAcceptor::from(tls).accept(stream).await {
        Ok(stream) => stream,
        Err(error) => {
            klog(
                'I',
                "log.go:194",
                &format!("http: TLS handshake error from {peer}: {error}"),
            );
            return;
        }
    };
    let Ok(asked) = http::asked(&mut stream).await else {
        return;
    };
    let shown = stream.get_ref().1.peer_certificates();
    let response = handler.answer(asked, shown).await;
    let _ = http::answer(&mut stream, response).await;
}
