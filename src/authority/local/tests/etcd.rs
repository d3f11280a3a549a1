//! Real members of etcd on the loopback, and a real etcdctl, with what kinstall issues. These
//! tests need the programs `etcd` and `etcdctl`.

use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::*;

/// Two members that trust each other, stopped when dropped.
struct Members {
    children: Vec<Child>,
    directory: tempfile::TempDir,
    ports: [u16; 4],
}

impl Drop for Members {
    fn drop(&mut self) {
        for child in &mut self.children {
            drop(child.kill());
            drop(child.wait());
        }
    }
}

/// The file of an authority that a set is verified by.
fn trust(site: &Site, set: AuthorityName) -> PathBuf {
    let name = signer(site.inventory.pki.authorities, set);
    site.path(&format!("ca/{name}.pem"))
}

fn ports() -> [u16; 4] {
    let listeners = [(); 4].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
    listeners.map(|listener| listener.local_addr().unwrap().port())
}

impl Members {
    fn start(site: &Site, peers_of: [&Site; 2]) -> Self {
        let ports = ports();
        let directory = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir());
        let directory = directory.unwrap();
        let mut members = Self {
            children: Vec::new(),
            directory,
            ports,
        };
        let all = format!(
            "az1=https://127.0.0.1:{},az2=https://127.0.0.1:{}",
            ports[2], ports[3]
        );
        for (at, node) in ["az1", "az2"].into_iter().enumerate() {
            let file = |site: &Site, kind: &str, ending: &str| {
                site.path(&format!("issued/{kind}-{node}.{ending}"))
            };
            let peer = peers_of[at];
            let log = fs_err::File::create(members.directory.path().join(node)).unwrap();
            let child = Command::new("etcd")
                .arg(format!("--name={node}"))
                .arg(format!(
                    "--data-dir={}",
                    members
                        .directory
                        .path()
                        .join(format!("{node}.data"))
                        .display()
                ))
                .arg(format!(
                    "--listen-client-urls=https://127.0.0.1:{}",
                    ports[at]
                ))
                .arg(format!(
                    "--advertise-client-urls=https://127.0.0.1:{}",
                    ports[at]
                ))
                .arg(format!(
                    "--listen-peer-urls=https://127.0.0.1:{}",
                    ports[at + 2]
                ))
                .arg(format!(
                    "--initial-advertise-peer-urls=https://127.0.0.1:{}",
                    ports[at + 2]
                ))
                .arg(format!("--initial-cluster={all}"))
                .arg("--client-cert-auth")
                .arg("--peer-client-cert-auth")
                .arg(format!(
                    "--cert-file={}",
                    file(site, "etcd-server", "pem").display()
                ))
                .arg(format!(
                    "--key-file={}",
                    file(site, "etcd-server", "key").display()
                ))
                .arg(format!(
                    "--peer-cert-file={}",
                    file(peer, "etcd-peer", "pem").display()
                ))
                .arg(format!(
                    "--peer-key-file={}",
                    file(peer, "etcd-peer", "key").display()
                ))
                .arg(format!(
                    "--trusted-ca-file={}",
                    trust(site, AuthorityName::EtcdClient).display()
                ))
                .arg(format!(
                    "--peer-trusted-ca-file={}",
                    trust(peer, AuthorityName::EtcdPeer).display()
                ))
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(log.into_parts().0)
                .spawn();
            members
                .children
                .push(child.expect("this test needs `etcd`"));
        }
        members
    }

    /// What etcdctl says of the first member with a client's certificate; whether it went well.
    fn ask(&self, site: &Site, client: &Path, words: &[&str]) -> (bool, String) {
        let file = |ending: &str| client.with_extension(ending).display().to_string();
        let output = Command::new("etcdctl")
            .env("ETCDCTL_API", "3")
            .arg(format!("--endpoints=https://127.0.0.1:{}", self.ports[0]))
            .arg(format!(
                "--cacert={}",
                trust(site, AuthorityName::Etcd).display()
            ))
            .arg(format!("--cert={}", file("pem")))
            .arg(format!("--key={}", file("key")))
            .args(["--dial-timeout=2s", "--command-timeout=3s"])
            .args(words)
            .output()
            .expect("this test needs `etcdctl`");
        let text = [output.stdout, output.stderr].concat();
        let text = String::from_utf8_lossy(&text).into_owned();
        (output.status.success(), text)
    }

    fn logs(&self) -> String {
        let text = |node| fs_err::read_to_string(self.directory.path().join(node)).unwrap();
        ["az1", "az2"].map(text).concat()
    }
}

/// A site whose certificates are valid now: etcd has no other clock.
fn site(mode: Authorities) -> Site {
    let mut site = Site::new();
    site.inventory.pki.authorities = mode;
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    site.obtain(i64::try_from(now.unwrap().as_secs()).unwrap());
    site
}

#[test]
fn etcd_and_etcdctl_take_what_is_issued_and_nothing_else() {
    for mode in [
        Authorities::Single,
        Authorities::Kubeadm,
        Authorities::Separate,
    ] {
        let (site, stranger) = (site(mode), site(mode));
        let members = Members::start(&site, [&site, &site]);
        let own = site.path("issued/apiserver-etcd-client.pem");
        let begun = Instant::now();
        // Two members take a value only when they agree: over TLS, in both directions.
        let mut put = members.ask(&site, &own, &["put", "a", "b"]);
        while !put.0 && begun.elapsed() < Duration::from_secs(60) {
            put = members.ask(&site, &own, &["put", "a", "b"]);
        }
        assert!(put.0, "{mode:?}: {}\n{}", put.1, members.logs());
        let health = site.path("issued/etcd-healthcheck-client.pem");
        let (good, said) = members.ask(&site, &health, &["endpoint", "health", "--cluster"]);
        assert!(
            good && said.matches("is healthy").count() == 2,
            "{mode:?}: {said}"
        );
        let refused = |from: &Site, name: &str| {
            let client = from.path(&format!("issued/{name}.pem"));
            let (good, said) = members.ask(&site, &client, &["get", "a"]);
            assert!(!good && !said.contains("a\nb"), "{mode:?}: {name}: {said}");
        };
        refused(&stranger, "apiserver-etcd-client");
        // Never a client's: the right authority or not, it may only serve.
        refused(&site, "apiserver-az1");
        refused(&site, "front-proxy-client");
        if mode != Authorities::Single {
            refused(&site, "admin");
        }
        // A server by another authority is refused by etcdctl.
        let (good, said) = members.ask(&stranger, &own, &["get", "a"]);
        assert!(!good, "{mode:?}: {said}");
    }
}

#[test]
fn members_of_different_authorities_never_agree() {
    let (site, stranger) = (site(Authorities::Kubeadm), site(Authorities::Kubeadm));
    let members = Members::start(&site, [&site, &stranger]);
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(30) {
        if members
            .logs()
            .contains("certificate signed by unknown authority")
        {
            break;
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    let logs = members.logs();
    assert!(
        logs.contains("certificate signed by unknown authority"),
        "{logs}"
    );
    let own = site.path("issued/apiserver-etcd-client.pem");
    assert!(!members.ask(&site, &own, &["put", "a", "b"]).0);
}
