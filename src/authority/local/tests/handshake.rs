//! A handshake for each arrow of the table, in each mode: what kinstall issues is accepted there,
//! and everything else is refused. The clock is the tests' own.

use std::sync::Arc;
use std::time::Duration;

use rustls::client::WebPkiServerVerifier;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::time_provider::TimeProvider;
use rustls::{ClientConfig, ClientConnection, RootCertStore, ServerConfig, ServerConnection};

use super::*;
use crate::certificate::link::{LINKS, Link};

const MODES: [Authorities; 3] = [
    Authorities::Single,
    Authorities::Kubeadm,
    Authorities::Separate,
];

#[derive(Debug)]
struct Clock;

impl TimeProvider for Clock {
    fn current_time(&self) -> Option<UnixTime> {
        let seconds = u64::try_from(NOW + DAY_SECONDS).unwrap();
        Some(UnixTime::since_unix_epoch(Duration::from_secs(seconds)))
    }
}

/// A cluster of one mode, and a stranger's of the same.
struct Cluster {
    site: Site,
    requests: Vec<Request>,
    credentials: Credentials,
    strange: Credentials,
}

impl Cluster {
    fn new(mode: Authorities) -> Self {
        let make = || {
            let mut site = Site::new();
            site.inventory.pki.authorities = mode;
            for node in site.inventory.nodes.values_mut() {
                node.roles.insert(Role::Worker);
            }
            let credentials = site.obtain(NOW).credentials;
            (site, credentials)
        };
        let ((site, credentials), (_, strange)) = (make(), make());
        Self {
            requests: requests(&site.inventory),
            site,
            credentials,
            strange,
        }
    }

    /// The request of the first node's certificate of a kind, or of the one that all share.
    fn request(&self, kind: Kind) -> &Request {
        let mut own = self.requests.iter().filter(|it| it.id.kind == kind);
        own.next().unwrap()
    }

    fn leaf(&self, kind: Kind) -> &Leaf {
        &self.credentials.leaves[&self.request(kind).id]
    }

    /// A certificate by the right authority that is otherwise than it should be.
    fn altered(&self, kind: Kind, now: i64, alter: impl FnOnce(&mut Request)) -> Leaf {
        let mut request = self.request(kind).clone();
        alter(&mut request);
        let path = |ending: &str| self.site.path(&format!("ca/{}.{ending}", request.signer));
        let pem = fs_err::read_to_string(path("pem")).unwrap();
        let key = sign::read_key(&Secret::new(fs_err::read(path("key")).unwrap()));
        let end = describe(&pem).unwrap().not_after;
        let signer = Signer::read(pem, end, key).unwrap();
        let key = sign::new_key(KeyType::EcdsaP256).unwrap();
        signer.issue(&request, &key, None, now).unwrap()
    }

    fn trusted(&self, kind: Kind) -> &str {
        &self.credentials.authorities[&self.request(kind).set]
    }
}

fn roots(pem: &str) -> Arc<RootCertStore> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(pem.as_bytes()) {
        roots.add(certificate.unwrap()).unwrap();
    }
    Arc::new(roots)
}

fn identity(leaf: &Leaf) -> (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>) {
    let chain = CertificateDer::pem_slice_iter(leaf.chain_pem.as_bytes());
    let key = PrivateKeyDer::from_pem_slice(leaf.key_pem.expose()).unwrap();
    (chain.map(Result::unwrap).collect(), key)
}

/// One side: what it presents, and what it verifies the other by.
struct Side<'a> {
    leaf: &'a Leaf,
    trusts: &'a str,
}

/// Who refused whom, and why; nothing if both agree.
fn handshake(client: &Side<'_>, server: &Side<'_>, name: &str) -> Result<(), String> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let (chain, key) = identity(client.leaf);
    let verifier =
        WebPkiServerVerifier::builder_with_provider(roots(client.trusts), Arc::clone(&provider));
    let calling = ClientConfig::builder_with_details(Arc::clone(&provider), Arc::new(Clock))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_webpki_verifier(verifier.build().unwrap())
        .with_client_auth_cert(chain, key)
        .unwrap();
    let (chain, key) = identity(server.leaf);
    let verifier =
        WebPkiClientVerifier::builder_with_provider(roots(server.trusts), Arc::clone(&provider));
    let serving = ServerConfig::builder_with_details(provider, Arc::new(Clock))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_client_cert_verifier(verifier.build().unwrap())
        .with_single_cert(chain, key)
        .unwrap();
    let name = ServerName::try_from(name.to_owned()).unwrap();
    let mut client = ClientConnection::new(Arc::new(calling), name).unwrap();
    let mut server = ServerConnection::new(Arc::new(serving)).unwrap();
    for _ in 0..8 {
        let mut wire = Vec::new();
        client.write_tls(&mut wire).unwrap();
        while !wire.is_empty() {
            let read = server.read_tls(&mut wire.as_slice()).unwrap();
            wire.drain(..read);
            let read = server.process_new_packets();
            read.map_err(|error| format!("the server: {error:?}"))?;
        }
        server.write_tls(&mut wire).unwrap();
        while !wire.is_empty() {
            let read = client.read_tls(&mut wire.as_slice()).unwrap();
            wire.drain(..read);
            let read = client.process_new_packets();
            read.map_err(|error| format!("the client: {error:?}"))?;
        }
    }
    assert!(!client.is_handshaking() && !server.is_handshaking());
    Ok(())
}

