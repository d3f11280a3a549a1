//! Promises about what is asked of a Vault before anything is issued.

use fs_err as fs;
use serde_json::json;

use super::{KUBECONFIG, ROOT, Site, issued, keeps_secrets, lab, orders, run, site, tells};

const CHECK: [&str; 2] = ["check", "inventory.toml"];

#[test]
fn everything_that_would_be_refused_is_told_at_once() {
    let name = "everything_that_would_be_refused_is_told_at_once";
    let Some(Site { server, proxy, lab }) = site(name) else {
        return;
    };
    let before = server.tokens();
    // Users may ask for certificates and read no roles: that cannot be asked, and is no error.
    let fine = lab.run(CHECK).exits(0);
    let fine = keeps_secrets(fine)
        .says("the role `etcd-node1-role` of `house/etcd` could not be looked at")
        .never_says("may not ask");
    tells(fine, "(as user `etcd-node1-user` may not read it)");
    let told = run(&lab, ["check", "inventory.toml", "--json"], &[])
        .exits(0)
        .json();
    assert_eq!(told["vault"].as_array().unwrap().len(), 3, "{told}");
    lab.run(["check", "inventory.toml", "--offline"])
        .says("nothing is wrong with it")
        .exits(0);
    // Whoever may read roles knows beforehand.
    lab.edit(
        "user = \"etcd-{node}-user\"\npassword-file = \"secrets/{user}\"\n",
        "",
    );
    lab.run(CHECK).says("nothing is wrong with it").exits(0);
    let bare = json!({"allow_any_name": false, "allowed_domains": ["node1"],
        "allow_bare_domains": true, "allow_localhost": false, "client_flag": false});
    server.role("house/etcd", "etcd-node1-role", &bare);
    let addresses = json!({"allow_any_name": false, "allow_localhost": true,
        "allowed_domains": ["node2"], "allow_bare_domains": true, "allow_ip_sans": false});
    server.role("house/etcd", "etcd-node2-role", &addresses);
    let hosts = json!({"enforce_hostnames": true, "max_ttl": "48h", "server_flag": false});
    server.role("pki", "apiserver-kubelet-client", &hosts);
    server.call("DELETE", "pki_front/roles/front-proxy-client", json!({}));
    let mount = "[pki.vault.set.kubernetes]\nmount = \"pki\"";
    lab.edit(mount, &mount.replace("\"pki\"", "\"pki_gone\""));
    let told = lab.run(CHECK).exits(3);
    for text in [
        "the role `etcd-node1-role` of `house/etcd` of Vault would not do for etcd-peer-node1, \
         etcd-server-node1: it refuses the names `localhost`; it does not give the usage `clientAuth`",
        "and say `names = \"needed\"` to leave out what no client goes by",
        "it refuses addresses (`allow_ip_sans`): `10.0.0.2`, `127.0.0.1`, `::1`",
        "the role `apiserver-kubelet-client` of `pki` of Vault would not do for \
         apiserver-kubelet-client: it does not give the organization `system:masters`",
        "the role `apiserver-kubelet-client` of `pki` of Vault gives certificates for 48 hours at most",
        "and 365 days are asked for",
        "Vault has no role `front-proxy-client` of `pki_front`, for front-proxy-client",
        "Vault has no role `apiserver` of `pki_gone`, for apiserver-node1, apiserver-node2",
        "no handler for route",
    ] {
        tells_again(&told, text);
    }
    let json = lab
        .run(["check", "inventory.toml", "--json"])
        .exits(3)
        .json();
    assert_eq!(json["errors"].as_array().unwrap().len(), 5, "{json}");
    // What is comfort is left out by a word.
    server.role("house/etcd", "etcd-node2-role", &json!({}));
    let named = json!({"allow_any_name": false, "allowed_domains": ["node1"],
        "allow_bare_domains": true, "allow_localhost": false});
    server.role("house/etcd", "etcd-node1-role", &named);
    let told = lab.run(CHECK).exits(3);
    tells_again(
        &told,
        "no client goes by these: say `names = \"needed\"` in `[pki.vault]`",
    );
    lab.edit("seconds = 10\n", "seconds = 10\nnames = \"needed\"\n");
    lab.run(CHECK).never_says("etcd-node1-role").exits(3);
    let asked = proxy.asked();
    let made = orders(&asked);
    assert_eq!(
        (made.0.len(), made.1.len(), issued(&lab)),
        (0, 0, 0),
        "nothing is issued"
    );
    assert_eq!(server.tokens(), before);
}

fn tells_again(output: &crate::lab::Output, text: &str) {
    let flat = |text: &str| text.replace(|c: char| c.is_whitespace() || c == '│', "");
    assert!(
        flat(&output.stderr).contains(&flat(text)),
        "no `{text}` in\n{output}"
    );
}

