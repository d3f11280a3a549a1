//! Encryption configurations that people bring along, taken or refused as kube-apiserver would.

use fs_err as fs;

use crate::lab::{Lab, Output};

const SECRET: &str = "a2tra2tra2tra2tra2tra2tra2tra2tra2tra2tra2s=";

/// A lab with a configuration in `pki/` whose rules are these.
#[track_caller]
fn with(rules: &str) -> Lab {
    let lab = Lab::empty();
    lab.write(
        "[cluster]\nname = \"lab\"\nkubernetes = \"1.32.3\"\n\n\
         [[node]]\nname = \"node1\"\naddress = \"10.0.0.1\"\narch = \"amd64\"\n",
    );
    fs::create_dir(lab.path("pki")).unwrap();
    let rules = rules.replace("SECRET", SECRET);
    let text = format!(
        "kind: EncryptionConfiguration\napiVersion: apiserver.config.k8s.io/v1\nresources:\n{rules}"
    );
    fs::write(lab.path("pki/encryption-config.yaml"), text).unwrap();
    lab
}

#[track_caller]
fn render(lab: &Lab) -> Output {
    lab.run(["render", "inventory.toml", "--out", "out"])
}

/// What kube-apiserver would not start with is refused, and stays where it is.
#[track_caller]
fn refused(providers: &str, place: &str, help: &str) {
    let lab = with(&format!(
        "- resources: [secrets]\n  providers:\n{providers}"
    ));
    let before = fs::read(lab.path("pki/encryption-config.yaml")).unwrap();
    render(&lab)
        .exits(1)
        .says("encryption-config.yaml` does not serve")
        .says(place)
        .says(help)
        .never_says(SECRET);
    assert!(!lab.path("out").exists());
    let after = fs::read(lab.path("pki/encryption-config.yaml")).unwrap();
    assert_eq!(before, after);
}

#[test]
fn what_kube_apiserver_does_not_start_with_is_refused() {
    let key = "{name: key1, secret: SECRET}";
    let good = format!("  - aescbc: {{keys: [{key}]}}\n");
    let first = "resources[0].providers[0]";
    let name = format!("{first}.aescbc.keys[0]` has no name");
    for keys in ["{name: \"\", secret: SECRET}", "{secret: SECRET}"] {
        refused(
            &format!("  - aescbc: {{keys: [{keys}]}}"),
            &name,
            "begins with its name",
        );
    }
    refused(
        "  - aescbc: {keys: [{name: 20240101, secret: SECRET}]}",
        &format!("{first}.aescbc.keys[0].name`: expected a text, found a number"),
        "quote what is a text",
    );
    refused(
        "  - aescbc: {keys: [{name: key1, secret: SECRET, comment: made 2024}]}",
        &format!("{first}.aescbc.keys[0].comment` is a word that kube-apiserver does not know"),
        "take it out",
    );
    refused(
        &format!("  - aescbc: {{cachesize: 5, keys: [{key}]}}"),
        &format!("{first}.aescbc.cachesize` is a word that kube-apiserver does not know"),
        "take it out",
    );
    refused(
        &format!("{good}  - aesctr: {{keys: [{key}]}}"),
        "resources[0].providers[1].aesctr` is a word that kube-apiserver does not know",
        "take it out",
    );
    refused(
        &format!("{good}    identity: {{}}"),
        &format!("{first}` has more than one provider"),
        "a `-` of its own",
    );
    refused(
        &format!("{good}  - identity:"),
        "resources[0].providers[1]` has no provider that kube-apiserver knows",
        "`identity: {}`, with its braces",
    );
    refused(
        &format!(
            "{good}  - kms: {{apiVersion: v2, name: house, endpoint: \"http://127.0.0.1:1\"}}"
        ),
        "resources[0].providers[1].kms.endpoint` `http://127.0.0.1:1` is no UNIX socket",
        "`unix:///run/kms.sock`",
    );
}

/// What kube-apiserver takes is installed byte for byte.
#[track_caller]
fn taken(rules: &str) {
    let lab = with(rules);
    let before = fs::read(lab.path("pki/encryption-config.yaml")).unwrap();
    render(&lab).exits(0);
    let on_node = "out/node1/etc/k8s/kube-apiserver/encryption-config.yaml";
    assert_eq!(fs::read(lab.path(on_node)).unwrap(), before, "{rules}");
}

