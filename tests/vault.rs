//! Promises about certificates from a Vault, tried on a genuine server of its API.

mod authority;
mod check;
mod document;
mod fault;
mod key;
mod login;
mod mutual;
mod proxy;
pub(crate) mod server;

use fs_err as fs;
use serde_json::json;

use self::proxy::{Asked, Proxy};
use self::server::{ROOT, Server};
use crate::lab::{Going, Lab, Output};

/// Certificates of three nodes, their names in Vault's own.
const ALL: usize = 4 * 3 + 4;
const KUBECONFIG: [&str; 2] = ["kubeconfig", "inventory.toml"];
const PASSWORDS: [(&str, &str); 3] = [
    ("etcd-node1-user", "first-password"),
    ("etcd-node2-user", "second-password"),
    ("etcd-node3-user", "third-password"),
];

/// What Vault makes of it: etcd's and kube-apiserver's, 9 of nodes and 4 shared; the clients of
/// kube-apiserver have no mount.
const FROM_VAULT: usize = 3 * 3 + 4;
/// Those of them that users without more rights ask for: they may not have requests signed.
const BY_USERS: usize = 2 * 3;

/// Tables of an inventory whose roles are named after the certificates, but etcd's.
const TABLES: &str = "
[pki.vault.set.etcd]
mount = \"house/etcd\"
user = \"etcd-{node}-user\"
password-file = \"secrets/{user}\"
role = \"etcd-{node}-role\"

[pki.vault.set.etcd-peer]
mount = \"house/etcd\"
user = \"etcd-{node}-user\"
password-file = \"secrets/{user}\"
role = \"etcd-{node}-role\"

[pki.vault.set.etcd-client]
mount = \"house/etcd\"

[pki.vault.set.kubernetes]
mount = \"pki\"
alt-names = [\"{node}.{cluster}.example\"]

[pki.vault.set.kubelet-client]
mount = \"pki\"

[pki.vault.set.front-proxy]
mount = \"pki_front\"
";

/// A server, what stands before it, and a directory to work in.
struct Site {
    server: Server,
    proxy: Proxy,
    lab: Lab,
}

/// A Vault with what the inventory wants; none where there is no server.
fn site(test: &str) -> Option<Site> {
    let server = Server::start(test)?;
    prepare(&server);
    let proxy = Proxy::before(server.address());
    let lab = lab(&proxy.url(), "token-file = \"token\"\n", TABLES);
    Some(Site { server, proxy, lab })
}

/// Mounts, roles, policies and users as [`TABLES`] has them.
fn prepare(server: &Server) {
    for mount in ["house/etcd", "pki", "pki_front"] {
        server.mount(mount);
    }
    for (user, password) in PASSWORDS {
        let role = user.replace("-user", "-role");
        server.role("house/etcd", &role, &json!({}));
        let path = format!("house/etcd/issue/{role}");
        server.policy(user, &[(&path, "\"create\", \"update\"")]);
        server.user(user, password, user);
    }
    let client = json!({"server_flag": false});
    server.role("house/etcd", "etcd-healthcheck-client", &client);
    server.role("house/etcd", "apiserver-etcd-client", &client);
    server.role("pki", "apiserver", &json!({}));
    let masters = json!({"server_flag": false, "organization": "system:masters"});
    server.role("pki", "apiserver-kubelet-client", &masters);
    server.role("pki_front", "front-proxy-client", &client);
}

/// A directory with an inventory of three nodes, and the passwords.
fn lab(address: &str, more: &str, tables: &str) -> Lab {
    let lab = Lab::empty();
    fs::create_dir(lab.path("secrets")).unwrap();
    for (user, password) in PASSWORDS {
        let file = lab.path(&format!("secrets/{user}"));
        fs::write(file, format!("{password}\n")).unwrap();
    }
    fs::write(lab.path("token"), format!("{ROOT}\n")).unwrap();
    let nodes = [1, 2, 3].map(|at| {
        format!("\n[[node]]\nname = \"node{at}\"\naddress = \"10.0.0.{at}\"\narch = \"amd64\"\n")
    });
    let nodes = nodes.concat();
    let address = if address.is_empty() {
        String::new()
    } else {
        format!("address = \"{address}\"\n")
    };
    lab.write(&format!(
        "[cluster]\nname = \"home\"\nkubernetes = \"1.32.3\"\n\n[pki]\nfrom = \"vault\"\n\n\
         [pki.vault]\n{address}seconds = 10\n{more}role = \"{{certificate}}\"\n{tables}{nodes}"
    ));
    lab
}

/// Runs `kinstall` with variables of the environment, and a home directory that has nothing of
/// anyone who runs the tests.
#[track_caller]
fn run<'a>(
    lab: &Lab,
    words: impl IntoIterator<Item = &'a str>,
    variables: &[(&str, &str)],
) -> Output {
    let mut command = lab.command(words);
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("VAULT_") {
            command.env_remove(name);
        }
    }
    command.env("HOME", lab.path("home"));
    command.envs(variables.iter().copied());
    Going::start(&mut command).finish()
}

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
    output
}

