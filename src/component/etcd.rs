//! etcd and etcdctl.
//!
//! Which flag exists in which etcd is told by upstream's changelogs and upgrade guides
//! (`CHANGELOG-3.4.md` to `CHANGELOG-3.7.md`).

use super::shared::{SMALL_GOGC, small_heap};
use super::{
    Access, Account, BIN, Checksums, Component, Data, Directory, File, Flag, Gap, Probe, Publisher,
    Reach, Release, Scheme, Service, Stage, Track, Valid, Variable, When, flag,
};
use crate::arch::Arch;
use crate::credential::{AuthorityName, Kind};
use crate::role::Role;
use crate::template::builtin;
use crate::version::{Minor, Version};

/// Where a member keeps its data, unless its flags say another place.
pub const DATA: &str = "/var/lib/etcd";

/// etcd's releases on GitHub, which have one list of checksums each.
pub(super) const PUBLISHER: Publisher = Publisher {
    name: "etcd",
    url: "https://github.com/etcd-io/etcd/releases/download",
    checksums: Checksums::List("SHA256SUMS"),
};

/// An archive for each architecture. Releases hold linux-amd64, linux-arm64, linux-ppc64le and
/// linux-s390x.
const RELEASE: Release = Release {
    publisher: &PUBLISHER,
    path: "v{version}/etcd-v{version}-linux-{arch}.tar.gz",
    member: Some("etcd-v{version}-linux-{arch}/{program}"),
    gaps: &[Gap {
        arch: Arch::Armhf,
        last: None,
        help: "build etcd for GOARCH=arm and name the directory that holds `etcd` and \
                  `etcdctl` as `path` under `[component.etcd]`, or install a 64-bit system on the \
                  node (arm64)",
    }],
};

/// etcd: a member on each node of the role.
pub(super) const ETCD: Component = Component {
    name: "etcd",
    roles: &[Role::Etcd],
    feature: None,
    track: Track::Etcd,
    programs: &["etcd", "etcdctl"],
    directory: BIN,
    release: Some(RELEASE),
    directories: &[
        Directory {
            path: "/etc/etcd",
            access: Access::User("etcd"),
        },
        Directory {
            path: "/etc/etcd/certs",
            access: Access::User("etcd"),
        },
        Directory {
            path: "/etc/etcd/certs/server",
            access: Access::User("etcd"),
        },
        Directory {
            path: "/etc/etcd/certs/client",
            access: Access::User("etcd"),
        },
        Directory {
            path: "/etc/etcd/certs/healthcheck",
            access: Access::Root,
        },
    ],
    files: &[
        File::Authority {
            path: "/etc/etcd/certs/rootCA.pem",
            name: AuthorityName::Etcd,
        },
        File::Authority {
            path: "/etc/etcd/certs/{{authority.etcd_peer}}.pem",
            name: AuthorityName::EtcdPeer,
        },
        File::Authority {
            path: "/etc/etcd/certs/{{authority.etcd_client}}.pem",
            name: AuthorityName::EtcdClient,
        },
        File::Pair {
            stem: "/etc/etcd/certs/server/{{node.etcd_domain}}",
            kind: Kind::EtcdPeer,
            access: Access::User("etcd"),
        },
        File::Pair {
            stem: "/etc/etcd/certs/client/{{node.etcd_domain}}",
            kind: Kind::EtcdServer,
            access: Access::User("etcd"),
        },
        // For etcdctl in root's hands: health, and the snapshot before an upgrade.
        File::Pair {
            stem: "/etc/etcd/certs/healthcheck/etcd-healthcheck-client",
            kind: Kind::EtcdHealthcheckClient,
            access: Access::Root,
        },
    ],
    words: &[],
    service: Some(Service {
        account: Account::Own {
            home: "/var/lib/etcd",
        },
        stage: Stage::Etcd,
        template: builtin!("etc/systemd/system/etcd.service.hbs"),
        flags: FLAGS,
        first_start: FIRST_START,
        environment: &[
            // Upstream builds nothing for 32-bit ARM, and etcd refuses to start there unless told.
            Variable {
                name: "ETCD_UNSUPPORTED_ARCH",
                value: "arm",
                valid: Valid::ALWAYS,
                when: When::Armhf,
            },
            // 64-bit ARM is supported from 3.5 on.
            Variable {
                name: "ETCD_UNSUPPORTED_ARCH",
                value: "arm64",
                valid: Valid::before(3, 5),
                when: When::Arm64,
            },
            // The database is mapped, not on Go's heap: what is left there on a home's cluster is
            // well below this.
            small_heap("384MiB"),
            SMALL_GOGC,
        ],
        data: &[Data {
            directory: DATA,
            flags: &["data-dir", "wal-dir"],
            contents: Some("member"),
        }],
        reach: Reach::Members,
        probe: Some(Probe {
            scheme: Scheme::Https,
            port: 2379,
            path: "/health",
            client: Some(Kind::EtcdHealthcheckClient),
            authority: Some(AuthorityName::Etcd),
        }),
        registers: false,
        follows: &[],
        cleanup: &[],
    }),
};

