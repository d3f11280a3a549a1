//! More rows: lives, strength, authorities, service accounts.

use super::*;

#[test]
fn lives() {
    let at = |seconds| OffsetDateTime::from_unix_timestamp(seconds).unwrap();
    remade(
        Kind::Admin,
        |recipe| recipe.params.not_after = at(NOW - 1),
        &["admin: expired on 2026-01-01"],
    );
    remade(
        Kind::Admin,
        |recipe| recipe.params.not_before = at(NOW + 86_400),
        &["admin: is valid from 2026-01-02 only: is the clock of this machine right?"],
    );
    remade(
        Kind::Admin,
        |recipe| recipe.params.not_after = at(NOW + 10 * DAY_SECONDS),
        &["admin: ends in 10 days, on 2026-01-11"],
    );
    remade(
        Kind::Admin,
        |recipe| recipe.params.not_after = at(NOW + 9000 * DAY_SECONDS),
        &["admin: outlives its authority, which ends on 2035-12-30"],
    );
    // Both were made in one run, and seconds passed between: that is nothing to tell.
    let authority = &KUBEADM.credentials.authorities[&AuthorityName::ApiserverClient];
    let end = describe(authority).unwrap().not_after;
    remade(
        Kind::Admin,
        |recipe| recipe.params.not_after = at(end + 3600),
        &[],
    );
}

#[test]
fn strength() {
    let key = RsaPrivateKey::new(&mut rsa::rand_core::OsRng, 1024).unwrap();
    let pem = key.to_pkcs8_pem(LineEnding::LF).unwrap();
    // ring refuses to sign with so short a key, so only the service-account pair can have one here.
    assert!(KeyPair::from_pem(&pem).is_err());
    let description = |key: &str| is_weak(key);
    assert!(description("rsa-1024") && description("rsa-2047"));
    assert!(!description("rsa-2048") && !description("ecdsa-p256"));
}

#[test]
fn authorities() {
    spoilt(
        |credentials| {
            let clients = credentials.authorities[&AuthorityName::Kubernetes].clone();
            credentials
                .authorities
                .insert(AuthorityName::FrontProxy, clients);
        },
        NOW,
        &[
            "authority front-proxy: is an authority for kube-apiserver's clients too: as `--requestheader-client-ca-file` it would make every client fail the list of allowed names",
            "front-proxy-client: was signed by `CN=home-front-proxy-ca`, which leads to nothing that the peers trust (`front-proxy`)",
        ],
    );
    spoilt(
        |credentials| {
            let leaf = credentials.leaves[&id(Kind::FrontProxyClient)]
                .chain_pem
                .clone();
            credentials
                .authorities
                .insert(AuthorityName::FrontProxy, leaf);
        },
        NOW,
        // Go takes the one certificate that it trusts by itself, and no other.
        &["authority front-proxy: is not an authority's certificate: it lacks CA:TRUE"],
    );
    spoilt(
        |credentials| {
            _ = credentials
                .authorities
                .insert(AuthorityName::FrontProxy, String::new());
        },
        NOW,
        &[
            "authority front-proxy: is not a certificate in PEM: it holds no certificate",
            "front-proxy-client: was signed by `CN=home-front-proxy-ca`, which leads to nothing that the peers trust (`front-proxy`)",
        ],
    );
    let key = key::read(&KUBEADM.keys[&AuthorityName::FrontProxy]).unwrap();
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params
        .distinguished_name
        .push(DnType::CommonName, "home-front-proxy-ca");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    let pem = params.self_signed(&key).unwrap().pem();
    spoilt(
        |credentials| {
            _ = credentials
                .authorities
                .insert(AuthorityName::FrontProxy, pem);
        },
        NOW,
        &["authority front-proxy: its key usage lacks keyCertSign: what it signed is refused"],
    );
}

#[test]
fn service_accounts() {
    spoilt(
        |credentials| {
            credentials.service_account.public_pem = KeyPair::generate().unwrap().public_key_pem();
        },
        NOW,
        &[
            "service-account pair: the public key is not that of the private key: tokens would not be believed",
        ],
    );
    spoilt(
        |credentials| credentials.service_account.private_pem = Secret::new("x"),
        NOW,
        &["service-account pair: its private key is none that can be read"],
    );
}

#[test]
fn everything_is_told_at_once() {
    let mut credentials = KUBEADM.credentials.clone();
    credentials.leaves.remove(&id(Kind::Admin));
    credentials.leaves.remove(&id(Kind::Scheduler));
    credentials.service_account.private_pem = Secret::new("x");
    let findings = check(&requests(&KUBEADM.inventory), &credentials, terms(NOW));
    assert_eq!(findings.len(), 3);
}

#[test]
fn an_extension_that_nobody_knows_does_no_harm() {
    remade(
        Kind::Admin,
        |recipe| {
            let extension =
                CustomExtension::from_oid_content(&[1, 3, 6, 1, 4, 1, 99999, 1], vec![5, 0]);
            recipe.params.custom_extensions = vec![extension];
        },
        &[],
    );
}
