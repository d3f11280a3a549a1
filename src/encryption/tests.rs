//! Configurations that kube-apiserver takes or refuses, and what a rotation makes of them.

use super::*;

mod upstream;
mod verdicts;

const SECRET: &str = "BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc=";

fn encryption(provider: Provider, resources: &[&str]) -> Encryption {
    Encryption {
        provider,
        resources: resources.iter().map(ToString::to_string).collect(),
        kms: None,
    }
}

fn target(minor: u64) -> [Target; 1] {
    [Target::plain(minor)]
}

fn new() -> String {
    let secret = render(&encryption(Provider::Aescbc, &["secrets"]), &[7; KEY_BYTES]);
    secret.expose_text().unwrap().to_owned()
}

fn kms(api: KmsApi) -> Encryption {
    Encryption {
        kms: Some(Kms {
            name: "house".to_owned(),
            endpoint: "unix:///run/kms.sock".to_owned(),
            api,
            timeout: Some("5s".to_owned()),
            cache_size: (api == KmsApi::V1).then_some(500),
        }),
        ..encryption(Provider::Kms, &["secrets"])
    }
}

#[test]
fn a_new_one_is_in_the_supported_spelling() {
    assert_eq!(
        new(),
        format!(
            "\
apiVersion: apiserver.config.k8s.io/v1
kind: EncryptionConfiguration
resources:
  - resources:
      - \"secrets\"
    providers:
      - aescbc:
          keys:
            - name: key1
              secret: {SECRET}
      - identity: {{}}
"
        )
    );
}

#[test]
fn every_new_one_passes_the_check() {
    for provider in Provider::WITH_KEYS {
        let encryption = encryption(provider, &["secrets", "configmaps", "*.example.org"]);
        let new = render(&encryption, &[1; KEY_BYTES]);
        assert_eq!(check(&new, &encryption, &target(32)), Ok(()));
    }
}

#[test]
fn a_plugin_is_passed_on_as_it_is() {
    let told = |encryption: &Encryption, minor| {
        let text = render(encryption, &[7; KEY_BYTES]);
        assert_eq!(check(&text, encryption, &target(minor)), Ok(()));
        let text = text.expose_text().unwrap().to_owned();
        assert!(!text.contains("secret:"), "{text}");
        let (_, providers) = text.split_once("providers:\n").unwrap();
        providers.to_owned()
    };
    let socket = "          name: \"house\"\n          endpoint: \"unix:///run/kms.sock\"\n";
    assert_eq!(
        told(&kms(KmsApi::V1), 20),
        format!(
            "      - kms:\n{socket}          timeout: 5s\n          cachesize: 500\n      - identity: {{}}\n"
        )
    );
    assert_eq!(
        told(&kms(KmsApi::V2), 32),
        format!(
            "      - kms:\n          apiVersion: v2\n{socket}          timeout: 5s\n      - identity: {{}}\n"
        )
    );
    let plain = encryption(Provider::Identity, &["secrets"]);
    assert_eq!(told(&plain, 32), "      - identity: {}\n");
}

#[test]
fn what_has_no_key_here_is_not_rotated_and_says_why() {
    let text = render(&kms(KmsApi::V2), &[7; KEY_BYTES]);
    let config = Config::read(&text).unwrap();
    let elsewhere = Problem::KeyElsewhere("kms".to_owned());
    assert_eq!(config.can_rotate(), Err(elsewhere));
    assert_eq!(config.outline(), ["house (kms)", "identity"]);
    let plain = render(
        &encryption(Provider::Identity, &["secrets"]),
        &[7; KEY_BYTES],
    );
    let config = Config::read(&plain).unwrap();
    assert_eq!(config.can_rotate(), Err(Problem::Plain));
    let mut other = kms(KmsApi::V2);
    if let Some(kms) = &mut other.kms {
        kms.name = "other".to_owned();
    }
    let told = check(&text, &other, &target(32)).unwrap_err().to_string();
    assert_eq!(
        told,
        "its plugin has the name `house`, the inventory says `other`"
    );
}

#[track_caller]
fn refuse(text: &str, expected: &str) {
    let asked = encryption(Provider::Aescbc, &["secrets"]);
    let problem = check(&Secret::new(text), &asked, &target(32)).unwrap_err();
    assert_eq!(problem.to_string(), expected, "{text}");
}

