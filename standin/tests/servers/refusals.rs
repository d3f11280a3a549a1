//! One thing made wrong, and the server does not start: exit 1, and its words.

use std::time::Duration;

use crate::bed::{Bed, VERSION, encryption, ports};

/// Replaces (or adds) flags, drops those given as `-name`, and expects the words.
#[track_caller]
fn check(bed: &Bed, (name, version): (&str, &str), right: &[String], change: &str, words: &str) {
    let mut flags = right.to_vec();
    for change in bed.words(change) {
        let flag = change
            .trim_start_matches('-')
            .split('=')
            .next()
            .unwrap()
            .to_owned();
        flags.retain(|old| old.trim_start_matches('-').split('=').next() != Some(&flag));
        if change.starts_with("--") {
            flags.push(change);
        }
    }
    let mut server = bed.start(name, version, &flags);
    let code = server.end(Duration::from_secs(40)).code();
    let output = server.output();
    assert_eq!(code, Some(1), "{change}: {output}");
    let words = words.replace("D/", &bed.path(""));
    let plain = output.replace("\\\"", "\"");
    assert!(
        plain.contains(&words),
        "{change}: {output} does not say {words}"
    );
}

#[test]
fn kube_apiserver_refuses_wrong_flags() {
    let bed = Bed::new();
    let right = bed.apiserver_flags();
    let check = |change: &str, words: &str| {
        check(&bed, ("kube-apiserver", VERSION), &right, change, words);
    };
    check("--insecure-port=0", "Error: unknown flag: --insecure-port");
    check("--no-such-flag", "Error: unknown flag: --no-such-flag");
    check(
        "--bind-address=localhost",
        "Error: invalid argument \"localhost\" for \"--bind-address\" flag: \
         failed to parse IP: \"localhost\"",
    );
    check(
        "--profiling=no",
        "strconv.ParseBool: parsing \"no\": invalid syntax",
    );
    check("--request-timeout=60", "time: invalid duration \"60\"");
    check(
        "--secure-port=0",
        "--secure-port 0 must be between 1 and 65535",
    );
    check(
        "--feature-gates=NoSuchGate=true",
        "unrecognized feature gate: NoSuchGate",
    );
    check(
        "--enable-admission-plugins=PodSecurityPolicy",
        "enable-admission-plugins plugin \"PodSecurityPolicy\" is unknown",
    );
    check(
        "--authorization-mode=RBCA",
        "authorization-mode \"RBCA\" is not a valid mode",
    );
    check("--tls-min-version=TLS1.2", "unknown tls version \"TLS1.2\"");
    check(
        "--tls-cipher-suites=ECDHE",
        "Cipher suite ECDHE not supported or doesn't exist",
    );
    check(
        "--service-cluster-ip-range=10.32.0.0",
        "invalid CIDR address: 10.32.0.0",
    );
    check(
        "--advertise-address=::1",
        "service IP family \"10.32.0.0/24\" must match public address family \"::1\"",
    );
    check(
        "-etcd-servers",
        "\"command failed\" err=\"--etcd-servers must be specified\"",
    );
    check(
        "-service-account-key-file",
        "--service-account-key-file is a required flag",
    );
    check(
        "-service-account-issuer -service-account-signing-key-file",
        "[service-account-issuer is a required flag, --service-account-signing-key-file and \
         --service-account-issuer are required flags]",
    );
}

