//! What real `cfssl` makes by the guides' words is taken in; needs `cfssl` and `cfssljson`, and
//! `openssl` for kubeadm's tree.

use std::path::Path;
use std::process::{Command, Stdio};

use crate::authority::{Authority, Error, Item, Local, Obtained, Outcome};
use crate::certificate::{Kind, describe, fixture, requests};
use crate::inventory::{Authorities, Inventory, PkiSource, Role};

fn now() -> i64 {
    let now = std::time::SystemTime::now();
    let since = now.duration_since(std::time::UNIX_EPOCH).unwrap();
    i64::try_from(since.as_secs()).unwrap()
}

/// Three nodes, workers too, whose certificates lie in `made/`.
struct Site {
    root: tempfile::TempDir,
    inventory: Inventory,
}

impl Site {
    fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        let made = root.path().join("made");
        fs_err::create_dir(&made).unwrap();
        let config = r#"{"signing":{"default":{"expiry":"87600h"},"profiles":{
            "kubernetes":{"usages":["signing","key encipherment","server auth","client auth"],"expiry":"87600h"},
            "server":{"usages":["signing","key encipherment","server auth","client auth"],"expiry":"87600h"},
            "client":{"usages":["signing","key encipherment","client auth"],"expiry":"87600h"}}}}"#;
        fs_err::write(made.join("ca-config.json"), config).unwrap();
        let mut inventory = fixture::inventory();
        inventory.directory = root.path().to_owned();
        inventory.pki.from = PkiSource::Directory("made".into());
        for node in inventory.nodes.values_mut() {
            node.roles.insert(Role::Worker);
        }
        Self { root, inventory }
    }

    fn made(&self, path: &str) -> std::path::PathBuf {
        self.root.path().join("made").join(path)
    }

    /// `cfssl gencert -initca ... | cfssljson -bare <path>`.
    fn authority(&self, path: &str, name: &str) {
        let request = format!(
            r#"{{"CN":"{name}","key":{{"algo":"rsa","size":2048}},"names":[{{"C":"CN","O":"k8s","OU":"System"}}],"ca":{{"expiry":"87600h"}}}}"#
        );
        self.cfssl(&["-initca"], &request, path);
    }

    /// The same for a leaf, signed by `<ca>.pem`.
    fn leaf(&self, path: &str, ca: &str, profile: &str, subject: (&str, &str), hosts: &[String]) {
        let (name, organization) = subject;
        let hosts: Vec<_> = hosts.iter().map(|host| format!("\"{host}\"")).collect();
        let request = format!(
            r#"{{"CN":"{name}","hosts":[{}],"key":{{"algo":"rsa","size":2048}},"names":[{{"C":"CN","O":"{organization}","OU":"System"}}]}}"#,
            hosts.join(",")
        );
        let (ca, key) = (
            self.made(&format!("{ca}.pem")),
            self.made(&format!("{ca}-key.pem")),
        );
        let options = [
            format!("-ca={}", ca.display()),
            format!("-ca-key={}", key.display()),
            format!("-config={}", self.made("ca-config.json").display()),
            format!("-profile={profile}"),
        ];
        let options: Vec<&str> = options.iter().map(String::as_str).collect();
        self.cfssl(&options, &request, path);
    }

    fn cfssl(&self, options: &[&str], request: &str, path: &str) {
        let path = self.made(path);
        fs_err::create_dir_all(path.parent().unwrap()).unwrap();
        let csr = path.with_extension("csr.json");
        fs_err::write(&csr, request).unwrap();
        let json = Command::new("cfssl")
            .arg("gencert")
            .args(options)
            .arg(&csr)
            .stderr(Stdio::null())
            .output()
            .expect("this test needs `cfssl`");
        assert!(json.status.success());
        let mut split = Command::new("cfssljson")
            .arg("-bare")
            .arg(&path)
            .stdin(Stdio::piped())
            .spawn()
            .expect("this test needs `cfssljson`");
        let mut input = split.stdin.take().unwrap();
        std::io::Write::write_all(&mut input, &json.stdout).unwrap();
        drop(input);
        assert!(split.wait().unwrap().success());
    }

    /// All names that the cluster's servers are known by.
    fn hosts(&self) -> Vec<String> {
        let requests = requests(&self.inventory);
        let serving = requests.iter().flat_map(|request| &*request.sans);
        let mut hosts: Vec<String> = serving.map(ToString::to_string).collect();
        hosts.sort();
        hosts.dedup();
        hosts
    }

    /// The eight files of one guide: `ca`, `kubernetes`, `admin`, `kube-proxy`.
    fn eight(&self) {
        self.authority("ca", "kubernetes");
        self.leaf(
            "kubernetes",
            "ca",
            "kubernetes",
            ("kubernetes", "k8s"),
            &self.hosts(),
        );
        self.leaf(
            "admin",
            "ca",
            "kubernetes",
            ("admin", "system:masters"),
            &[],
        );
        self.leaf(
            "kube-proxy",
            "ca",
            "kubernetes",
            ("system:kube-proxy", "k8s"),
            &[],
        );
    }

    /// The full list of another: those, one for each worker, for each client, and the pair.
    fn full(&self) {
        self.eight();
        for node in self.inventory.nodes.keys() {
            let hosts = self.hosts();
            let user = format!("system:node:{node}");
            self.leaf(
                node.as_str(),
                "ca",
                "kubernetes",
                (&user, "system:nodes"),
                &hosts,
            );
        }
        for name in ["kube-scheduler", "kube-controller-manager"] {
            let user = format!("system:{name}");
            self.leaf(name, "ca", "kubernetes", (&user, &user), &[]);
        }
        self.leaf(
            "service-account",
            "ca",
            "kubernetes",
            ("service-accounts", "Kubernetes"),
            &[],
        );
    }

    /// kubeadm's tree, made by cfssl and renamed as the guide says.
    fn kubeadm(&mut self) {
        self.inventory.pki.authorities = Authorities::Kubeadm;
        let hosts = self.hosts();
        self.authority("ca", "kubernetes-ca");
        self.authority("etcd/ca", "etcd-ca");
        self.authority("front-proxy-ca", "kubernetes-front-proxy-ca");
        let leaves = [
            (
                "etcd/server",
                "etcd/ca",
                "server",
                ("kube-etcd", ""),
                &hosts[..],
            ),
            (
                "etcd/peer",
                "etcd/ca",
                "server",
                ("kube-etcd-peer", ""),
                &hosts[..],
            ),
            (
                "etcd/healthcheck-client",
                "etcd/ca",
                "client",
                ("kube-etcd-healthcheck-client", ""),
                &[],
            ),
            (
                "apiserver-etcd-client",
                "etcd/ca",
                "client",
                ("kube-apiserver-etcd-client", "system:masters"),
                &[],
            ),
            (
                "apiserver",
                "ca",
                "server",
                ("kube-apiserver", ""),
                &hosts[..],
            ),
            (
                "apiserver-kubelet-client",
                "ca",
                "client",
                ("kube-apiserver-kubelet-client", "system:masters"),
                &[],
            ),
            (
                "front-proxy-client",
                "front-proxy-ca",
                "client",
                ("front-proxy-client", ""),
                &[],
            ),
        ];
        for (path, ca, profile, subject, hosts) in leaves {
            self.leaf(path, ca, profile, subject, hosts);
        }
        for path in ["ca", "etcd/ca", "front-proxy-ca"]
            .into_iter()
            .chain(leaves.map(|leaf| leaf.0))
        {
            let (pem, key) = (format!("{path}.pem"), format!("{path}-key.pem"));
            fs_err::rename(self.made(&pem), self.made(&format!("{path}.crt"))).unwrap();
            fs_err::rename(self.made(&key), self.made(&format!("{path}.key"))).unwrap();
            drop(fs_err::remove_file(self.made(&format!("{path}.csr"))));
        }
        openssl(&[
            "genrsa",
            "-traditional",
            "-out",
            self.made("sa.key").to_str().unwrap(),
            "2048",
        ]);
        let (key, public) = (self.made("sa.key"), self.made("sa.pub"));
        openssl(&[
            "rsa",
            "-in",
            key.to_str().unwrap(),
            "-pubout",
            "-out",
            public.to_str().unwrap(),
        ]);
    }

    fn try_obtain(&self) -> Result<Obtained, Error> {
        Local::of(&self.inventory)?.obtain(&requests(&self.inventory), now())
    }
}

