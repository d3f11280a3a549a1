//! Promises about a mount whose authority ends early, and about one that has none.

use fs_err as fs;
use serde_json::json;

use super::{KUBECONFIG, Site, issued, keeps_secrets, orders, site, tells};

const CHECK: [&str; 2] = ["check", "inventory.toml"];
const EARLY: &str = "the authority of `pki_front` in Vault ends on";

#[test]
fn an_authority_that_ends_before_its_certificates_is_told_beforehand() {
    let name = "an_authority_that_ends_before_its_certificates_is_told_beforehand";
    let Some(Site { server, proxy, lab }) = site(name) else {
        return;
    };
    server.mount_for("pki_front", "240h");
    let told = tells(lab.run(CHECK).exits(3), EARLY);
    let told = tells(
        told,
        "before a certificate of 365 days would: Vault refuses that",
    );
    tells(
        told,
        "ask for fewer `days`, or have its issuer cut certificates short",
    );
    assert_eq!(issued(&lab), 0);
    // It is refused in Vault's words, and keeps no other back.
    let refused = tells(lab.run(KUBECONFIG).exits(1), "front-proxy-client: POST");
    let refused = tells(refused, "beyond the expiration of the CA certificate");
    keeps_secrets(refused);
    let kept = issued(&lab);
    assert!(kept > 0 && !lab.path("pki/issued/front-proxy-client.pem").exists());
    // Whoever may not read the issuer is told of both.
    server.policy(
        "reader",
        &[
            ("pki_front/roles/*", "\"read\""),
            ("pki_front/sign/*", "\"update\""),
        ],
    );
    let token = server.call("POST", "auth/token/create", json!({"policies": ["reader"]}));
    fs::write(
        lab.path("front"),
        token["auth"]["client_token"].as_str().unwrap(),
    )
    .unwrap();
    lab.edit(
        "mount = \"pki_front\"\n",
        "mount = \"pki_front\"\ntoken-file = \"front\"\n",
    );
    let told = tells(
        lab.run(CHECK).exits(0),
        "Vault refuses that, unless its issuer cuts short",
    );
    tells(told, EARLY);
    lab.edit("token-file = \"front\"\n", "");
    // One that is cut short is told, and not asked for again and again.
    let issuer = json!({"leaf_not_after_behavior": "truncate"});
    server.call("POST", "pki_front/issuer/default", issuer);
    let told = tells(lab.run(CHECK).exits(0), EARLY);
    tells(told, "Vault cuts certificates short, to that day");
    proxy.asked();
    lab.run(KUBECONFIG).exits(0);
    assert_eq!(orders(&proxy.asked()).0.len(), 1);
    lab.run(KUBECONFIG).exits(0);
    assert_eq!(proxy.asked().len(), 0, "ten days are left of ten");
    let renew = [
        "certs",
        "renew",
        "inventory.toml",
        "--no-push",
        "front-proxy-client",
    ];
    let told = tells(lab.run(renew).exits(0), "front-proxy-client: ends on");
    tells(told, "though 365 days were asked for");
    lab.run(["certs", "check", "inventory.toml"])
        .prints("authority front-proxy: ends in")
        .exits(3);
}

#[test]
fn a_mount_without_an_authority_is_told_with_the_way_out() {
    let name = "a_mount_without_an_authority_is_told_with_the_way_out";
    let Some(Site {
        server,
        lab,
        proxy: _proxy,
    }) = site(name)
    else {
        return;
    };
    server.enable("pki_empty");
    server.role(
        "pki_empty",
        "front-proxy-client",
        &json!({"server_flag": false}),
    );
    lab.edit("mount = \"pki_front\"", "mount = \"pki_empty\"");
    let told = tells(
        lab.run(CHECK).exits(3),
        "`pki_empty` of Vault has no authority yet",
    );
    tells(
        told,
        "generate one there, or set the certificate that another one signed",
    );
    let refused = tells(lab.run(KUBECONFIG).exits(1), "front-proxy-client: POST");
    let refused = tells(refused, "`pki_empty` of Vault has no authority yet");
    let refused = tells(
        refused,
        "generate one there, or set the certificate that another one signed",
    );
    keeps_secrets(refused);
    assert!(issued(&lab) > 0 && !lab.path("pki/issued/front-proxy-client.pem").exists());
}
