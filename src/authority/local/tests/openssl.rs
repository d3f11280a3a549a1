//! What openssl says of the certificates. These tests need the `openssl` program: what it accepts
//! is what counts.

use std::process::Command;

use super::*;

fn openssl(args: &[&str]) -> (bool, String) {
    let output = Command::new("openssl")
        .args(args)
        .output()
        .expect("this test needs `openssl`");
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&text).into_owned();
    (output.status.success(), text)
}

/// Whether openssl takes a certificate for a purpose, at a time within its life.
fn verifies(site: &Site, request: &Request, purpose: &str) -> bool {
    let authority = signer(site.inventory.pki.authorities, request.signer);
    let authority = site.path(&format!("ca/{authority}.pem"));
    let certificate = site.path(&format!("issued/{}.pem", request.id));
    let time = (NOW + DAY_SECONDS).to_string();
    openssl(&[
        "verify",
        "-x509_strict",
        "-purpose",
        purpose,
        "-attime",
        &time,
        "-CAfile",
        authority.to_str().unwrap(),
        certificate.to_str().unwrap(),
    ])
    .0
}

#[track_caller]
fn openssl_accepts_all(site: &Site) {
    site.obtain(NOW);
    for request in requests(&site.inventory) {
        for (usage, purpose) in [(Usage::Server, "sslserver"), (Usage::Client, "sslclient")] {
            let expected = request.usages.contains(&usage);
            assert_eq!(
                verifies(site, &request, purpose),
                expected,
                "{} as {purpose}",
                request.id
            );
        }
    }
}

#[test]
fn openssl_accepts_each_certificate_for_its_usages_only() {
    openssl_accepts_all(&Site::new());
}

#[test]
fn openssl_accepts_certificates_of_an_authority_for_each_set() {
    let mut site = Site::new();
    site.inventory.pki.authorities = Authorities::Separate;
    for node in site.inventory.nodes.values_mut() {
        node.roles.insert(Role::Worker);
    }
    openssl_accepts_all(&site);
    let own = AuthorityName::ALL.map(|name| site.path(&format!("ca/{name}.pem")).exists());
    assert_eq!(own, [true; 8]);
}

#[test]
fn openssl_accepts_certificates_of_three_authorities() {
    let mut site = Site::new();
    site.inventory.pki.authorities = Authorities::Kubeadm;
    openssl_accepts_all(&site);
    let authorities = site.obtain(NOW).credentials.authorities;
    let different: BTreeSet<_> = authorities.values().collect();
    assert_eq!(different.len(), 3);
    fs_err::remove_file(site.path("authorities")).unwrap();
    site.inventory.pki.authorities = Authorities::Single;
    let authorities = site.obtain(NOW).credentials.authorities;
    let (kubernetes, etcd) = (AuthorityName::Kubernetes, AuthorityName::Etcd);
    assert_eq!(authorities[&kubernetes], authorities[&etcd]);
}

#[test]
fn openssl_accepts_certificates_with_rsa_keys() {
    let mut site = Site::new();
    site.inventory.pki.key = KeyType::Rsa2048;
    site.inventory
        .nodes
        .retain(|name, _| name.as_str() == "az1");
    openssl_accepts_all(&site);
    let certificate = site.path("issued/admin.pem");
    let text = openssl(&[
        "x509",
        "-noout",
        "-text",
        "-in",
        certificate.to_str().unwrap(),
    ])
    .1;
    assert!(text.contains("Public-Key: (2048 bit)"), "{text}");
    assert!(
        text.contains("Digital Signature, Key Encipherment"),
        "{text}"
    );
}

#[test]
fn openssl_shows_what_was_asked_for() {
    let site = Site::new();
    site.obtain(NOW);
    let show = |path: &str| {
        let path = site.path(path);
        openssl(&["x509", "-noout", "-text", "-in", path.to_str().unwrap()]).1
    };
    let authority = show("ca/kubernetes.pem");
    for expected in [
        "CA:TRUE, pathlen:0",
        "Certificate Sign, CRL Sign",
        "Subject: CN = home-kubernetes-ca",
        "Subject Key Identifier",
        "Not Before: Dec 31 23:55:00 2025 GMT",
    ] {
        assert!(authority.contains(expected), "{expected}: {authority}");
    }
    let leaf = show("issued/apiserver-az1.pem");
    for expected in [
        "CA:FALSE",
        "X509v3 Key Usage: critical\n                Digital Signature\n",
        "TLS Web Server Authentication\n",
        "Authority Key Identifier",
        "Subject Key Identifier",
        "DNS:kubernetes.default.svc.cluster.local",
        "IP Address:10.32.0.1",
        "IP Address:0:0:0:0:0:0:0:1",
        "Not Before: Dec 31 23:55:00 2025 GMT",
        "Not After : Jan  1 00:00:30 2027 GMT",
    ] {
        assert!(leaf.contains(expected), "{expected}: {leaf}");
    }
    let admin = show("issued/admin.pem");
    assert!(admin.contains("Subject: O = system:masters, CN = kubernetes-admin"));
}

#[test]
fn openssl_takes_the_service_account_pair() {
    let site = Site::bare();
    site.obtain(NOW);
    let (key, public) = (
        site.path("service-account.key"),
        site.path("service-account.pub"),
    );
    let derived = openssl(&["pkey", "-in", key.to_str().unwrap(), "-pubout"]).1;
    assert_eq!(derived, fs_err::read_to_string(public).unwrap());
    let text = openssl(&["pkey", "-in", key.to_str().unwrap(), "-noout", "-text"]).1;
    assert!(text.contains("2048 bit"), "{text}");
}

#[test]
fn an_authority_that_openssl_made_is_taken_up() {
    let site = Site::new();
    fs_err::create_dir(site.path("ca")).unwrap();
    let (key, certificate) = (
        site.path("ca/kubernetes.key"),
        site.path("ca/kubernetes.pem"),
    );
    let (made, text) = openssl(&[
        "req",
        "-x509",
        "-newkey",
        "rsa:2048",
        "-nodes",
        "-days",
        "3650",
        "-subj",
        "/C=DE/O=Home/OU=Racks/CN=Home CA",
        "-addext",
        "keyUsage=critical,keyCertSign,cRLSign",
        "-keyout",
        key.to_str().unwrap(),
        "-out",
        certificate.to_str().unwrap(),
    ]);
    assert!(made, "{text}");
    let now = describe(&fs_err::read_to_string(&certificate).unwrap())
        .unwrap()
        .not_before;
    let obtained = site.obtain(now);
    assert_eq!(words(&obtained)[0], "authority front-proxy");
    let issued = site.path("issued/admin.pem");
    let authority = certificate.to_str().unwrap();
    let (verifies, text) = openssl(&[
        "verify",
        "-x509_strict",
        "-purpose",
        "sslclient",
        "-CAfile",
        authority,
        issued.to_str().unwrap(),
    ]);
    assert!(verifies, "{text}");
    assert_eq!(site.made(now), [""; 0]);
}
