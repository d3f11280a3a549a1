//! Promises about who asks a Vault, and how it is reached: variables of the environment, tokens,
//! namespaces, users, `AppRoles`, certificates, agents and TLS.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use fs_err as fs;
use serde_json::json;

use super::proxy::Proxy;
use super::server::{ROOT, Server};
use super::{KUBECONFIG, issued, keeps_secrets, lab, prepare, run, tells};
use crate::lab::Lab;

/// Everything by one login.
const ONE: &str = "
[pki.vault.set.etcd]
mount = \"house/etcd\"
[pki.vault.set.kubernetes]
mount = \"pki\"
";
/// Certificates that come from Vault by these tables.
const BY_ONE: usize = 6;

/// A server with what [`ONE`] wants, and a policy that may ask for it.
fn prepare_one(server: &Server) {
    prepare(server);
    server.role("house/etcd", "etcd-server", &json!({}));
    let may = "\"update\"";
    server.policy(
        "kinstall",
        &[
            ("house/etcd/sign/etcd-server", may),
            ("pki/sign/apiserver", may),
        ],
    );
}

fn one(address: &str, more: &str) -> Lab {
    lab(address, more, ONE)
}

#[test]
fn the_environment_says_what_the_inventory_leaves_open() {
    let Some(server) = Server::start("the_environment_says_what_the_inventory_leaves_open") else {
        return;
    };
    prepare_one(&server);
    let url = server.url();
    let lab = one("", "");
    run(&lab, KUBECONFIG, &[])
        .says("`VAULT_ADDR` is not set, and `[pki.vault]` has no `address`")
        .exits(1);
    for (value, why) in [
        (
            "vault.home",
            "`VAULT_ADDR` is `vault.home`, which is not the address of a server",
        ),
        (
            "https://me:hunter2@vault.home",
            "`VAULT_ADDR` is `…`, which is not the address",
        ),
    ] {
        run(&lab, KUBECONFIG, &[("VAULT_ADDR", value)])
            .says(why)
            .never_says("hunter2")
            .exits(1);
    }
    let bad = [("VAULT_ADDR", url.as_str()), ("VAULT_NAMESPACE", "a b")];
    run(&lab, KUBECONFIG, &bad)
        .says("`VAULT_NAMESPACE` is not the path of a namespace")
        .exits(1);
    for value in ["1", "true", "yes"] {
        let bad = [
            ("VAULT_ADDR", url.as_str()),
            ("VAULT_TOKEN", ROOT),
            ("VAULT_SKIP_VERIFY", value),
        ];
        run(&lab, KUBECONFIG, &bad)
            .says("`VAULT_SKIP_VERIFY` asks not to verify Vault's certificate")
            .exits(1);
    }
    let empty = [("VAULT_ADDR", url.as_str()), ("VAULT_TOKEN", "a\nb")];
    run(&lab, KUBECONFIG, &empty)
        .says("the variable `VAULT_TOKEN` holds no line of text")
        .exits(1);
    assert_eq!(issued(&lab), 0);
    let good = [
        ("VAULT_ADDR", url.as_str()),
        ("VAULT_TOKEN", ROOT),
        ("VAULT_SKIP_VERIFY", "false"),
    ];
    keeps_secrets(run(&lab, KUBECONFIG, &good)).exits(0);
    // What the inventory says goes before it, and a variable before the file of `vault login`.
    let lab = one(&url, "");
    fs::create_dir(lab.path("home")).unwrap();
    fs::write(lab.path("home/.vault-token"), "hvs.of-nobody").unwrap();
    run(&lab, KUBECONFIG, &[]).says("403").exits(1);
    fs::write(lab.path("home/.vault-token"), format!("{ROOT}\n")).unwrap();
    run(&lab, KUBECONFIG, &[("VAULT_TOKEN", "hvs.of-nobody")])
        .says("403")
        .exits(1);
    run(&lab, KUBECONFIG, &[("VAULT_ADDR", "http://127.0.0.1:9")]).exits(0);
}

