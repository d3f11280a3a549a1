//! Secrets, as far as they are kept: in a real etcd, with the keys of the configuration.

use std::time::Duration;

use crate::bed::{Bed, Running, VERSION};

const SECRETS: &str = "/api/v1/namespaces/default/secrets";
const ONE: (&str, &str) = ("key1", "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=");
const TWO: (&str, &str) = ("key2", "ZmVkY2JhOTg3NjU0MzIxMGZlZGNiYTk4NzY1NDMyMTA=");

/// A kube-apiserver that has these keys, the first of which writes.
fn with(bed: &Bed, keys: &[(&str, &str)]) -> Running {
    let keys = keys
        .iter()
        .map(|(name, secret)| format!("{{name: {name}, secret: {secret}}}"));
    let keys = keys.collect::<Vec<_>>().join(", ");
    bed.write(
        "encryption.yaml",
        &format!(
            "kind: EncryptionConfiguration\napiVersion: apiserver.config.k8s.io/v1\nresources:\n\
             - resources: [secrets]\n  providers:\n  - aescbc: {{keys: [{keys}]}}\n  - identity: {{}}\n"
        ),
    );
    let server = bed.start("kube-apiserver", VERSION, &bed.apiserver_flags());
    bed.expect(bed.apiserver_port, "/readyz", Some("admin"), 200);
    server
}

fn stop(mut server: Running) {
    server.terminate();
    server.end(Duration::from_secs(10));
}

#[test]
fn a_secret_is_read_by_whoever_has_its_key() {
    let bed = Bed::new();
    let server = with(&bed, &[ONE]);
    let secret = r#"{"apiVersion":"v1","kind":"Secret","metadata":{"name":"a"},"stringData":{"word":"hello"}}"#;
    assert_eq!(bed.api("POST", SECRETS, secret).0, 201);
    assert_eq!(bed.api("POST", SECRETS, secret).0, 409);
    let at = format!("{SECRETS}/a");
    let (status, found) = bed.api("GET", &at, "");
    assert_eq!((status, &found["data"]["word"]), (200, &"aGVsbG8=".into()));
    // Nothing changes in it, and its key is the one that writes.
    let (status, same) = bed.api("PUT", &at, &found.to_string());
    assert_eq!((status, &same), (200, &found));
    assert_eq!(bed.api("GET", &format!("{SECRETS}/b"), "").0, 404);
    stop(server);

    let server = with(&bed, &[TWO]);
    for path in [at.as_str(), SECRETS, "/api/v1/secrets"] {
        let (status, refused) = bed.api("GET", path, "");
        let message = refused["message"].as_str().unwrap();
        assert_eq!(status, 500);
        assert!(message.contains("no matching prefix found"), "{message}");
    }
    stop(server);

    let server = with(&bed, &[TWO, ONE]);
    let (status, rewritten) = bed.api("PUT", &at, &found.to_string());
    assert_eq!((status, &rewritten["data"]), (200, &found["data"]));
    assert_ne!(
        rewritten["metadata"]["resourceVersion"],
        found["metadata"]["resourceVersion"]
    );
    assert_eq!(bed.api("PUT", &at, &found.to_string()).0, 409);
    stop(server);

    let server = with(&bed, &[TWO]);
    let (status, list) = bed.api("GET", "/api/v1/secrets", "");
    assert_eq!((status, &list["items"][0]["data"]), (200, &found["data"]));
    assert_eq!(bed.api("DELETE", &at, "").0, 200);
    assert_eq!(bed.api("GET", &at, "").0, 404);
    stop(server);
}
