//! Rows of what is told of fields, and that what is written is read as the same.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::Configuration::{self, KubeProxy, Kubelet};
use super::{check, decided, fields, merge, merged, table, to_yaml};
use crate::flags::{Presence, Severity};
use crate::version::Version;
use crate::yaml;

#[test]
fn every_row_of_the_tables_is_read_and_each_release_has_as_many_fields_as_it_should() {
    let count = |of, minor| {
        let names = table::of(of).names(Version::new(1, minor, 0));
        names.filter(|name| !name.contains('.')).count()
    };
    let kubelet = (20..=37).map(|minor| count(Kubelet, minor));
    let expected = [
        94, 98, 102, 105, 105, 107, 108, 112, 112, 113, 116, 117, 119, 123, 123, 123, 125, 125,
    ];
    assert_eq!(kubelet.collect::<Vec<_>>(), expected);
    let kube_proxy = (20..=37).map(|minor| count(KubeProxy, minor));
    let expected = [
        21, 21, 21, 21, 22, 22, 21, 21, 22, 23, 23, 24, 24, 24, 24, 24, 24, 24,
    ];
    assert_eq!(kube_proxy.collect::<Vec<_>>(), expected);
}

#[test]
fn what_kinstall_says_itself_is_a_field_of_some_release() {
    for of in [Kubelet, KubeProxy] {
        for field in decided::rows(of) {
            let presence = table::of(of).presence(field, Version::new(1, 36, 0));
            assert_eq!(presence, Presence::Present, "{field}");
        }
    }
}

/// What is told, one line each: how bad it is, the field, the message, and the help.
fn told(of: Configuration, version: &str, value: &Value) -> Vec<String> {
    let problems = check(of, version.parse().unwrap(), value).into_iter();
    let line = |it: super::Problem| {
        let severity = match it.severity() {
            Severity::Error => "error",
            Severity::Warning => "warning",
        };
        let (field, help) = (it.field(), it.help().unwrap_or_default());
        format!("{severity} at {field}: {it}; {help}")
    };
    problems.map(line).collect()
}

#[track_caller]
fn good(of: Configuration, version: &str, value: &Value) {
    assert_eq!(told(of, version, value), Vec::<String>::new());
}

#[track_caller]
fn bad(of: Configuration, version: &str, value: &Value, expected: &str) {
    assert_eq!(told(of, version, value), [expected]);
}

#[test]
fn what_a_release_has_is_taken() {
    let user = json!({
        "maxPods": 60,
        "podPidsLimit": 9_000_000_000_u64,
        "evictionHard": { "memory.available": "200Mi" },
        "systemReserved": { "cpu": "100m" },
        "featureGates": { "NodeSwap": true },
        "memorySwap": { "swapBehavior": "LimitedSwap" },
        "imageMinimumGCAge": "2m0s",
        "staticPodPath": "/etc/kubernetes/manifests",
        "tlsCipherSuites": ["TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384"],
        "logging": { "format": "json" },
        "authorization": { "webhook": { "cacheAuthorizedTTL": "1m" } },
        "cpuManagerPolicyOptions": null,
    });
    good(Kubelet, "1.32.3", &user);
    good(Kubelet, "1.20.2", &json!({}));
    good(KubeProxy, "1.20.2", &json!({ "udpIdleTimeout": "250ms" }));
    let user = json!({
        "iptables": { "localhostNodePorts": false, "syncPeriod": "30s" },
        "nodePortAddresses": ["primary"],
        "clientConnection": { "qps": 7.5, "burst": 15 },
        "healthzBindAddress": "0.0.0.0:10256",
    });
    good(KubeProxy, "1.36.3", &user);
}

