//! What kube-apiserver 1.20.2 says of configurations at the edges, found by asking its own
//! `GetTransformerOverrides` and `GetKMSPluginHealthzCheckers` about some thousands of them, and
//! kinstall about the same. Each is one of a class that the two were apart in, or still are.

use super::*;

const HEAD: &str = "kind: EncryptionConfiguration\napiVersion: apiserver.config.k8s.io/v1\n";
const BODY: &str = "resources:\n- resources: [secrets]\n  providers: [{identity: {}}]\n";

fn told(text: &str) -> String {
    let problem = read(&Secret::new(text), &target(20)).err();
    problem.map(|it| it.to_string()).unwrap_or_default()
}

#[track_caller]
fn taken(text: &str) {
    assert_eq!(told(text), "", "upstream takes\n{text}");
}

#[track_caller]
fn refused(text: &str, expected: &str) {
    let told = told(text);
    assert!(!told.is_empty(), "upstream refuses\n{text}");
    assert!(told.contains(expected), "{told}");
}

/// Upstream takes it, and kinstall does not.
#[track_caller]
fn refused_here_alone(text: &str, expected: &str) {
    let told = told(text);
    assert!(
        !told.is_empty() && told.contains(expected),
        "{told}\n{text}"
    );
}

fn plugin(settings: &str) -> String {
    let socket = "name: a, endpoint: \"unix:///a\"";
    format!(
        "{HEAD}resources:\n- resources: [secrets]\n  providers:\n  - kms: {{{socket}, {settings}}}\n"
    )
}

fn key(name: &str, secret: &str) -> String {
    format!(
        "{HEAD}resources:\n- resources: [secrets]\n  providers:\n  - aescbc:\n      keys:\n      \
         - name: {name}\n        secret: {secret}\n"
    )
}

fn json(provider: &str) -> String {
    format!(
        "{{\"kind\":\"EncryptionConfiguration\",\"apiVersion\":\"apiserver.config.k8s.io/v1\",\
         \"resources\":[{{\"resources\":[\"secrets\"],\"providers\":[{provider}]}}]}}"
    )
}

#[test]
fn the_two_words_at_the_head() {
    let head = |head: &str| format!("{head}\n{BODY}");
    taken(&head(
        "KIND: EncryptionConfiguration\nAPIversion: apiserver.config.k8s.io/v1",
    ));
    taken(&head(
        "Kind: x\nkind: EncryptionConfiguration\napiVersion: apiserver.config.k8s.io/v1",
    ));
    taken(&head("kind: EncryptionConfig\napiVersion: /v1"));
    refused(&head("kind: EncryptionConfig\napiVersion: v1/"), "it is");
    for more in ["Kind: 5", "\u{212a}ind: 5", "APIVersion: [a]"] {
        refused(&format!("{HEAD}{more}\n{BODY}"), "expected a text");
    }
}

#[test]
fn durations() {
    for timeout in [
        "1ns",
        "+3s",
        "1.9999999999999999999999ns",
        "2562047h47m16.854775807s",
    ] {
        taken(&plugin(&format!("timeout: {timeout}")));
    }
    for timeout in [
        "0.9ns",
        "0.0001us",
        "9223372036854775808ns",
        "2562048h",
        "153722868m",
    ] {
        refused(
            &plugin(&format!("timeout: {timeout}")),
            "is not a duration above zero",
        );
    }
}

#[test]
fn endpoints() {
    let socket = |endpoint: &str| plugin("").replace("unix:///a", endpoint);
    for endpoint in ["unix://%25/c", "unix://[fe80::1%25%20]/a", "unix://#\\x7f"] {
        taken(&socket(endpoint));
    }
    for endpoint in [
        "unix://a%41b/c",
        "unix://[fe80::1%25%0a]/a",
        "unix:///a\\x7f#",
    ] {
        refused(&socket(endpoint), "kms.endpoint`");
    }
}

