//! What a user is told of a command line, and of an upgrade, case by case.

use std::fmt::Write as _;
use std::path::Path;

use super::{EVENTS, command_lines, upgrade};
use crate::component::named;
use crate::flags::Severity;
use crate::inventory::{Inventory, pairing};
use crate::terminal::outlook::Outlook;
use crate::version::Version;

fn inventory(text: &str) -> Inventory {
    let parsed = Inventory::parse(text, "inventory.toml", Path::new("/lab"));
    parsed
        .unwrap_or_else(|problems| panic!("{:?}", problems.iter().collect::<Vec<_>>()))
        .0
}

/// A cluster of three nodes, and what else is said of it.
fn lab(kubernetes: &str, said: &str) -> String {
    let node = |number: u8| {
        format!(
            "[[node]]\nname = \"az{number}\"\naddress = \"10.0.{number}2.1\"\narch = \"arm64\"\n"
        )
    };
    let nodes: String = (1..=3).map(node).collect();
    // Keys with dots stand above all tables, those of the cluster below its own.
    let (above, said) = if said.starts_with("component.") {
        (format!("{said}\n"), "")
    } else {
        (String::new(), said)
    };
    format!("{above}[cluster]\nname = \"home\"\nkubernetes = \"{kubernetes}\"\n{said}\n{nodes}")
}

/// Each finding in a line: its severity, what it points at, what it says, and the way out.
#[track_caller]
fn check(kubernetes: &str, said: &str, expected: &[&str]) {
    let text = lab(kubernetes, said);
    let inventory = inventory(&text);
    let findings = command_lines(&inventory);
    let told: Vec<String> = findings
        .iter()
        .map(|finding| {
            let mut told = match finding.severity {
                Severity::Error => "error".to_owned(),
                Severity::Warning => "warning".to_owned(),
            };
            let place = finding.place.clone().expect("a user's finding has a place");
            write!(told, " at {}: {}", &text[place], finding.message).unwrap();
            if let Some(help) = &finding.help {
                write!(told, " ({help})").unwrap();
            }
            told
        })
        .collect();
    assert_eq!(told, expected);
}

#[test]
fn what_kinstall_writes_by_itself_is_right_for_every_version() {
    for minor in pairing::KUBERNETES {
        for patch in [0, 99] {
            let inventory = inventory(&lab(&format!("1.{minor}.{patch}"), ""));
            assert_eq!(command_lines(&inventory), [], "1.{minor}.{patch}");
        }
    }
    for minor in pairing::ETCD {
        for patch in [0, 99] {
            let inventory = inventory(&lab("1.32.3", &format!("etcd = \"3.{minor}.{patch}\"")));
            assert_eq!(command_lines(&inventory), [], "3.{minor}.{patch}");
        }
    }
}

#[test]
fn a_flag_of_another_version_points_at_its_name() {
    check(
        "1.27.3",
        "component.kube-apiserver.flags = { logtostderr = true, profilng = false }",
        &[
            "error at logtostderr: `kube-apiserver` 1.27.3 has no flag `--logtostderr`; it was \
             removed in 1.26",
            "error at profilng: `kube-apiserver` 1.27.3 has no flag `--profilng` (did you mean \
             `--profiling`?)",
        ],
    );
    check(
        "1.20.2",
        "component.kube-apiserver.flags = { encryption-provider-config-automatic-reload = true }",
        &[
            "error at encryption-provider-config-automatic-reload: `kube-apiserver` 1.20.2 has no \
             flag `--encryption-provider-config-automatic-reload`; it came with 1.26",
        ],
    );
}

#[test]
fn a_wrong_value_points_at_the_value_once_for_all_nodes() {
    check(
        "1.32.3",
        "component.kube-scheduler.flags = { leader-elect = \"yes\", v = 4 }",
        &["error at \"yes\": `--leader-elect` takes `true` or `false`, not `yes`"],
    );
    check(
        "1.32.3",
        "component.kube-controller-manager.flags = { feature-gates = \"Nothing=true\" }",
        &["error at \"Nothing=true\": Kubernetes 1.32 has no feature gate `Nothing`"],
    );
}

