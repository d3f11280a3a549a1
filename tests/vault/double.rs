//! A double of Vault's HTTP API: logging in by userpass, and issuing from PKI engines, as its
//! documents have them (`/auth/userpass/login/:username`, `/:mount/issue/:role`).
//!
//! What it does not show of the real one: policies in their language, engines that are tuned or
//! mounted while it runs, storage, audit and replication, namespaces, leases of tokens that end,
//! limits of requests, and the many settings of a role beyond those of [`Role`]. Its messages are
//! those of Vault's source (`builtin/logical/pki/cert_util.go`, `vault/request_handling.go`), its
//! certificates have as much in them as kinstall looks at.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use fs_err as fs;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, SanType,
};
use serde_json::{Value, json};
use time::OffsetDateTime;

/// The token that may do anything.
pub(crate) const ROOT: &str = "hvs.root-of-the-double";

/// What a role allows and adds.
#[derive(Clone, Default)]
pub(crate) struct Role {
    pub(crate) organization: Option<&'static str>,
    /// Only a client's.
    pub(crate) client_only: bool,
    /// Names that it refuses.
    pub(crate) refuses: Vec<String>,
    pub(crate) hours_max: Option<i64>,
}

/// How it is today.
#[derive(Clone, Default)]
pub(crate) struct Moods {
    pub(crate) sealed: bool,
    /// How long each answer takes.
    pub(crate) slow: Option<Duration>,
    /// It answers something that is no JSON of Vault's.
    pub(crate) babble: bool,
    /// It sends on to this address.
    pub(crate) redirect: Option<String>,
}

struct Engine {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
    root_pem: String,
}

#[derive(Default)]
struct State {
    moods: Moods,
    engines: BTreeMap<String, Engine>,
    roles: BTreeMap<String, Role>,
    users: BTreeMap<String, String>,
    /// What was asked: path and body.
    asked: Vec<(String, Value)>,
}

/// The double; it ends when it is dropped.
pub(crate) struct Double {
    address: SocketAddr,
    is_tls: bool,
    state: Arc<Mutex<State>>,
    closed: Arc<AtomicBool>,
    server: Option<JoinHandle<()>>,
}

impl Double {
    pub(crate) fn start() -> Self {
        Self::listen(None)
    }

    /// With TLS; the certificate of its authority is written into a file.
    pub(crate) fn start_tls(ca: &Path) -> Self {
        let engine = engine("tls of the double");
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        let loopback = SanType::IpAddress([127, 0, 0, 1].into());
        params.subject_alt_names.push(loopback);
        let certificate = params.signed_by(&key, &engine.issuer).unwrap();
        fs::write(ca, &engine.pem).unwrap();
        let key = rustls::pki_types::PrivatePkcs8KeyDer::from(key.serialize_der());
        let config = rustls::ServerConfig::builder_with_provider(Arc::new(
            rustls::crypto::ring::default_provider(),
        ))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], key.into())
        .unwrap();
        Self::listen(Some(Arc::new(config)))
    }

    fn listen(tls: Option<Arc<rustls::ServerConfig>>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (state, closed) = (Arc::<Mutex<State>>::default(), Arc::<AtomicBool>::default());
        let (shared, ends) = (Arc::clone(&state), Arc::clone(&closed));
        let is_tls = tls.is_some();
        let server = std::thread::spawn(move || {
            for stream in listener.incoming() {
                if ends.load(Ordering::SeqCst) {
                    return;
                }
                let (shared, tls) = (Arc::clone(&shared), tls.clone());
                std::thread::spawn(move || {
                    let stream = stream.ok()?;
                    stream
                        .set_read_timeout(Some(Duration::from_secs(20)))
                        .ok()?;
                    match tls {
                        None => serve(stream, &shared),
                        Some(config) => {
                            let connection = rustls::ServerConnection::new(config).ok()?;
                            serve(rustls::StreamOwned::new(connection, stream), &shared)
                        }
                    }
                });
            }
        });
        Self {
            address,
            is_tls,
            state,
            closed,
            server: Some(server),
        }
    }

    pub(crate) fn url(&self) -> String {
        let scheme = if self.is_tls { "https" } else { "http" };
        format!("{scheme}://{}", self.address)
    }

    pub(crate) fn moods(&self, change: impl FnOnce(&mut Moods)) {
        change(&mut self.state.lock().unwrap().moods);
    }

    /// Mounts an engine, with an authority of its own under a root of its own; one that was
    /// there is replaced.
    pub(crate) fn mount(&self, path: &str) {
        let engine = engine(path);
        let mut state = self.state.lock().unwrap();
        state.engines.insert(path.to_owned(), engine);
    }

    pub(crate) fn authority_pem(&self, path: &str) -> String {
        self.state.lock().unwrap().engines[path].pem.clone()
    }

    pub(crate) fn role(&self, name: &str, role: Role) {
        let mut state = self.state.lock().unwrap();
        state.roles.insert(name.to_owned(), role);
    }

    /// A user, who may ask roles that begin with the same name.
    pub(crate) fn user(&self, name: &str, password: &str) {
        let mut state = self.state.lock().unwrap();
        state.users.insert(name.to_owned(), password.to_owned());
    }

    /// What was asked since the last time.
    pub(crate) fn asked(&self) -> Vec<(String, Value)> {
        std::mem::take(&mut self.state.lock().unwrap().asked)
    }

    /// Certificates that were asked for since the last time.
    pub(crate) fn issues(&self) -> usize {
        let asked = self.asked();
        asked
            .iter()
            .filter(|(path, _)| path.contains("/issue/"))
            .count()
    }
}