#[test]
fn a_vault_elsewhere_wants_a_token_and_encryption() {
    let lab = one("https://vault.invalid:8200", "");
    run(&lab, KUBECONFIG, &[])
        .says("no token: set `VAULT_TOKEN`, or log in by `vault login`")
        .exits(1);
    fs::create_dir(lab.path("home")).unwrap();
    fs::write(lab.path("home/.vault-token"), "\n").unwrap();
    tells(
        run(&lab, KUBECONFIG, &[]),
        "home/.vault-token` holds no line of text",
    )
    .exits(1);
    let open = one("http://vault.invalid:8200", "");
    run(&open, ["check", "inventory.toml", "--offline"], &[])
        .says("passwords and private keys would travel unencrypted")
        .exits(0);
}

#[test]
fn a_namespace_is_asked_in_all_that_is_asked() {
    let Some(server) = Server::start("a_namespace_is_asked_in_all_that_is_asked") else {
        return;
    };
    server.call("POST", "sys/namespaces/team", json!({}));
    for mount in ["pki", "house/etcd"] {
        let body = json!({"type": "pki", "config": {"max_lease_ttl": "87600h"}});
        server.call_in("team", "POST", &format!("sys/mounts/{mount}"), body);
        let root = json!({"common_name": "Root", "ttl": "80000h", "key_type": "ec"});
        server.call_in(
            "team",
            "POST",
            &format!("{mount}/root/generate/internal"),
            root,
        );
        let role = json!({"allow_any_name": true, "enforce_hostnames": false, "key_type": "any",
            "max_ttl": "43800h"});
        for name in ["apiserver", "etcd-server"] {
            server.call_in(
                "team",
                "POST",
                &format!("{mount}/roles/{name}"),
                role.clone(),
            );
        }
    }
    let proxy = Proxy::before(server.address());
    let token = [("VAULT_TOKEN", ROOT)];
    let lab = one(&proxy.url(), "namespace = \"team\"\n");
    run(&lab, KUBECONFIG, &token).exits(0);
    let asked = proxy.asked();
    assert!(
        !asked.is_empty()
            && asked
                .iter()
                .all(|it| it.namespace.as_deref() == Some("team"))
    );
    let lab = one(&proxy.url(), "");
    run(&lab, KUBECONFIG, &token).says("404").exits(1);
    run(&lab, KUBECONFIG, &[token[0], ("VAULT_NAMESPACE", "team")]).exits(0);
    // The inventory goes before the environment.
    let lab = one(&proxy.url(), "namespace = \"team\"\n");
    run(&lab, KUBECONFIG, &[token[0], ("VAULT_NAMESPACE", "other")]).exits(0);
}