#[test]
fn what_is_deprecated_is_told_of_the_users_flags_only() {
    check(
        "1.32.3",
        "component.kube-apiserver.flags = { apiserver-count = 3 }",
        &["warning at apiserver-count: `--apiserver-count` is deprecated since 1.23"],
    );
    // etcd 3.6 has plain names for these; kinstall's own are silent.
    check("1.32.3", "etcd = \"3.6.0\"", &[]);
}

#[test]
fn what_is_left_out_is_missed() {
    check(
        "1.32.3",
        "component.kube-apiserver.flags-removed = [\"etcd-servers\", \"goaway-chanc\"]",
        &[
            "error at \"etcd-servers\": kube-apiserver does not start without `--etcd-servers` \
             (name every member: `https://HOST:2379,...`)",
            "warning at \"goaway-chanc\": `--goaway-chanc` cannot be left out: kinstall does not \
             write it (did you mean `goaway-chance`?)",
        ],
    );
    check(
        "1.32.3",
        "component.etcd.flags-removed = [\"key-file\"]",
        &[
            "error at \"key-file\": `--cert-file` and `--key-file` belong together (set both or \
             neither)",
        ],
    );
}

#[test]
fn a_unit_bounds_what_a_flag_may_be() {
    check(
        "1.32.3",
        "component.kube-apiserver.flags = { secure-port = 443, bind-address = \"10.0.12.1\" }",
        &[
            "error at \"10.0.12.1\": kube-apiserver would not answer on 127.0.0.1 (kinstall asks \
             there whether it is healthy: take `0.0.0.0` or `127.0.0.1`, and keep others out with \
             `networks`)",
            "error at 443: kube-apiserver cannot listen on port 443: it runs without privileges \
             (take a port from 1024 up; a balancer in front of it may answer on any port)",
        ],
    );
    check(
        "1.32.3",
        "component.etcd.flags = { data-dir = \"/data\", wal-dir = \"/var/lib/etcd/wal\" }",
        &[
            "warning at \"/data\": etcd may not write `/data`: its unit lets it write below \
             `/var/lib/etcd` only (mount the disk at `/var/lib/etcd`, or add a drop-in of your \
             own with `BindPaths=`)",
        ],
    );
    check(
        "1.32.3",
        "component.kube-scheduler.flags = { config = \"/root/x.yaml\", help = true }",
        &[
            "warning at \"/root/x.yaml\": kube-scheduler does not see `/root/x.yaml`: its unit \
             hides `/root` (put the file below `/etc`, readable for the program's user)",
            "error at true: with `--help` kube-scheduler says something and ends (leave it out)",
        ],
    );
}

#[test]
fn etcds_environment_is_flags_too() {
    check(
        "1.32.3",
        "component.etcd.environment = { ETCD_NAME = \"x\", ETCD_MAX_WALS = \"x\", ETCD_X = \"x\", \
         GOGC = \"50\" }",
        &[
            "error at \"x\": `ETCD_MAX_WALS` takes a whole number that is not negative, not `x`",
            "error at ETCD_NAME: etcd does not start with both `ETCD_NAME` and `--name` (set the \
             flag instead: `flags = { name = ... }`)",
            "warning at ETCD_X: etcd 3.5.24 knows no variable `ETCD_X` (it would be the flag \
             `--x`, which this release does not have)",
        ],
    );
}

#[test]
fn one_node_alone_can_be_wrong() {
    let said = "component.kube-apiserver.flags = { v = 2 }";
    let text = lab("1.32.3", said) + "component.kube-apiserver.flags = { v = \"high\" }\n";
    let inventory = inventory(&text);
    let findings = command_lines(&inventory);
    let [finding] = findings.as_slice() else {
        panic!("{findings:#?}");
    };
    assert_eq!(finding.subject(&inventory), "kube-apiserver 1.32.3 on az3");
}

