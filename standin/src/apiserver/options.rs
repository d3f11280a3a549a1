//! kube-apiserver's flags and the files they name, judged before anything is started.

use std::{net::IpAddr, sync::Arc, time::Duration};

use fs_err as fs;
use kinstall::version::Version;
use rustls::ServerConfig;

use super::etcd::Etcd;
use crate::{
    arguments::{Arguments, is_from},
    client::Endpoint,
    encryption::{self, Keyring},
    files::{self, Usage},
    manifest,
    refusal::Refusal,
    serving,
    user::Judge,
};

const MODES: [&str; 6] = [
    "ABAC",
    "AlwaysAllow",
    "AlwaysDeny",
    "Node",
    "RBAC",
    "Webhook",
];

/// What is left to know once all is judged.
pub(crate) struct Options {
    pub(crate) tls: Arc<ServerConfig>,
    pub(crate) judge: Judge,
    pub(crate) etcd: Arc<Etcd>,
    /// Where everything is kept in etcd.
    pub(crate) prefix: String,
    /// What Secrets are stored with.
    pub(crate) keyring: Keyring,
    pub(crate) anonymous: bool,
    pub(crate) shutdown_delay: Duration,
}

impl Options {
    pub(crate) fn read(version: Version, arguments: &Arguments) -> Result<Self, Refusal> {
        let missing = missing(version, arguments);
        if !missing.is_empty() {
            return Err(Refusal::Start(missing));
        }
        if arguments.get("tls-cert-file").is_none() {
            let directory = arguments.get("cert-dir").unwrap_or("/var/run/kubernetes");
            fs::create_dir_all(directory).map_err(|error| {
                let reason = files::reason(&error);
                Refusal::start(format!(
                    "error creating self-signed certificates: mkdir {directory}: {reason}"
                ))
            })?;
        }
        let judged = judge_files(version, arguments).map_err(Refusal::start)?;
        let modes = arguments.list("authorization-mode");
        let structured = arguments.get("authorization-config").is_some();
        // With AlwaysAllow, which is the default, everyone may do everything but the nameless.
        let open = !structured && (modes.is_empty() || modes.contains(&"AlwaysAllow"));
        Ok(Self {
            tls: serving::tls(arguments)?,
            judge: judged,
            etcd: Arc::new(etcd(arguments).map_err(Refusal::start)?),
            prefix: prefix(arguments),
            keyring: keyring(arguments).map_err(Refusal::start)?,
            anonymous: arguments.is_on("anonymous-auth", true) && !open,
            shutdown_delay: arguments.duration("shutdown-delay-duration"),
        })
    }
}

/// What the flags alone have wrong, all of it at once as the real server reports it.
fn missing(version: Version, arguments: &Arguments) -> Vec<String> {
    let mut wrong: Vec<String> = Vec::new();
    if arguments.list("etcd-servers").is_empty() {
        wrong.push("--etcd-servers must be specified".into());
    }
    if let Err(refusal) = arguments.port(6443) {
        wrong.push(refusal.words());
    }
    for flag in ["insecure-port", "port"] {
        if let Some(port) = arguments.get(flag).filter(|port| *port != "0") {
            wrong.push(format!("invalid port value {port}: only zero is allowed"));
        }
    }
    for mode in arguments.list("authorization-mode") {
        if !MODES.contains(&mode) {
            wrong.push(format!("authorization-mode {mode:?} is not a valid mode"));
        }
    }
    wrong.extend(service_range(version, arguments));
    let issuer = arguments.get("service-account-issuer").is_some();
    let signing = arguments.get("service-account-signing-key-file").is_some();
    let audiences = arguments.get("api-audiences").is_some();
    if !issuer {
        wrong.push("service-account-issuer is a required flag".into());
    }
    if !issuer && !signing && !audiences {
        let both = "--service-account-signing-key-file and --service-account-issuer";
        wrong.push(format!("{both} are required flags"));
    } else if !(issuer && signing) {
        let all =
            "--service-account-signing-key-file, --service-account-issuer, and --api-audiences";
        wrong.push(format!("{all} should be specified together"));
    }
    // The real server falls back to its TLS key here, which then verifies no token.
    if arguments.get("service-account-key-file").is_none() {
        wrong.push("--service-account-key-file is a required flag".into());
    }
    wrong
}

/// The service range must be one, and from 1.24 on of the family of the advertised address.
fn service_range(version: Version, arguments: &Arguments) -> Option<String> {
    let range = *arguments.list("service-cluster-ip-range").first()?;
    let parsed = range.split_once('/').and_then(|(address, bits)| {
        let address: IpAddr = address.parse().ok()?;
        let most = if address.is_ipv4() { 32 } else { 128 };
        bits.parse::<u8>()
            .ok()
            .filter(|bits| *bits <= most)
            .map(|_| address)
    });
    let Some(first) = parsed else {
        return Some(format!("invalid CIDR address: {range}"));
    };
    let advertised = arguments.address("advertise-address")?;
    let differs = is_from(version, 24) && first.is_ipv4() != advertised.is_ipv4();
    differs.then(|| {
        format!(
            "service IP family {range:?} must match public address family {:?}",
            advertised.to_string()
        )
    })
}