fn openssl(args: &[&str]) {
    let output = Command::new("openssl").args(args).output().unwrap();
    assert!(output.status.success(), "{args:?}");
}

/// What kinstall had to make itself.
fn made(obtained: &Obtained) -> Vec<String> {
    let mut made: Vec<String> = obtained.made().map(|note| note.item.to_string()).collect();
    made.sort();
    made
}

#[track_caller]
fn is_from(site: &Site, obtained: &Obtained, kind: Kind, path: &str) {
    let text = fs_err::read_to_string(site.made(path)).unwrap();
    let mut leaves = obtained.credentials.leaves.iter();
    assert!(
        leaves.any(|(id, leaf)| id.kind == kind && leaf.chain_pem == text),
        "{path}"
    );
}

#[test]
fn the_guide_with_eight_files_is_taken_in_and_completed() {
    let site = Site::new();
    site.eight();
    let obtained = site.try_obtain().unwrap();
    for kind in [Kind::Apiserver, Kind::EtcdPeer, Kind::EtcdServer] {
        is_from(&site, &obtained, kind, "kubernetes.pem");
    }
    is_from(&site, &obtained, Kind::Admin, "admin.pem");
    is_from(&site, &obtained, Kind::KubeProxy, "kube-proxy.pem");
    let made = made(&obtained);
    assert!(
        made.contains(&"certificate scheduler".to_owned()),
        "{made:?}"
    );
    assert!(
        made.contains(&"authority front-proxy".to_owned()),
        "{made:?}"
    );
    assert!(
        !made.contains(&"authority kubernetes".to_owned()),
        "{made:?}"
    );
    let again = site.try_obtain().unwrap();
    assert_eq!(self::made(&again), [""; 0], "a rerun makes nothing");
    assert_eq!(again.credentials, obtained.credentials);
}