#[test]
fn a_command_line_that_no_unit_holds_is_refused() {
    let long = "x".repeat(8000);
    let flags: Vec<String> = (0..70).map(|it| format!("zz{it} = \"{long}\"")).collect();
    let text = lab(
        "1.32.3",
        &format!("component.etcd.flags = {{ {} }}", flags.join(", ")),
    );
    let findings = command_lines(&inventory(&text));
    let told = findings
        .iter()
        .any(|it| it.message.contains("512") || it.message.contains("524288"));
    assert!(told, "{}", findings.len());
}

/// The steps of an upgrade, as a person is told them.
#[track_caller]
fn told(text: &str, targets: &[&str]) -> String {
    let inventory = inventory(text);
    let targets: Vec<Version> = targets.iter().map(|it| it.parse().unwrap()).collect();
    match upgrade(&inventory, &targets) {
        Ok(path) => Outlook::of(&path, &inventory, text).text("inventory.toml", false),
        Err(error) => error.to_string(),
    }
}

#[test]
fn an_upgrade_tells_each_step_what_breaks_and_what_kinstall_does() {
    let said = "component.kube-apiserver.flags = { enable-admission-plugins = \
                \"NodeRestriction,PodSecurityPolicy\" }";
    let expected = "\
home: Kubernetes 1.23.5 to 1.26.15, a minor version at a time: push 1.24.17, then 1.25.16, then \
1.26.15

1.23.5 to 1.24.17
  warning: kube-controller-manager 1.24.17: service accounts no longer get a Secret with a token by themselves
    help: use `kubectl create token`, or write a Secret of type `kubernetes.io/service-account-token` where a lasting token is needed
  kinstall does it: kube-controller-manager no longer gets `--port`

1.24.17 to 1.25.16
  error: kube-apiserver 1.25.16: Kubernetes 1.25 has no admission plugin `PodSecurityPolicy`; it was removed in 1.25
    at inventory.toml:1
  warning: kube-apiserver 1.25.16: PodSecurityPolicy is gone, and `v1beta1` of CronJob, EndpointSlice, Event, PodDisruptionBudget and RuntimeClass
    help: move to Pod Security admission and to `v1` of the others before

1.25.16 to 1.26.15
  warning: kube-apiserver 1.26.15: `flowcontrol.apiserver.k8s.io/v1beta1` and `autoscaling/v2beta2` are gone
    help: move to `v1beta3` and `autoscaling/v2`
  warning: this cluster: kubelets that are still at 1.23 are too old for kube-apiserver 1.26.15
    help: upgrade the kubelets and kube-proxies of all nodes before this step
  kinstall does it: kube-apiserver gets `--encryption-provider-config-automatic-reload=true`

1 would not work, 4 to look at
";
    assert_eq!(told(&lab("1.23.5", said), &["1.26.15"]), expected);
}

#[test]
fn etcd_goes_along_and_its_floors_are_told() {
    let mut old = inventory(&lab("1.33.4", ""));
    old.cluster.etcd = Version::new(3, 5, 24);
    let path = upgrade(&old, &[Version::new(1, 34, 2)]).unwrap();
    let floor = "etcd 3.5.24 is too old to become 3.6";
    let findings = &path.steps[0].findings;
    assert!(
        findings.iter().any(|it| it.message == floor),
        "{findings:#?}"
    );
    let text = told(&lab("1.33.4", ""), &["1.34.2"]);
    assert!(
        text.contains("1.33.4 to 1.34.2, etcd 3.5.32 to 3.6.5\n"),
        "{text}"
    );
    assert!(!text.contains("error"), "{text}");
    let text = told(&lab("1.30.0", "etcd = \"3.5.9\""), &["1.31.1"]);
    assert!(text.contains("only with etcd 3.4.31 or 3.5.13"), "{text}");
}

