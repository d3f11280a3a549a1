//! Promises about the inventory that ships, on a Vault that was set up as the guide it follows has
//! it; and about whom clients of kube-apiserver trust.

use std::process::Command;

use fs_err as fs;
use serde_json::json;

use super::proxy::Proxy;
use super::server::Server;
use super::{KUBECONFIG, Site, prepare, run, site};
use crate::lab::Lab;

const ETCD: &str = "k8s_pki_intermediate_ca_for_service_etcd";
const APISERVER: &str = "k8s_pki_intermediate_ca_for_service_kube_apiserver_tls";

/// Engines, roles, policies and users: a role and a user for each zone and service.
fn set_up(server: &Server) {
    server.mount(ETCD);
    server.mount(APISERVER);
    let user = |name: &str, mount: &str, role: serde_json::Value| {
        let mut role = role;
        role["key_type"] = json!("rsa");
        role["key_bits"] = json!(2048);
        role["organization"] = json!("Home Network");
        role["max_ttl"] = json!("79000h");
        server.role(mount, &format!("{name}-role"), &role);
        let (path, policy) = (
            format!("{mount}/issue/{name}-role"),
            format!("{name}-policy"),
        );
        server.policy(&policy, &[(&path, "\"create\", \"update\"")]);
        server.user(
            &format!("{name}-user"),
            &format!("{name}-password"),
            &policy,
        );
    };
    for zone in 1..=3 {
        let domain = format!("etcd.master.az{zone}.k8s.cluster.home");
        let members = json!({"allowed_domains": domain, "allow_any_name": false,
            "allow_bare_domains": true, "allow_subdomains": false, "allow_localhost": false,
            "allow_ip_sans": true, "client_flag": true, "server_flag": true,
            "enforce_hostnames": true, "require_cn": true,
            "key_usage": "DigitalSignature,KeyEncipherment", "ext_key_usage": "ServerAuth,ClientAuth"});
        user(&format!("{domain}-server"), ETCD, members);
        let clients = json!({"allow_any_name": true, "allow_ip_sans": false, "client_flag": true,
            "server_flag": false, "enforce_hostnames": false, "key_usage": "DigitalSignature",
            "ext_key_usage": "ClientAuth"});
        user(&format!("{domain}-client"), ETCD, clients);
        let domain = format!("kube-apiserver.az{zone}.k8s.cluster.home");
        let names = format!(
            "{domain},kube-apiserver.k8s.cluster.home,kubernetes.default.svc,\
             kubernetes.default.svc.cluster.local"
        );
        let servers = json!({"allowed_domains": names, "allow_any_name": false,
            "allow_bare_domains": true, "allow_subdomains": false, "allow_localhost": false,
            "allow_ip_sans": true, "client_flag": false, "server_flag": true,
            "enforce_hostnames": true, "require_cn": true,
            "key_usage": "DigitalSignature,KeyEncipherment", "ext_key_usage": "ServerAuth"});
        user(&format!("{domain}-server"), APISERVER, servers);
    }
}

/// The inventory that ships, with Vault where it is and passwords as they are there.
fn shipped(url: &str) -> Lab {
    let lab = Lab::empty();
    lab.write(include_str!("../../inventories/vault.toml"));
    lab.edit("https://vault.home:8200", url);
    lab.edit("ca = \"vault-ca.pem\"\n", "");
    fs::create_dir(lab.path("vault")).unwrap();
    for zone in 1..=3 {
        for name in [
            "etcd.master.azN.k8s.cluster.home-server",
            "etcd.master.azN.k8s.cluster.home-client",
            "kube-apiserver.azN.k8s.cluster.home-server",
        ] {
            let name = name.replace('N', &zone.to_string());
            fs::write(
                lab.path(&format!("vault/{name}-user")),
                format!("{name}-password\n"),
            )
            .unwrap();
        }
    }
    lab
}