/// What the files have wrong, one after the other; the answer judges client certificates.
fn judge_files(version: Version, arguments: &Arguments) -> Result<Judge, String> {
    files::check_readable(arguments)?;
    files::check_pair(
        arguments,
        "tls-cert-file",
        "tls-private-key-file",
        Usage::Server,
    )?;
    files::check_pair(arguments, "etcd-certfile", "etcd-keyfile", Usage::Client)?;
    let (certificate, key) = ("kubelet-client-certificate", "kubelet-client-key");
    files::check_pair(arguments, certificate, key, Usage::Client)?;
    let (certificate, key) = ("proxy-client-cert-file", "proxy-client-key-file");
    files::check_pair(arguments, certificate, key, Usage::Client)?;
    files::check_authorities(arguments, "kubelet-certificate-authority")?;
    files::check_authorities(arguments, "requestheader-client-ca-file")?;
    check_overlap(version, arguments)?;
    check_service_accounts(arguments)?;
    check_audit(version, arguments)?;
    if let Some(path) = arguments.get("encryption-provider-config") {
        encryption::check(&files::read(path)?, version).map_err(|reason| {
            let reason = format!("error while parsing file: {reason}");
            let file =
                format!("error while parsing encryption provider configuration file {path:?}");
            if is_from(version, 23) {
                reason
            } else {
                format!("{file}: {reason}")
            }
        })?;
    }
    let roots = files::check_authorities(arguments, "client-ca-file")?;
    Judge::new(roots)
}

/// With one CA for clients and for the front proxy, any client could speak for anyone.
fn check_overlap(version: Version, arguments: &Arguments) -> Result<(), String> {
    let read = |flag| arguments.get(flag).map(files::read).transpose();
    let (Some(ours), Some(proxy)) = (
        read("client-ca-file")?,
        read("requestheader-client-ca-file")?,
    ) else {
        return Ok(());
    };
    let (ours, proxy) = (files::certificates(&ours)?, files::certificates(&proxy)?);
    let shared = ours.iter().any(|one| proxy.contains(one));
    if shared && is_from(version, 35) && arguments.list("requestheader-allowed-names").is_empty() {
        return Err(
            "--requestheader-client-ca-file and --client-ca-file contain overlapping \
                    certificates; --requestheader-allowed-names must be specified to ensure \
                    regular client certificates cannot set authenticating proxy headers for \
                    arbitrary users"
                .into(),
        );
    }
    Ok(())
}

/// The real server does not compare the two; its tokens are then refused by itself. Here that is
/// a reason not to start, so that a test sees it.
fn check_service_accounts(arguments: &Arguments) -> Result<(), String> {
    let path = arguments
        .get("service-account-signing-key-file")
        .unwrap_or_default();
    let public = files::public_half(&files::read(path)?)
        .map_err(|reason| format!("failed to parse service-account-issuer-key-file: {reason}"))?;
    let mut keys = Vec::new();
    for path in arguments.list("service-account-key-file") {
        let found = files::public_keys(&files::read(path)?)
            .map_err(|reason| format!("error reading public key file {path}: {reason}"))?;
        keys.extend(found);
    }
    if files::is_among(&public, &keys) {
        return Ok(());
    }
    Err("service-account-signing-key-file and service-account-key-file do not form a pair".into())
}

/// Without a policy nothing is logged, whatever path is given.
fn check_audit(version: Version, arguments: &Arguments) -> Result<(), String> {
    let Some(policy) = arguments.get("audit-policy-file") else {
        return Ok(());
    };
    manifest::check_audit_policy(&files::read(policy)?, version).map_err(|reason| {
        format!("loading audit policy file: failed decoding: {reason}: from file {policy}")
    })?;
    let Some(path) = arguments.get("audit-log-path").filter(|path| *path != "-") else {
        return Ok(());
    };
    let opened = fs::OpenOptions::new().create(true).append(true).open(path);
    opened
        .map(|_| ())
        .map_err(|error| format!("ensureLogFile: open {path}: {}", files::reason(&error)))
}

fn keyring(arguments: &Arguments) -> Result<Keyring, String> {
    let config = arguments.get("encryption-provider-config");
    let config = config.map(files::read).transpose()?;
    Keyring::of(config.as_deref(), "secrets")
}

/// With a slash before it, whatever was given (`k8s.io/apiserver/pkg/storage/etcd3`).
fn prefix(arguments: &Arguments) -> String {
    let given = arguments.get("etcd-prefix").unwrap_or("/registry");
    format!("/{}", given.trim_matches('/'))
}

fn etcd(arguments: &Arguments) -> Result<Etcd, String> {
    let read = |flag| arguments.get(flag).map(files::read).transpose();
    let authority = read("etcd-cafile")?;
    let (certificate, key) = (read("etcd-certfile")?, read("etcd-keyfile")?);
    let mut members = Vec::new();
    for url in arguments.list("etcd-servers") {
        let roots = authority.as_deref().map(files::authorities).transpose()?;
        let pair = certificate.as_deref().zip(key.as_deref());
        let pair = pair
            .map(|(certificate, key)| files::pair(certificate, key))
            .transpose()?;
        members.push(Endpoint::new(url, roots, pair, None)?);
    }
    Ok(Etcd(members))
}