/// Tries an arrow with what the client and the server present.
fn try_arrow(cluster: &Cluster, link: &Link, client: &Leaf, server: &Leaf) -> Result<(), String> {
    // An aggregated API has a certificate that is not of this cluster; any will do.
    let server_kind = link.server.unwrap_or(Kind::Apiserver);
    let called = cluster.request(server_kind);
    let name = called.needed.iter().next().unwrap().to_string();
    let client = Side {
        leaf: client,
        trusts: cluster.trusted(server_kind),
    };
    let server = Side {
        leaf: server,
        trusts: cluster.trusted(link.client),
    };
    handshake(&client, &server, &name)
}

#[track_caller]
fn refuses(result: Result<(), String>, who: &str, why: &str, what: &str) {
    let told = result.expect_err(what);
    assert!(told.contains(who) && told.contains(why), "{what}: {told}");
}

/// The certificates of one side that must not do: what is wrong with each, and the word for it.
fn wrong(cluster: &Cluster, kind: Kind, other: Usage) -> Vec<(&'static str, &'static str, Leaf)> {
    const LONG: i64 = 400 * DAY_SECONDS;
    let lacks = |request: &mut Request| request.usages = [other].into();
    vec![
        (
            "a stranger's authority",
            "BadSignature",
            cluster.strange.leaves[&cluster.request(kind).id].clone(),
        ),
        (
            "the other usage",
            "Purpose",
            cluster.altered(kind, NOW, lacks),
        ),
        (
            "expired",
            "Expired",
            cluster.altered(kind, NOW - LONG, |_| {}),
        ),
        (
            "not yet valid",
            "NotValidYet",
            cluster.altered(kind, NOW + LONG, |_| {}),
        ),
    ]
}

#[test]
fn each_arrow_takes_the_right_certificate_and_refuses_every_wrong_one() {
    let mut tried = 0;
    for mode in MODES {
        let cluster = Cluster::new(mode);
        for link in &LINKS {
            let server_kind = link.server.unwrap_or(Kind::Apiserver);
            let (client, server) = (cluster.leaf(link.client), cluster.leaf(server_kind));
            let arrow = format!("{mode:?}: {:?} to {:?}", link.caller, link.callee);
            try_arrow(&cluster, link, client, server).expect(&arrow);
            for (what, why, leaf) in wrong(&cluster, link.client, Usage::Server) {
                let result = try_arrow(&cluster, link, &leaf, server);
                refuses(result, "the server", why, &format!("{arrow}: {what}"));
            }
            for (what, why, leaf) in wrong(&cluster, server_kind, Usage::Client) {
                let result = try_arrow(&cluster, link, client, &leaf);
                refuses(result, "the client", why, &format!("{arrow}: {what}"));
            }
            let elsewhere = cluster.altered(server_kind, NOW, |request| {
                request.sans = Arc::new([San::Dns("elsewhere.home".parse().unwrap())].into());
            });
            let result = try_arrow(&cluster, link, client, &elsewhere);
            refuses(result, "the client", "NotValidForName", &arrow);
            tried += 10;
        }
    }
    assert_eq!(tried, 3 * 10 * 10);
}

/// Where sets have authorities of their own, a client of one is nobody to another.
#[test]
fn a_client_is_taken_only_where_its_authority_is_trusted() {
    for mode in MODES {
        let cluster = Cluster::new(mode);
        for link in &LINKS {
            let server = cluster.leaf(link.server.unwrap_or(Kind::Apiserver));
            for other in &LINKS {
                let signer = |kind| cluster.request(kind).signer;
                let is_same = signer(other.client) == signer(link.client);
                let taken = try_arrow(&cluster, link, cluster.leaf(other.client), server);
                let what = format!("{mode:?}: {:?} as {:?}", other.client, link.client);
                assert_eq!(taken.is_ok(), is_same, "{what}: {taken:?}");
            }
        }
        // Whatever the mode: only the front proxy is taken for one.
        let front = cluster.request(Kind::FrontProxyClient).signer;
        let others = cluster.requests.iter().filter(|it| it.signer == front);
        assert_eq!(others.count(), 1, "{mode:?}");
    }
}
