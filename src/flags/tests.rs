//! The tables against what genuine programs say of themselves, and the check, row by row.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;

/// What `--help` of a genuine build lists: the program, its release, the names.
const HELPS: [(&str, &str, &str); 16] = [
    (
        "etcd",
        "3.4.23",
        include_str!("../../tests/help/etcd-3.4.23.txt"),
    ),
    (
        "etcd",
        "3.5.1",
        include_str!("../../tests/help/etcd-3.5.1.txt"),
    ),
    (
        "etcd",
        "3.6.13",
        include_str!("../../tests/help/etcd-3.6.13.txt"),
    ),
    (
        "kube-apiserver",
        "1.20.2",
        include_str!("../../tests/help/kube-apiserver-1.20.2.txt"),
    ),
    (
        "kube-apiserver",
        "1.31.14",
        include_str!("../../tests/help/kube-apiserver-1.31.14.txt"),
    ),
    (
        "kube-apiserver",
        "1.36.3",
        include_str!("../../tests/help/kube-apiserver-1.36.3.txt"),
    ),
    (
        "kube-controller-manager",
        "1.20.2",
        include_str!("../../tests/help/kube-controller-manager-1.20.2.txt"),
    ),
    (
        "kube-controller-manager",
        "1.31.14",
        include_str!("../../tests/help/kube-controller-manager-1.31.14.txt"),
    ),
    (
        "kube-controller-manager",
        "1.36.3",
        include_str!("../../tests/help/kube-controller-manager-1.36.3.txt"),
    ),
    (
        "kube-proxy",
        "1.20.2",
        include_str!("../../tests/help/kube-proxy-1.20.2.txt"),
    ),
    (
        "kube-proxy",
        "1.36.3",
        include_str!("../../tests/help/kube-proxy-1.36.3.txt"),
    ),
    (
        "kube-scheduler",
        "1.20.2",
        include_str!("../../tests/help/kube-scheduler-1.20.2.txt"),
    ),
    (
        "kube-scheduler",
        "1.31.14",
        include_str!("../../tests/help/kube-scheduler-1.31.14.txt"),
    ),
    (
        "kube-scheduler",
        "1.36.3",
        include_str!("../../tests/help/kube-scheduler-1.36.3.txt"),
    ),
    (
        "kubelet",
        "1.20.2",
        include_str!("../../tests/help/kubelet-1.20.2.txt"),
    ),
    (
        "kubelet",
        "1.36.3",
        include_str!("../../tests/help/kubelet-1.36.3.txt"),
    ),
];

/// Flags that these builds accept and do not list; the second group of etcd's are old ones that
/// it accepts and ignores.
const UNLISTED: [(&str, &str); 6] = [
    (
        "etcd",
        "client-cert-file client-key-file config-file enable-grpc-gateway \
         experimental-downgrade-check-time experimental-enable-lease-checkpoint-persist \
         experimental-memory-mlock log-output peer-client-cert-file peer-client-key-file \
         raft-read-timeout raft-write-timeout unsafe-no-fsync version \
         cluster-active-size cluster-remove-delay cluster-sync-interval config force \
         max-result-buffer max-retry-attempts peer-election-timeout peer-heartbeat-interval \
         retry-interval snapshot v vv",
    ),
    ("kube-apiserver", ""),
    ("kube-controller-manager", ""),
    (
        "kube-proxy",
        "experimental-logging-sanitization healthz-port metrics-port",
    ),
    ("kube-scheduler", ""),
    ("kubelet", ""),
];

#[test]
fn the_tables_agree_with_genuine_builds() {
    for (program, version, help) in HELPS {
        let table = FlagTable::of(program).unwrap();
        let version: Version = version.parse().unwrap();
        let listed: BTreeSet<&str> = help.lines().collect();
        let known: BTreeSet<&str> = table.names(version).collect();
        let absent: Vec<_> = listed.difference(&known).collect();
        assert!(
            absent.is_empty(),
            "{program} {version} has {absent:?}, the table has not"
        );
        let unlisted = UNLISTED
            .iter()
            .find(|(name, _)| *name == program)
            .unwrap()
            .1;
        let unlisted: BTreeSet<&str> = unlisted.split_whitespace().collect();
        let extra: Vec<_> = (&known - &listed).difference(&unlisted).copied().collect();
        assert!(
            extra.is_empty(),
            "{program} {version} does not list {extra:?}"
        );
    }
}

#[track_caller]
fn check_row(program: &str, version: &str, argv: &str, expected: &[&str]) {
    let argv: Vec<String> = argv.split_whitespace().map(str::to_owned).collect();
    let found = check(program, version.parse().unwrap(), &argv);
    let found: Vec<String> = found
        .into_iter()
        .map(|finding| {
            let help = finding
                .help
                .map(|help| format!(" ({help})"))
                .unwrap_or_default();
            format!("{:?}: {}{help}", finding.severity, finding.message)
        })
        .collect();
    assert_eq!(found, expected, "{program} {version} {argv:?}");
}

