//! What each release of kube-apiserver says of a configuration.

use std::ops::RangeInclusive;
use std::path::Path;

use super::*;

/// Releases of one opinion, and a part of it.
type Row<'a> = (RangeInclusive<u64>, &'a str);

/// What a release says of a rule: nothing, or a part of its answer.
#[track_caller]
fn verdict(rule: &str, rows: &[Row<'_>]) {
    let text = format!("kind: {KIND}\napiVersion: {API_VERSION}\nresources:\n{rule}");
    let mut told = Vec::new();
    for minor in 20..=37 {
        let row = rows.iter().find(|(minors, _)| minors.contains(&minor));
        let expected = row.map_or("", |(_, expected)| expected);
        let found = read(&Secret::new(text.as_str()), &target(minor)).err();
        let found = found.map(|it| it.to_string()).unwrap_or_default();
        if found.is_empty() != expected.is_empty() || !found.contains(expected) {
            told.push(format!("1.{minor}: `{found}`, not `{expected}`"));
        }
    }
    assert!(told.is_empty(), "{text}\n{told:#?}");
}

/// Of every release.
const ALL: RangeInclusive<u64> = 20..=37;

fn providers(providers: &str) -> String {
    format!("- resources: [secrets]\n  providers:\n{providers}")
}

#[test]
fn providers_are_judged_as_each_release_judges_them() {
    let key = format!("{{name: a, secret: {SECRET}}}");
    let row = |text: &str, rows: &[Row<'_>]| verdict(&providers(&text.replace("KEY", &key)), rows);
    row("  - aescbc: {keys: [KEY]}\n  - identity: {}", &[]);
    row(
        "  - aescbc: {keys: [KEY]}\n    identity: {}",
        &[(ALL, "`resources[0].providers[0]` has more than one")],
    );
    let none = "providers[0]` has no provider that";
    row("  - identity:", &[(ALL, none)]);
    row("  -", &[(ALL, none)]);
    let unknown = "`resources[0].providers[0].aesctr` is a word that";
    row(
        "  - aesctr: {keys: [KEY]}",
        &[(20..=30, none), (31..=37, unknown)],
    );
    let unknown = "`resources[0].providers[0].aescbc.cachesize` is a word that";
    row(
        "  - aescbc: {cachesize: 5, keys: [KEY]}",
        &[(31..=37, unknown)],
    );
    row(
        "  - aescbc: {keys: [KEY],\n  keys: [KEY]}",
        &[(31..=37, "`keys` is given a second time in line 7")],
    );
    row("  - identity: {}\n  - identity: {}", &[]);
    row(
        "  - identity: x",
        &[(ALL, "expected a table, found a text")],
    );
    let given = |providers: &str, expected| {
        let rule = format!("- resources: [secrets]\n  providers: {providers}");
        verdict(&rule, &[(ALL, expected)]);
    };
    given("{}", "expected a list, found a table");
    given("[]", "it has no `resources[0].providers`");
    verdict("  []", &[(ALL, "it has no `resources`")]);
    verdict("  null", &[(ALL, "it has no `resources`")]);
    verdict(
        "- resources:\n  providers: [{identity: {}}]",
        &[(ALL, "it has no `resources[0].resources`")],
    );
}

#[test]
fn keys_are_judged_as_each_release_judges_them() {
    let keys = |provider: &str, keys: &str, expected: &str| {
        let rows = [(ALL, expected)];
        let rows = if expected.is_empty() {
            &[][..]
        } else {
            &rows[..]
        };
        verdict(
            &providers(&format!("  - {provider}: {{keys: {keys}}}")),
            rows,
        );
    };
    let secret = |bytes: usize| {
        use base64::Engine;
        base64::engine::general_purpose::STANDARD.encode(vec![7; bytes])
    };
    for bytes in 0..=33 {
        for (provider, lengths) in [
            ("aescbc", &[16, 24, 32][..]),
            ("aesgcm", &[16, 24, 32]),
            ("secretbox", &[32]),
        ] {
            let expected = if lengths.contains(&bytes) {
                ""
            } else {
                "key `a` of"
            };
            let key = format!("[{{name: a, secret: \"{}\"}}]", secret(bytes));
            keys(provider, &key, expected);
        }
    }
    let place = "`resources[0].providers[0].aescbc.keys[0]` has no name";
    keys(
        "aescbc",
        &format!("[{{name: \"\", secret: {SECRET}}}]"),
        place,
    );
    keys("aescbc", &format!("[{{secret: {SECRET}}}]"), place);
    keys("aescbc", "[~]", place);
    let number = "`resources[0].providers[0].aescbc.keys[0].name`: expected a text, found a number";
    keys(
        "aescbc",
        &format!("[{{name: 20240101, secret: {SECRET}}}]"),
        number,
    );
    keys(
        "aescbc",
        &format!("[{{name: \"20240101\", secret: {SECRET}}}]"),
        "",
    );
    keys(
        "aescbc",
        &format!("[{{name: \"a:b\", secret: {SECRET}}}]"),
        "",
    );
    keys("aescbc", "[{name: a}]", "key `a` of `aescbc` is not base64");
    keys(
        "aescbc",
        "[{name: a, secret: \"!\"}]",
        "key `a` of `aescbc` is not base64",
    );
    keys(
        "aescbc",
        &format!("[{{name: a, secret: {}}}]", SECRET.trim_end_matches('=')),
        "key `a`",
    );
    keys(
        "aescbc",
        "[]",
        "it has no `resources[0].providers[0].aescbc.keys`",
    );
    keys(
        "aescbc",
        "~",
        "it has no `resources[0].providers[0].aescbc.keys`",
    );
}

#[test]
fn plugins_are_judged_as_each_release_judges_them() {
    let row = |settings: &str, rows: &[Row<'_>]| {
        let socket = "name: a, endpoint: \"unix:///a\"";
        let settings = settings.replace("SOCKET", socket);
        verdict(&providers(&format!("  - kms: {{{settings}}}")), rows);
    };
    let v1 = "kms.apiVersion` v1 is off in Kubernetes";
    let old = "has no v2: it came with 1.25";
    let gate = "v2 is off in Kubernetes";
    row("SOCKET", &[(29..=37, v1)]);
    row("SOCKET, apiVersion: v1", &[(29..=37, v1)]);
    let v2 = [(20..=24, old), (25..=26, gate)];
    row("SOCKET, apiVersion: v2", &v2);
    // Not a word that releases before 1.25 know.
    row(
        "SOCKET, apiVersion: v3",
        &[(25..=37, "`v3` is neither `v1` nor `v2`")],
    );
    row(
        "SOCKET, apiVersion: 2",
        &[(ALL, "apiVersion`: expected a text, found a number")],
    );
    row(
        "SOCKET, cachesize: 0",
        &[(20..=28, "kms.cachesize` is 0"), (29..=37, v1)],
    );
    row("SOCKET, cachesize: -1", &[(29..=37, v1)]);
    row(
        "SOCKET, cachesize: 3000000000",
        &[(ALL, "expected a whole number of 32 bits")],
    );
    row(
        "SOCKET, cachesize: 1.5",
        &[(ALL, "expected a whole number of 32 bits")],
    );
    let v2_with = |expected| [(20..=24, old), (25..=26, gate), (27..=37, expected)];
    row(
        "SOCKET, apiVersion: v2, cachesize: 5",
        &v2_with("kms.cachesize` is of v1 only"),
    );
    let no_duration = "is not a duration above zero";
    for timeout in ["0s", "-3s", "3", "\"\"", "soon"] {
        row(
            &format!(
                "SOCKET, apiVersion: v2, timeout: \"{}\"",
                timeout.trim_matches('"')
            ),
            &v2_with(no_duration),
        );
    }
    row("SOCKET, timeout: 1m30s, apiVersion: v2", &v2);
    row(
        "SOCKET, timeout: 3",
        &[(ALL, "timeout`: expected a text, found a number")],
    );
    row(
        "apiVersion: v2, name: a",
        &v2_with("kms.endpoint` `` is no endpoint"),
    );
    row(
        "apiVersion: v2, name: a, endpoint: \"http://127.0.0.1:1\"",
        &v2_with("kms.endpoint` `http://127.0.0.1:1` is no UNIX socket"),
    );
    row(
        "apiVersion: v2, endpoint: \"unix:///a\"",
        &v2_with("kms.name` is empty"),
    );
    row(
        "apiVersion: v2, name: \"a:b\", endpoint: \"unix:///a\"",
        &v2_with("kms.name` `a:b` has a colon"),
    );
    row("name: \"a:b\", endpoint: \"unix:///a\"", &[(29..=37, v1)]);
    let twice = "is the name of another plugin too";
    let two = "  - kms: {name: a, endpoint: \"unix:///a\"}\n".repeat(2);
    verdict(&providers(&two), &[(26..=28, twice), (29..=37, v1)]);
    let two = two.replace("{name", "{apiVersion: v2, name");
    verdict(&providers(&two), &v2_with(twice));
}

#[test]
fn resources_are_judged_as_each_release_judges_them() {
    let row = |resources: &str, rows: &[Row<'_>]| {
        verdict(
            &format!("- resources: [{resources}]\n  providers: [{{identity: {{}}}}]"),
            rows,
        );
    };
    let new = |expected| [(27..=37, expected)];
    row("secrets, configmaps, leases.coordination.k8s.io", &[]);
    let old = "stands for nothing before Kubernetes 1.27";
    for wild in ["*.*", "*.apps", "*."] {
        row(&format!("\"{wild}\""), &[(20..=26, old)]);
    }
    row(
        "\"*\"",
        &[(20..=26, old), (27..=37, "`*` stands for nothing")],
    );
    row(
        "Secrets",
        &new("`resources[0].resources[0]` `Secrets` has capital letters"),
    );
    row("apiserveripinfo", &new("has no API"));
    row("serviceipallocations", &new("has no API"));
    row("servicenodeportallocations", &new("has no API"));
    row("events", &[]);
    row("events.events.k8s.io", &new("is stored as `events`"));
    row(
        "ingresses.extensions",
        &new("of a group that Kubernetes no longer has"),
    );
    row(
        "\"secrets.*\"",
        &[(20..=26, old), (27..=37, "is one resource of every group")],
    );
    row(
        "secrets, secrets",
        &new("`resources[0].resources[1]` `secrets` is named already, by `secrets`"),
    );
    row(
        "secrets, secrets.",
        &new("`secrets.` is named already, by `secrets`"),
    );
    let behind = [(20..=26, old), (27..=37, "is named already, by")];
    row("secrets, \"*.\"", &behind);
    row("deployments.apps, \"*.*\"", &behind);
    row("secrets, \"*.apps\"", &[(20..=26, old)]);
    row(
        "5",
        &[(
            ALL,
            "`resources[0].resources[0]`: expected a text, found a number",
        )],
    );
}

#[test]
fn rules_are_judged_as_each_release_judges_them() {
    let rule = |resources: &str| {
        format!("- resources: [\"{resources}\"]\n  providers: [{{identity: {{}}}}]\n")
    };
    let old = "stands for nothing before Kubernetes 1.27";
    verdict(&(rule("secrets") + &rule("secrets")), &[]);
    verdict(&(rule("events") + &rule("*.*")), &[(20..=26, old)]);
    verdict(&(rule("*.apps") + &rule("*.")), &[(20..=26, old)]);
    for (first, second, wide) in [
        ("*.*", "secrets", "*.*"),
        ("*.", "secrets", "*."),
        ("*.apps", "deployments.apps", "*.apps"),
        ("*.*", "*.*", "*.*"),
    ] {
        let told = format!(
            "`resources[1].resources[0]` `{second}` is out of reach behind `{wide}` of an earlier"
        );
        verdict(
            &(rule(first) + &rule(second)),
            &[(20..=26, old), (27..=37, &told)],
        );
    }
}

#[test]
fn gates_and_reloading_of_the_inventory_count() {
    let taken = |kubernetes: &str, flags: &str, kms: &str| {
        let text = format!(
            "[cluster]\nname = \"a\"\nkubernetes = \"{kubernetes}\"\n[[node]]\nname = \"n\"\n\
             address = \"10.0.0.1\"\n[component.kube-apiserver]\n{flags}\n"
        );
        let inventory = crate::inventory::Inventory::parse(&text, "i.toml", Path::new("/"))
            .unwrap()
            .0;
        let text = format!(
            "kind: {KIND}\napiVersion: {API_VERSION}\nresources:\n{}",
            providers(kms)
        );
        read(&Secret::new(text), &Target::all(&inventory)).is_ok()
    };
    let v1 = "  - kms: {name: a, endpoint: \"unix:///a\"}\n";
    let v2 = &v1.replace("{name", "{apiVersion: v2, name");
    let gates = |gates: &str| format!("flags = {{ feature-gates = \"{gates}\" }}");
    assert!(!taken("1.32.3", "", v1));
    assert!(taken("1.32.3", &gates("KMSv1=true"), v1));
    assert!(!taken("1.28.0", &gates("KMSv1=false"), v1));
    assert!(!taken("1.26.0", "", v2));
    assert!(taken("1.26.0", &gates("KMSv2=true"), v2));
    assert!(taken("1.26.0", &gates("AllAlpha=true"), v2));
    assert!(!taken("1.28.0", &gates("AllBeta=false"), v2));
    let both = v1.repeat(2);
    assert!(!taken("1.28.0", "", &both));
    assert!(taken(
        "1.28.0",
        "flags-removed = [\"encryption-provider-config-automatic-reload\"]",
        &both
    ));
    assert!(taken(
        "1.28.0",
        "flags = { encryption-provider-config-automatic-reload = \"false\" }",
        &both
    ));
}
