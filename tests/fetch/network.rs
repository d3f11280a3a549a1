//! Promises about the way to a mirror: CAs, proxies, layouts, and room for what comes.

use std::net::SocketAddr;
use std::sync::Arc;

use fs_err as fs;
use kinstall::digest::Digest;
use kinstall::fetch::{self, CacheError, Error};
use kinstall::lockfile::{Lockfile, Trust};
use rustls::pki_types::PrivatePkcs8KeyDer;

use super::bench::{Bench, SCHEDULER, SIDECAR, elf, inventory, program};
use crate::lab::{Going, KUBERNETES, Lab, Output};
use crate::mirror::{Mirror, Mood};

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

#[tokio::test]
async fn whoever_requires_published_asks_who_publishes_whatever_the_lockfile_says() {
    let mut bench = Bench::new();
    let (front, pem) = tls_front(&tokio::runtime::Handle::current(), bench.mirror.address());
    fs::write(bench.room.path().join("home.pem"), pem).unwrap();
    // A mirror in the neighbourhood has other bytes, and somebody pinned them.
    let near = Mirror::start();
    let evil = elf("evil");
    near.put(SIDECAR, Digest::of(&evil).to_string());
    near.put(SCHEDULER, evil);
    bench.inventory = inventory(bench.room.path(), &[near.url()]);
    bench.scheduler().await.unwrap();
    let text = bench
        .lockfile
        .to_text()
        .replace("\"mirror\"", "\"published\"");
    bench.lockfile = Lockfile::parse(&text).unwrap();
    bench.inventory = inventory(bench.room.path(), &[near.url(), format!("https://{front}")]);
    bench.inventory.source.ca = Some("home.pem".into());
    bench.options.require = Some(Trust::Published);
    let error = bench.scheduler().await.unwrap_err();
    assert_eq!(error.exit_code(), 5);
    let text = error.to_string();
    assert!(
        text.contains("publishes") && text.contains("suspect the lockfile"),
        "{text}"
    );

    // The right pin with the same word is asked for too, and then has what was required.
    bench.lockfile = Lockfile::default();
    bench.inventory = inventory(bench.room.path(), &[format!("https://{front}")]);
    bench.inventory.source.ca = Some("home.pem".into());
    bench.options.require = None;
    bench.scheduler().await.unwrap();
    bench.mirror.recover();
    bench.options.require = Some(Trust::Published);
    bench.scheduler().await.unwrap();
    assert_eq!(bench.mirror.requests(SIDECAR).len(), 1);
    assert_eq!(bench.mirror.requests(SCHEDULER).len(), 0);
}

/// Serves what a lab's directory has, and has its inventory ask for it there.
fn served(lab: &Lab) -> Mirror {
    let (mirror, root) = (Mirror::start(), lab.path("mirror"));
    let mut folders = vec![root.clone()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let below = path.strip_prefix(&root).unwrap().display();
                mirror.put(&format!("/{below}"), fs::read(&path).unwrap());
            }
        }
    }
    lab.edit(&format!("file://{}", root.display()), &mirror.url());
    mirror
}

/// Runs it with these variables, and without those that this process may have.
fn run(lab: &Lab, words: &[&str], variables: &[(&str, &str)]) -> Output {
    let mut command = lab.command(words);
    for name in [
        "http_proxy",
        "HTTP_PROXY",
        "https_proxy",
        "HTTPS_PROXY",
        "all_proxy",
        "ALL_PROXY",
        "no_proxy",
        "NO_PROXY",
    ] {
        command.env_remove(name);
    }
    Going::start(command.envs(variables.iter().copied())).finish()
}

const FETCH: [&str; 2] = ["fetch", "inventory.toml"];