#[test]
fn unknown_flags_are_errors() {
    check_row("kube-apiserver", "1.32.3", "--secure-port=6443 --v=2", &[]);
    check_row(
        "kube-apiserver",
        "1.32.3",
        "--etcd-server=x",
        &[
            "Error: `kube-apiserver` 1.32.3 has no flag `--etcd-server` \
           (did you mean `--etcd-servers`?)",
        ],
    );
    check_row(
        "kube-apiserver",
        "1.24.0",
        "--insecure-port=0",
        &[
            "Error: `kube-apiserver` 1.24.0 has no flag `--insecure-port`; it was removed in 1.24 \
           (use `--secure-port`)",
        ],
    );
    check_row(
        "kube-apiserver",
        "1.25.1",
        "--encryption-provider-config-automatic-reload",
        &["Error: `kube-apiserver` 1.25.1 has no flag \
           `--encryption-provider-config-automatic-reload`; it came with 1.26"],
    );
    check_row(
        "kubelet",
        "1.27.0",
        "--container-runtime=remote",
        &["Error: `kubelet` 1.27.0 has no flag `--container-runtime`; it was removed in 1.27"],
    );
    // Nothing is refused where the sources do not agree.
    check_row("kube-apiserver", "1.22.0", "--kubelet-https=true", &[]);
}

#[test]
fn patch_releases_count() {
    let added = |release: &str| format!("; it came with {release}");
    for (version, known) in [
        ("3.4.24", Some("3.4.25")),
        ("3.4.25", None),
        ("3.5.7", Some("3.5.8")),
        ("3.5.8", None),
        ("3.6.0", None),
        ("3.7.0", None),
    ] {
        let found = check(
            "etcd",
            version.parse().unwrap(),
            &["--tls-min-version=TLS1.2".into()],
        );
        let messages: Vec<_> = found
            .iter()
            .map(|finding| finding.message.clone())
            .collect();
        match known {
            None => assert!(messages.is_empty(), "{version}: {messages:?}"),
            Some(release) => assert!(messages[0].ends_with(&added(release)), "{messages:?}"),
        }
    }
    let flag = "--aggregator-reject-forwarding-redirect";
    check_row("kube-apiserver", "1.23.11", flag, &[]);
    check_row("kube-apiserver", "1.24.5", flag, &[]);
    assert_eq!(
        check("kube-apiserver", "1.24.4".parse().unwrap(), &[flag.into()]).len(),
        1
    );
}

#[test]
fn values_must_be_of_the_flags_kind() {
    check_row(
        "kube-apiserver",
        "1.32.3",
        "--bind-address=localhost --secure-port=https --profiling=no --shutdown-delay-duration=10",
        &[
            "Error: `--bind-address` takes an IP address, not `localhost`",
            "Error: `--secure-port` takes a whole number, not `https`",
            "Error: `--profiling` takes `true` or `false`, not `no`",
            "Error: `--shutdown-delay-duration` takes a duration like `1m30s`, not `10`",
        ],
    );
    check_row(
        "kube-apiserver",
        "1.32.3",
        "--v",
        &["Error: `--v` needs a value"],
    );
    check_row(
        "kube-apiserver",
        "1.32.3",
        "--profiling false",
        &["Error: `false` belongs to no flag \
           (a boolean takes its value behind `=`: write `=false`)"],
    );
    check_row(
        "etcd",
        "3.5.21",
        "--auto-compaction-retention=5m --snapshot-count=10000",
        &[],
    );
    check_row(
        "etcd",
        "3.5.21",
        "--heartbeat-interval=100ms",
        &["Error: `--heartbeat-interval` takes a whole number that is not negative, not `100ms`"],
    );
}

#[test]
fn deprecated_flags_are_warnings() {
    check_row(
        "kube-apiserver",
        "1.22.0",
        "--experimental-encryption-provider-config=x",
        &[
            "Warning: `--experimental-encryption-provider-config` is deprecated since 1.20 \
           (use `--encryption-provider-config`)",
        ],
    );
    check_row(
        "kubelet",
        "1.32.3",
        "--cluster-dns=10.32.0.10",
        &["Warning: `--cluster-dns` is deprecated since 1.20 \
           (set it in the configuration file that `--config` names)"],
    );
    check_row(
        "etcd",
        "3.6.0",
        "--experimental-initial-corrupt-check=true",
        &[
            "Warning: `--experimental-initial-corrupt-check` is deprecated since 3.6 \
           (use `--feature-gates=InitialCorruptCheck=true`)",
        ],
    );
    check_row("etcd", "3.4.23", "--logger=zap", &[]);
}

