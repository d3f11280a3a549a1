//! What an own kubeconfig is after a merge, to the byte.

use super::*;

fn items(server: &str) -> Items {
    let item = |name: &str, rest: &str| Zeroizing::new(format!("- name: \"{name}\"\n{rest}"));
    Items {
        cluster_name: "home".to_owned(),
        user_name: "home-admin".to_owned(),
        context_name: "home".to_owned(),
        cluster: item("home", &format!("  cluster:\n    server: \"{server}\"\n")),
        user: item("home-admin", "  user:\n    client-key-data: a2V5\n"),
        context: item(
            "home",
            "  context:\n    cluster: \"home\"\n    user: \"home-admin\"\n",
        ),
    }
}

fn merged(existing: &str, server: &str) -> Result<String, Problem> {
    let merged = merge(&Secret::new(existing), &items(server))?;
    Ok(merged.text.expose_text().unwrap().to_owned())
}

#[track_caller]
fn check(existing: &str, expected: &str) {
    let first =
        merged(existing, "https://a:1").unwrap_or_else(|error| panic!("{existing}: {error}"));
    assert_eq!(first, expected, "{existing}");
    let again = merged(&first, "https://a:1").unwrap_or_else(|error| panic!("{first}: {error}"));
    assert_eq!(again, first, "once more changes nothing");
    // Another server takes the place of the one before, and nothing else moves.
    let moved = merged(&first, "https://b:2").unwrap_or_else(|error| panic!("{first}: {error}"));
    assert_eq!(moved, expected.replace("https://a:1", "https://b:2"));
}

const CLUSTER: &str = "- name: \"home\"\n  cluster:\n    server: \"https://a:1\"\n";
const USER: &str = "- name: \"home-admin\"\n  user:\n    client-key-data: a2V5\n";
const CONTEXT: &str =
    "- name: \"home\"\n  context:\n    cluster: \"home\"\n    user: \"home-admin\"\n";

