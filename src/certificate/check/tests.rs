//! Rows: one bad certificate each, and what is said of it.

mod rest;

use std::collections::BTreeMap;
use std::sync::LazyLock;

use rcgen::{
    BasicConstraints, CertificateParams, CustomExtension, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, SanType,
};
use rsa::RsaPrivateKey;
use rsa::pkcs8::{EncodePrivateKey, LineEnding};
use time::OffsetDateTime;

use super::*;
use crate::authority::{Authority, Local};
use crate::certificate::table::is_of_a_node;
use crate::certificate::{fixture, requests};
use crate::inventory::{Authorities, Inventory, Role, San};
use crate::secret::Secret;

/// 2026-01-01T00:00:30Z.
const NOW: i64 = 1_767_225_630;

const fn terms(now: i64) -> Terms {
    Terms {
        now,
        days: 30,
        go: Go(23),
    }
}

/// A cluster of one node that is everything, and what kinstall itself makes for it.
struct Cluster {
    inventory: Inventory,
    credentials: Credentials,
    /// The keys of the authorities.
    keys: BTreeMap<AuthorityName, Secret>,
}

fn made(authorities: Authorities) -> Cluster {
    let directory = tempfile::tempdir().unwrap();
    let mut inventory = fixture::inventory();
    inventory.directory = directory.path().to_owned();
    inventory.pki.authorities = authorities;
    inventory.nodes.retain(|name, _| name.as_str() == "az1");
    for node in inventory.nodes.values_mut() {
        node.roles.insert(Role::Worker);
    }
    let local = Local::of(&inventory).unwrap();
    let credentials = local
        .obtain(&requests(&inventory), NOW)
        .unwrap()
        .credentials;
    let key = |name: AuthorityName| {
        let path = directory.path().join(format!("pki/ca/{name}.key"));
        Some((name, Secret::new(fs_err::read(path).ok()?)))
    };
    Cluster {
        keys: AuthorityName::ALL.into_iter().filter_map(key).collect(),
        inventory,
        credentials,
    }
}

static KUBEADM: LazyLock<Cluster> = LazyLock::new(|| made(Authorities::Kubeadm));

#[test]
fn what_kinstall_makes_is_without_fault() {
    for authorities in [
        Authorities::Single,
        Authorities::Kubeadm,
        Authorities::Separate,
    ] {
        let cluster = made(authorities);
        let findings = check(
            &requests(&cluster.inventory),
            &cluster.credentials,
            terms(NOW),
        );
        assert_eq!(findings, []);
    }
}

/// What is found once the credentials were spoilt.
#[track_caller]
fn spoilt(spoil: impl FnOnce(&mut Credentials), now: i64, expected: &[&str]) {
    let mut credentials = KUBEADM.credentials.clone();
    spoil(&mut credentials);
    let findings = check(&requests(&KUBEADM.inventory), &credentials, terms(now));
    let found: Vec<String> = findings.iter().map(ToString::to_string).collect();
    let texts: Vec<&str> = found.iter().map(String::as_str).collect();
    assert_eq!(texts, expected);
}

fn id(kind: Kind) -> CertificateId {
    let node = is_of_a_node(kind, &fixture::inventory()).then(|| "az1".parse().unwrap());
    CertificateId { kind, node }
}

/// How a certificate is to be made.
struct Recipe {
    params: CertificateParams,
    signer: AuthorityName,
    key: KeyPair,
}