impl Drop for Double {
    fn drop(&mut self) {
        self.closed.store(true, Ordering::SeqCst);
        drop(std::net::TcpStream::connect(self.address));
        drop(self.server.take().map(JoinHandle::join));
    }
}

fn engine(name: &str) -> Engine {
    let authority = |name: String| {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params
    };
    let (root_key, key) = (KeyPair::generate().unwrap(), KeyPair::generate().unwrap());
    let root = authority(format!("Root of {name}"));
    let root_pem = root.self_signed(&root_key).unwrap().pem();
    let root = Issuer::new(root, root_key);
    let own = authority(format!("Intermediate CA for {name}"));
    let pem = own.signed_by(&key, &root).unwrap().pem();
    Engine {
        issuer: Issuer::new(own, key),
        pem,
        root_pem,
    }
}

fn serve(stream: impl Read + Write, state: &Mutex<State>) -> Option<()> {
    let mut stream = BufReader::new(stream);
    loop {
        let mut line = String::new();
        stream
            .read_line(&mut line)
            .ok()
            .filter(|count| *count > 0)?;
        let path = line.split(' ').nth(1)?.to_owned();
        let (mut length, mut token) = (0, None);
        loop {
            let mut header = String::new();
            stream.read_line(&mut header).ok()?;
            let header = header.trim_end();
            if header.is_empty() {
                break;
            }
            let (name, value) = header.split_once(": ")?;
            match name.to_lowercase().as_str() {
                "content-length" => length = value.parse().ok()?,
                "x-vault-token" => token = Some(value.to_owned()),
                _ => {}
            }
        }
        let mut body = vec![0; length];
        stream.read_exact(&mut body).ok()?;
        let body: Value = serde_json::from_slice(&body).unwrap_or_default();
        let moods = state.lock().unwrap().moods.clone();
        if let Some(pause) = moods.slow {
            std::thread::sleep(pause);
        }
        let mut headers = String::new();
        let (status, text) = if let Some(to) = moods.redirect {
            headers = format!("location: {to}{path}\r\n");
            (307, String::new())
        } else if moods.babble {
            (200, "<html>It works! secret-of-nobody</html>".to_owned())
        } else {
            let (status, answer) = answer(&mut state.lock().unwrap(), &path, token, &body);
            (status, answer.to_string())
        };
        let length = text.len();
        let head = format!("HTTP/1.1 {status} X\r\n{headers}content-length: {length}\r\n\r\n");
        let stream = stream.get_mut();
        stream.write_all((head + &text).as_bytes()).ok()?;
        stream.flush().ok()?;
    }
}

fn refuse(status: u16, why: impl Into<String>) -> (u16, Value) {
    (status, json!({"errors": [why.into()]}))
}

