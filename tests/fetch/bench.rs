//! What a promise of `fetch` is tried on: a mirror, an inventory that names it, and a cache.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex};

use fs_err as fs;
use kinstall::arch::Arch;
use kinstall::artifact::{Needs, Program};
use kinstall::digest::Digest;
use kinstall::fetch::{self, Cache, Error, Event, Limits, Options};
use kinstall::inventory::{
    Authorities, Cluster, Encryption, Endpoint, EtcdAccess, Inventory, KeyType, Pki, PkiSource,
    Rollout, San, Source, VersionSpans,
};
use kinstall::lockfile::Lockfile;
use kinstall::version::Version;
use rustls::pki_types::PrivatePkcs8KeyDer;

use crate::mirror::Mirror;

pub(super) const SCHEDULER: &str = "/release/v1.99.3/bin/linux/arm64/kube-scheduler";
pub(super) const SIDECAR: &str = "/release/v1.99.3/bin/linux/arm64/kube-scheduler.sha256";
pub(super) const ETCD: &str = "/v3.99.21/etcd-v3.99.21-linux-arm64.tar.gz";
pub(super) const SUMS: &str = "/v3.99.21/SHA256SUMS";

/// A mirror, an inventory that names it, a cache, and what was told.
pub(super) struct Bench {
    pub(super) mirror: Mirror,
    pub(super) inventory: Inventory,
    pub(super) cache: Cache,
    pub(super) lockfile: Lockfile,
    pub(super) options: Options,
    pub(super) told: Mutex<Vec<Event>>,
    pub(super) room: tempfile::TempDir,
}

impl Bench {
    pub(super) fn new() -> Self {
        let (mirror, room) = (Mirror::start(), tempfile::tempdir().unwrap());
        let inventory = inventory(room.path(), &[mirror.url()]);
        let cache = Cache::open(Some(&room.path().join("cache"))).unwrap();
        let limits = Limits {
            connect_seconds: 2,
            stall_seconds: 1,
            bytes_per_second_min: 1024,
            total_seconds: 20,
            artifact_bytes_max: 8 << 20,
            attempts_max: 3,
            backoff_milliseconds: 1,
        };
        let options = Options {
            limits,
            ..Options::default()
        };
        let bench = Self {
            mirror,
            inventory,
            cache,
            lockfile: Lockfile::default(),
            options,
            told: Mutex::default(),
            room,
        };
        stock(&bench.mirror);
        bench
    }

    pub(super) async fn pin(&mut self, programs: &[Program]) -> Result<fetch::PinReport, Error> {
        let needs = needs(programs);
        let tell = |event| self.told.lock().unwrap().push(event);
        let (inventory, cache, options) = (&self.inventory, &self.cache, &self.options);
        fetch::pin(inventory, &needs, &mut self.lockfile, cache, options, &tell).await
    }

    pub(super) async fn ensure(&self, programs: &[Program]) -> Result<(), Error> {
        let needs = needs(programs);
        let tell = |event| self.told.lock().unwrap().push(event);
        let (inventory, cache, options) = (&self.inventory, &self.cache, &self.options);
        fetch::ensure(inventory, &needs, &self.lockfile, cache, options, &tell).await
    }

    /// Pins and fetches the scheduler; the mirror must be right.
    pub(super) async fn scheduler(&mut self) -> Result<(), Error> {
        self.pin(&[program("kube-scheduler")]).await?;
        self.ensure(&[program("kube-scheduler")]).await
    }

    pub(super) fn forget_cache(&self) {
        for folder in ["sha256", "index", "member", "partial"] {
            for entry in fs::read_dir(self.cache.directory().join(folder)).unwrap() {
                fs::remove_file(entry.unwrap().path()).unwrap();
            }
        }
    }

    /// Whether every name in the cache is the digest of what it names.
    #[track_caller]
    pub(super) fn assert_sound(&self) {
        for entry in fs::read_dir(self.cache.directory().join("sha256")).unwrap() {
            let path = entry.unwrap().path();
            let content = fs::read(&path).unwrap();
            let name = path.file_name().unwrap().to_str().unwrap();
            assert_eq!(Digest::of(&content).to_string(), name);
        }
    }

    pub(super) fn happened(&self, what: impl Fn(&Event) -> bool) -> usize {
        self.told
            .lock()
            .unwrap()
            .iter()
            .filter(|event| what(event))
            .count()
    }
}