#[test]
fn who_may_not_ask_or_is_nobody_is_told() {
    let Some(Site { server, proxy, lab }) = site("who_may_not_ask_or_is_nobody_is_told") else {
        return;
    };
    fs::write(lab.path("secrets/etcd-node1-user"), "not-the-password").unwrap();
    server.policy(
        "etcd-node2-user",
        &[("house/etcd/issue/other", "\"update\"")],
    );
    fs::write(lab.path("token"), "hvs.of-nobody").unwrap();
    let told = lab.run(CHECK).exits(3);
    for text in [
        "Vault, as user `etcd-node1-user`: POST /v1/auth/userpass/login/etcd-node1-user: 400",
        "nothing could be asked for etcd-peer-node1, etcd-server-node1",
        "Vault, as user `etcd-node2-user`: may not ask role `etcd-node2-role` of `house/etcd`, for \
         etcd-peer-node2, etcd-server-node2",
        "Vault, with the token in the file `token`: GET /v1/auth/token/lookup-self: 403",
    ] {
        tells_again(&told, text);
    }
    keeps_secrets(told).never_says("not-the-password");
    // What the inventory wants and the policy does not give.
    fs::write(lab.path("token"), ROOT).unwrap();
    fs::write(lab.path("secrets/etcd-node1-user"), "first-password").unwrap();
    lab.edit(
        "role = \"{certificate}\"\n",
        "role = \"{certificate}\"\nprivate-key = \"local\"\n",
    );
    let told = lab.run(CHECK).exits(3);
    tells_again(
        &told,
        "Vault, as user `etcd-node3-user`: may not ask role `etcd-node3-role`",
    );
    // A Vault that is not there refuses everything.
    let gone = super::lab(
        "http://127.0.0.1:9",
        "token-file = \"token\"\n",
        super::TABLES,
    );
    gone.run(CHECK).says("Connection refused").exits(3);
    assert_eq!(issued(&gone), 0);
    drop(proxy);
}

#[test]
fn an_authority_that_changed_is_told_and_never_replaced() {
    let Some(Site {
        server,
        lab,
        proxy: _proxy,
    }) = site("an_authority_that_changed_is_told_and_never_replaced")
    else {
        return;
    };
    lab.run(KUBECONFIG).exits(0);
    let pki = |name: &str| fs::read(lab.path(&format!("pki/{name}"))).unwrap();
    let (before, authority) = (pki("issued/apiserver-node1.pem"), pki("ca/kubernetes.pem"));
    server.rotate("pki");
    let renew = [
        "certs",
        "renew",
        "inventory.toml",
        "--no-push",
        "apiserver-node1",
    ];
    let refuses = || {
        for words in [&renew[..], &CHECK] {
            let exit = if words == CHECK { 3 } else { 1 };
            let told = lab.run(words.iter().copied()).exits(exit);
            for text in [
                "the CA of `pki` has changed: Vault signs with `CN=Intermediate CA for pki`",
                "ca/kubernetes.pem` for `kubernetes`",
                "`kinstall certs move INVENTORY`",
            ] {
                tells_again(&told, text);
            }
            told.never_says("push, and run this again");
        }
        assert_eq!(pki("issued/apiserver-node1.pem"), before);
        assert_eq!(pki("ca/kubernetes.pem"), authority);
    };
    refuses();
    // Not even where both are trusted: one push would exchange trust and certificates together.
    let new = server.authority_pem("pki");
    let both = [String::from_utf8_lossy(&authority).as_ref(), &new].concat();
    fs::write(lab.path("pki/trust/kubernetes.pem"), &both).unwrap();
    refuses();
    assert_eq!(pki("trust/kubernetes.pem"), both.as_bytes());
    // A cluster of kinstall's own authorities is not taken over by Vault's.
    let own = lab_with_own_authorities(&lab);
    let told = own.run(KUBECONFIG).exits(1);
    tells_again(&told, "the CA of `pki` has changed");
}

/// The same inventory over a `pki/` that kinstall made with authorities of its own.
fn lab_with_own_authorities(vault: &crate::lab::Lab) -> crate::lab::Lab {
    let own = lab(
        "https://vault.invalid",
        "token-file = \"token\"\n",
        super::TABLES,
    );
    let text = fs::read_to_string(vault.path("inventory.toml")).unwrap();
    let (head, rest) = text.split_once("[pki]\n").unwrap();
    let nodes = &rest[rest.find("[[node]]").unwrap()..];
    own.write(&format!(
        "{head}[pki]\nauthorities = \"separate\"\n\n{nodes}"
    ));
    own.run(KUBECONFIG).exits(0);
    own.write(&text);
    own
}