#[test]
fn an_approle_logs_in_and_its_token_is_revoked() {
    let Some(server) = Server::start("an_approle_logs_in_and_its_token_is_revoked") else {
        return;
    };
    prepare_one(&server);
    server.call("POST", "sys/auth/machines", json!({"type": "approle"}));
    let role = json!({"token_policies": "kinstall"});
    server.call("POST", "auth/machines/role/kinstall", role);
    let id = server.call("GET", "auth/machines/role/kinstall/role-id", json!({}));
    let id = id["role_id"].as_str().unwrap();
    let secret = server.call("POST", "auth/machines/role/kinstall/secret-id", json!({}));
    let secret = secret["secret_id"].as_str().unwrap();
    let proxy = Proxy::before(server.address());
    let lab = one(
        &proxy.url(),
        "role-id-file = \"role-id\"\nsecret-id-env = \"SECRET_ID\"\nlogin-mount = \"machines\"\n",
    );
    fs::write(lab.path("role-id"), format!("{id}\n")).unwrap();
    let before = server.tokens();
    run(&lab, KUBECONFIG, &[])
        .says("the environment has no text in `SECRET_ID`")
        .exits(1);
    run(&lab, KUBECONFIG, &[("SECRET_ID", "not-the-secret")])
        .says("POST /v1/auth/machines/login: 400: ")
        .never_says("not-the-secret")
        .exits(1);
    proxy.asked();
    run(&lab, KUBECONFIG, &[("SECRET_ID", secret)])
        .never_says(secret)
        .exits(0);
    assert_eq!((issued(&lab) > BY_ONE, server.tokens()), (true, before));
    let asked = proxy.asked();
    let last = asked.last().unwrap();
    assert_eq!(last.path, "/v1/auth/token/revoke-self");
    let token = last.token.clone().unwrap();
    // One that may not revoke itself ends by itself, and is told of.
    let role = json!({"token_policies": "kinstall", "token_no_default_policy": true});
    server.call("POST", "auth/machines/role/kinstall", role);
    let renew = ["certs", "renew", "inventory.toml", "--no-push", "apiserver"];
    let told = run(&lab, renew, &[("SECRET_ID", secret)]);
    told.says("was not revoked and ends by itself: POST /v1/auth/token/revoke-self: 403")
        .never_says(&token)
        .exits(0);
    // Of batch tokens there is nothing to revoke; and some roles ask for no secret id.
    let role = json!({"token_policies": "kinstall", "token_type": "batch", "bind_secret_id": false,
        "secret_id_bound_cidrs": [], "token_bound_cidrs": ["127.0.0.0/8"]});
    server.call("POST", "auth/machines/role/kinstall", role);
    lab.edit("secret-id-env = \"SECRET_ID\"\n", "");
    proxy.asked();
    run(&lab, renew, &[]).never_says("revoked").exits(0);
    let revokes = proxy.asked();
    assert!(revokes.iter().all(|it| !it.path.ends_with("revoke-self")));
}

#[test]
fn a_second_factor_is_told_as_such() {
    let Some(server) = Server::start("a_second_factor_is_told_as_such") else {
        return;
    };
    prepare_one(&server);
    server.user("me", "my-password", "kinstall");
    let (_, methods) = server.ask("GET", "sys/auth", None, &[]);
    let method = json!({"issuer": "kinstall", "period": 30});
    let totp = server.call("POST", "identity/mfa/method/totp", method);
    let enforcement = json!({"mfa_method_ids": [totp["method_id"]],
        "auth_method_accessors": [methods["userpass/"]["accessor"]]});
    server.call("POST", "identity/mfa/login-enforcement/all", enforcement);
    let lab = one(
        &server.url(),
        "user = \"me\"\npassword-env = \"PASSWORD\"\n",
    );
    run(&lab, KUBECONFIG, &[("PASSWORD", "my-password")])
        .says("`auth/userpass/login/me` asks for a second factor (MFA), which kinstall cannot show")
        .never_says("my-password")
        .exits(1);
    assert_eq!(issued(&lab), 0);
}