#[test]
fn a_field_that_a_release_lacks_is_told_with_where_it_is_or_what_may_be_meant() {
    bad(
        Kubelet,
        "1.32.3",
        &json!({ "maxPod": 60 }),
        "error at maxPod: kubelet 1.32.3 has no field `maxPod`; did you mean `maxPods`?",
    );
    bad(
        Kubelet,
        "1.26.15",
        &json!({ "maxParallelImagePulls": 3 }),
        "error at maxParallelImagePulls: kubelet 1.26.15 has no field `maxParallelImagePulls`; it \
         came with 1.27; leave it out: the program would pass over it without a word",
    );
    bad(
        KubeProxy,
        "1.26.0",
        &json!({ "udpIdleTimeout": "1s" }),
        "error at udpIdleTimeout: kube-proxy 1.26.0 has no field `udpIdleTimeout`; it was removed \
         in 1.26; leave it out: the program would pass over it without a word",
    );
    bad(
        Kubelet,
        "1.32.3",
        &json!({ "authentication": { "anonymus": { "enabled": false } } }),
        "error at authentication.anonymus: kubelet 1.32.3 has no field `authentication.anonymus`; \
         did you mean `authentication.anonymous`?",
    );
    bad(
        Kubelet,
        "1.32.3",
        &json!({ "authentication.anonymous": {}, }),
        "error at authentication.anonymous: `authentication.anonymous` is no name of a field; write \
         tables in tables",
    );
    // Of 1.37 not everything is known.
    bad(
        Kubelet,
        "1.37.0",
        &json!({ "brandNew": 1 }),
        "warning at brandNew: kubelet 1.37.0 has no field `brandNew`; leave it out: the program \
         would pass over it without a word",
    );
}

#[test]
fn a_value_of_another_kind_is_told() {
    for (value, field, found, due) in [
        (
            json!({ "maxPods": "60" }),
            "maxPods",
            "a string",
            "a whole number of 32 bits",
        ),
        (
            json!({ "maxPods": 3_000_000_000_u64 }),
            "maxPods",
            "a whole number",
            "a whole number of 32 bits",
        ),
        (
            json!({ "podPidsLimit": 0.5 }),
            "podPidsLimit",
            "a number",
            "a whole number",
        ),
        (
            json!({ "failSwapOn": 1 }),
            "failSwapOn",
            "a whole number",
            "`true` or `false`",
        ),
        (
            json!({ "syncFrequency": "1 minute" }),
            "syncFrequency",
            "a string",
            "a duration such as \"1h30m\"",
        ),
        (
            json!({ "memoryThrottlingFactor": true }),
            "memoryThrottlingFactor",
            "a boolean",
            "a number",
        ),
        (
            json!({ "podLogsDir": [] }),
            "podLogsDir",
            "a list",
            "a string",
        ),
        (
            json!({ "allowedUnsafeSysctls": [1] }),
            "allowedUnsafeSysctls",
            "a list",
            "a list of strings",
        ),
        (
            json!({ "tlsCurvePreferences": ["X25519"] }),
            "tlsCurvePreferences",
            "a list",
            "a list of whole numbers",
        ),
        (
            json!({ "reservedMemory": {} }),
            "reservedMemory",
            "a table",
            "a list",
        ),
        (
            json!({ "logging": "json" }),
            "logging",
            "a string",
            "a table",
        ),
        (
            json!({ "kubeReserved": { "cpu": 1 } }),
            "kubeReserved",
            "a table",
            "a table of strings",
        ),
        (
            json!({ "featureGates": { "NodeSwap": "true" } }),
            "featureGates",
            "a table",
            "a table of `true` and `false`",
        ),
    ] {
        let expected =
            format!("error at {field}: `{field}`: expected {due}, found {found}; write {due}");
        bad(Kubelet, "1.36.3", &value, &expected);
    }
}

#[test]
fn what_is_no_table_at_all_is_told() {
    bad(
        Kubelet,
        "1.36.3",
        &json!([]),
        "error at : the configuration: expected a table, found a list; write fields with their \
         values, as in `{ maxPods = 60 }`",
    );
    assert_eq!(super::found(&Value::Null), "nothing");
}