#[test]
fn ssl_cert_file_and_proxies_are_taken_from_the_environment() {
    let lab = Lab::new();
    let mirror = served(&lab);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let (front, pem) = tls_front(runtime.handle(), mirror.address());
    fs::write(lab.path("home.pem"), pem).unwrap();
    lab.edit(&mirror.url(), &format!("https://{front}"));
    run(&lab, &FETCH, &[])
        .exits(5)
        .says("the TLS connection is refused");
    let ca = lab.path("home.pem").display().to_string();
    run(&lab, &FETCH, &[("SSL_CERT_FILE", &ca)])
        .exits(0)
        .prints("published");

    // Nobody answers to this name but the proxy.
    let forget = || {
        fs::remove_dir_all(lab.cache()).unwrap();
        mirror.recover();
    };
    forget();
    lab.edit(&format!("https://{front}"), "http://mirror.invalid");
    let proxy = mirror.url();
    run(&lab, &FETCH, &[("http_proxy", &proxy)]).exits(0);
    let path = format!("/release/v{KUBERNETES}/bin/linux/amd64/kubectl");
    let asked = mirror.requests(&path);
    assert_eq!(asked[0].headers["host"], "mirror.invalid");
    forget();
    let variables = [("http_proxy", proxy.as_str()), ("no_proxy", ".invalid")];
    run(&lab, &FETCH, &variables).exits(5).says("no connection");
    assert_eq!(mirror.requests(&path), []);
}

/// An address at which nobody listens.
fn nobody() -> SocketAddr {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap()
}

#[test]
fn a_proxy_that_fails_is_named_as_such() {
    let lab = Lab::new();
    let files = format!("file://{}", lab.path("mirror").display());
    let mirror = served(&lab);
    let address = nobody();
    let (dead, secret) = (
        format!("http://{address}"),
        format!("http://me:hushhush@{address}"),
    );
    for (variable, value) in [
        ("http_proxy", &dead),
        ("HTTP_PROXY", &secret),
        ("all_proxy", &secret),
    ] {
        run(&lab, &FETCH, &[(variable, value)])
            .exits(5)
            .says(&format!(
                "through the proxy {dead} (`{variable}`): no connection"
            ))
            .says("it is the proxy that was asked, not the mirror")
            .never_says("hushhush");
    }
    // A host that needs no proxy is not affected by one.
    run(
        &lab,
        &FETCH,
        &[("http_proxy", &dead), ("no_proxy", "127.0.0.0/8")],
    )
    .exits(0);
    fs::remove_dir_all(lab.cache()).unwrap();
    fs::remove_file(lab.path("kinstall.lock")).unwrap();

    let path = format!("/release/v{KUBERNETES}/bin/linux/amd64/kubectl.sha256");
    let login = Mirror::start();
    let any = "<html><title>Who are you?</title>";
    for name in [
        "kube-apiserver",
        "kube-controller-manager",
        "kube-scheduler",
        "kubectl",
    ] {
        login.mood(&path.replace("kubectl", name), [Mood::Page(407, any)]);
    }
    run(&lab, &FETCH, &[("http_proxy", &login.url())])
        .exits(5)
        .says(&format!(
            "through the proxy {} (`http_proxy`): the proxy wants a user and a password",
            login.url()
        ))
        .says("as in `http://user:password@host:port`");
    assert_eq!(
        mirror.requests(&path).len(),
        1,
        "only the one without a proxy"
    );

    lab.edit(&mirror.url(), "https://mirror.invalid");
    run(&lab, &FETCH, &[("https_proxy", &secret)])
        .exits(5)
        .says(&format!(
            "through the proxy {dead} (`https_proxy`): no connection"
        ))
        .never_says("hushhush");
    // What is read from a directory goes through nothing.
    lab.edit("https://mirror.invalid", &files);
    run(
        &lab,
        &FETCH,
        &[("http_proxy", &dead), ("all_proxy", "no url")],
    )
    .exits(0);
}