#[test]
fn kube_apiserver_refuses_wrong_files() {
    let bed = Bed::new();
    let right = bed.apiserver_flags();
    let check = |change: &str, words: &str| {
        check(&bed, ("kube-apiserver", VERSION), &right, change, words);
    };
    let none = "open D/none: no such file or directory";
    for flag in [
        "client-ca-file",
        "etcd-cafile",
        "etcd-certfile",
        "etcd-keyfile",
        "tls-cert-file",
        "tls-private-key-file",
        "kubelet-client-certificate",
        "kubelet-certificate-authority",
        "service-account-key-file",
        "service-account-signing-key-file",
        "audit-policy-file",
        "encryption-provider-config",
        "token-auth-file",
    ] {
        check(&format!("--{flag}=D/none"), none);
    }
    let mismatch = "tls: private key does not match public key";
    check("--tls-private-key-file=D/sa.key", mismatch);
    check("--etcd-keyfile=D/sa.key", mismatch);
    check("--kubelet-client-key=D/sa.key", mismatch);
    let purpose = "x509: certificate specifies an incompatible key usage";
    check(
        "--tls-cert-file=D/admin.pem --tls-private-key-file=D/admin.key",
        purpose,
    );
    check(
        "--etcd-certfile=D/apiserver.pem --etcd-keyfile=D/apiserver.key",
        purpose,
    );
    check(
        "--client-ca-file=D/broken",
        "does not contain any valid RSA or ECDSA certificates",
    );
    check(
        "--tls-cert-file=D/broken",
        "tls: failed to find any PEM data in certificate input",
    );
    check(
        "--audit-policy-file=D/broken",
        "loading audit policy file: failed decoding: ",
    );
    check(
        "--audit-log-path=D/none/audit.log",
        "ensureLogFile: open D/none/audit.log: ",
    );
    check("--service-account-key-file=D/sa2.pub", "do not form a pair");
    check(
        "--service-account-signing-key-file=D/broken",
        "failed to parse service-account-issuer",
    );
    check(
        "--encryption-provider-config=D/broken",
        "error while parsing file: ",
    );
}

#[test]
fn kube_apiserver_refuses_an_etcd_it_does_not_trust() {
    let bed = Bed::new();
    let right = bed.apiserver_flags();
    let check = |change: &str, words: &str| {
        check(&bed, ("kube-apiserver", VERSION), &right, change, words);
    };
    check(
        "--etcd-cafile=D/other.pem",
        "/health\": x509: certificate signed by unknown authority",
    );
    check(
        "--etcd-certfile=D/stranger.pem --etcd-keyfile=D/stranger.key",
        "/health\": remote error: tls: ",
    );
    check(
        "-etcd-certfile -etcd-keyfile",
        "/health\": remote error: tls: ",
    );
    let [nobody] = ports();
    check(
        &format!("--etcd-servers=https://127.0.0.1:{nobody}"),
        &format!("context deadline exceeded: Get \"https://127.0.0.1:{nobody}/health\": dial tcp"),
    );
}

#[test]
fn kube_apiserver_refuses_a_wrong_encryption_config() {
    let bed = Bed::new();
    let right = bed.apiserver_flags();
    let check = |version: &str, text: &str, words: &str| {
        bed.write("wrong.yaml", text);
        let change = "--encryption-provider-config=D/wrong.yaml";
        check(&bed, ("kube-apiserver", version), &right, change, words);
    };
    let good = encryption("MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=");
    check(
        VERSION,
        &encryption("c2hvcnRrZXk="),
        "resources[0].providers[0].aescbc.keys[0].secret: Invalid value: \"REDACTED\": \
         secret is not of the expected length, got 8, expected one of [16 24 32]",
    );
    check(VERSION, &encryption("%%%"), "error while parsing file: ");
    check(
        VERSION,
        &encryption("'!'"),
        "secrets must be base64 encoded",
    );
    let kind = good.replace("EncryptionConfiguration", "EncryptionConfig");
    check(
        VERSION,
        &kind,
        "no kind \"EncryptionConfig\" is registered for version",
    );
    let field = format!("{good}extra: 1\n");
    check(
        VERSION,
        &field,
        "strict decoding error: unknown field \"extra\"",
    );
    let both = good.replace("aescbc:", "identity: {}\n    aescbc:");
    check(
        VERSION,
        &both,
        "more than one provider specified in a single element",
    );
    check(
        "1.22.0",
        &encryption("c2hvcnRrZXk="),
        "Error: error while parsing encryption provider configuration file",
    );
    // Right in every release: the documents' old spelling, and a field too many before 1.31.
    // The server then stops at the next thing that is wrong.
    let old = good.replace("EncryptionConfiguration", "EncryptionConfig");
    let old = old.replace("apiserver.config.k8s.io/v1", "v1");
    for (version, text) in [(VERSION, &old), ("1.30.0", &field)] {
        bed.write("right.yaml", text);
        let change = "--encryption-provider-config=D/right.yaml --etcd-cafile=D/other.pem";
        let words = "certificate signed by unknown authority";
        self::check(&bed, ("kube-apiserver", version), &right, change, words);
    }
}

