//! That each check of a configuration is asked, and fails by itself.

use serde_json::{Map, Value};

use super::super::{Status, View, fields};
use super::{check, fixture, scored, scored_as, statuses};

/// A check, a configuration, and what breaks it: `FIELD` for one left out, `FIELD=JSON` for one that
/// is said.
pub(super) const FIELDS: &[(&str, &str, &str)] = &[
    ("4.2.1", "kubelet", "authentication.anonymous.enabled=true"),
    ("4.2.2", "kubelet", "authorization.mode=\"AlwaysAllow\""),
    ("4.2.3", "kubelet", "authentication.x509.clientCAFile"),
    ("4.2.4", "kubelet", "readOnlyPort=10255"),
    ("4.2.5", "kubelet", "streamingConnectionIdleTimeout=\"0s\""),
    ("4.2.6", "kubelet", "makeIPTablesUtilChains=false"),
    ("4.2.8", "kubelet", "eventRecordQPS=-1"),
    ("4.2.9", "kubelet", "tlsCertFile"),
    ("4.2.9", "kubelet", "tlsPrivateKeyFile"),
    ("4.2.10", "kubelet", "rotateCertificates=false"),
    (
        "4.2.11",
        "kubelet",
        "featureGates.RotateKubeletServerCertificate=false",
    ),
    (
        "4.2.12",
        "kubelet",
        "tlsCipherSuites=[\"TLS_RSA_WITH_AES_128_CBC_SHA\"]",
    ),
    ("4.2.13", "kubelet", "podPidsLimit=-1"),
    ("4.2.13", "kubelet", "podPidsLimit"),
    ("4.2.14", "kubelet", "seccompDefault=false"),
    ("4.2.14", "kubelet", "seccompDefault"),
    (
        "4.3.1",
        "kube-proxy",
        "metricsBindAddress=\"0.0.0.0:10249\"",
    ),
];

/// Changes a field, or leaves it out.
fn set(file: &mut Value, words: &str) {
    let (path, value) = match words.split_once('=') {
        Some((path, value)) => (path, Some(serde_json::from_str(value).unwrap())),
        None => (words, None),
    };
    let (tables, name) = path.rsplit_once('.').unwrap_or(("", path));
    let tables = tables.split('.').filter(|name| !name.is_empty());
    let table = tables.fold(file, |file, name| {
        let fields = file.as_object_mut().unwrap();
        fields
            .entry(name)
            .or_insert_with(|| Value::Object(Map::new()))
    });
    let fields = table.as_object_mut().unwrap();
    match value {
        Some(value) => drop(fields.insert(name.to_owned(), value)),
        None => assert!(fields.remove(name).is_some(), "{words} is not written"),
    }
}

#[test]
fn a_field_breaks_its_own_check_and_no_other() {
    let fixture = fixture("1.32.3");
    let desired = fixture.composed();
    for (id, program, words) in FIELDS {
        let scored = scored_as(&fixture, &desired, |view| {
            if let Some(Ok(file)) = view.configurations.get_mut(program) {
                set(file, words);
            }
        });
        check(id, words, &scored);
    }
}

#[test]
fn a_configuration_that_is_not_known_is_for_a_person_to_look_at() {
    let fixture = fixture("1.32.3");
    let desired = fixture.composed();
    let told = |change: &dyn Fn(&mut View<'_>)| {
        let scored = scored_as(&fixture, &desired, change);
        let it = scored
            .into_iter()
            .find(|it| it.check.id == "4.2.1")
            .unwrap();
        (it.verdict.status, it.verdict.reason)
    };
    let elsewhere = "look into the file of `--config`".to_owned();
    let moved = told(&|view| {
        if let Some(Ok(flags)) = view.programs.get_mut("kubelet") {
            flags.insert("config".to_owned(), "/srv/kubelet.yaml".to_owned());
        }
    });
    assert_eq!(moved, (Status::Manual, elsewhere.clone()));
    let none = told(&|view| drop(view.configurations.remove("kubelet")));
    assert_eq!(none, (Status::Manual, elsewhere));
    let unread = told(&|view| {
        if view.configurations.contains_key("kubelet") {
            view.configurations.insert("kubelet", fields("a: ["));
        }
    });
    assert_eq!(unread.0, Status::Manual);
    assert!(
        unread
            .1
            .starts_with("its fields are not known: it is not YAML (line 1)"),
        "{unread:?}"
    );
    let stopped = told(&|view| {
        if view.programs.contains_key("kubelet") {
            view.programs
                .insert("kubelet", Err("kubelet does not run".to_owned()));
        }
    });
    let why = "its flags are not known: kubelet does not run".to_owned();
    assert_eq!(stopped, (Status::Manual, why));
}

#[test]
fn fields_that_mean_nothing_in_a_release_are_not_asked_for() {
    for (version, expected) in [
        ("1.21.0", Status::NotApplicable),
        ("1.24.0", Status::NotApplicable),
        ("1.25.0", Status::Pass),
    ] {
        let scored = scored(&fixture(version), |_| {});
        assert_eq!(statuses(&scored)["4.2.14"], expected, "{version}");
    }
}