#[test]
fn the_inventory_that_ships_works_with_the_roles_of_the_guide() {
    let Some(server) = Server::start("the_inventory_that_ships_works_with_the_roles_of_the_guide")
    else {
        return;
    };
    set_up(&server);
    let proxy = Proxy::before(server.address());
    let lab = shipped(&proxy.url());
    let before = server.tokens();
    run(&lab, ["check", "inventory.toml"], &[]).exits(0);
    run(&lab, KUBECONFIG, &[]).exits(0);
    assert_eq!(server.tokens(), before);
    run(&lab, ["certs", "check", "inventory.toml"], &[]).exits(0);
    for zone in 1..=3 {
        let text = openssl(
            &lab,
            &["x509", "-noout", "-subject", "-in"],
            &format!("apiserver-etcd-client-az{zone}"),
        );
        assert!(text.contains(&format!("kube-apiserver-{zone}")), "{text}");
        let text = openssl(
            &lab,
            &["x509", "-noout", "-ext", "subjectAltName", "-in"],
            &format!("etcd-server-az{zone}"),
        );
        assert!(
            text.contains(&format!("etcd.master.az{zone}.k8s.cluster.home")),
            "{text}"
        );
        assert!(text.contains(&format!("10.240.1.{}", zone + 1)), "{text}");
    }
    proxy.asked();
    run(&lab, KUBECONFIG, &[]).exits(0);
    assert_eq!(proxy.asked().len(), 0);
}

fn openssl(lab: &Lab, words: &[&str], certificate: &str) -> String {
    let path = lab.path(&format!("pki/issued/{certificate}.pem"));
    let output = Command::new("openssl")
        .args(words)
        .arg(path)
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// Whether openssl trusts what a kube-apiserver shows by what is kept of its authority, as clients
/// do that know nothing of intermediate anchors.
fn is_trusted_strictly(lab: &Lab) -> bool {
    let chain = lab.path("pki/issued/apiserver-node1.pem");
    let output = Command::new("openssl")
        .args([
            "verify",
            "-purpose",
            "sslserver",
            "-no-CApath",
            "-no-CAstore",
            "-CAfile",
        ])
        .arg(lab.path("trees/node1/etc/k8s/shared/kubernetes-ca.pem"))
        .arg("-untrusted")
        .arg(&chain)
        .arg(&chain)
        .output()
        .unwrap();
    output.status.success()
}

#[test]
fn clients_of_kube_apiserver_trust_up_to_the_root() {
    let Some(Site { server, proxy, lab }) = site("clients_of_kube_apiserver_trust_up_to_the_root")
    else {
        return;
    };
    let render = ["render", "inventory.toml", "--out", "trees"];
    lab.run(KUBECONFIG)
        .never_says("does not know the root")
        .exits(0);
    lab.run(render).exits(0);
    assert!(is_trusted_strictly(&lab));
    let count = |set: &str| {
        let text = fs::read_to_string(lab.path(&format!("pki/ca/{set}.pem"))).unwrap();
        text.matches("BEGIN CERTIFICATE").count()
    };
    assert_eq!(
        ["kubernetes", "etcd", "etcd-client", "kubelet-client"].map(count),
        [2, 1, 1, 1]
    );
    // One that was kept without it, by an older kinstall: it is added, and what was there stays.
    let kept = server.authority_pem("pki");
    fs::write(lab.path("pki/ca/kubernetes.pem"), &kept).unwrap();
    lab.run([
        "certs",
        "renew",
        "inventory.toml",
        "--no-push",
        "apiserver-node1",
    ])
    .exits(0);
    let text = fs::read_to_string(lab.path("pki/ca/kubernetes.pem")).unwrap();
    assert!(
        text.starts_with(kept.trim_end()) && count("kubernetes") == 2,
        "{text}"
    );
    drop(proxy);
}

#[test]
fn a_root_that_vault_does_not_know_is_told_of() {
    let Some(server) = Server::start("a_root_that_vault_does_not_know_is_told_of") else {
        return;
    };
    prepare(&server);
    server.mount_without_root("pki_half");
    server.role("pki_half", "apiserver", &json!({}));
    let tables = "[pki.vault.set.kubernetes]\nmount = \"pki_half\"\n";
    let lab = super::lab(&server.url(), "token-file = \"token\"\n", tables);
    let told = run(&lab, KUBECONFIG, &[]).exits(0);
    super::tells(
        told,
        "`pki_half` of Vault does not know the root of its authority",
    );
    let render = ["render", "inventory.toml", "--out", "trees"];
    run(&lab, render, &[]).exits(0);
    assert!(!is_trusted_strictly(&lab));
    let root = server.authority_pem("pki_root");
    fs::write(lab.path("pki/trust/kubernetes.pem"), root).unwrap();
    fs::remove_dir_all(lab.path("trees")).unwrap();
    run(&lab, render, &[]).exits(0);
    assert!(is_trusted_strictly(&lab));
    run(
        &lab,
        [
            "certs",
            "renew",
            "inventory.toml",
            "--no-push",
            "apiserver-node1",
        ],
        &[],
    )
    .never_says("does not know the root")
    .exits(0);
}