/// What is found once the certificate of a kind was made another way.
#[track_caller]
fn remade(kind: Kind, change: impl FnOnce(&mut Recipe), expected: &[&str]) {
    let request = requests(&KUBEADM.inventory);
    let request = request
        .iter()
        .find(|request| request.id == id(kind))
        .unwrap();
    let mut params = CertificateParams::default();
    params.not_before = OffsetDateTime::from_unix_timestamp(NOW - 60).unwrap();
    params.not_after = OffsetDateTime::from_unix_timestamp(NOW + 300 * DAY_SECONDS).unwrap();
    params.distinguished_name = rcgen::DistinguishedName::new();
    for organization in &request.organizations {
        params
            .distinguished_name
            .push(DnType::OrganizationName, organization);
    }
    params
        .distinguished_name
        .push(DnType::CommonName, &request.common_name);
    params.extended_key_usages = request
        .usages
        .iter()
        .map(|usage| match usage {
            Usage::Server => ExtendedKeyUsagePurpose::ServerAuth,
            Usage::Client => ExtendedKeyUsagePurpose::ClientAuth,
        })
        .collect();
    params.subject_alt_names = request
        .sans
        .iter()
        .map(|san| match san {
            San::Dns(name) => SanType::DnsName(name.as_str().try_into().unwrap()),
            San::Ip(address) => SanType::IpAddress(*address),
        })
        .collect();
    let mut recipe = Recipe {
        params,
        signer: request.signer,
        key: KeyPair::generate().unwrap(),
    };
    change(&mut recipe);
    let authority = &KUBEADM.credentials.authorities[&recipe.signer];
    let key = key::read(&KUBEADM.keys[&recipe.signer]).unwrap();
    let issuer = Issuer::from_ca_cert_pem(authority, key).unwrap();
    let made = recipe.params.signed_by(&recipe.key, &issuer).unwrap();
    let leaf = Leaf {
        chain_pem: made.pem(),
        key_pem: Secret::new(recipe.key.serialize_pem()),
        dated: NOW - 60,
        not_before: NOW - 60,
        not_after: NOW + 300 * DAY_SECONDS,
    };
    spoilt(
        |credentials| _ = credentials.leaves.insert(request.id.clone(), leaf),
        NOW,
        expected,
    );
}

#[test]
fn remade_without_a_change_nothing_is_found() {
    remade(Kind::Apiserver, |_| {}, &[]);
    remade(Kind::KubeletClient, |_| {}, &[]);
}

#[test]
fn keys_and_files() {
    let leaf = |kind, change: fn(&mut Leaf), expected: &str| {
        let spoil = |credentials: &mut Credentials| {
            change(credentials.leaves.get_mut(&id(kind)).unwrap());
        };
        spoilt(spoil, NOW, &[expected]);
    };
    leaf(
        Kind::Admin,
        |leaf| leaf.key_pem = Secret::new(KeyPair::generate().unwrap().serialize_pem()),
        "admin: its private key belongs to another certificate",
    );
    leaf(
        Kind::Admin,
        |leaf| leaf.key_pem = Secret::new("hello"),
        "admin: its private key is none that can be read",
    );
    leaf(
        Kind::Admin,
        |leaf| leaf.chain_pem = "hello".to_owned(),
        "admin: is not a certificate in PEM: Parsing Error: MissingHeader",
    );
    leaf(
        Kind::Admin,
        |leaf| {
            let authority = &KUBEADM.credentials.authorities[&AuthorityName::Kubernetes];
            leaf.chain_pem = format!("{authority}{}", leaf.chain_pem);
            leaf.key_pem = KUBEADM.keys[&AuthorityName::Kubernetes].clone();
        },
        "admin: the file begins with an authority's certificate: the leaf must come first",
    );
    spoilt(
        |credentials| _ = credentials.leaves.remove(&id(Kind::Scheduler)),
        NOW,
        &["scheduler: there is none"],
    );
}

#[test]
fn signers() {
    remade(
        Kind::ApiserverEtcdClient,
        |recipe| recipe.signer = AuthorityName::Kubernetes,
        &[
            "apiserver-etcd-client: was signed by the authority `kubernetes`, and its peers trust `etcd-client` alone",
        ],
    );
    remade(
        Kind::Admin,
        |recipe| recipe.signer = AuthorityName::FrontProxy,
        &[
            "admin: was signed by the authority `front-proxy`, and its peers trust `apiserver-client` alone",
        ],
    );
    let other = made(Authorities::Single);
    let admin = other.credentials.leaves[&id(Kind::Admin)].clone();
    spoilt(
        |credentials| _ = credentials.leaves.insert(id(Kind::Admin), admin),
        NOW,
        &[
            "admin: was signed by `CN=home-kubernetes-ca`, which leads to nothing that the peers trust (`apiserver-client`)",
        ],
    );
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::default();
    params
        .distinguished_name
        .push(DnType::CommonName, "system:kube-scheduler");
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    let own = Leaf {
        chain_pem: params.self_signed(&key).unwrap().pem(),
        key_pem: Secret::new(key.serialize_pem()),
        dated: NOW,
        not_before: NOW,
        not_after: NOW,
    };
    spoilt(
        |credentials| _ = credentials.leaves.insert(id(Kind::Scheduler), own),
        NOW,
        &["scheduler: is self-signed, and its peers trust only the authority `apiserver-client`"],
    );
    remade(
        Kind::Scheduler,
        |recipe| {
            recipe.params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        },
        &["scheduler: is a CA certificate (CA:TRUE): its key can sign others"],
    );
}

