//! What a certificate that somebody else made is for.
//!
//! The subjects are those of cfssl's and kubeadm's guides; where one certificate does for several
//! (a guide's `kubernetes.pem` serves etcd and kube-apiserver alike), what it is valid for decides.

use std::path::Path;

use crate::certificate::path::covers;
use crate::certificate::{AuthorityName, Description, Kind, Request, Usage};
use crate::inventory::{NodeName, San};

/// How well a certificate fits a request; none where it is something else.
pub(super) fn score(request: &Request, path: &Path, found: &Description) -> Option<u32> {
    let name = found.subject.common_name.as_deref().unwrap_or_default();
    let is_named = name == request.common_name;
    let stem = stem(path);
    let node = request.id.node.as_ref().map(NodeName::as_str);
    let own = u32::from(node.is_some_and(|node| stem.contains(node)));
    match request.id.kind {
        Kind::EtcdPeer | Kind::EtcdServer => etcd(request, path, found).map(|score| score + own),
        Kind::Apiserver => apiserver(path, found).map(|score| score + own),
        Kind::KubeletServer => {
            let serves = found.tells(Usage::Server) || !found.sans.is_empty();
            (is_named && serves || Some(stem.as_str()) == file_of(request).as_deref()).then_some(50)
        }
        Kind::Admin => admin(&stem, found),
        _ if is_named => Some(100),
        _ => (Some(stem.as_str()) == file_of(request).as_deref()).then_some(50),
    }
}

/// Whether nothing but its names speaks for a certificate: one that serves etcd's addresses may be
/// kube-apiserver's alone.
pub(super) fn is_guess(request: &Request, path: &Path, found: &Description) -> bool {
    let name = found.subject.common_name.as_deref().unwrap_or_default();
    let text = format!("{} {name}", path.display()).to_lowercase();
    matches!(request.id.kind, Kind::EtcdPeer | Kind::EtcdServer) && !text.contains("etcd")
}

/// Whether a certificate is good for all that is asked of it.
pub(super) fn would_do(request: &Request, found: &Description) -> bool {
    let usages = request.usages.iter();
    usages.copied().all(|usage| found.allows(usage))
        && request.needed.iter().all(|san| is_covered(san, found))
}

/// Whether a path is called as a file with a certificate or a key is.
pub(super) fn is_called_as_file(path: &Path) -> bool {
    let extension = path.extension().unwrap_or_default().to_string_lossy();
    matches!(extension.as_ref(), "pem" | "crt" | "cer" | "key" | "pub")
}

fn is_covered(san: &San, found: &Description) -> bool {
    found.sans.iter().any(|name| covers(name, san))
}

/// How strongly names speak for an authority.
pub(super) fn authority_hint(name: AuthorityName, path: &Path, found: &Description) -> u32 {
    let text = format!(
        "{} {}",
        path.display(),
        found.subject.common_name.as_deref().unwrap_or_default()
    )
    .to_lowercase();
    let says = |word: &str| u32::from(text.contains(word));
    let other = says("front-proxy") + says("aggregat");
    match name {
        AuthorityName::FrontProxy => 2 * other,
        AuthorityName::Kubernetes if other == 0 && says("etcd") == 0 => {
            1 + says("kubernetes") + u32::from(stem(path) == "ca")
        }
        AuthorityName::Etcd if says("peer") == 0 && says("client") == 0 => 2 * says("etcd"),
        AuthorityName::Kubernetes | AuthorityName::Etcd => 0,
        name => 3 * says(name.name()),
    }
}

/// Whether a certificate is the public half of the service-account pair, as a guide has it.
pub(super) fn is_service_account(path: &Path, found: &Description) -> bool {
    let name = found.subject.common_name.as_deref().unwrap_or_default();
    matches!(name, "service-accounts" | "service-account") || is_service_account_file(path)
}

/// Whether a file is called as the service-account key is.
pub(super) fn is_service_account_file(path: &Path) -> bool {
    matches!(
        stem(path).as_str(),
        "sa" | "service-account" | "service-accounts"
    )
}

/// An etcd member's: it serves, and is not somebody else's.
fn etcd(request: &Request, path: &Path, found: &Description) -> Option<u32> {
    let name = found.subject.common_name.as_deref().unwrap_or_default();
    if !found.allows(Usage::Server) || name.starts_with("system:") {
        return None;
    }
    let text = format!("{} {name}", path.display()).to_lowercase();
    let is_etcd = text.contains("etcd");
    let is_peer = text.contains("peer");
    let covers = request
        .needed
        .iter()
        .any(|san| is_covered(san, found) && !san.to_string().starts_with("127."));
    let wants_peer = request.id.kind == Kind::EtcdPeer;
    // A client of etcd is called so too; one that tells no use serves if it has a name to serve by.
    let is_client = found.usages.is_none() && found.sans.is_empty();
    if !covers && !is_etcd || is_client {
        return None;
    }
    let set = match (is_etcd, is_peer == wants_peer) {
        (true, true) => 60,
        (true, false) => 20,
        (false, _) => 1,
    };
    Some(set + 10 * u32::from(covers))
}

fn apiserver(path: &Path, found: &Description) -> Option<u32> {
    let name = found.subject.common_name.as_deref().unwrap_or_default();
    let stem = stem(path);
    let called = matches!(stem.as_str(), "apiserver" | "kube-apiserver" | "kubernetes")
        || stem.starts_with("kube-apiserver-tls")
        || name == "kube-apiserver";
    let in_cluster = found
        .sans
        .iter()
        .any(|san| san.to_string().starts_with("kubernetes.default"));
    let score = 50 * u32::from(in_cluster) + 30 * u32::from(called);
    (score > 0 && found.allows(Usage::Server) || score > 50).then_some(score)
}

fn admin(stem: &str, found: &Description) -> Option<u32> {
    let name = found.subject.common_name.as_deref().unwrap_or_default();
    match name {
        "kubernetes-admin" | "admin" => Some(100),
        // Also of that group, by kubeadm.
        "kube-apiserver-kubelet-client"
        | "kube-apiserver-etcd-client"
        | "kube-etcd-healthcheck-client" => None,
        _ if stem == "admin" => Some(80),
        _ => None,
    }
}

/// How guides call the file, where its subject is wrong.
fn file_of(request: &Request) -> Option<String> {
    let node = request.id.node.as_ref();
    Some(match request.id.kind {
        Kind::ControllerManager => "kube-controller-manager".to_owned(),
        Kind::Scheduler => "kube-scheduler".to_owned(),
        Kind::KubeletClient | Kind::KubeletServer => node?.to_string(),
        kind => kind.name().to_owned(),
    })
}

fn stem(path: &Path) -> String {
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    let stem = stem.to_lowercase();
    stem.strip_suffix("-key").unwrap_or(&stem).to_owned()
}