/// How many certificates are kept.
fn issued(lab: &Lab) -> usize {
    let Ok(entries) = fs::read_dir(lab.path("pki/issued")) else {
        return 0;
    };
    let names = entries.map(|entry| entry.unwrap().path());
    names
        .filter(|path| path.extension().is_some_and(|it| it == "pem"))
        .count()
}

/// The requests for certificates among these that were signed, and those that were issued.
fn orders(asked: &[Asked]) -> (Vec<&Asked>, Vec<&Asked>) {
    let of = |verb: &str| asked.iter().filter(|it| it.path.contains(verb)).collect();
    (of("/sign/"), of("/issue/"))
}

#[test]
fn what_vault_issues_is_kept_and_not_asked_for_again() {
    let Some(Site { server, proxy, lab }) =
        site("what_vault_issues_is_kept_and_not_asked_for_again")
    else {
        return;
    };
    let before = server.tokens();
    // Looking asks nothing, and says what would be asked.
    let looked = lab
        .run(["render", "inventory.toml", "--out", "seen"])
        .says("by role `etcd-node2-role` of `house/etcd`, as user `etcd-node2-user`: etcd-peer-node2, etcd-server-node2")
        .says("role `apiserver` of `pki`, with the token in the file `token`: apiserver-node1, apiserver-node2");
    keeps_secrets(looked).exits(0);
    assert_eq!((proxy.asked().len(), lab.path("pki").exists()), (0, false));
    lab.run(KUBECONFIG).exits(0);
    let asked = proxy.asked();
    let (sign, issue) = orders(&asked);
    assert_eq!(issue.len(), BY_USERS, "{issue:?}");
    assert!(
        issue
            .iter()
            .all(|it| it.path.starts_with("/v1/house/etcd/issue/etcd-node"))
    );
    let signed = sign.iter().filter(|it| !it.path.contains("/etcd-node"));
    assert_eq!(signed.count(), FROM_VAULT - BY_USERS, "{sign:?}");
    assert_eq!(issued(&lab), ALL);
    let apiserver = sign.iter().find(|it| {
        it.path == "/v1/pki/sign/apiserver"
            && it.body["alt_names"]
                .to_string()
                .contains("node2.home.example")
    });
    let body = &apiserver.unwrap().body;
    assert_eq!(
        (&body["common_name"], &body["ttl"]),
        (&json!("kube-apiserver"), &json!("8760h"))
    );
    for san in ["10.32.0.1", "127.0.0.1", "10.0.0.2"] {
        let sans = body["ip_sans"].as_str().unwrap();
        assert!(sans.split(',').any(|it| it == san), "{body}");
    }
    let logins = asked.iter().filter(|it| it.path.contains("/login/"));
    assert_eq!(logins.count(), 3, "each user logs in once");
    assert_eq!(server.tokens(), before, "the tokens of the run are revoked");
    // The leaf, then who signed it; the root is left out, and where it would vouch for clients, not
    // trusted.
    let chain = fs::read_to_string(lab.path("pki/issued/etcd-server-node1.pem")).unwrap();
    assert_eq!(chain.matches("BEGIN CERTIFICATE").count(), 2);
    let trusted = fs::read_to_string(lab.path("pki/ca/etcd-client.pem")).unwrap();
    assert_eq!(trusted.trim(), server.authority_pem("house/etcd").trim());
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
    assert_eq!(proxy.asked().len(), 0, "all of it still serves");
    let before = fs::read(lab.path("pki/issued/apiserver-node1.pem")).unwrap();
    let run = lab.run(["certs", "renew", "inventory.toml", "--no-push", "apiserver"]);
    keeps_secrets(run).exits(0);
    assert_eq!(proxy.orders(), ["/v1/pki/sign/apiserver"; 3]);
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
    let asked = proxy.asked();
    let (sign, issue) = orders(&asked);
    assert_eq!(issue.len(), 2, "etcd's two: {asked:?}");
    let own = sign.iter().filter(|it| it.path.ends_with("/apiserver"));
    assert_eq!(own.count(), 1, "kube-apiserver's: {asked:?}");
}