#[test]
fn usages() {
    remade(
        Kind::EtcdPeer,
        |recipe| recipe.params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth],
        &[
            "etcd-peer-az1: lacks the usage clientAuth: etcd would refuse it (\"incompatible key usage\")",
        ],
    );
    remade(
        Kind::Apiserver,
        |recipe| recipe.params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth],
        &[
            "apiserver-az1: lacks the usage serverAuth: admin, kube-controller-manager, kube-scheduler, kubelet, kube-proxy would refuse it (\"incompatible key usage\")",
        ],
    );
    remade(
        Kind::EtcdServer,
        |recipe| recipe.params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth],
        &[
            "etcd-server-az1: lacks the usage clientAuth: etcd's HTTP gateway cannot call its own member",
        ],
    );
    remade(
        Kind::Admin,
        |recipe| recipe.params.key_usages = vec![KeyUsagePurpose::KeyAgreement],
        &[
            "admin: its key usage lacks digitalSignature: nothing of Kubernetes looks at that, and browsers and GnuTLS refuse it",
        ],
    );
}

#[test]
fn names() {
    remade(
        Kind::Apiserver,
        |recipe| recipe.params.subject_alt_names.clear(),
        &[
            "apiserver-az1: has no subject alternative name: a common name alone is not looked at (Go 1.15)",
        ],
    );
    remade(
        Kind::KubeletServer,
        |recipe| {
            recipe.params.subject_alt_names = [
                "az1",
                "kube-apiserver.az1.k8s.home",
                "extra.home",
                "localhost",
            ]
            .map(|name| SanType::DnsName(name.try_into().unwrap()))
            .into();
        },
        &[
            "kubelet-server-az1: is not valid for `10.0.12.1`: kube-apiserver would refuse it there",
            "kubelet-server-az1: is not valid for `192.168.1.21`: kube-apiserver would refuse it there",
        ],
    );
    remade(
        Kind::Apiserver,
        |recipe| {
            recipe.params.subject_alt_names.retain(|name| {
                *name != SanType::DnsName("kube-apiserver.k8s.home".try_into().unwrap())
            });
            recipe
                .params
                .subject_alt_names
                .push(SanType::DnsName("*.k8s.home".try_into().unwrap()));
        },
        &[],
    );
}

#[test]
fn subjects() {
    let name = |recipe: &mut Recipe, name: &str, organization: &str| {
        recipe.params.distinguished_name = rcgen::DistinguishedName::new();
        recipe
            .params
            .distinguished_name
            .push(DnType::OrganizationName, organization);
        recipe
            .params
            .distinguished_name
            .push(DnType::CommonName, name);
    };
    remade(
        Kind::Scheduler,
        |recipe| name(recipe, "scheduler", ""),
        &["scheduler: its common name is `scheduler`, and RBAC knows `system:kube-scheduler`"],
    );
    remade(
        Kind::KubeletClient,
        |recipe| name(recipe, "system:node:az9", "system:nodes"),
        &[
            "kubelet-client-az1: its common name is `system:node:az9`, and the node authorizer knows `system:node:az1`",
        ],
    );
    remade(
        Kind::KubeletClient,
        |recipe| name(recipe, "system:node:az1", "nodes"),
        &[
            "kubelet-client-az1: lacks the organization `system:nodes`: it would be forbidden what it needs",
        ],
    );
    remade(
        Kind::Admin,
        |recipe| name(recipe, "admin", "k8s"),
        &["admin: lacks the organization `system:masters`: it would be forbidden what it needs"],
    );
    remade(
        Kind::FrontProxyClient,
        |recipe| name(recipe, "front-proxy", ""),
        &[
            "front-proxy-client: its common name is `front-proxy`, and `--requestheader-allowed-names` knows `front-proxy-client`",
        ],
    );
    remade(
        Kind::KubeProxy,
        |recipe| name(recipe, "system:kube-proxy", "system:masters"),
        &[
            "kube-proxy: has the organization `system:masters`, and may do anything where little is needed",
        ],
    );
    // As two of the documents have them: RBAC binds the user, whatever the group.
    remade(
        Kind::KubeProxy,
        |recipe| name(recipe, "system:kube-proxy", "k8s"),
        &[],
    );
    remade(
        Kind::Admin,
        |recipe| name(recipe, "admin", "system:masters"),
        &[],
    );
    remade(
        Kind::EtcdServer,
        |recipe| name(recipe, "kube-etcd", ""),
        &[],
    );
}