#[test]
fn what_kube_apiserver_takes_is_taken() {
    let rule = |resource: &str, provider: &str| {
        format!(
            "- resources: [\"{resource}\"]\n  providers:\n  - {provider}:\n      keys:\n      \
             - {{name: key1, secret: SECRET}}\n  - identity: {{}}\n"
        )
    };
    let secrets = rule("secrets", "aescbc");
    let events = "- resources: [events]\n  providers: [{identity: {}}]\n";
    taken(&format!("{events}{secrets}"));
    taken(&format!("{secrets}{}", rule("*.*", "secretbox")));
    taken(&format!("{secrets}---\n"));
    let block = |lines: &str| {
        let block = format!("- name: key1\n        secret: |\n{lines}");
        secrets.replace("- {name: key1, secret: SECRET}\n", &block)
    };
    taken(&block(&format!("          {SECRET}\n")));
    let (first, second) = SECRET.split_at(20);
    taken(&block(&format!("          {first}\n          {second}\n")));
}

#[test]
fn a_configuration_of_the_users_own_is_asked_for_and_taken() {
    let lab = with(
        "- resources: [configmaps]\n  providers: [{identity: {}}]\n- resources: [\"*.*\"]\n  providers:\n  \
         - secretbox: {keys: [{name: mine, secret: SECRET}]}\n",
    );
    render(&lab)
        .exits(1)
        .says("it has 2 rules, and none of them is for `secrets` alone")
        .says("set `provider = \"file\"`");
    lab.edit("[[node]]", "[encryption]\nprovider = \"file\"\n\n[[node]]");
    render(&lab).exits(0);
    fs::remove_file(lab.path("pki/encryption-config.yaml")).unwrap();
    render(&lab)
        .exits(1)
        .says("there is no `")
        .says("pki/encryption-config.yaml`, which `provider = \"file\"` in `[encryption]` asks for")
        .says("put your configuration there");
    lab.edit("\"file\"\n", "\"file\"\nresources = [\"secrets\"]\n");
    render(&lab)
        .exits(2)
        .says("`resources` says nothing where the file does");
}

#[test]
fn a_rotation_touches_nothing_that_it_cannot_keep() {
    let lab = with(
        "- resources: [secrets]\n  providers: [{aescbc: {keys: [{name: a, secret: SECRET}]}}]\n\
         - resources: [configmaps]\n  providers: [{aesgcm: {keys: [{name: a, secret: SECRET}]}}]\n",
    );
    let path = lab.path("pki/encryption-config.yaml");
    let before = fs::read(&path).unwrap();
    let rotate = ["encryption", "rotate", "inventory.toml"];
    lab.run(rotate)
        .exits(1)
        .says("its rules encrypt with different providers: `aescbc`, `aesgcm`");
    let text = String::from_utf8(before).unwrap();
    let text = text
        .replace("aesgcm", "aescbc")
        .replace("{name", "{note: x, name");
    fs::write(&path, &text).unwrap();
    lab.edit("1.32.3", "1.30.1");
    render(&lab).exits(0);
    lab.run(rotate).exits(1).says(
        "resources[0].providers[0].aescbc.keys[0].note` is a word that kube-apiserver does not",
    );
    assert_eq!(fs::read_to_string(&path).unwrap(), text);
    assert!(!lab.path("pki/rotation").exists());
}

#[test]
fn aliases_that_stand_for_billions_of_values_are_refused_at_once() {
    let laugh: String = (1..9).fold("a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n".to_owned(), |text, n| {
        let alias = format!("*a{},", n - 1).repeat(10);
        format!("{text}a{n}: &a{n} [{alias}]\n")
    });
    let lab = with("- resources: [secrets]\n  providers:\n  - identity: {}\n");
    let path = lab.path("pki/encryption-config.yaml");
    let text = laugh + &fs::read_to_string(&path).unwrap();
    fs::write(&path, &text).unwrap();
    for command in [
        &["render", "inventory.toml", "--out", "out"][..],
        &["encryption", "status", "inventory.toml"],
        &["plan", "inventory.toml", "--into", "nodes"],
    ] {
        let output = lab.run(command);
        assert!(![None, Some(0)].contains(&output.code), "{output}");
        output.says("its aliases stand for more than 20000 values");
    }
    assert_eq!(fs::read_to_string(path).unwrap(), text);
}
