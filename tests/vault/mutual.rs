//! Promises about a Vault that asks who connects, and about variables that cannot be.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::process::Command;

use fs_err as fs;

use super::server::{ROOT, Server};
use super::{KUBECONFIG, TABLES, issued, keeps_secrets, lab, prepare, run, tells};
use crate::lab::Going;

/// Makes an authority, or what one has signed: `NAME.pem` and `NAME.key`.
fn make(room: &Path, name: &str, signer: Option<&str>, more: &str) {
    let mut openssl = Command::new("openssl");
    openssl
        .args("req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2".split(' '))
        .args(["-subj", &format!("/CN={name}")])
        .args([
            "-keyout",
            &format!("{name}.key"),
            "-out",
            &format!("{name}.pem"),
        ])
        .args(more.split_ascii_whitespace());
    if let Some(signer) = signer {
        openssl.args([
            "-CA",
            &format!("{signer}.pem"),
            "-CAkey",
            &format!("{signer}.key"),
        ]);
    }
    let made = openssl.current_dir(room).output().unwrap();
    assert!(made.status.success(), "{made:?}");
}

#[test]
fn a_certificate_is_shown_to_a_vault_that_asks_for_one() {
    let room = tempfile::tempdir().unwrap();
    let path = |name: &str| room.path().join(name).to_str().unwrap().to_owned();
    make(room.path(), "house", None, "");
    let leaf = "-addext basicConstraints=critical,CA:false -addext";
    let server = format!("{leaf} subjectAltName=IP:127.0.0.1,DNS:localhost");
    make(room.path(), "vault", Some("house"), &server);
    let client = format!("{leaf} extendedKeyUsage=clientAuth");
    make(room.path(), "me", Some("house"), &client);
    make(room.path(), "stranger", None, &client);
    let port = super::login::free_port();
    let listener = format!(
        "listener \"tcp\" {{\n  address = \"127.0.0.1:{port}\"\n  tls_cert_file = \"{}\"\n  \
         tls_key_file = \"{}\"\n  tls_client_ca_file = \"{}\"\n  \
         tls_require_and_verify_client_cert = true\n}}\n",
        path("vault.pem"),
        path("vault.key"),
        path("house.pem"),
    );
    fs::write(room.path().join("more.hcl"), listener).unwrap();
    let name = "a_certificate_is_shown_to_a_vault_that_asks_for_one";
    let Some(server) = Server::start_with(name, &room.path().join("more.hcl")) else {
        return;
    };
    prepare(&server);
    let lab = lab("", "token-file = \"token\"\n", TABLES);
    let (address, ca) = (format!("https://127.0.0.1:{port}"), path("house.pem"));
    let with = |certificate: &str, key: &str, more: &[(&str, &str)]| {
        let mut variables = vec![("VAULT_ADDR", &*address), ("VAULT_CACERT", &*ca)];
        let (certificate, key) = (path(certificate), path(key));
        for (name, file) in [
            ("VAULT_CLIENT_CERT", &certificate),
            ("VAULT_CLIENT_KEY", &key),
        ] {
            if Path::new(file) != room.path().join("") {
                variables.push((name, file));
            }
        }
        variables.extend(more);
        run(&lab, KUBECONFIG, &variables)
    };
    keeps_secrets(with("", "", &[]).exits(1));
    with("stranger.pem", "stranger.key", &[]).exits(1);
    for (certificate, key, words) in [
        (
            "me.pem",
            "",
            "`VAULT_CLIENT_KEY` is not set, and `VAULT_CLIENT_CERT` is",
        ),
        (
            "",
            "me.key",
            "`VAULT_CLIENT_CERT` is not set, and `VAULT_CLIENT_KEY` is",
        ),
        (
            "me.pem",
            "stranger.key",
            "stranger.key`, which is not the key of the certificate in `",
        ),
        ("me.key", "me.key", "me.key`, which holds no certificate"),
        ("me.pem", "me.pem", "me.pem`, which holds no private key"),
        (
            "gone.pem",
            "me.key",
            "`VAULT_CLIENT_CERT` names a file that cannot be read",
        ),
    ] {
        keeps_secrets(tells(with(certificate, key, &[]).exits(1), words));
    }
    let other = [("VAULT_TLS_SERVER_NAME", "vault.home")];
    let other = with("me.pem", "me.key", &other).exits(1);
    tells(
        other,
        "`VAULT_TLS_SERVER_NAME` is `vault.home`, and the address of Vault has another name",
    );
    assert_eq!(issued(&lab), 0);
    let same = [("VAULT_TLS_SERVER_NAME", "127.0.0.1")];
    keeps_secrets(with("me.pem", "me.key", &same).exits(0));
    assert!(issued(&lab) > 0);
}

#[test]
fn a_variable_that_cannot_be_is_named() {
    // Nobody is asked.
    let tables = "[pki.vault.set.front-proxy]\nmount = \"pki_front\"\n";
    let lab = lab("", "", tables);
    let address = ("VAULT_ADDR", "https://vault.invalid");
    for name in [
        "VAULT_ADDR",
        "VAULT_NAMESPACE",
        "VAULT_CACERT",
        "VAULT_CAPATH",
        "VAULT_CLIENT_CERT",
        "VAULT_CLIENT_KEY",
        "VAULT_TLS_SERVER_NAME",
        "VAULT_SKIP_VERIFY",
        "VAULT_TOKEN",
    ] {
        let mut command = lab.command(KUBECONFIG);
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("VAULT_") {
                command.env_remove(name);
            }
        }
        command
            .env("HOME", lab.path("home"))
            .env(address.0, address.1)
            .env(name, OsStr::from_bytes(b"a\xff"));
        let output = Going::start(&mut command).finish().exits(1);
        tells(output, &format!("`{name}` is not UTF-8"));
    }
    fs::create_dir(lab.path("authorities")).unwrap();
    for at in 0..=1000 {
        fs::write(lab.path(&format!("authorities/{at}.pem")), "").unwrap();
    }
    let directory = lab.path("authorities");
    let many = [
        address,
        ("VAULT_CAPATH", directory.to_str().unwrap()),
        ("VAULT_TOKEN", ROOT),
    ];
    let told = tells(
        run(&lab, KUBECONFIG, &many).exits(1),
        "`VAULT_CAPATH` names `",
    );
    let told = tells(told, "authorities`, which holds more than 1000 files");
    tells(told, "name the CA itself: `VAULT_CACERT`").never_says(ROOT);
    assert_eq!(issued(&lab), 0);
}
