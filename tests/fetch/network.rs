//! Promises about the way to a mirror: CAs, proxies, layouts, and room for what comes.

use std::net::SocketAddr;
use std::sync::Arc;

use fs_err as fs;
use kinstall::fetch::{self, CacheError, Error};
use kinstall::lockfile::{Lockfile, Trust};
use rustls::pki_types::PrivatePkcs8KeyDer;

use super::bench::{Bench, SCHEDULER, SIDECAR, elf, inventory, program};
use crate::site::{SERVERS, Site, stock};

/// A server that speaks TLS for another one, and its certificate as PEM.
fn tls_front(runtime: &tokio::runtime::Handle, behind: SocketAddr) -> (SocketAddr, String) {
    fetch::use_ring();
    let own = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    let key = PrivatePkcs8KeyDer::from(own.signing_key.serialize_der());
    let config = rustls::ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(vec![own.cert.der().clone()], key.into())
        .unwrap();
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let address = listener.local_addr().unwrap();
    runtime.spawn(async move {
        let listener = tokio::net::TcpListener::from_std(listener).unwrap();
        while let Ok((stream, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                // A client that turns away is what one of the tests is about.
                let Ok(mut stream) = acceptor.accept(stream).await else {
                    return;
                };
                let mut server = tokio::net::TcpStream::connect(behind).await.unwrap();
                let _ = tokio::io::copy_bidirectional(&mut stream, &mut server).await;
            });
        }
    });
    (address, own.cert.pem())
}

#[tokio::test]
async fn a_ca_of_ones_own_is_trusted_where_the_inventory_names_it() {
    let mut bench = Bench::new();
    let behind = bench.mirror.address();
    let (front, pem) = tls_front(&tokio::runtime::Handle::current(), behind);
    bench.inventory = inventory(bench.room.path(), &[format!("https://{front}")]);
    let error = bench.scheduler().await.unwrap_err();
    assert!(error.to_string().contains("the TLS connection is refused"));

    bench.inventory.source.ca = Some("home.pem".into());
    let error = bench.scheduler().await.unwrap_err();
    assert_eq!(error.exit_code(), 2);
    fs::write(bench.room.path().join("home.pem"), "nothing").unwrap();
    let error = bench.scheduler().await.unwrap_err().to_string();
    assert!(error.contains("holds no certificate"), "{error}");

    fs::write(bench.room.path().join("home.pem"), pem).unwrap();
    bench.options.require = Some(Trust::Published);
    bench.scheduler().await.unwrap();
    bench.assert_sound();
}

#[test]
fn ssl_cert_file_and_proxies_are_taken_from_the_environment() {
    let site = Site::new();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let (front, pem) = tls_front(runtime.handle(), site.mirror.address());
    fs::write(site.path("home.pem"), pem).unwrap();
    site.inventory(&format!(
        "kubernetes = [\"https://{front}\"]\netcd = [\"https://{front}\"]"
    ));
    let fetch = ["fetch", "inventory.toml"];
    assert_eq!(site.run(&fetch).code, 5);
    let ca = site.path("home.pem").display().to_string();
    let told = site.run_with(&fetch, &[("SSL_CERT_FILE", &ca)]);
    assert_eq!(told.code, 0, "{told:?}");
    assert!(told.data.contains("published"), "{told:?}");

    // Nobody answers to these names but the proxy.
    site.forget();
    fs::remove_file(site.path("kinstall.lock")).unwrap();
    site.inventory("kubernetes = [\"http://k8s.invalid\"]\netcd = [\"http://etcd.invalid\"]");
    let told = site.run_with(&fetch, &[("http_proxy", &site.mirror.url())]);
    assert_eq!(told.code, 0, "{told:?}");
    let asked = site
        .mirror
        .requests("/release/v1.36.99/bin/linux/arm64/kubectl");
    assert_eq!(asked[0].headers["host"], "k8s.invalid");
    assert_eq!(site.mirror.requests("/v3.6.99/SHA256SUMS").len(), 1);
    site.forget();
    let told = site.run_with(
        &fetch,
        &[("http_proxy", &site.mirror.url()), ("no_proxy", ".invalid")],
    );
    assert_eq!(told.code, 5);
    assert!(told.words().contains("no connection"), "{told:?}");
}

