//! Promises about certificates from a Vault, told by a double of its API.

mod double;

use std::time::Duration;

use fs_err as fs;

use self::double::{Double, ROOT, Role};
use crate::lab::{Lab, Output};

/// Certificates of three nodes, their names in Vault's own.
const ALL: usize = 4 * 3 + 4;
const KUBECONFIG: [&str; 2] = ["kubeconfig", "inventory.toml"];
const PASSWORDS: [(&str, &str); 3] = [
    ("etcd-node1-user", "first-password"),
    ("etcd-node2-user", "second-password"),
    ("etcd-node3-user", "third-password"),
];

/// A Vault with what the inventory wants, and a directory to work in.
fn site(vault: &Double, ca: &str) -> Lab {
    let lab = Lab::empty();
    for mount in ["pki/etcd", "pki", "pki_front"] {
        vault.mount(mount);
    }
    let role = |organization| Role {
        organization,
        client_only: organization.is_some(),
        ..Role::default()
    };
    for node in ["node1", "node2", "node3"] {
        vault.role(&format!("etcd-{node}-role"), role(None));
    }
    for (name, organization) in [
        ("apiserver", None),
        ("etcd-healthcheck-client", None),
        ("apiserver-etcd-client", None),
        ("front-proxy-client", None),
        ("apiserver-kubelet-client", Some("system:masters")),
        ("admin", Some("system:masters")),
        ("scheduler", Some("Home Network")),
    ] {
        vault.role(name, role(organization));
    }
    fs::create_dir(lab.path("secrets")).unwrap();
    for (user, password) in PASSWORDS {
        vault.user(user, password);
        fs::write(
            lab.path(&format!("secrets/{user}")),
            format!("{password}\n"),
        )
        .unwrap();
    }
    fs::write(lab.path("token"), format!("{ROOT}\n")).unwrap();
    let nodes = [1, 2, 3].map(|at| {
        format!("\n[[node]]\nname = \"node{at}\"\naddress = \"10.0.0.{at}\"\narch = \"amd64\"\n")
    });
    let nodes = nodes.concat();
    lab.write(&format!(
        "[cluster]\nname = \"home\"\nkubernetes = \"1.32.3\"\n\n[pki]\nfrom = \"vault\"\n\n\
         [pki.vault]\naddress = \"{}\"\n{ca}seconds = 3\ntoken-file = \"token\"\nrole = \"{{certificate}}\"\n\n\
         [pki.vault.set.etcd]\nmount = \"pki/etcd\"\nuser = \"etcd-{{node}}-user\"\n\
         password-file = \"secrets/{{user}}\"\nrole = \"etcd-{{node}}-role\"\n\n\
         [pki.vault.set.etcd-peer]\nmount = \"pki/etcd\"\nuser = \"etcd-{{node}}-user\"\n\
         password-file = \"secrets/{{user}}\"\nrole = \"etcd-{{node}}-role\"\n\n\
         [pki.vault.set.etcd-client]\nmount = \"pki/etcd\"\n\n\
         [pki.vault.set.kubernetes]\nmount = \"pki\"\nalt-names = [\"{{node}}.{{cluster}}.example\"]\n\n\
         [pki.vault.set.kubelet-client]\nmount = \"pki\"\n\n\
         [pki.vault.set.front-proxy]\nmount = \"pki_front\"\n{nodes}",
        vault.url()
    ));
    lab
}

/// What Vault makes of it: etcd's and kube-apiserver's, 9 of nodes and 4 shared; the clients of
/// kube-apiserver have no mount.
const FROM_VAULT: usize = 3 * 3 + 4;

/// That this is told, wherever its lines were broken: within a path, too.
#[track_caller]
fn tells(output: Output, text: &str) -> Output {
    let flat = |text: &str| text.replace(|c: char| c.is_whitespace() || c == '│', "");
    assert!(
        flat(&output.stderr).contains(&flat(text)),
        "no `{text}` in\n{output}"
    );
    output
}

#[track_caller]
fn keeps_secrets(output: Output) -> Output {
    let mut output = output.never_says(ROOT).never_says("PRIVATE KEY");
    for (_, password) in PASSWORDS {
        output = output.never_says(password);
    }
    output.never_says("hvs.")
}