#[test]
fn what_would_lose_data_or_stop_kube_apiserver_is_refused() {
    let new = new();
    refuse(
        &new.replace("aescbc", "secretbox"),
        "it encrypts with `secretbox`, the inventory says `aescbc`",
    );
    refuse(
        &new.replace("aescbc:", "identity: {}\n      - aescbc:"),
        "it encrypts with `identity`, the inventory says `aescbc`",
    );
    refuse(
        &new.replace("\"secrets\"", "configmaps\n      - secrets"),
        "it encrypts `configmaps`, `secrets`, the inventory says `secrets`",
    );
    refuse(
        &new.replace("BwcHBwcH", ""),
        "`resources[0].providers[0].aescbc.keys[0]`: key `key1` of `aescbc` is not base64 of 16, \
         24 or 32 bytes",
    );
    refuse(
        &new.replace("config.k8s.io/v1", "config.k8s.io/v2"),
        "it is `EncryptionConfiguration` of `apiserver.config.k8s.io/v2`, \
         not `EncryptionConfiguration` of `apiserver.config.k8s.io/v1`",
    );
    refuse(
        &new.replace("keys:", "keys: []\n          key:"),
        "`resources[0].providers[0].aescbc.key` is a word that kube-apiserver does not know",
    );
    refuse("", "it is no table of settings");
    refuse("- a\n", "it is no table of settings");
    refuse("{a: b}", "it begins with `{` and is not JSON (line 1)");
    refuse("a: [", "it is not YAML (line 1): unclosed bracket '['");
}

#[test]
fn a_key_made_elsewhere_json_and_the_old_spelling_are_taken() {
    let asked = encryption(Provider::Aescbc, &["secrets"]);
    let taken = |text: &str| check(&Secret::new(text), &asked, &target(32));
    let json = r#"{"kind":"EncryptionConfiguration","apiVersion":"apiserver.config.k8s.io/v1",
        "resources":[{"resources":["secrets"],"providers":[{"aescbc":{"keys":[
        {"name":"2024","secret":"BwcHBwcHBwcHBwcHBwcHBw=="}]}},{"identity":{}}]}]}"#;
    assert_eq!(taken(json), Ok(()));
    let twice = json.replacen("\"kind\":", "\"kind\":\"x\",\"kind\":", 1);
    let told = taken(&twice).unwrap_err().to_string();
    assert_eq!(told, "`kind` is given a second time in line 1");
    let old = new()
        .replace(API_VERSION, "v1")
        .replace(KIND, "EncryptionConfig");
    assert_eq!(taken(&old), Ok(()));
    // Go passes over bits that belong to no byte.
    assert_eq!(taken(&new().replace("Bwc=", "Bwd=")), Ok(()));
}

fn config(provider: Provider) -> Config {
    let encryption = encryption(provider, &["secrets", "configmaps"]);
    Config::read(&render(&encryption, &[7; KEY_BYTES])).unwrap()
}

fn key(provider: Provider, name: &str) -> KeyName {
    let name = name.to_owned();
    KeyName { provider, name }
}

#[test]
fn what_kinstall_writes_is_read_and_written_the_same() {
    let with_keys = Provider::WITH_KEYS.map(|provider| encryption(provider, &["secrets"]));
    let others = [
        kms(KmsApi::V1),
        kms(KmsApi::V2),
        encryption(Provider::Identity, &["secrets"]),
    ];
    for encryption in with_keys.iter().chain(&others) {
        let text = render(encryption, &[7; KEY_BYTES]);
        let config = Config::read(&text).unwrap();
        assert_eq!(config.write().expose_text(), text.expose_text());
    }
}

#[test]
fn a_rotation_goes_through_every_standing() {
    for from in Provider::WITH_KEYS {
        for to in Provider::WITH_KEYS {
            let mut config = config(from);
            let name = key(to, &config.free_name());
            assert_eq!(name.name, "key2");
            assert_eq!(config.standing(&name), Standing::Absent);
            config.add(&name, &[9; KEY_BYTES]);
            assert_eq!(config.standing(&name), Standing::Reads);
            let again = Config::read(&config.write()).unwrap();
            assert_eq!(again.standing(&name), Standing::Reads);
            config.promote(&name);
            assert_eq!(config.standing(&name), Standing::Writes);
            let again = Config::read(&config.write()).unwrap();
            assert_eq!(again.keys(), [name.clone(), key(from, "key1")]);
            config.keep_only(&name);
            assert_eq!(config.standing(&name), Standing::Alone);
            let asked = encryption(to, &["secrets", "configmaps"]);
            assert_eq!(check(&config.write(), &asked, &target(32)), Ok(()));
            assert_eq!(config.free_name(), "key3");
        }
    }
}

/// Several rules, as upstream's reference has them, with names that YAML may take for something else.
fn several() -> String {
    format!(
        "kind: {KIND}\napiVersion: {API_VERSION}\nresources:\n\
         - resources: [events]\n  providers: [{{identity: {{}}}}]\n\
         - resources: [secrets]\n  providers:\n  - aescbc: {{keys: [{{name: \"yes\", secret: \
         {SECRET}}}]}}\n  - identity: {{}}\n\
         - resources: ['*.*']\n  providers:\n  - aescbc: {{keys: [{{name: \"1_0\", secret: |\n      \
         {SECRET}\n}}]}}\n"
    )
    .replace(", secret: |\n      BwcH", ", secret: \"BwcH\\n")
    .replace("Bwc=\n}]", "Bwc=\\n\"}]")
}