#[test]
fn a_word_that_is_none_of_those_there_are_is_told() {
    bad(
        Kubelet,
        "1.32.3",
        &json!({ "hairpinMode": "veth" }),
        "error at hairpinMode: `hairpinMode` cannot be `veth`; write one of \
         `\"promiscuous-bridge\"`, `\"hairpin-veth\"`, `\"none\"`",
    );
    let swap = json!({ "memorySwap": { "swapBehavior": "UnlimitedSwap" } });
    good(Kubelet, "1.29.0", &swap);
    bad(
        Kubelet,
        "1.30.0",
        &swap,
        "error at memorySwap.swapBehavior: `memorySwap.swapBehavior` cannot be `UnlimitedSwap`; \
         write one of `\"\"`, `\"LimitedSwap\"`, `\"NoSwap\"`",
    );
    bad(
        KubeProxy,
        "1.32.3",
        &json!({ "healthzBindAddress": "10.0.12.1:10256" }),
        "error at healthzBindAddress: `healthzBindAddress` cannot be `10.0.12.1:10256`; write one \
         of `\"127.0.0.1:10256\"`, `\"0.0.0.0:10256\"`, `\"[::]:10256\"`",
    );
}

#[test]
fn gates_are_those_of_the_release() {
    bad(
        Kubelet,
        "1.29.0",
        &json!({ "featureGates": { "SeccompDefault": true } }),
        "error at featureGates: Kubernetes 1.29 has no feature gate `SeccompDefault`; it was \
         removed in 1.29; leave it out: with a gate that it does not have, it does not start",
    );
    bad(
        KubeProxy,
        "1.34.0",
        &json!({ "featureGates": { "NodeSwap": false } }),
        "error at featureGates: the feature gate `NodeSwap` is locked to true in 1.34; leave \
         `NodeSwap` out of `featureGates`",
    );
}

#[test]
fn what_kinstall_says_itself_is_refused_with_why_and_another_word() {
    bad(
        Kubelet,
        "1.32.3",
        &json!({ "cgroupDriver": "cgroupfs" }),
        "error at cgroupDriver: `cgroupDriver` is not for you to say: containerd's configuration \
         has to say the same, and no Pod starts where they differ; leave it out",
    );
    let authentication = json!({ "authentication": { "x509": { "clientCAFile": "/x" } } });
    bad(
        Kubelet,
        "1.32.3",
        &authentication,
        "error at authentication.x509.clientCAFile: `authentication.x509.clientCAFile` is not for \
         you to say: it is the authority of the certificate that kube-apiserver shows; leave it out",
    );
    bad(
        KubeProxy,
        "1.32.3",
        &json!({ "mode": "ipvs" }),
        "error at mode: `mode` is not for you to say: all nodes forward in one way; say `proxy` \
         under `[cluster]`",
    );
    bad(
        KubeProxy,
        "1.32.3",
        &json!({ "apiVersion": "x" }),
        "error at apiVersion: `apiVersion` is not for you to say: there is one that each release \
         reads; leave it out",
    );
    // A whole file may say it: it is kinstall's.
    let version = "1.32.3".parse().unwrap();
    assert_eq!(fields(Kubelet, version, &authentication), []);
}

#[test]
fn what_has_no_effect_is_only_warned_of() {
    let timeout = json!({ "streamingConnectionIdleTimeout": "4h0m0s" });
    good(Kubelet, "1.33.0", &timeout);
    bad(
        Kubelet,
        "1.34.0",
        &timeout,
        "warning at streamingConnectionIdleTimeout: `streamingConnectionIdleTimeout` has no effect \
         in kubelet 1.34.0; leave it out",
    );
    bad(
        KubeProxy,
        "1.34.0",
        &json!({ "winkernel": { "networkName": "x" } }),
        "warning at winkernel: `winkernel` has no effect on Linux in kube-proxy 1.34.0; leave it out",
    );
}