fn answer(state: &mut State, path: &str, token: Option<String>, body: &Value) -> (u16, Value) {
    if state.moods.sealed {
        return refuse(503, "Vault is sealed");
    }
    state.asked.push((path.to_owned(), body.clone()));
    if let Some(user) = path.strip_prefix("/v1/auth/userpass/login/") {
        let is_right = state
            .users
            .get(user)
            .is_some_and(|password| body["password"] == **password);
        return if is_right {
            (
                200,
                json!({"auth": {"client_token": format!("hvs.of-{user}"), "policies": ["default"],
                "lease_duration": 2_764_800, "renewable": true}}),
            )
        } else {
            refuse(400, "invalid username or password")
        };
    }
    let Some((mount, role)) = path
        .strip_prefix("/v1/")
        .and_then(|rest| rest.split_once("/issue/"))
    else {
        return refuse(404, "unsupported path");
    };
    let token = token.unwrap_or_default();
    let user = token.strip_prefix("hvs.of-").unwrap_or_default();
    let own = user
        .strip_suffix("-user")
        .is_some_and(|own| role.starts_with(own));
    if token != ROOT && !own {
        return refuse(403, "1 error occurred:\n\t* permission denied\n\n");
    }
    let Some(engine) = state.engines.get(mount) else {
        let why = format!("no handler for route \"{mount}/issue/{role}\". route entry not found.");
        return refuse(404, why);
    };
    match state.roles.get(role) {
        None => refuse(400, format!("unknown role: {role}")),
        Some(role) => issue(engine, role, body),
    }
}

fn issue(engine: &Engine, role: &Role, body: &Value) -> (u16, Value) {
    let word = |key: &str| body[key].as_str().unwrap_or_default().to_owned();
    let name = word("common_name");
    if role.refuses.contains(&name) {
        return refuse(400, format!("common name {name} not allowed by this role"));
    }
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, &name);
    if let Some(organization) = role.organization {
        params
            .distinguished_name
            .push(DnType::OrganizationName, organization);
    }
    for alternative in word("alt_names").split(',').filter(|name| !name.is_empty()) {
        if role.refuses.iter().any(|refused| refused == alternative) {
            let why = format!("subject alternate name {alternative} not allowed by this role");
            return refuse(400, why);
        }
        let dns = SanType::DnsName(alternative.try_into().unwrap());
        params.subject_alt_names.push(dns);
    }
    for address in word("ip_sans").split(',').filter(|it| !it.is_empty()) {
        let address: IpAddr = address.parse().unwrap();
        params.subject_alt_names.push(SanType::IpAddress(address));
    }
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![
        KeyUsagePurpose::DigitalSignature,
        KeyUsagePurpose::KeyEncipherment,
    ];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    if !role.client_only {
        params
            .extended_key_usages
            .push(ExtendedKeyUsagePurpose::ServerAuth);
    }
    let hours: i64 = word("ttl").trim_end_matches('h').parse().unwrap();
    let hours = role.hours_max.map_or(hours, |most| hours.min(most));
    let now = OffsetDateTime::now_utc();
    // `not_before_duration`, by default.
    params.not_before = now - time::Duration::seconds(30);
    params.not_after = now + time::Duration::hours(hours);
    let key = KeyPair::generate().unwrap();
    let certificate = params.signed_by(&key, &engine.issuer).unwrap();
    let pem = |pem: &str| pem.trim_end().to_owned();
    let data = json!({
        "ca_chain": [pem(&engine.pem), pem(&engine.root_pem)],
        "certificate": pem(&certificate.pem()),
        "expiration": params_end(now, hours),
        "issuing_ca": pem(&engine.pem),
        "private_key": pem(&key.serialize_pem()),
        "private_key_type": "ec",
        "serial_number": "3b:f4:6d:6d",
    });
    let answer = json!({"request_id": "0454e996-7bbc-d3ca-8830-cc2d544b2763", "lease_id": "",
        "lease_duration": 0, "renewable": false, "data": data, "warnings": null});
    (200, answer)
}

fn params_end(now: OffsetDateTime, hours: i64) -> i64 {
    (now + time::Duration::hours(hours)).unix_timestamp()
}