#[tokio::test]
async fn a_mirror_with_another_layout_is_described_by_a_template() {
    let mut bench = Bench::new();
    let template = format!("{}/k8s/{{version}}/{{arch}}/{{name}}", bench.mirror.url());
    let bases = [bench.mirror.url() + "/nothing/here", template];
    bench.inventory = inventory(bench.room.path(), &bases);
    for (path, content) in [
        ("/k8s/1.99.3/arm64/kube-scheduler", elf("kube-scheduler")),
        (
            "/k8s/1.99.3/arm64/kube-scheduler.sha256",
            kinstall::digest::Digest::of(&elf("kube-scheduler"))
                .to_string()
                .into(),
        ),
        (
            "/k8s/3.99.21/arm64/etcd-v3.99.21-linux-arm64.tar.gz",
            super::bench::etcd_archive(),
        ),
        (
            "/k8s/3.99.21/arm64/SHA256SUMS",
            format!(
                "{}  etcd-v3.99.21-linux-arm64.tar.gz\n",
                kinstall::digest::Digest::of(&super::bench::etcd_archive())
            )
            .into(),
        ),
    ] {
        bench.mirror.put(path, content);
    }
    let programs = ["kube-scheduler", "etcd"].map(program);
    bench.pin(&programs).await.unwrap();
    bench.ensure(&programs).await.unwrap();
    bench.assert_sound();
    // The lock says nothing of the layout: the usual one serves it as well.
    bench.inventory = inventory(bench.room.path(), &[bench.mirror.url()]);
    bench.forget_cache();
    bench.ensure(&programs).await.unwrap();
    assert_eq!(bench.mirror.requests(SCHEDULER).len(), 1);
}

#[tokio::test]
async fn what_the_disk_has_no_room_for_is_not_begun() {
    let mut bench = Bench::new();
    bench.scheduler().await.unwrap();
    let size = elf("kube-scheduler").len().to_string();
    let text = bench
        .lockfile
        .to_text()
        .replace(&size, "1152921504606846976");
    bench.lockfile = Lockfile::parse(&text).unwrap();
    bench.forget_cache();
    bench.mirror.recover();
    let error = bench
        .ensure(&[program("kube-scheduler")])
        .await
        .unwrap_err();
    assert!(
        matches!(error, Error::Cache(CacheError::NoRoom { .. })),
        "{error}"
    );
    assert_eq!(error.exit_code(), 1);
    assert!(bench.mirror.requests(SCHEDULER).is_empty());
    assert!(bench.mirror.requests(SIDECAR).is_empty());
}

#[test]
fn fetch_tells_what_each_program_rests_on() {
    let site = Site::new();
    let told = site.done(&["fetch", "inventory.toml"]);
    for name in SERVERS {
        let row = told
            .data
            .lines()
            .find(|line| line.starts_with(name))
            .unwrap();
        assert!(
            row.contains("1.36.99  arm64") && row.contains("mirror"),
            "{row}"
        );
    }
    assert!(
        told.data
            .contains("mirror: checked against a checksum from the mirror itself")
    );
    let told = site.done(&["fetch", "--locked", "--json", "inventory.toml"]);
    let programs: serde_json::Value = serde_json::from_str(&told.data).unwrap();
    let etcd = &programs[0];
    let member = kinstall::digest::Digest::of(&elf("etcd")).to_string();
    assert_eq!(etcd["name"], "etcd");
    assert_eq!(etcd["sha256"], member.as_str());
    assert_eq!(
        (&etcd["trust"], &etcd["pinned"]),
        (&"mirror".into(), &"kept".into())
    );
    let url = etcd["url"].as_str().unwrap();
    assert!(
        url.starts_with(&site.mirror.url()) && url.ends_with(".tar.gz"),
        "{url}"
    );

    let told = site.run(&["fetch", "--update=kubelet", "inventory.toml"]);
    assert_eq!(told.code, 2);
    assert!(
        told.words()
            .contains("it needs etcd, etcdctl, kube-apiserver"),
        "{told:?}"
    );
    stock(&site.mirror);
    let told = site.done(&["fetch", "--update=etcd,kubectl", "inventory.toml"]);
    assert!(!told.data.contains("changed"), "{told:?}");
    let told = site.run(&["fetch", "--require", "built-in", "inventory.toml"]);
    assert_eq!(told.code, 5);
    assert!(told.words().contains("--require published"), "{told:?}");
}