#[test]
fn tables_are_merged_and_all_else_is_replaced() {
    let base = json!({ "a": { "b": 1, "c": [1, 2] }, "d": "x", "e": 1 });
    let user = json!({ "a": { "c": [3], "f": true }, "d": { "g": 2 } });
    let expected = json!({ "a": { "b": 1, "c": [3], "f": true }, "d": { "g": 2 }, "e": 1 });
    assert_eq!(merge(base, user), expected);
}

const BASE: &str = "# Written by kinstall.\n# So it is.\napiVersion: v1\nkind: A\n# A note.\n\
                    clusterDNS:\n  - 10.32.0.10\nauthentication:\n  webhook:\n    enabled: true\n";

#[test]
fn a_merged_text_keeps_what_it_begins_with_and_is_always_the_same() {
    let user = json!({
        "authentication": { "webhook": { "cacheTTL": "2m0s" } },
        "evictionHard": { "memory.available": "200Mi" },
        "kind": "A",
        "maxPods": 60,
        "none": {},
        "reservedMemory": [{ "numaNode": 0, "limits": { "memory": "1Gi" } }],
        "word": "Yes",
    });
    let expected = "# Written by kinstall.\n# So it is.\napiVersion: v1\nkind: A\n\
                    authentication:\n  webhook:\n    cacheTTL: \"2m0s\"\n    enabled: true\n\
                    clusterDNS:\n  - \"10.32.0.10\"\n\
                    evictionHard:\n  memory.available: \"200Mi\"\nmaxPods: 60\nnone: {}\n\
                    reservedMemory:\n  -\n    limits:\n      memory: \"1Gi\"\n    numaNode: 0\n\
                    word: \"Yes\"\n";
    assert_eq!(merged(BASE, &user).as_deref(), Ok(expected));
}

#[test]
fn a_text_that_is_no_yaml_is_refused() {
    let error = merged("a: [", &json!({})).unwrap_err();
    let said = error.to_string();
    assert_eq!(said, "what the fields are put into cannot be read");
}

fn values() -> impl Strategy<Value = Value> {
    let text = prop_oneof![
        "\\PC{0,8}",
        "[a-zA-Z0-9./_~-]{0,6}",
        "[ \t\n#:\"'\\\\-]{0,4}",
        prop::sample::select(vec![
            "yes",
            "No",
            "1e3",
            "0x1f",
            "null",
            "1_000",
            "2001-01-01",
            ".inf"
        ])
        .prop_map(ToOwned::to_owned),
    ];
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        text.prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map("[a-zA-Z0-9 .:-]{0,5}", inner, 0..4)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn what_is_written_is_read_as_the_same(value in values()) {
        let text = to_yaml(&value);
        let root = yaml::parse(&text).unwrap();
        let read = yaml::read(root.as_deref()).unwrap();
        prop_assert_eq!(read.value, value, "{}", text);
    }

    #[test]
    fn no_value_is_too_strange_to_be_checked(value in values()) {
        let version = Version::new(1, 32, 3);
        let _ = (check(Kubelet, version, &value), check(KubeProxy, version, &value));
    }
}

#[test]
fn what_kinstall_writes_has_the_fields_of_each_release() {
    use crate::manifest::compose::fixture::{Fixture, text};
    for minor in 20..=37 {
        let version = Version::new(1, minor, 0);
        let mut fixture = Fixture::new(1, &version.to_string(), "3.5.21");
        fixture.node("az1").roles.insert(crate::role::Role::Worker);
        let desired = fixture.composed();
        for of in [Kubelet, KubeProxy] {
            let program = of.program();
            let path = format!("/etc/k8s/{program}/{program}.yaml");
            let written = text(&desired, "az1", &path);
            let root = yaml::parse(&written).unwrap();
            let read = yaml::read(root.as_deref()).unwrap();
            assert_eq!(fields(of, version, &read.value), [], "{version} {written}");
            assert!(read.repeated.is_empty(), "{written}");
        }
    }
}