#[test]
fn tls_is_verified_and_a_certificate_logs_in() {
    let Some(server) = Server::start_tls("tls_is_verified_and_a_certificate_logs_in") else {
        return;
    };
    prepare_one(&server);
    let lab = one(
        &server.url(),
        "ca = \"vault-ca.pem\"\ntoken-file = \"token\"\n",
    );
    fs::copy(server.ca(), lab.path("vault-ca.pem")).unwrap();
    run(&lab, KUBECONFIG, &[]).exits(0);
    // Without the CA it is a stranger, and is asked once; the environment may name it, too.
    let lab = one(&server.url(), "token-file = \"token\"\n");
    let stranger = run(&lab, KUBECONFIG, &[]).says("certificate").exits(1);
    keeps_secrets(stranger).never_says("times");
    assert_eq!(issued(&lab), 0);
    let ca = server.ca();
    let ca = ca.to_str().unwrap();
    run(&lab, KUBECONFIG, &[("VAULT_CACERT", ca)]).exits(0);
    let lab = one(&server.url(), "token-file = \"token\"\n");
    fs::create_dir(lab.path("authorities")).unwrap();
    fs::copy(ca, lab.path("authorities/one.pem")).unwrap();
    let directory = lab.path("authorities");
    let directory = directory.to_str().unwrap();
    run(&lab, KUBECONFIG, &[("VAULT_CAPATH", directory)]).exits(0);
    fs::write(lab.path("authorities/two.pem"), "nothing").unwrap();
    let renew = ["certs", "renew", "inventory.toml", "--no-push", "apiserver"];
    let refused = run(&lab, renew, &[("VAULT_CAPATH", directory)]);
    tells(refused, "two.pem` is a file without a certificate").exits(1);
    // A certificate of a person's, and nothing else.
    let lab = one(
        &server.url(),
        "ca = \"vault-ca.pem\"\nclient-certificate = \"me.pem\"\nclient-key = \"me.key\"\n",
    );
    fs::copy(ca, lab.path("vault-ca.pem")).unwrap();
    run(&lab, KUBECONFIG, &[]).says("me.pem").exits(1);
    let made = Command::new("openssl")
        .args([
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
            "-nodes",
        ])
        .args([
            "-days",
            "2",
            "-subj",
            "/CN=me",
            "-addext",
            "extendedKeyUsage=clientAuth",
        ])
        .arg("-keyout")
        .arg(lab.path("me.key"))
        .arg("-out")
        .arg(lab.path("me.pem"))
        .output()
        .unwrap();
    assert!(made.status.success(), "{made:?}");
    server.call("POST", "sys/auth/cert", json!({"type": "cert"}));
    run(&lab, KUBECONFIG, &[])
        .says("POST /v1/auth/cert/login: 400: ")
        .exits(1);
    let certificate = fs::read_to_string(lab.path("me.pem")).unwrap();
    let me = json!({"certificate": certificate, "token_policies": "kinstall"});
    server.call("POST", "auth/cert/certs/me", me);
    let before = server.tokens();
    run(&lab, KUBECONFIG, &[]).exits(0);
    assert_eq!(server.tokens(), before);
    fs::write(lab.path("me.key"), "nothing").unwrap();
    run(&lab, renew, &[])
        .says("`me.pem` and `me.key`: ")
        .exits(1);
}

#[test]
fn a_token_does_not_leave_tls_because_somebody_says_so() {
    let Some(server) = Server::start_tls("a_token_does_not_leave_tls_because_somebody_says_so")
    else {
        return;
    };
    let plain = Proxy::before(server.address());
    // openssl answers with files as they are: one sends on.
    let room = tempfile::tempdir().unwrap();
    let place = room.path().join("v1/pki/roles");
    fs::create_dir_all(&place).unwrap();
    let answer = format!(
        "HTTP/1.1 307 X\r\nlocation: {}/v1/pki/roles/apiserver\r\ncontent-length: 0\r\n\r\n",
        plain.url()
    );
    fs::write(place.join("apiserver"), answer).unwrap();
    let port = free_port();
    let directory = server.ca();
    let directory = directory.parent().unwrap();
    let mut openssl = Command::new("openssl");
    openssl
        .args([
            "s_server",
            "-HTTP",
            "-quiet",
            "-accept",
            &format!("127.0.0.1:{port}"),
        ])
        .arg("-cert")
        .arg(directory.join("vault-cert.pem"))
        .arg("-key")
        .arg(directory.join("vault-key.pem"));
    let _openssl = Ended::start(openssl.current_dir(room.path()), port);
    let tables = "[pki.vault.set.kubernetes]\nmount = \"pki\"\n";
    let more = "ca = \"vault-ca.pem\"\ntoken-file = \"token\"\n";
    let lab = lab(&format!("https://127.0.0.1:{port}"), more, tables);
    fs::copy(server.ca(), lab.path("vault-ca.pem")).unwrap();
    let refused = run(&lab, KUBECONFIG, &[]);
    let refused = refused.says("sent on to an address without TLS");
    keeps_secrets(refused).exits(1);
    assert_eq!(plain.asked().len(), 0);
}