#[test]
fn a_rotation_keeps_every_rule() {
    let mut config = read(&Secret::new(several()), &target(32)).unwrap();
    assert_eq!(config.can_rotate(), Ok(()));
    assert_eq!(config.writer(), Ok(Provider::Aescbc));
    assert_eq!(config.encrypted(), ["secrets", "*.*"]);
    assert_eq!(config.resources(), ["events", "secrets", "*.*"]);
    let name = key(Provider::Aescbc, "key1");
    config.add(&name, &[9; KEY_BYTES]);
    let config = read(&config.write(), &target(32)).unwrap();
    let told = config.write();
    let told = told.expose_text().unwrap();
    let (events, rest) = told.split_once("- \"secrets\"").unwrap();
    assert!(
        events.ends_with(
            "- \"events\"\n    providers:\n      - identity: {}\n  - resources:\n      "
        )
    );
    let new = "CQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQk=";
    let keys = |name: &str| {
        format!(
            "    providers:\n      - aescbc:\n          keys:\n            - name: \"{name}\"\n              \
             secret: {SECRET}\n            - name: key1\n              secret: {new}\n"
        )
    };
    let (yes, number) = (keys("yes"), keys("1_0"));
    assert_eq!(
        rest,
        format!("\n{yes}      - identity: {{}}\n  - resources:\n      - \"*.*\"\n{number}")
    );
}

#[test]
fn what_a_rotation_cannot_keep_it_refuses() {
    let refused = |text: String| {
        let config = Config::read(&Secret::new(text)).unwrap();
        config.can_rotate().and_then(|()| config.writer().map(drop))
    };
    let place = "resources[0].comment".to_owned();
    let unknown = several().replacen("- resources", "- comment: x\n  resources", 1);
    assert_eq!(refused(unknown), Err(Problem::Unknown { place }));
    let twice = several().replacen("kind:", "kind: x\nkind:", 1);
    assert!(matches!(refused(twice), Err(Problem::Repeated(_))));
    let kms = several().replacen("- aescbc", "- kms: {}\n  - aescbc", 1);
    assert_eq!(refused(kms), Err(Problem::KeyElsewhere("kms".to_owned())));
    let plain = several().replacen("- aescbc", "- identity: {}\n  - aescbc", 1);
    assert_eq!(refused(plain), Err(Problem::Plain));
    let other = several().replacen("- aescbc", "- aesgcm", 1);
    let names = "`aescbc`, `aesgcm`".to_owned();
    assert_eq!(refused(other), Err(Problem::SeveralProviders(names)));
}

#[test]
fn of_several_rules_one_must_be_the_inventorys() {
    let text = Secret::new(several());
    let checked = |provider, resources: &[&str]| {
        check(&text, &encryption(provider, resources), &target(32)).map_err(|it| it.to_string())
    };
    assert_eq!(checked(Provider::Aescbc, &["secrets"]), Ok(()));
    assert_eq!(checked(Provider::File, &["secrets"]), Ok(()));
    let other = "it encrypts with `aescbc`, the inventory says `secretbox`".to_owned();
    assert_eq!(checked(Provider::Secretbox, &["secrets"]), Err(other));
    let none = "it has 3 rules, and none of them is for `configmaps` alone, as the inventory says";
    assert_eq!(
        checked(Provider::Aescbc, &["configmaps"]),
        Err(none.to_owned())
    );
}

#[test]
fn no_message_tells_a_key() {
    for text in [
        several()
            .replace("name: \"yes\", secret", "name: \"yes\", secret: [")
            .replace("[:", "[1, "),
        several().replace("{keys: [{", "{keys: [\"supersecret\", {"),
        several().replace("aescbc: {keys", "aescbc: supersecret\n    x: {keys"),
        several().replacen(SECRET, "supersecret", 1),
        several() + "supersecret",
    ] {
        let told = read(&Secret::new(text.as_str()), &target(32)).err();
        let told = told.map(|it| format!("{:?}", miette::Report::new(it)));
        let told = told.unwrap_or_else(|| panic!("{text}"));
        assert!(
            !told.contains("BwcH") && !told.contains("supersecret"),
            "{told}"
        );
    }
}

#[test]
fn a_value_in_etcd_tells_its_key() {
    let key = key(Provider::Secretbox, "key3");
    assert_eq!(key.prefix(), "k8s:enc:secretbox:v1:key3:");
}