#[test]
fn kube_apiserver_refuses_what_its_version_refuses() {
    let bed = Bed::new();
    let right = bed.apiserver_flags();
    let check = |version: &str, change: &str, words: &str| {
        check(&bed, ("kube-apiserver", version), &right, change, words);
    };
    check(
        "1.23.0",
        "--insecure-port=8080",
        "invalid port value 8080: only zero is allowed",
    );
    check(
        "1.24.0",
        "--insecure-port=0",
        "unknown flag: --insecure-port",
    );
    check(
        "1.26.0",
        "--logtostderr=true",
        "unknown flag: --logtostderr",
    );
    check(
        "1.33.0",
        "--feature-gates=SidecarContainers=false",
        "feature is locked to true",
    );
    check(
        "1.35.0",
        "--requestheader-client-ca-file=D/ca.pem",
        "contain overlapping certificates; --requestheader-allowed-names must be specified",
    );
    bed.write(
        "old.yaml",
        "{apiVersion: audit.k8s.io/v1beta1, kind: Policy, rules: [{level: None}]}",
    );
    check(
        "1.24.0",
        "--audit-policy-file=D/old.yaml",
        "no kind \"Policy\" is registered",
    );
}

#[test]
fn controllers_refuse_wrong_files_and_servers() {
    let bed = Bed::new();
    let _apiserver = bed.start("kube-apiserver", VERSION, &bed.apiserver_flags());
    bed.expect(bed.apiserver_port, "/readyz", Some("admin"), 200);
    let right = bed.controller_flags(ports::<1>()[0]);
    let manager = |change: &str, words: &str| {
        check(
            &bed,
            ("kube-controller-manager", VERSION),
            &right,
            change,
            words,
        );
    };
    manager("--port=0", "unknown flag: --port");
    manager(
        "--kubeconfig=D/none",
        "stat D/none: no such file or directory",
    );
    manager(
        "--kubeconfig=D/broken",
        "error loading config file \"D/broken\": ",
    );
    manager(
        "-kubeconfig",
        "invalid configuration: no configuration has been provided",
    );
    manager(
        "--kubeconfig=D/distrustful.kubeconfig",
        "certificate signed by unknown authority",
    );
    manager("--kubeconfig=D/stranger.kubeconfig", "Unauthorized");
    manager("--kubeconfig=D/serving-only.kubeconfig", "Unauthorized");
    manager(
        "--root-ca-file=D/broken",
        "error parsing root-ca-file at D/broken: ",
    );
    manager(
        "--service-account-private-key-file=D/sa.pub",
        "error reading key for service account",
    );
    manager(
        "--cluster-signing-key-file=D/other.key",
        "tls: private key does not match public key",
    );
    let two = ["ca.pem", "other.pem"].map(|file| fs_err::read_to_string(bed.path(file)).unwrap());
    bed.write("two.pem", &two.concat());
    let two = "--cluster-signing-cert-file=D/two.pem";
    manager(two, "expected 1 certificate, found 2");
    refuses_of_the_scheduler(&bed);
}

#[track_caller]
fn refuses_of_the_scheduler(bed: &Bed) {
    let right = bed.words("--bind-address=127.0.0.1 --kubeconfig=D/controller.kubeconfig");
    let scheduler = |version: &str, change: &str, words: &str| {
        check(bed, ("kube-scheduler", version), &right, change, words);
    };
    let config = |api: &str| {
        let text = "kind: KubeSchedulerConfiguration\napiVersion: kubescheduler.config.k8s.io/";
        bed.write("scheduler.yaml", &format!("{text}{api}\n"));
    };
    scheduler(
        VERSION,
        "--config=D/none",
        "open D/none: no such file or directory",
    );
    config("v1beta3");
    scheduler(
        "1.29.0",
        "--config=D/scheduler.yaml",
        "no kind \"KubeSchedulerConfiguration\" is registered for version \
         \"kubescheduler.config.k8s.io/v1beta3\"",
    );
    config("v1\nhealthzBindAddress: ''");
    scheduler(
        VERSION,
        "--config=D/scheduler.yaml",
        "unknown field \"healthzBindAddress\"",
    );
    config("v1");
    scheduler(
        VERSION,
        "--config=D/scheduler.yaml",
        "no configuration has been provided",
    );
    scheduler(
        "1.24.0",
        "--config=D/scheduler.yaml",
        "is registered for version",
    );
    scheduler(
        "1.22.0",
        "--scheduler-name=x",
        "Error: unknown flag: --scheduler-name",
    );
}
