//! Everything an inventory may say beyond cluster and nodes, with its defaults.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use ipnet::IpNet;

use super::pattern::Pattern;
use super::span::{Setting, Spans};
use super::vault::Vault;
use crate::component::{PUBLISHERS, Publisher};
use crate::version::Version;

/// What is done about a host key that `known_hosts` does not have. A changed key is always refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum HostKeys {
    /// The node is refused.
    #[default]
    Strict,
    /// The key is accepted and remembered, as ssh's `StrictHostKeyChecking=accept-new` does.
    AcceptNew,
}

/// `[source]`: where releases come from (`https://`, `http://`, `file://`), tried in order.
///
/// A source is a base URL below which everything lies as at upstream, or a template that says where
/// one file lies: `{version}` (without `v`), `{arch}` (`amd64`, `arm64`, `arm`) and `{name}` (the
/// file's name at upstream) are filled in. Checksums lie beside the files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// The sources of each publisher, by its name.
    pub bases: BTreeMap<&'static str, Vec<String>>,
    /// Where images of a registry are looked for in its place.
    pub registries: BTreeMap<String, Vec<String>>,
    /// Whether the sources hold builds of their own under upstream's versions (a distribution's, a
    /// test's), which are not compared with the digests of upstream's builds.
    pub rebuilt: bool,
    /// What a fetch must at least rest on.
    pub require: Option<Requirement>,
    /// A PEM file with CAs that are trusted beside the system's, relative to the inventory.
    pub ca: Option<PathBuf>,
}

/// `[source] require`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Requirement {
    /// The digest that ships inside kinstall.
    BuiltIn,
    /// At least a checksum that is published over https.
    Published,
}

impl Default for Source {
    fn default() -> Self {
        let upstream = |it: &&Publisher| (it.name, vec![it.url.to_owned()]);
        Self {
            bases: PUBLISHERS.iter().map(upstream).collect(),
            registries: BTreeMap::new(),
            rebuilt: false,
            require: None,
            ca: None,
        }
    }
}

impl Source {
    /// The registry of the images that Kubernetes publishes, whose sources have a key of their own.
    pub const KUBERNETES_REGISTRY: &str = "registry.k8s.io";

    /// The sources of a publisher, in the order in which they are tried.
    pub fn of(&self, publisher: &Publisher) -> &[String] {
        self.bases.get(publisher.name).map_or(&[], Vec::as_slice)
    }
}

/// `[pki]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pki {
    /// Where certificates come from.
    pub from: PkiSource,
    /// How many authorities sign them.
    pub authorities: Authorities,
    /// The kind of key that new certificates get.
    pub key: KeyType,
    /// Days that a new leaf is valid.
    pub days: u32,
    /// Days that a new authority is valid.
    pub ca_days: u32,
}

impl Default for Pki {
    fn default() -> Self {
        Self {
            from: PkiSource::Local,
            authorities: Authorities::Single,
            key: KeyType::EcdsaP256,
            days: 365,
            ca_days: 3650,
        }
    }
}

/// Where certificates come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PkiSource {
    /// kinstall's own authority, in `pki/` beside the inventory.
    Local,
    /// A directory that cfssl or kubeadm made, relative to the inventory.
    Directory(PathBuf),
    /// The PKI engine of a Vault.
    Vault(Box<Vault>),
}

/// How many authorities sign the cluster's certificates (conventions of the field: one; kubeadm's
/// three; one for each set).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Authorities {
    /// One for everything, and the front proxy's own.
    Single,
    /// kubeadm's: kubernetes, etcd, front proxy.
    Kubeadm,
    /// One for each set of certificates.
    Separate,
}

/// The kind of a new private key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyType {
    /// ECDSA on P-256: accepted by every component, and fast on ARM.
    EcdsaP256,
    /// RSA of 2048 bits.
    Rsa2048,
    /// RSA of 4096 bits.
    Rsa4096,
}

/// `[etcd]`: who may do what in etcd.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EtcdAccess {
    /// Whether etcd asks who a client is: by the common name of its certificate.
    pub auth: bool,
    /// The role that kube-apiservers have.
    pub role: String,
    /// The user that a kube-apiserver is to etcd: the common name of its client certificate. One
    /// for all, or where it names the node, one for each.
    pub user: Option<Pattern>,
    /// Where kube-apiserver keeps everything; none where nothing is said.
    pub prefix: Option<String>,
}

impl Default for EtcdAccess {
    fn default() -> Self {
        Self {
            auth: false,
            role: "k8s".to_owned(),
            user: None,
            prefix: None,
        }
    }
}

/// `[encryption]`: encryption at rest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Encryption {
    /// The provider that writes.
    pub provider: Provider,
    /// The resources that are encrypted, as `EncryptionConfiguration` names them.
    pub resources: Vec<String>,
    /// The plugin of the provider `kms`.
    pub kms: Option<Kms>,
}

/// `[encryption.kms]`: a plugin that keeps the key, as kube-apiserver is told of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kms {
    /// Its name, which is in every value it encrypts.
    pub name: String,
    /// Its socket: `unix:///...`.
    pub endpoint: String,
    /// The version of its API.
    pub api: KmsApi,
    /// How long a call may take, as Go writes durations.
    pub timeout: Option<String>,
    /// How many keys are kept in memory; only v1 has such a cache to set.
    pub cache_size: Option<u32>,
}