/// A member that has its data takes its cluster out of those (etcd's "Configuration flags",
/// "Clustering": flags beginning with `initial` are ignored when restarting an existing member).
const FIRST_START: &[&str] = &[
    "initial-advertise-peer-urls",
    "initial-cluster",
    "initial-cluster-token",
    "initial-cluster-state",
];

const FLAGS: &[Flag] = &[
    flag("name", "{{node.name}}"),
    flag("data-dir", "/var/lib/etcd"),
    flag("listen-client-urls", "{{etcd.listen_client_urls}}"),
    flag(
        "advertise-client-urls",
        "https://{{node.etcd_url_host}}:2379",
    ),
    flag("listen-peer-urls", "https://{{node.etcd_url_host}}:2380"),
    flag(
        "initial-advertise-peer-urls",
        "https://{{node.etcd_url_host}}:2380",
    ),
    flag("initial-cluster", "{{etcd.initial_cluster}}"),
    // The same on all members, or each of them forms a cluster of its own.
    flag("initial-cluster-token", "{{cluster.name}}-etcd"),
    flag("initial-cluster-state", "new"),
    flag(
        "cert-file",
        "/etc/etcd/certs/client/{{node.etcd_domain}}.pem",
    ),
    flag(
        "key-file",
        "/etc/etcd/certs/client/{{node.etcd_domain}}.key",
    ),
    flag("client-cert-auth", "true"),
    flag(
        "trusted-ca-file",
        "/etc/etcd/certs/{{authority.etcd_client}}.pem",
    ),
    flag(
        "peer-cert-file",
        "/etc/etcd/certs/server/{{node.etcd_domain}}.pem",
    ),
    flag(
        "peer-key-file",
        "/etc/etcd/certs/server/{{node.etcd_domain}}.key",
    ),
    flag("peer-client-cert-auth", "true"),
    flag(
        "peer-trusted-ca-file",
        "/etc/etcd/certs/{{authority.etcd_peer}}.pem",
    ),
    // The HTTP gateway calls the member's own client port with the member's serving certificate,
    // which is no client's where clients have an authority of their own.
    flag("enable-grpc-gateway", "false")
        .valid(Valid::since(3, 4))
        .when(When::SeparateAuthorities),
    flag("tls-min-version", "TLS1.2")
        .valid(Valid::between(Version::new(3, 4, 25), Minor::new(3, 5))),
    flag("tls-min-version", "TLS1.2").valid(Valid {
        since: Version::new(3, 5, 8),
        ..Valid::ALWAYS
    }),
    // The names without `_SHA256` behind ChaCha20 are the ones that every version knows.
    flag(
        "cipher-suites",
        "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,\
         TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,\
         TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305,TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305",
    ),
    // Metrics and health for anyone who is on the node, without a client certificate.
    flag("listen-metrics-urls", "http://127.0.0.1:2381"),
    // The default of 2 GiB turns a large cluster read-only. A small machine has no room for more in
    // its page cache, nor on its card.
    flag("quota-backend-bytes", "8589934592").when(When::NotSmall),
    flag("quota-backend-bytes", "2147483648").when(When::Small),
    // 3.6's default; before it 100000. So many entries are kept in memory.
    flag("snapshot-count", "10000").when(When::NotSmall),
    flag("snapshot-count", "5000").when(When::Small),
    // capnslog was the default before 3.5.
    flag("logger", "zap").valid(Valid::between(Version::new(3, 4, 0), Minor::new(3, 5))),
    flag("experimental-initial-corrupt-check", "true").valid(Valid::before(3, 6)),
    flag("feature-gates", "InitialCorruptCheck=true").valid(Valid::since(3, 6)),
    flag("experimental-watch-progress-notify-interval", "5s")
        .valid(Valid::between(Version::new(3, 4, 11), Minor::new(3, 6))),
    flag("watch-progress-notify-interval", "5s").valid(Valid::since(3, 6)),
];
