//! Flags that are right each for itself and wrong together, or that a program needs and has not.
//! Only what is fatal, or silently does nothing, is here; taste is not.

use super::{
    argv::{Argument, parse},
    finding::{Finding, Problem, Severity},
    table::FlagTable,
    value::boolean,
};
use crate::version::Version;

/// One rule: for these minors of a program, what is wrong, and what to do.
struct Rule {
    programs: &'static [&'static str],
    /// The first and last minor it holds for.
    minors: (u64, u64),
    severity: Severity,
    /// The flags it is about, the one to name first.
    flags: &'static [&'static str],
    broken: fn(&Given) -> bool,
    words: &'static str,
    help: &'static str,
}

const EVER: (u64, u64) = (0, u64::MAX);
const SERVERS: &[&str] = &[
    "kube-apiserver",
    "kube-controller-manager",
    "kube-scheduler",
    "kubelet",
];

const RULES: [Rule; 15] = [
    Rule {
        programs: &["kube-apiserver"],
        minors: EVER,
        severity: Severity::Error,
        flags: &["etcd-servers"],
        broken: |given| !given.has("etcd-servers"),
        words: "kube-apiserver does not start without `--etcd-servers`",
        help: "name every member: `https://HOST:2379,...`",
    },
    // Required since 1.20, where TokenRequest became stable.
    Rule {
        programs: &["kube-apiserver"],
        minors: (20, u64::MAX),
        severity: Severity::Error,
        flags: &["service-account-issuer"],
        broken: |given| !given.has("service-account-issuer"),
        words: "kube-apiserver does not start without `--service-account-issuer`",
        help: "use an https URL that stays for the life of the cluster",
    },
    Rule {
        programs: &["kube-apiserver"],
        minors: (20, u64::MAX),
        severity: Severity::Error,
        flags: &["service-account-signing-key-file"],
        broken: |given| !given.has("service-account-signing-key-file"),
        words: "kube-apiserver does not start without `--service-account-signing-key-file`",
        help: "name the private half of the service-account pair",
    },
    Rule {
        programs: &["kube-apiserver"],
        minors: (20, u64::MAX),
        severity: Severity::Error,
        flags: &["service-account-key-file"],
        broken: |given| !given.has("service-account-key-file"),
        words: "without `--service-account-key-file` kube-apiserver cannot check its own tokens",
        help: "name the public half of the service-account pair",
    },
    // Several guides set the path alone.
    Rule {
        programs: &["kube-apiserver"],
        minors: EVER,
        severity: Severity::Warning,
        flags: &["audit-log-path", "audit-policy-file"],
        broken: |given| given.has("audit-log-path") && !given.has("audit-policy-file"),
        words: "without `--audit-policy-file` nothing is written to `--audit-log-path`",
        help: "add `--audit-policy-file`",
    },
    Rule {
        programs: &["kube-apiserver"],
        minors: (0, 23),
        severity: Severity::Error,
        flags: &["insecure-port"],
        broken: |given| given.get("insecure-port").is_some_and(|port| port != "0"),
        words: "the insecure port is gone: `--insecure-port` may only be 0",
        help: "leave it out",
    },
    Rule {
        programs: &["kube-apiserver"],
        minors: EVER,
        severity: Severity::Error,
        flags: &["authorization-config", "authorization-mode"],
        broken: |given| given.has("authorization-config") && given.has("authorization-mode"),
        words: "`--authorization-config` and `--authorization-mode` exclude each other",
        help: "keep one of them",
    },
    Rule {
        programs: &["kube-apiserver"],
        minors: EVER,
        severity: Severity::Error,
        flags: &["authentication-config", "oidc-issuer-url"],
        broken: |given| given.has("authentication-config") && given.has("oidc-issuer-url"),
        words: "`--authentication-config` and the `--oidc-` flags exclude each other",
        help: "describe the OIDC issuer in the file",
    },
    Rule {
        programs: &["kube-apiserver"],
        minors: EVER,
        severity: Severity::Warning,
        flags: &[
            "requestheader-allowed-names",
            "requestheader-client-ca-file",
        ],
        broken: |given| {
            given.has("requestheader-client-ca-file") && !given.has("requestheader-allowed-names")
        },
        words: "any client signed by the front proxy's CA may impersonate anyone",
        help: "set `--requestheader-allowed-names`",
    },
    Rule {
        programs: SERVERS,
        minors: EVER,
        severity: Severity::Error,
        flags: &["tls-cert-file", "tls-private-key-file"],
        broken: |given| given.has("tls-cert-file") != given.has("tls-private-key-file"),
        words: "`--tls-cert-file` and `--tls-private-key-file` belong together",
        help: "set both or neither",
    },
    Rule {
        programs: &["etcd"],
        minors: EVER,
        severity: Severity::Error,
        flags: &["cipher-suites", "tls-min-version"],
        broken: |given| {
            given.get("tls-min-version") == Some("TLS1.3") && given.has("cipher-suites")
        },
        words: "etcd does not start with `--cipher-suites` where only TLS 1.3 is allowed",
        help: "leave `--cipher-suites` out: the suites of TLS 1.3 cannot be chosen",
    },
    Rule {
        programs: &["etcd"],
        minors: EVER,
        severity: Severity::Warning,
        flags: &["client-cert-auth", "trusted-ca-file"],
        broken: |given| given.has("trusted-ca-file") && !given.is_on("client-cert-auth"),
        words: "without `--client-cert-auth` anyone who reaches etcd may read and write everything",
        help: "set `--client-cert-auth=true`",
    },
    Rule {
        programs: &["etcd"],
        minors: EVER,
        severity: Severity::Error,
        flags: &["cert-file", "key-file"],
        broken: |given| given.has("cert-file") != given.has("key-file"),
        words: "`--cert-file` and `--key-file` belong together",
        help: "set both or neither",
    },
    Rule {
        programs: &["kube-controller-manager"],
        minors: EVER,
        severity: Severity::Error,
        flags: &[
            "node-cidr-mask-size",
            "node-cidr-mask-size-ipv4",
            "node-cidr-mask-size-ipv6",
        ],
        broken: |given| {
            given.has("node-cidr-mask-size")
                && (given.has("node-cidr-mask-size-ipv4") || given.has("node-cidr-mask-size-ipv6"))
        },
        words: "`--node-cidr-mask-size` excludes the flags for one family",
        help: "a cluster of one family needs `--node-cidr-mask-size` alone",
    },
    // From 1.35 on it does not start if the two authorities share a certificate and the names
    // are not said; before that, any certificate of the shared authority speaks for anyone.
    Rule {
        programs: &["kube-apiserver"],
        minors: EVER,
        severity: Severity::Error,
        flags: &[
            "requestheader-client-ca-file",
            "client-ca-file",
            "requestheader-allowed-names",
        ],
        broken: |given| {
            given.get("requestheader-client-ca-file").is_some()
                && given.get("requestheader-client-ca-file") == given.get("client-ca-file")
                && !given.has("requestheader-allowed-names")
        },
        words: "any client certificate may impersonate anyone: the front proxy's \
                authority is that of the clients",
        help: "give the front proxy an authority of its own",
    },
];

