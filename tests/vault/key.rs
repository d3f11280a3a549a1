//! Promises about who makes the private keys of certificates from a Vault: kinstall, where the role
//! signs requests.

use std::process::Command;

use fs_err as fs;
use serde_json::{Value, json};

use super::server::ROOT;
use super::{KUBECONFIG, Site, site, tells};

const ROLE: &str = "front-proxy-client";
const RENEW: [&str; 5] = ["certs", "renew", "inventory.toml", "--no-push", ROLE];
const SIGN: &str = "/v1/pki_front/sign/front-proxy-client";
const ISSUE: &str = "/v1/pki_front/issue/front-proxy-client";

impl Site {
    fn client_role(&self, key_type: &str, bits: u32) {
        let role = json!({"server_flag": false, "key_type": key_type, "key_bits": bits});
        self.server.role("pki_front", ROLE, &role);
    }

    /// Has a certificate made again: what was asked, and that it has a key of so many bits.
    #[track_caller]
    fn renew(&self, asked: &[&str], bits: u32) {
        self.proxy.asked();
        let output = self.lab.run(RENEW).exits(0);
        assert_eq!(self.proxy.orders(), asked, "{output}");
        let text = Command::new("openssl")
            .args(["x509", "-noout", "-text", "-in"])
            .arg(self.lab.path(&format!("pki/issued/{ROLE}.pem")))
            .output()
            .unwrap();
        let text = String::from_utf8(text.stdout).unwrap();
        assert!(text.contains(&format!("({bits} bit)")), "{text}");
        self.lab.run(["certs", "check", "inventory.toml"]).exits(0);
    }
}

#[test]
fn the_role_says_of_what_kind_the_key_is() {
    let Some(site) = site("the_role_says_of_what_kind_the_key_is") else {
        return;
    };
    site.lab.run(KUBECONFIG).exits(0);
    site.client_role("rsa", 2048);
    site.renew(&[SIGN], 2048);
    site.client_role("ec", 384);
    site.renew(&[SIGN], 384);
    site.client_role("any", 0);
    site.renew(&[SIGN], 256);
    // One that kinstall makes no key for: Vault does.
    site.client_role("ec", 521);
    site.renew(&[ISSUE], 521);
    // A token that may not read the role finds out by asking.
    site.server.policy(
        "signer",
        &[("pki_front/sign/front-proxy-client", "\"update\"")],
    );
    fs::write(site.lab.path("token"), token(&site, "signer")).unwrap();
    site.client_role("rsa", 2048);
    site.renew(&[SIGN, SIGN], 2048);
    site.server.policy(
        "issuer",
        &[("pki_front/issue/front-proxy-client", "\"update\"")],
    );
    fs::write(site.lab.path("token"), token(&site, "issuer")).unwrap();
    site.renew(&[SIGN, ISSUE], 2048);
    // One that may neither is told both.
    site.server.policy("nobody", &[("other", "\"read\"")]);
    fs::write(site.lab.path("token"), token(&site, "nobody")).unwrap();
    let told = site.lab.run(RENEW).exits(1);
    let told = tells(told, &format!("POST {SIGN}: 403: "));
    tells(told, &format!("; POST {ISSUE}: 403: "));
}

fn token(site: &Site, policy: &str) -> String {
    let body = json!({"policies": [policy]});
    let (_, answer) = site
        .server
        .ask("POST", "auth/token/create", Some(&body), &[]);
    let token: &Value = &answer["auth"]["client_token"];
    token.as_str().unwrap().to_owned()
}

#[test]
fn the_inventory_says_who_makes_the_key() {
    let Some(site) = site("the_inventory_says_who_makes_the_key") else {
        return;
    };
    let lab = &site.lab;
    lab.run(KUBECONFIG).exits(0);
    let role = "role = \"{certificate}\"\n";
    lab.edit(role, &format!("{role}private-key = \"vault\"\n"));
    site.renew(&[ISSUE], 256);
    lab.edit("private-key = \"vault\"", "private-key = \"local\"");
    site.renew(&[SIGN], 256);
    site.client_role("ec", 521);
    lab.run(RENEW)
        .says("the role `front-proxy-client` wants a kind of key that kinstall does not make")
        .exits(1);
    assert_eq!(site.proxy.orders().len(), 0);
    let words = [
        "certs",
        "renew",
        "inventory.toml",
        "--no-push",
        "etcd-peer-node1",
    ];
    let refused = tells(
        lab.run(words),
        "POST /v1/house/etcd/sign/etcd-node1-role: 403",
    );
    refused.never_says("/issue/").never_says(ROOT).exits(1);
}