#[test]
fn feature_gates_must_exist_and_be_free() {
    check_row(
        "kube-apiserver",
        "1.32.3",
        "--feature-gates=AllAlpha=false,KMSv1=true",
        &[],
    );
    check_row(
        "kube-scheduler",
        "1.28.0",
        "--feature-gates=PodSecurity=true",
        &["Error: Kubernetes 1.28 has no feature gate `PodSecurity`; it was removed in 1.28"],
    );
    check_row(
        "kube-apiserver",
        "1.33.0",
        "--feature-gates=SidecarContainers=false",
        &[
            "Error: the feature gate `SidecarContainers` is locked to true in 1.33 \
           (leave `SidecarContainers` out of `--feature-gates`)",
        ],
    );
    check_row(
        "kube-apiserver",
        "1.33.0",
        "--feature-gates=kube:SidecarContainers=true",
        &[],
    );
    check_row(
        "kube-controller-manager",
        "1.33.0",
        "--feature-gates=SidecarContainer=true",
        &[
            "Error: Kubernetes 1.33 has no feature gate `SidecarContainer` \
           (did you mean `SidecarContainers`?)",
        ],
    );
    check_row(
        "kube-proxy",
        "1.37.0",
        "--feature-gates=KubeProxyIPVS=true",
        &[],
    );
}

#[test]
fn admission_plugins_must_exist() {
    check_row(
        "kube-apiserver",
        "1.25.0",
        "--enable-admission-plugins=NodeRestriction,PodSecurityPolicy",
        &[
            "Error: Kubernetes 1.25 has no admission plugin `PodSecurityPolicy`; \
           it was removed in 1.25",
        ],
    );
    check_row(
        "kube-apiserver",
        "1.24.0",
        "--enable-admission-plugins=PodSecurityPolicy",
        &[],
    );
    check_row(
        "kube-apiserver",
        "1.31.0",
        "--disable-admission-plugins=NodeRestrictions",
        &[
            "Error: Kubernetes 1.31 has no admission plugin `NodeRestrictions` \
           (did you mean `NodeRestriction`?)",
        ],
    );
}

#[test]
fn what_is_not_known_is_not_refused() {
    check_row(
        "kube-apiserver",
        "1.38.0",
        "--anything",
        &[
            "Warning: the flags of `kube-apiserver` 1.38 are not known to kinstall, \
           so they are not checked",
        ],
    );
    check_row(
        "kube-apiserver",
        "1.37.0",
        "--brand-new",
        &["Warning: `kube-apiserver` 1.37.0 has no flag `--brand-new`"],
    );
    check_row(
        "kube-apiserver",
        "1.37.0",
        "--insecure-port=0",
        &[
            "Error: `kube-apiserver` 1.37.0 has no flag `--insecure-port`; it was removed in 1.24 \
           (use `--secure-port`)",
        ],
    );
}

proptest! {
    /// Whatever the words, the check answers, and an unknown flag never goes unnoticed.
    #[test]
    fn every_command_line_has_an_answer(
        words in proptest::collection::vec("-{0,3}[a-z_=-]{0,12}", 0..6),
        minor in 20_u64..=36,
        name in "zz[a-z]{1,8}",
    ) {
        let version = Version { major: 1, minor, patch: 0 };
        let mut argv = vec![format!("--{name}=1")];
        argv.extend(words);
        for program in ["kube-apiserver", "kubelet"] {
            let found = check(program, version, &argv);
            prop_assert_eq!(&found[0].flag, &name);
            prop_assert_eq!(found[0].severity, Severity::Error);
        }
    }

    /// Every flag of a release passes with a value of its own kind, deprecated or not.
    #[test]
    fn every_known_flag_passes(minor in 20_u64..=36) {
        let version = Version { major: 1, minor, patch: 99 };
        let table = FlagTable::of("kube-controller-manager").unwrap();
        for name in table.names(version) {
            let value = match table.flag(name, version).unwrap().kind {
                Kind::Bool | Kind::Version => "true",
                Kind::Int32 | Kind::Int | Kind::Uint | Kind::Float => "1",
                Kind::Duration => "1s",
                Kind::Ip => "::1",
                Kind::Gates => "AllAlpha=false",
                Kind::Any | Kind::List | Kind::Text => "x",
            };
            let found = check("kube-controller-manager", version, &[format!("--{name}={value}")]);
            // What a word must be is no matter of its kind.
            let is_kind = |one: &Finding| {
                one.severity == Severity::Error && !matches!(one.problem, Problem::NoChoice { .. })
            };
            prop_assert!(!found.iter().any(is_kind), "{:?}", found);
        }
    }
}