#[test]
fn an_agent_asks_with_a_token_of_its_own() {
    let Some(server) = Server::start("an_agent_asks_with_a_token_of_its_own") else {
        return;
    };
    prepare_one(&server);
    server.call("POST", "sys/auth/approle", json!({"type": "approle"}));
    let role = json!({"token_policies": "kinstall"});
    server.call("POST", "auth/approle/role/agent", role);
    let id = server.call("GET", "auth/approle/role/agent/role-id", json!({}));
    let secret = server.call("POST", "auth/approle/role/agent/secret-id", json!({}));
    let room = tempfile::tempdir().unwrap();
    let path = |name: &str| room.path().join(name).to_str().unwrap().to_owned();
    fs::write(path("role-id"), id["role_id"].as_str().unwrap()).unwrap();
    fs::write(path("secret-id"), secret["secret_id"].as_str().unwrap()).unwrap();
    let port = free_port();
    let configuration = format!(
        "auto_auth {{ method \"approle\" {{ config = {{\n  role_id_file_path = \"{}\"\n  \
         secret_id_file_path = \"{}\"\n  remove_secret_id_file_after_reading = false\n}} }} }}\n\
         api_proxy {{ use_auto_auth_token = true }}\n\
         listener \"unix\" {{\n  address = \"{}\"\n  tls_disable = true\n  require_request_header = true\n}}\n\
         listener \"tcp\" {{\n  address = \"127.0.0.1:{port}\"\n  tls_disable = true\n}}\n",
        path("role-id"),
        path("secret-id"),
        path("agent.sock"),
    );
    fs::write(path("agent.hcl"), configuration).unwrap();
    let mut agent = Command::new(std::env::var_os("KINSTALL_OPENBAO").unwrap());
    agent
        .arg("proxy")
        .arg(format!("-config={}", path("agent.hcl")))
        .env("BAO_ADDR", server.url())
        .env("HOME", room.path());
    let _agent = Ended::start(&mut agent, port);
    for address in [
        format!("unix://{}", path("agent.sock")),
        format!("http://127.0.0.1:{port}"),
    ] {
        let lab = one(&address, "");
        run(&lab, KUBECONFIG, &[]).exits(0);
        assert!(issued(&lab) > BY_ONE);
        run(&lab, ["check", "inventory.toml"], &[]).exits(0);
    }
    let lab = one("", "");
    let socket = format!("unix://{}", path("agent.sock"));
    run(&lab, KUBECONFIG, &[("VAULT_ADDR", &socket)]).exits(0);
    let gone = one(&format!("unix://{}", path("gone.sock")), "");
    tells(
        run(&gone, KUBECONFIG, &[]),
        "gone.sock`: No such file or directory",
    )
    .exits(1);
}

/// A port that nobody listens on.
pub(super) fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

/// A program that ends with the test.
struct Ended(Child);

impl Ended {
    /// Starts it, and waits until it listens.
    fn start(command: &mut Command, port: u16) -> Self {
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let mut ended = Self(command.spawn().unwrap());
        let begun = Instant::now();
        while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(
                begun.elapsed() < Duration::from_secs(30),
                "it does not listen"
            );
            let status = ended.0.try_wait().unwrap();
            assert!(status.is_none(), "{command:?} ended: {status:?}");
            std::thread::sleep(Duration::from_millis(50));
        }
        // An agent listens before it has a token.
        if Path::new(command.get_program()).ends_with("bao") {
            std::thread::sleep(Duration::from_secs(1));
        }
        ended
    }
}

impl Drop for Ended {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}