#[test]
fn the_guide_with_a_full_list_needs_little_else() {
    let site = Site::new();
    site.full();
    let obtained = site.try_obtain().unwrap();
    is_from(&site, &obtained, Kind::KubeletClient, "az1.pem");
    is_from(&site, &obtained, Kind::KubeletServer, "az3.pem");
    is_from(&site, &obtained, Kind::Scheduler, "kube-scheduler.pem");
    is_from(
        &site,
        &obtained,
        Kind::ControllerManager,
        "kube-controller-manager.pem",
    );
    let made = made(&obtained);
    assert_eq!(
        made,
        [
            "authority front-proxy",
            "certificate apiserver-etcd-client",
            "certificate apiserver-kubelet-client",
            "certificate etcd-healthcheck-client",
            "certificate front-proxy-client",
            "encryption configuration",
        ]
    );
    let key = fs_err::read(site.made("service-account-key.pem")).unwrap();
    assert_eq!(
        obtained.credentials.service_account.private_pem.expose(),
        key
    );
    assert!(obtained.credentials.signing_key_pem.is_some());
}

#[test]
fn a_tree_like_kubeadms_is_taken_in() {
    let mut site = Site::new();
    site.kubeadm();
    let obtained = site.try_obtain().unwrap();
    is_from(&site, &obtained, Kind::EtcdPeer, "etcd/peer.crt");
    is_from(&site, &obtained, Kind::EtcdServer, "etcd/server.crt");
    is_from(&site, &obtained, Kind::Apiserver, "apiserver.crt");
    is_from(
        &site,
        &obtained,
        Kind::FrontProxyClient,
        "front-proxy-client.crt",
    );
    is_from(
        &site,
        &obtained,
        Kind::ApiserverEtcdClient,
        "apiserver-etcd-client.crt",
    );
    let key = fs_err::read(site.made("sa.key")).unwrap();
    assert_eq!(
        obtained.credentials.service_account.private_pem.expose(),
        key
    );
    // What lies in kubeadm's directory and in no kubeconfig.
    let made = made(&obtained);
    assert_eq!(
        made,
        [
            "certificate admin",
            "certificate controller-manager",
            "certificate kube-proxy",
            "certificate kubelet-client-az1",
            "certificate kubelet-client-az2",
            "certificate kubelet-client-az3",
            "certificate kubelet-server-az1",
            "certificate kubelet-server-az2",
            "certificate kubelet-server-az3",
            "certificate scheduler",
            "encryption configuration",
        ]
    );
}