fn issued(lab: &Lab) -> usize {
    let entries = fs::read_dir(lab.path("pki/issued")).unwrap();
    let is_pem = |name: &str| {
        std::path::Path::new(name)
            .extension()
            .is_some_and(|it| it == "pem")
    };
    entries
        .filter(|entry| is_pem(entry.as_ref().unwrap().file_name().to_str().unwrap()))
        .count()
}

#[test]
fn what_vault_issues_is_kept_and_not_asked_for_again() {
    let vault = Double::start();
    let lab = site(&vault, "");
    // Looking asks nothing.
    lab.run(["render", "inventory.toml", "--out", "seen"])
        .exits(0);
    assert_eq!((vault.issues(), lab.path("pki").exists()), (0, false));
    lab.run(KUBECONFIG).exits(0);
    let asked = vault.asked();
    let issues = asked.iter().filter(|(path, _)| path.contains("/issue/"));
    assert_eq!((issues.count(), issued(&lab)), (FROM_VAULT, ALL));
    let apiserver = asked.iter().find(|(path, body)| {
        path == "/v1/pki/issue/apiserver"
            && body["alt_names"].to_string().contains("node2.home.example")
    });
    let (_, body) = apiserver.unwrap();
    assert_eq!(body["common_name"], "kube-apiserver");
    assert_eq!(body["ttl"], "8760h");
    for san in ["10.32.0.1", "127.0.0.1", "10.0.0.2"] {
        assert!(
            body["ip_sans"]
                .as_str()
                .unwrap()
                .split(',')
                .any(|it| it == san),
            "{body}"
        );
    }
    let logins: Vec<_> = asked
        .iter()
        .filter(|(path, _)| path.contains("/login/"))
        .collect();
    assert_eq!(logins.len(), 3, "each user logs in once");
    // The leaf, then who signed it; the root is left out, and not trusted.
    let chain = fs::read_to_string(lab.path("pki/issued/etcd-server-node1.pem")).unwrap();
    assert_eq!(chain.matches("BEGIN CERTIFICATE").count(), 2);
    let trusted = fs::read_to_string(lab.path("pki/ca/etcd.pem")).unwrap();
    assert_eq!(trusted.trim(), vault.authority_pem("pki/etcd").trim());
    assert!(!lab.path("pki/ca/etcd.key").exists());
    assert!(
        lab.path("pki/ca/apiserver-client.key").exists(),
        "kinstall's own"
    );
    assert!(lab.path("pki/service-account.key").exists());
    assert!(lab.path("pki/encryption-config.yaml").exists());
    lab.run(KUBECONFIG).exits(0);
    lab.run(["certs", "list", "inventory.toml"]).exits(0);
    lab.run(["certs", "check", "inventory.toml"]).exits(0);
    assert_eq!(vault.issues(), 0, "all of it still serves");
    let before = fs::read(lab.path("pki/issued/apiserver-node1.pem")).unwrap();
    let run = lab.run(["certs", "renew", "inventory.toml", "--no-push", "apiserver"]);
    keeps_secrets(run).exits(0);
    assert_eq!(vault.issues(), 3);
    assert_ne!(
        fs::read(lab.path("pki/issued/apiserver-node1.pem")).unwrap(),
        before
    );
    // A name that is new is asked for where it belongs, and nothing else.
    lab.edit(
        "address = \"10.0.0.2\"\n",
        "address = \"10.0.0.2\"\nsans = [\"more.example\"]\n",
    );
    lab.run(KUBECONFIG).exits(0);
    let asked = vault.asked();
    assert_eq!(
        asked.len(),
        1 + 2 + 1,
        "a login, etcd's two and kube-apiserver's: {asked:?}"
    );
}

#[test]
fn two_renewals_within_a_minute_have_two_names() {
    let vault = Double::start();
    let lab = site(&vault, "");
    lab.run(KUBECONFIG).exits(0);
    let mut names = Vec::new();
    for out in ["one", "two", "three"] {
        lab.run(["render", "inventory.toml", "--out", out]).exits(0);
        let directory = lab.path(&format!("{out}/node1/etc/etcd/certs/client"));
        let entries = fs::read_dir(directory).unwrap();
        let entries = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let mut dated = entries.filter(|name| name.contains("-20") && !name.contains(".key"));
        names.push(dated.next().unwrap());
        let renew = ["certs", "renew", "inventory.toml", "--no-push"];
        lab.run(renew.into_iter().chain(["etcd-server-node1"]))
            .exits(0);
    }
    assert!(names[0] < names[1] && names[1] < names[2], "{names:?}");
}