fn needs(programs: &[Program]) -> Needs {
    Needs {
        programs: programs.iter().cloned().collect(),
        images: BTreeSet::new(),
    }
}

/// Puts what a bench asks for into a mirror.
pub(super) fn stock(mirror: &Mirror) {
    let scheduler = elf("kube-scheduler");
    mirror.put(SIDECAR, Digest::of(&scheduler).to_string());
    mirror.put(SCHEDULER, scheduler);
    let archive = etcd_archive();
    let sums = format!(
        "{}  etcd-v3.99.21-linux-amd64.tar.gz\n{}  etcd-v3.99.21-linux-arm64.tar.gz\n",
        Digest::of(b"amd64"),
        Digest::of(&archive)
    );
    mirror.put(ETCD, archive);
    mirror.put(SUMS, sums);
}

pub(super) fn inventory(directory: &Path, bases: &[String]) -> Inventory {
    Inventory {
        directory: directory.to_owned(),
        file: "inventory.toml".into(),
        digest: Digest::of(b""),
        cluster: Cluster {
            name: "home".parse().unwrap(),
            kubernetes: Version::new(1, 99, 3),
            etcd: Version::new(3, 99, 21),
            domain: "cluster.local".parse().unwrap(),
            endpoint: Endpoint {
                host: San::Ip([10, 0, 12, 1].into()),
                port: 6443,
            },
            service_cidr: "10.32.0.0/24".parse().unwrap(),
            pod_cidr: "10.200.0.0/16".parse().unwrap(),
            network: None,
            proxy: kinstall::inventory::Proxy::default(),
            dns: "10.32.0.10".parse().unwrap(),
            images: BTreeSet::new(),
        },
        places: VersionSpans::default(),
        source: Source {
            bases: ["kubernetes", "etcd"].map(|it| (it, bases.to_vec())).into(),
            ..Source::default()
        },
        pki: Pki {
            from: PkiSource::Local,
            authorities: Authorities::Single,
            key: KeyType::EcdsaP256,
            days: 365,
            ca_days: 3650,
        },
        etcd: EtcdAccess::default(),
        encryption: Encryption::default(),
        rollout: Rollout::default(),
        templates: None,
        own: kinstall::template::Overrides::default(),
        components: BTreeMap::new(),
        nodes: BTreeMap::new(),
        pods: kinstall::inventory::Pods::default(),
    }
}

pub(super) fn program(name: &str) -> Program {
    let version = if name.starts_with("etcd") {
        "3.99.21"
    } else {
        "1.99.3"
    };
    Program {
        name: name.to_owned(),
        version: version.parse().unwrap(),
        arch: Arch::Arm64,
        own: None,
    }
}

/// Something with the header of an arm64 program and 300 KB that do not compress away.
pub(super) fn elf(seed: &str) -> Vec<u8> {
    let mut bytes = vec![0; 64];
    bytes[..6].copy_from_slice(b"\x7fELF\x02\x01");
    bytes[18] = 183;
    let mut block = Digest::of(seed.as_bytes());
    while bytes.len() < 300_000 {
        block = Digest::of(block.to_string().as_bytes());
        bytes.extend(block.to_string().as_bytes());
    }
    bytes
}

pub(super) fn etcd_archive() -> Vec<u8> {
    let names = ["README.md", "etcd", "etcdctl"];
    archive(&names.map(|name| format!("etcd-v3.99.21-linux-arm64/{name}")))
}

/// A `.tar.gz` with a program at each of these paths, each made of its name.
pub(super) fn archive(paths: &[String]) -> Vec<u8> {
    let gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    let mut archive = tar::Builder::new(gzip);
    for path in paths {
        let name = Path::new(path).file_name().unwrap().to_str().unwrap();
        let content = elf(name);
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_mode(0o755);
        archive
            .append_data(&mut header, path, content.as_slice())
            .unwrap();
    }
    archive.into_inner().unwrap().finish().unwrap()
}

/// A server with a certificate of its own making, which greets and says no more.
pub(super) async fn tls_server() -> SocketAddr {
    fetch::use_ring();
    let own = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    let key = PrivatePkcs8KeyDer::from(own.signing_key.serialize_der());
    let config = rustls::ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(vec![own.cert.der().clone()], key.into())
        .unwrap();
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            // The client is expected to turn away.
            let _ = acceptor.accept(stream).await;
        }
    });
    address
}