#[test]
fn nothing_is_wrong_with_what_is_said_by_default() {
    for minor in pairing::KUBERNETES {
        let inventory = inventory(&lab(&format!("1.{minor}.0"), ""));
        assert_eq!(command_lines(&inventory), [], "1.{minor}");
        let path = upgrade(&inventory, &[Version::new(1, minor, 0)]).unwrap();
        assert!(!path.has_findings(), "1.{minor}");
    }
    let inventory = inventory(&lab("1.20.2", ""));
    let path = upgrade(&inventory, &[Version::new(1, 37, 0)]).unwrap();
    let findings = path.steps.iter().flat_map(|step| &step.findings);
    let errors: Vec<_> = findings
        .filter(|it| it.severity == Severity::Error)
        .collect();
    assert!(errors.is_empty(), "{errors:#?}");
}

#[test]
fn what_stays_behind_is_told_once() {
    let said = "component.kube-scheduler.version = \"1.29.1\"";
    let text = told(&lab("1.30.0", said), &["1.33.0"]);
    let message = "kube-scheduler 1.29.1 cannot run beside kube-apiserver 1.31";
    assert_eq!(text.matches("cannot run beside").count(), 1, "{text}");
    assert!(text.contains(message), "{text}");
    let text = told(&lab("1.27.0", ""), &["1.31.0"]);
    let message = "kubelets that are still at 1.27 are too old for kube-apiserver 1.31.0";
    assert_eq!(text.matches(message).count(), 1, "{text}");
    let pi = lab("1.26.15", "component.etcd.path = \"etcd\"").replace("arm64", "armhf");
    let text = told(&pi, &["1.28.0"]);
    let message = "there is no kube-scheduler 1.27.16 for armhf";
    assert!(text.contains(message), "{text}");
    assert_eq!(
        text.matches("there is no kube-scheduler").count(),
        1,
        "{text}"
    );
}

#[test]
fn there_is_no_way_back_nor_into_the_unknown() {
    let check = |targets: &[&str], expected: &str| {
        assert_eq!(told(&lab("1.30.4", ""), targets), expected);
    };
    check(
        &["1.29.9"],
        "1.29.9 is older than 1.30.4: Kubernetes is not downgraded",
    );
    check(
        &["1.32.0", "1.31.0"],
        "1.31.0 is older than 1.32.0: Kubernetes is not downgraded",
    );
    check(
        &["1.99.0"],
        "Kubernetes 1.99.0 is not one this kinstall knows",
    );
    check(
        &["1.30.4"],
        "home: Kubernetes 1.30.4, nothing to upgrade\n\n0 would not work, 0 to look at\n",
    );
}

#[test]
fn every_event_is_told_to_whom_it_concerns() {
    // With everything said that any event asks about, each is told exactly once on the whole way.
    let said = "etcd = \"3.4.20\"\n[component.kube-apiserver.flags]\n\
        audit-log-version = \"audit.k8s.io/v1beta1\"\naudit-policy-file = \"/etc/a\"\n\
        advertise-address = \"127.0.0.1\"\nruntime-config = \"extensions/v1beta1=true\"\n\
        encryption-provider-config = \"/etc/e\"\nadmission-control-config-file = \"/etc/x\"\n\
        audit-log-maxsize = 0\n[component.kube-apiserver]\n\
        flags-removed = [\"requestheader-allowed-names\", \"audit-log-maxage\"]\n\
        [component.kube-scheduler.flags]\nconfig = \"/etc/s\"\n\
        [component.kube-controller-manager.flags]\ncloud-provider = \"openstack\"\n";
    let inventory = inventory(&lab("1.20.2", said));
    let path = upgrade(&inventory, &[Version::new(1, 37, 0)]).unwrap();
    let findings: Vec<_> = path.steps.iter().flat_map(|step| &step.findings).collect();
    for event in EVENTS {
        // These need an etcd that moves, and flags that 1.20 does not have.
        if event.component == "etcd" || event.name.ends_with("ation-config") {
            continue;
        }
        let told = findings.iter().filter(|it| it.message == event.what);
        assert_eq!(told.count(), 1, "{}", event.name);
    }
    for event in EVENTS {
        assert!(named(event.component).is_some(), "{}", event.name);
    }
}