/// Checks a whole command line (`argv` without the program itself) for flags that do not go
/// together and for flags that the program cannot do without.
pub fn check_together(program: &str, version: Version, argv: &[String]) -> Vec<Finding> {
    let Some(table) = FlagTable::of(program) else {
        return Vec::new();
    };
    let given = Given(parse(program, table, argv));
    let rules = RULES.iter().filter(|rule| {
        let (first, last) = rule.minors;
        rule.programs.contains(&program) && (first..=last).contains(&version.minor)
    });
    let broken = rules.filter(|rule| (rule.broken)(&given));
    let finding = |rule: &Rule| {
        let problem = Problem::Together {
            flags: rule.flags,
            words: rule.words,
        };
        Finding::new(
            rule.severity,
            rule.flags[0],
            problem,
            Some(rule.help.to_owned()),
        )
    };
    broken.map(finding).collect()
}

/// What a command line gives, by flag.
struct Given(Vec<Argument>);

impl Given {
    /// The last value that is not empty. A boolean alone is on.
    fn get(&self, flag: &str) -> Option<&str> {
        self.0.iter().rev().find_map(|word| match word {
            Argument::Flag { name, value } if name == flag => {
                Some(value.as_deref().unwrap_or("true")).filter(|value| !value.is_empty())
            }
            _ => None,
        })
    }