#[test]
fn a_node_that_is_refused_keeps_no_other_back() {
    let vault = Double::start();
    let lab = site(&vault, "");
    fs::write(lab.path("secrets/etcd-node2-user"), "not-the-password\n").unwrap();
    let refused = lab.run(KUBECONFIG);
    let why = "POST /v1/auth/userpass/login/etcd-node2-user: 400: invalid username or password";
    let refused = tells(
        refused,
        &format!("etcd-peer-node2, etcd-server-node2: {why}"),
    );
    keeps_secrets(refused)
        .never_says("node1")
        .never_says("not-the-password")
        .exits(1);
    assert_eq!(vault.issues(), FROM_VAULT - 2);
    assert_eq!(issued(&lab), FROM_VAULT - 2, "the others are kept");
    fs::write(lab.path("secrets/etcd-node2-user"), "second-password").unwrap();
    lab.run(KUBECONFIG).exits(0);
    assert_eq!((vault.issues(), issued(&lab)), (2, ALL));
}

/// What is told when something is wrong, and that nothing is kept of what was refused.
#[track_caller]
fn refuses(change: impl FnOnce(&Double, &Lab), expected: &str, kept: usize) {
    let vault = Double::start();
    let lab = site(&vault, "");
    change(&vault, &lab);
    let output = tells(lab.run(KUBECONFIG), expected);
    let output = keeps_secrets(output).exits(1);
    assert!(output.seconds < 15.0, "{output}");
    assert_eq!(issued(&lab), kept, "{output}");
}

#[test]
fn vaults_own_words_are_told() {
    refuses(
        |_, lab| fs::write(lab.path("token"), "hvs.of-nobody").unwrap(),
        "/v1/pki/issue/apiserver: 403: 1 error occurred: * permission denied",
        6,
    );
    refuses(
        |vault, _| vault.moods(|moods| moods.sealed = true),
        "/v1/auth/userpass/login/etcd-node1-user: 503: Vault is sealed",
        0,
    );
    let refusing = |name: &str| Role {
        refuses: vec![name.to_owned()],
        ..Role::default()
    };
    refuses(
        |vault, _| vault.role("etcd-node3-role", refusing("node3")),
        "/v1/pki/etcd/issue/etcd-node3-role: 400: common name node3 not allowed by this role",
        FROM_VAULT - 2,
    );
    refuses(
        |vault, _| vault.role("apiserver", refusing("localhost")),
        "apiserver-node1, apiserver-node2, apiserver-node3: POST",
        FROM_VAULT - 3,
    );
    refuses(
        |vault, _| vault.role("apiserver", refusing("localhost")),
        "400: subject alternate name localhost not allowed by this role",
        FROM_VAULT - 3,
    );
    refuses(
        |_, lab| lab.edit("mount = \"pki_front\"", "mount = \"pki_back\""),
        "404: no handler for route \"pki_back/issue/front-proxy-client\". route entry not found.",
        FROM_VAULT - 1,
    );
    refuses(
        |_, lab| lab.edit("role = \"{certificate}\"", "role = \"of-{certificate}\""),
        "400: unknown role: of-front-proxy-client",
        6,
    );
}

#[test]
fn what_would_not_do_is_not_kept() {
    let client = Role {
        client_only: true,
        ..Role::default()
    };
    refuses(
        |vault, _| vault.role("apiserver", client),
        "Vault issued one that lacks the usage serverAuth",
        FROM_VAULT - 3,
    );
    refuses(
        |vault, _| vault.role("apiserver-kubelet-client", Role::default()),
        "Vault issued one that lacks the organization `system:masters`",
        FROM_VAULT - 1,
    );
    refuses(
        |vault, _| vault.moods(|moods| moods.babble = true),
        "its answer is not what Vault documents",
        0,
    );
}