/// The version of a KMS plugin's API.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KmsApi {
    /// A call to the plugin for each new value.
    V1,
    /// A key hierarchy: few calls.
    V2,
}

impl Default for Encryption {
    fn default() -> Self {
        Self {
            provider: Provider::Aescbc,
            resources: vec!["secrets".to_owned()],
            kms: None,
        }
    }
}

/// A provider of `EncryptionConfiguration`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Provider {
    /// AES-CBC with PKCS#7 padding: the documents' choice.
    Aescbc,
    /// AES-GCM with a random nonce.
    Aesgcm,
    /// `XSalsa20` and Poly1305.
    Secretbox,
    /// Plain text.
    Identity,
    /// A plugin keeps the key.
    Kms,
    /// Whatever the configuration says that the user has put into `pki/`.
    File,
}

impl Provider {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::Aescbc,
        Self::Aesgcm,
        Self::Secretbox,
        Self::Identity,
        Self::Kms,
        Self::File,
    ];

    /// Those whose keys are in the configuration itself, so that kinstall makes and rotates them.
    pub const WITH_KEYS: [Self; 3] = [Self::Aescbc, Self::Aesgcm, Self::Secretbox];

    /// The word for it: but for `file`, the one in `EncryptionConfiguration`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Aescbc => "aescbc",
            Self::Aesgcm => "aesgcm",
            Self::Secretbox => "secretbox",
            Self::Identity => "identity",
            Self::Kms => "kms",
            Self::File => "file",
        }
    }
}

/// `[rollout]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rollout {
    /// How long a service may take to become healthy, in seconds.
    pub ready_seconds: u64,
    /// How long it must stay healthy before the next one is touched, in seconds.
    pub stable_seconds: u64,
    /// How many nodes have their turn at once.
    pub width: Widths,
    /// What becomes of a node on which a service does not become healthy.
    pub on_failure: OnFailure,
    /// When the Pods of a worker are moved away before its turn.
    pub drain: Drain,
    /// How long that may take, in seconds.
    pub drain_seconds: u64,
}

/// How many nodes have their turn at once in a wave. Members of etcd always go one by one: with two
/// away, three have no quorum.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Widths {
    /// In the wave of kube-apiserver; always fewer than there are.
    pub apiserver: usize,
    /// In the wave of kube-controller-manager and kube-scheduler.
    pub controllers: usize,
    /// In the wave of workers.
    pub workers: usize,
}

impl Default for Widths {
    fn default() -> Self {
        Self {
            apiserver: 1,
            controllers: 1,
            workers: 10,
        }
    }
}

/// What becomes of a node on which a service does not become healthy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnFailure {
    /// It goes back to its recorded generation.
    #[default]
    Revert,
    /// It stays as it is, to be looked at.
    Stay,
}

/// When the Pods of a worker are moved away before its turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Drain {
    /// When its kubelet goes to another minor version: Pods need not live through that (source: the
    /// version skew policy of Kubernetes, "Upgrading kubelet").
    #[default]
    Minor,
    /// Whenever anything that runs Pods is restarted there.
    Always,
    /// Never.
    Never,
}

impl Default for Rollout {
    fn default() -> Self {
        Self {
            ready_seconds: 120,
            stable_seconds: 2,
            width: Widths::default(),
            on_failure: OnFailure::default(),
            drain: Drain::default(),
            drain_seconds: 300,
        }
    }
}

/// `[component.NAME]`, or `component.NAME` of one node.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ComponentSettings {
    /// A version other than the cluster's.
    pub version: Option<Version>,
    /// A build of the user's own, relative to the inventory: the program, or for etcd the
    /// directory that holds `etcd` and `etcdctl`. `{arch}` in it stands for the architecture.
    pub path: Option<String>,
    /// Flags set or changed, without their leading `--`.
    pub flags: BTreeMap<String, String>,
    /// Flags that kinstall would set and must not.
    pub flags_removed: BTreeSet<String>,
    /// The unit's environment.
    pub environment: BTreeMap<String, String>,
    /// Fields of its configuration, over those that kinstall writes.
    pub config: serde_json::Map<String, serde_json::Value>,
    /// The networks it may talk to, beside its own machine and what it cannot do without.
    pub networks: Option<Vec<IpNet>>,
    /// Where each of these is said.
    pub places: Spans,
}

impl ComponentSettings {
    /// Lays another's words over these.
    pub fn overlay(&mut self, over: &Self) {
        self.version = over.version.or(self.version);
        self.path = over.path.clone().or_else(|| self.path.take());
        for (name, value) in &over.flags {
            self.flags_removed.remove(name);
            self.places.remove(&Setting::Removed(name.clone()));
            self.flags.insert(name.clone(), value.clone());
        }
        for name in &over.flags_removed {
            self.flags.remove(name);
            self.places.remove(&Setting::Flag(name.clone()));
            self.flags_removed.insert(name.clone());
        }
        let environment = over
            .environment
            .iter()
            .map(|(name, value)| (name.clone(), value.clone()));
        self.environment.extend(environment);
        for (field, value) in &over.config {
            self.config.insert(field.clone(), value.clone());
        }
        self.networks = over.networks.clone().or_else(|| self.networks.take());
        self.places.extend(over.places.clone());
    }

    /// The port that the flag `secure-port` names, if it names one.
    pub fn port(&self) -> Option<u16> {
        let port = self.flags.get("secure-port")?.parse().ok();
        port.filter(|port| *port != 0)
    }
}