#[test]
fn tags_and_words_of_yaml() {
    use base64::Engine;
    let secret = base64::engine::general_purpose::STANDARD.encode(SECRET);
    taken(&key("a", &format!("!!binary {secret}")));
    taken(&key("!!binary YQ==", SECRET));
    refused(&key("!!binary \"!\"", SECRET), "is not base64");
    for (name, expected) in [
        ("!!null x", "not what its tag says"),
        ("\"\\/\"", "YAML 1.1 does not have"),
        ("a\u{85}b", "ends a line for Kubernetes alone"),
    ] {
        refused(&key(name, SECRET), expected);
    }
    refused(&plugin("cachesize: !!int 5.0"), "not what its tag says");
    refused(&plugin("x: ?"), "YAML 1.1 does not have");
    for text in ["a?b", ":a", "!a"] {
        refused(&plugin(&format!("x: [{text}]")), "YAML 1.1 does not have");
    }
    refused(
        &format!("{HEAD}{BODY}x: {{a\nb: 5}}\n"),
        "over the end of a line",
    );
    taken(&format!("{HEAD}{BODY}x: {{a: 5,\n  b: a\n  b}}\n"));
    let more = "x: a?b\ny: :a\nz: !!timestamp 2001-12-14\n";
    taken(&format!("{HEAD}{BODY}{more}"));
    refused(
        &format!("{HEAD}{BODY}x: !!timestamp x\n"),
        "not what its tag says",
    );
}

#[test]
fn directives_and_tabs() {
    taken(&format!("%YAML 1.1\n---\n{HEAD}{BODY}"));
    taken(&format!("%TAG ! tag:x,2000:\n---\n{HEAD}{BODY}"));
    for directive in ["%YAML 1.2", "%FOO"] {
        refused(
            &format!("{directive}\n---\n{HEAD}{BODY}"),
            "a directive that",
        );
    }
    let tab = "a tab in its indentation";
    refused(&format!("\t\n{HEAD}{BODY}"), tab);
    refused(&format!("{HEAD}{BODY}\t"), tab);
    refused(&format!("{HEAD}{BODY}x: |\n  \ta\n"), tab);
    refused(&format!("{HEAD}{BODY}x:\n- \ta: b\n"), tab);
    taken(&format!("{HEAD}{BODY}x:\t5\n"));
}

#[test]
fn json_and_keys_that_it_has_twice() {
    taken(&json("{\"identity\":{}}"));
    taken(&json(&format!(
        "{{\"aescbc\":{{\"keys\":[{{\"name\":\"\u{7f}\",\"secret\":\"{SECRET}\"}}]}}}}"
    )));
    let twice = "is given a second time in line 1";
    refused(&json("{\"identity\":5,\"identity\":{}}"), twice);
    let kind = json("{\"identity\":{}}").replacen("\"kind\"", "\"kind\":5,\"kind\"", 1);
    refused(&kind, twice);
    // Upstream makes one table of both, before 1.31.
    let halves = "{\"kms\":{\"name\":\"a\"},\"kms\":{\"endpoint\":\"unix:///a\"}}";
    refused_here_alone(&json(halves), twice);
}

#[test]
fn what_kinstall_alone_refuses() {
    let body = |resource: &str| format!("{HEAD}{}", BODY.replace("secrets", resource));
    // Taken for names of resources that nobody has: what was meant stays in plain text.
    refused_here_alone(&body("\"*.*\""), "stands for nothing before");
    refused_here_alone(&body("\"a*\""), "stands for nothing before");
    // A word that it does not know yet, and whose value later releases judge.
    refused_here_alone(&plugin("apiVersion: v2"), "has no v2");
    refused_here_alone(&plugin("apiVersion: [v2]"), "expected a text");
    // It counts modulo 2^32, and does not always notice.
    refused_here_alone(&plugin("cachesize: 1e10"), "of 32 bits");
    // Bytes that are no text, in the place of which it puts a mark.
    refused_here_alone(&key("!!binary /w==", SECRET), "is no text");
    // The grammar of YAML 1.2.
    refused_here_alone(&format!("{HEAD}{BODY}x: [#c\n]\n"), "it is not YAML");
}