#[test]
fn what_else_is_there_stays_with_its_comments_and_order() {
    let theirs = "\
# mine, do not touch
apiVersion: v1
kind: Config
preferences: {}
current-context: work
clusters:
  # the office
  - cluster:
      server: https://work:6443
    name: work
  - name: zoo
    cluster: {server: \"https://zoo:6443\"}   # far away
users:
- name: work
  user:
    exec:
      installHint: |+
        clusters:
        - name: none

# contexts come last
contexts:
- context: {cluster: work, user: work, namespace: a}
  name: work
";
    let lines = CLUSTER.lines();
    let indented: String = lines.flat_map(|line| ["  ", line, "\n"]).collect();
    let expected = theirs
        .replace("clusters:\n  #", &format!("clusters:\n{indented}  #"))
        .replace("users:\n", &format!("users:\n{USER}"))
        .replace("contexts:\n", &format!("contexts:\n{CONTEXT}"));
    check(theirs, &expected);
}

#[test]
fn an_empty_one_gets_a_current_context() {
    let new = format!(
        "apiVersion: v1\nkind: Config\ncurrent-context: \"home\"\n\
         clusters:\n{CLUSTER}users:\n{USER}contexts:\n{CONTEXT}"
    );
    for empty in ["", "# only a comment\n", "---\n", "\n\n"] {
        check(empty, &format!("{empty}{new}"));
    }
    check("# no line end", &format!("# no line end\n{new}"));
    check(
        "clusters: null # none\ncontexts: []\ncurrent-context: \"\"\nusers:\nkind: Config\n",
        &format!(
            "clusters: \n{} # none\ncontexts: \n{CONTEXT}current-context: \"home\"\nusers:\n{USER}kind: Config\n",
            CLUSTER.trim_end()
        ),
    );
    check(
        "kind: Config\n",
        &format!(
            "kind: Config\nclusters:\n{CLUSTER}users:\n{USER}contexts:\n{CONTEXT}current-context: \"home\"\n"
        ),
    );
    check(
        "current-context:\nkind: Config",
        &format!(
            "current-context: \"home\"\nkind: Config\nclusters:\n{CLUSTER}users:\n{USER}contexts:\n{CONTEXT}"
        ),
    );
}

#[test]
fn json_stays_json_and_its_texts_stay_texts() {
    let cluster = r#"{"cluster":{"server":"https://a:1"},"name":"home"}"#;
    let user = r#"{"name":"home-admin","user":{"client-key-data":"a2V5"}}"#;
    let context = r#"{"context":{"cluster":"home","user":"home-admin"},"name":"home"}"#;
    let rest = r#""extensions":[{"name":"x","extension":{"a":"1_000","b":"yes","c":1e3}}]"#;
    check(
        &format!(r#"{{"clusters":[{{"name":"w"}}],"contexts":[],"current-context":"w",{rest}}}"#),
        &format!(
            r#"{{"users": [{user}], "clusters":[{cluster}, {{"name":"w"}}],"contexts":[{context}],"current-context":"w",{rest}}}"#
        ),
    );
    let text = merged("{}", "https://a:1").unwrap();
    assert!(serde_json::from_str::<Value>(&text).is_ok(), "{text}");
    let text = merged("{\n  \"kind\": \"Config\"\n}\n", "https://a:1").unwrap();
    assert!(serde_json::from_str::<Value>(&text).is_ok(), "{text}");
}

#[test]
fn what_has_no_safe_end_is_put_in_above() {
    let theirs = "# top\nkind: Config\nextensions:\n- name: x\n  extension: |+\n    a\n\n...\n";
    let text = merged(theirs, "https://a:1").unwrap();
    let expected = format!(
        "# top\nclusters:\n{CLUSTER}users:\n{USER}contexts:\n{CONTEXT}current-context: \"home\"\n"
    );
    assert_eq!(text, theirs.replace("# top\n", &expected));
    // Below it would be a part of a text, or of another document.
    for theirs in [
        "kind: Config\nnote: |\n  a",
        "kind: Config\n---\nkind: Other\n",
    ] {
        let text = merged(theirs, "https://a:1").unwrap();
        assert!(text.ends_with(theirs), "{text}");
    }
}

#[test]
fn a_mark_stays_and_wide_texts_become_utf_8() {
    let text = merged("\u{feff}kind: Config\n", "https://a:1").unwrap();
    assert!(
        text.starts_with("\u{feff}kind: Config\nclusters:\n"),
        "{text}"
    );
    let wide = "\u{feff}kind: Config\n".encode_utf16();
    let wide: Vec<u8> = wide.flat_map(u16::to_le_bytes).collect();
    let text = merge(&Secret::new(wide), &items("https://a:1"))
        .unwrap()
        .text;
    assert!(
        text.expose_text()
            .unwrap()
            .starts_with("kind: Config\nclusters:\n")
    );
}

#[test]
fn keys_given_twice_are_told_and_the_last_one_counts() {
    let theirs = "users:\n- name: a\nusers:\n- name: b\n";
    let merged = merge(&Secret::new(theirs), &items("https://a:1")).unwrap();
    let text = merged.text.expose_text().unwrap();
    assert!(
        text.starts_with(&format!("users:\n- name: a\nusers:\n{USER}- name: b\n")),
        "{text}"
    );
    let key = "users".to_owned();
    assert_eq!(merged.repeated, [Repeated { key, line: 3 }]);
}

#[track_caller]
fn refuse(text: &str, expected: &str) {
    let problem = merged(text, "https://a:1").unwrap_err();
    assert_eq!(problem.to_string(), expected, "{text}");
}

#[test]
fn what_kubectl_cannot_read_is_refused_with_the_reason() {
    refuse("a: [\n", "it is not YAML (line 1): unclosed bracket '['");
    refuse("- a", "it is not a kubeconfig: it is no table");
    refuse(
        "kind: Pod",
        "it is not a kubeconfig: it is not `Config` of `v1`",
    );
    refuse(
        "clusters: a",
        "kubectl cannot read it: `clusters`: expected a list, found a text",
    );
    refuse(
        "contexts: [{name: a, context: {namespace: 0b11}}]",
        "kubectl cannot read it: `contexts[0].context.namespace`: expected a text, found a number",
    );
    refuse(
        "clusters:\n- name: \"\\u0061\"\n- name: a\n",
        "kubectl cannot read it: `clusters` has two entries of the name `a`",
    );
    let unsure = "nothing can be put into it without a change to what else is there";
    refuse("<<: {users: [{name: a}]}", unsure);
    refuse("clusters:\n- &a {name: home}\nx: *a", unsure);
}