#[test]
fn names_of_files_do_not_matter() {
    let site = Site::new();
    site.full();
    for (index, path) in files(&site.made("")).into_iter().enumerate() {
        if path.extension().is_some_and(|extension| extension == "pem") {
            fs_err::rename(&path, site.made(&format!("{index}.txt"))).unwrap();
        }
    }
    let obtained = site.try_obtain().unwrap();
    let made = made(&obtained);
    assert!(
        !made.contains(&"authority kubernetes".to_owned()),
        "{made:?}"
    );
    assert!(
        !made.contains(&"certificate scheduler".to_owned()),
        "{made:?}"
    );
    assert!(
        !made.contains(&"certificate kubelet-client-az1".to_owned()),
        "{made:?}"
    );
}

fn files(directory: &Path) -> Vec<std::path::PathBuf> {
    let entries = fs_err::read_dir(directory).unwrap();
    entries.map(|entry| entry.unwrap().path()).collect()
}

#[test]
fn without_the_authoritys_key_every_missing_certificate_is_named() {
    let site = Site::new();
    site.eight();
    fs_err::remove_file(site.made("ca-key.pem")).unwrap();
    let error = site.try_obtain().unwrap_err();
    let expected = "missing, and the key of the authority is not there to sign them: \
        `etcd-healthcheck-client`, `apiserver-etcd-client`, `apiserver-kubelet-client`, \
        `controller-manager`, `scheduler`, `kubelet-client-az1`, `kubelet-client-az2`, \
        `kubelet-client-az3`, `kubelet-server-az1`, `kubelet-server-az2`, `kubelet-server-az3`";
    assert_eq!(error.to_string(), expected);
    assert!(!site.root.path().join("pki/issued/scheduler.pem").exists());
}

#[test]
fn what_would_not_do_is_refused_with_everything_that_is_wrong() {
    let site = Site::new();
    site.eight();
    site.leaf(
        "kubernetes",
        "ca",
        "client",
        ("kubernetes", "k8s"),
        &["kubernetes.default".to_owned()],
    );
    site.leaf("kube-scheduler", "ca", "client", ("scheduler", "k8s"), &[]);
    let error = site.try_obtain().unwrap_err().to_string();
    for expected in [
        "apiserver-az1: lacks the usage serverAuth",
        "apiserver-az2: is not valid for `10.0.22.1`",
        "scheduler: its common name is `scheduler`, and RBAC knows `system:kube-scheduler`",
    ] {
        assert!(error.contains(expected), "{expected}: {error}");
    }
}

#[test]
fn a_certificate_is_renewed_over_one_from_elsewhere() {
    let site = Site::new();
    site.full();
    site.try_obtain().unwrap();
    let wanted = requests(&site.inventory);
    let admin = wanted.iter().find(|it| it.id.kind == Kind::Admin).unwrap();
    let local = Local::of(&site.inventory).unwrap();
    // In the minute in which that one was made, too.
    for moment in [now(), now() + 3600] {
        let renewed = local
            .renew(&wanted, &[admin.id.clone()].into(), moment)
            .unwrap();
        let note = renewed
            .notes
            .iter()
            .find(|note| note.item == Item::Certificate(admin.id.clone()));
        assert_ne!(note.unwrap().outcome, Outcome::Reused);
        let first = describe(&renewed.credentials.leaves[&admin.id].chain_pem).unwrap();
        let again = local.obtain(&wanted, moment).unwrap();
        let second = describe(&again.credentials.leaves[&admin.id].chain_pem).unwrap();
        assert_eq!(first.serial, second.serial);
        let kept = local.kept(&wanted).unwrap();
        let kept = describe(&kept.leaves[&admin.id].chain_pem).unwrap();
        assert_eq!(first.serial, kept.serial);
        assert_eq!(
            first.subject.to_string(),
            "CN=kubernetes-admin,O=system:masters"
        );
    }
}