#[test]
fn a_variable_that_names_no_proxy_is_told_before_anything_is_fetched() {
    let lab = Lab::new();
    let mirror = served(&lab);
    let path = format!("/release/v{KUBERNETES}/bin/linux/amd64/kubectl.sha256");
    for (variable, value, why) in [
        (
            "http_proxy",
            "http://me:hush#hush@127.0.0.1:9",
            "`#` as `%23`",
        ),
        (
            "HTTP_PROXY",
            "http://me:hush@hush@127.0.0.1:9",
            "`@` as `%40`",
        ),
        (
            "http_proxy",
            "127.0.0.1:hush",
            "of the form `http://host:port`",
        ),
        (
            "all_proxy",
            "socks5://me:hush@127.0.0.1:9",
            "SOCKS proxies are not supported",
        ),
    ] {
        run(&lab, &FETCH, &[(variable, value)])
            .exits(2)
            .says(&format!("`{variable}` names no proxy: "))
            .says(why)
            .says("correct the variable, or unset it")
            .never_says("hush");
    }
    assert_eq!(mirror.requests(&path), []);
    // It is nobody's matter where the host needs no proxy, or nothing is fetched.
    let bad = ("http_proxy", "http://me:p#w@127.0.0.1:9");
    run(&lab, &FETCH, &[bad, ("no_proxy", "127.0.0.1")]).exits(0);
    run(&lab, &FETCH, &[bad]).exits(0);
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
            Digest::of(&elf("kube-scheduler")).to_string().into(),
        ),
        (
            "/k8s/3.99.21/arm64/etcd-v3.99.21-linux-arm64.tar.gz",
            super::bench::etcd_archive(),
        ),
        (
            "/k8s/3.99.21/arm64/SHA256SUMS",
            format!(
                "{}  etcd-v3.99.21-linux-arm64.tar.gz\n",
                Digest::of(&super::bench::etcd_archive())
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
    let artifact = program("kube-scheduler").artifact().unwrap();
    let mut pin = bench.lockfile.pin(&artifact).unwrap().clone();
    pin.size = 1 << 60;
    bench.lockfile.insert(artifact, pin);
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
    let lab = Lab::new();
    let mirror = served(&lab);
    let first = run(&lab, &FETCH, &[]).exits(0);
    let rows = |output: &Output| output.stdout.matches("  amd64  ").count();
    assert_eq!(
        (rows(&first), first.stdout.matches("  mirror  new").count()),
        (6, 6)
    );
    let first = first.prints("mirror: checked against a checksum from the mirror itself");
    first.says("6 programs pinned and in the cache");
    let again = run(
        &lab,
        &["fetch", "--locked", "--json", "inventory.toml"],
        &[],
    )
    .exits(0);
    let programs = again.json();
    let etcd = &programs[0];
    assert_eq!(etcd["name"], "etcd");
    assert_eq!(
        (&etcd["trust"], &etcd["pinned"]),
        (&"mirror".into(), &"kept".into())
    );
    let url = etcd["url"].as_str().unwrap();
    assert!(
        url.starts_with(&mirror.url()) && url.ends_with(".tar.gz"),
        "{url}"
    );
    let lock = fs::read_to_string(lab.path("kinstall.lock")).unwrap();
    assert!(lock.contains(etcd["sha256"].as_str().unwrap()));

    let update = |names| {
        run(
            &lab,
            &["fetch", &format!("--update={names}"), "inventory.toml"],
            &[],
        )
    };
    update("kubelet")
        .exits(2)
        .says("it needs etcd, etcdctl, kube-apiserver");
    let updated = update("etcd,kubectl").exits(0);
    assert!(!updated.stdout.contains("changed"), "{updated}");
    let strict = ["fetch", "--require", "built-in", "inventory.toml"];
    run(&lab, &strict, &[])
        .exits(5)
        .says("`--require published` is content with");
    lab.edit("[source]", "[source]\nrequire = \"published\"");
    run(&lab, &FETCH, &[])
        .exits(5)
        .says("name a source that publishes checksums over https");
}