#[test]
fn two_renewals_within_a_minute_have_two_names() {
    let Some(Site {
        lab,
        server: _server,
        proxy: _proxy,
    }) = site("two_renewals_within_a_minute_have_two_names")
    else {
        return;
    };
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
    let Some(Site {
        lab,
        proxy,
        server: _server,
    }) = site("a_node_that_is_refused_keeps_no_other_back")
    else {
        return;
    };
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
    assert_eq!(issued(&lab), FROM_VAULT - 2, "the others are kept");
    proxy.asked();
    fs::write(lab.path("secrets/etcd-node2-user"), "second-password").unwrap();
    lab.run(KUBECONFIG).exits(0);
    let asked = proxy.asked();
    assert_eq!((orders(&asked).1.len(), issued(&lab)), (2, ALL));
}

#[test]
fn vaults_own_words_are_told_and_nothing_is_kept_of_what_was_refused() {
    let name = "vaults_own_words_are_told_and_nothing_is_kept_of_what_was_refused";
    let Some(Site { server, proxy, .. }) = site(name) else {
        return;
    };
    let refuses = |change: &dyn Fn(&Lab), expected: &str, kept: usize| {
        let lab = lab(&proxy.url(), "token-file = \"token\"\n", TABLES);
        change(&lab);
        let output = tells(lab.run(KUBECONFIG), expected);
        let output = keeps_secrets(output).exits(1);
        assert_eq!(issued(&lab), kept, "{output}");
    };
    let stranger = |lab: &Lab| fs::write(lab.path("token"), "hvs.of-nobody").unwrap();
    refuses(&stranger, "/v1/pki/issue/apiserver: 403: ", 6);
    let mount = |lab: &Lab| lab.edit("mount = \"pki_front\"", "mount = \"pki_back\"");
    refuses(
        &mount,
        "404: no handler for route \"pki_back/issue/front-proxy-client\". route entry not found.",
        FROM_VAULT - 1,
    );
    let role = |lab: &Lab| lab.edit("role = \"{certificate}\"", "role = \"of-{certificate}\"");
    refuses(&role, "400: unknown role: of-front-proxy-client", 6);
    let unsaid = |lab: &Lab| fs::remove_file(lab.path("token")).unwrap();
    refuses(&unsaid, "No such file or directory", 6);
    let bare = json!({"allow_any_name": false, "allowed_domains": ["node3"],
        "allow_bare_domains": true, "allow_localhost": false});
    server.role("house/etcd", "etcd-node3-role", &bare);
    refuses(
        &|_| {},
        "400: subject alternate name localhost not allowed by this role",
        FROM_VAULT - 2,
    );
    server.role("house/etcd", "etcd-node3-role", &json!({}));
    server.role("pki", "apiserver", &json!({"server_flag": false}));
    refuses(
        &|_| {},
        "apiserver-node1, apiserver-node2, apiserver-node3: Vault issued one that lacks the usage serverAuth",
        FROM_VAULT - 3,
    );
    server.role("pki", "apiserver", &json!({}));
    server.role(
        "pki",
        "apiserver-kubelet-client",
        &json!({"server_flag": false}),
    );
    refuses(
        &|_| {},
        "Vault issued one that lacks the organization `system:masters`",
        FROM_VAULT - 1,
    );
    server.call("POST", "sys/seal", json!({}));
    refuses(
        &|_| {},
        "/v1/auth/userpass/login/etcd-node1-user: 503: Vault is sealed",
        0,
    );
}

#[test]
fn a_life_that_is_shorter_than_asked_is_told_and_renewed_in_time() {
    let name = "a_life_that_is_shorter_than_asked_is_told_and_renewed_in_time";
    let Some(Site { server, proxy, lab }) = site(name) else {
        return;
    };
    let short = json!({"server_flag": false, "max_ttl": "48h"});
    server.role("pki_front", "front-proxy-client", &short);
    lab.run(["push", "inventory.toml", "--into", "trees"])
        .says("front-proxy-client: ends on")
        .says("though 365 days were asked for");
    assert_eq!(issued(&lab), ALL);
    proxy.asked();
    lab.run(KUBECONFIG).exits(0);
    assert_eq!(proxy.asked().len(), 0, "two days are left of two");
}