#[test]
fn a_vault_that_is_not_there_or_slow_is_waited_for_once() {
    refuses(
        |_, lab| {
            let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
            let address = free.local_addr().unwrap();
            let text = fs::read_to_string(lab.path("inventory.toml")).unwrap();
            let line = text
                .lines()
                .find(|line| line.starts_with("address = \"http"))
                .unwrap();
            lab.edit(line, &format!("address = \"http://{address}\""));
        },
        "Connection refused",
        0,
    );
    refuses(
        |vault, _| vault.moods(|moods| moods.slow = Some(Duration::from_secs(8))),
        "no answer within 3 seconds",
        0,
    );
    refuses(
        |_, lab| fs::remove_file(lab.path("token")).unwrap(),
        "No such file or directory",
        6,
    );
}

#[test]
fn another_authority_is_taken_only_where_both_are_trusted() {
    let vault = Double::start();
    let lab = site(&vault, "");
    lab.run(KUBECONFIG).exits(0);
    let renew = [
        "certs",
        "renew",
        "inventory.toml",
        "--no-push",
        "apiserver-node1",
    ];
    let before = fs::read(lab.path("pki/issued/apiserver-node1.pem")).unwrap();
    vault.mount("pki");
    let refused = lab
        .run(renew)
        .says("Vault signed it with `CN=Intermediate CA for pki`, which is another authority");
    keeps_secrets(refused).exits(1);
    assert_eq!(
        fs::read(lab.path("pki/issued/apiserver-node1.pem")).unwrap(),
        before
    );
    for set in ["kubernetes", "kubelet-client"] {
        let both = fs::read_to_string(lab.path(&format!("pki/ca/{set}.pem"))).unwrap();
        let both = both + &vault.authority_pem("pki");
        fs::write(lab.path(&format!("pki/trust/{set}.pem")), both).unwrap();
    }
    let asked = lab.run(renew).exits(0);
    let kubernetes = [1, 2, 3].map(|at| format!("apiserver-node{at}"));
    let signed =
        |id: &String| fs::read_to_string(lab.path(&format!("pki/issued/{id}.pem"))).unwrap();
    let own = vault.authority_pem("pki");
    for id in &kubernetes {
        assert!(
            signed(id).contains(own.trim()),
            "{id} by the new authority: {asked}"
        );
    }
    lab.run(KUBECONFIG).exits(0);
    assert_ne!(
        fs::read(lab.path("pki/issued/apiserver-node1.pem")).unwrap(),
        before
    );
}

#[test]
fn a_life_that_is_shorter_than_asked_is_told_and_renewed_in_time() {
    let vault = Double::start();
    let lab = site(&vault, "");
    let short = Role {
        hours_max: Some(48),
        ..Role::default()
    };
    vault.role("front-proxy-client", short);
    lab.run(["push", "inventory.toml", "--into", "trees"])
        .says("front-proxy-client: ends on")
        .says("though 365 days were asked for");
    assert_eq!(vault.issues(), FROM_VAULT);
    lab.run(KUBECONFIG).exits(0);
    assert_eq!(vault.issues(), 0, "two days are left of two");
}

#[test]
fn vaults_own_tls_is_verified_by_the_ca_that_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let ca = directory.path().join("ca.pem");
    let vault = Double::start_tls(&ca);
    let lab = site(&vault, "ca = \"vault-ca.pem\"\n");
    fs::copy(&ca, lab.path("vault-ca.pem")).unwrap();
    lab.run(KUBECONFIG).exits(0);
    let stranger = site(&vault, "");
    keeps_secrets(stranger.run(KUBECONFIG))
        .says("certificate")
        .exits(1);
    assert_eq!(issued(&stranger), 0);
    // A token does not leave TLS because somebody says so.
    let plain = Double::start();
    vault.moods(|moods| moods.redirect = Some(plain.url()));
    let sent = site(&vault, "ca = \"vault-ca.pem\"\n");
    fs::copy(&ca, sent.path("vault-ca.pem")).unwrap();
    keeps_secrets(sent.run(KUBECONFIG))
        .says("sent on to an address without TLS")
        .exits(1);
    assert_eq!(plain.asked().len(), 0);
}