    fn has(&self, flag: &str) -> bool {
        self.get(flag).is_some()
    }

    fn is_on(&self, flag: &str) -> bool {
        self.get(flag).and_then(boolean) == Some(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(program: &str, version: &str, argv: &str, expected: &[(&str, Severity)]) {
        let argv: Vec<String> = argv.split_whitespace().map(str::to_owned).collect();
        let found = check_together(program, version.parse().unwrap(), &argv);
        let found: Vec<_> = found
            .iter()
            .map(|one| (one.flag.as_str(), one.severity))
            .collect();
        assert_eq!(found, expected, "{program} {version} {argv:?}");
    }

    #[test]
    fn flags_must_go_together() {
        const NEEDED: &str = "--etcd-servers=https://a:2379 --service-account-issuer=https://a \
             --service-account-key-file=a --service-account-signing-key-file=b";
        let apiserver = |version: &str, more: &str, expected: &[(&str, Severity)]| {
            check(
                "kube-apiserver",
                version,
                &format!("{NEEDED} {more}"),
                expected,
            );
        };
        let (error, warning) = (Severity::Error, Severity::Warning);
        apiserver("1.32.3", "", &[]);
        check("kube-apiserver", "1.19.0", "", &[("etcd-servers", error)]);
        check(
            "kube-apiserver",
            "1.20.0",
            "--etcd-servers=a",
            &[
                ("service-account-issuer", error),
                ("service-account-signing-key-file", error),
                ("service-account-key-file", error),
            ],
        );
        apiserver(
            "1.32.3",
            "--audit-log-path=a",
            &[("audit-log-path", warning)],
        );
        apiserver("1.32.3", "--audit-log-path=a --audit-policy-file=b", &[]);
        apiserver(
            "1.23.0",
            "--insecure-port=8080",
            &[("insecure-port", error)],
        );
        apiserver("1.23.0", "--insecure-port=0", &[]);
        let both = "--authorization-config=a --authorization-mode=RBAC";
        apiserver("1.32.3", both, &[("authorization-config", error)]);
        let both = "--authentication-config=a --oidc-issuer-url=b";
        apiserver("1.32.3", both, &[("authentication-config", error)]);
        let proxy = "--requestheader-client-ca-file=a";
        apiserver("1.32.3", proxy, &[("requestheader-allowed-names", warning)]);
        check(
            "kube-scheduler",
            "1.32.3",
            "--tls-cert-file=a",
            &[("tls-cert-file", error)],
        );
        check(
            "kube-scheduler",
            "1.32.3",
            "--tls-cert-file=a --tls-private-key-file=b",
            &[],
        );
        let suites = "--tls-min-version=TLS1.3 --cipher-suites=a";
        check("etcd", "3.6.0", suites, &[("cipher-suites", error)]);
        check(
            "etcd",
            "3.6.0",
            "--trusted-ca-file=a",
            &[("client-cert-auth", warning)],
        );
        check(
            "etcd",
            "3.6.0",
            "--trusted-ca-file=a --client-cert-auth",
            &[],
        );
    }
}
