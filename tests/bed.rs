//! Three real nodes that `cargo xtask test` handed over, and what the promises need of them. The
//! tests share them, so they take turns; where there are several beds, that many at a time.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Condvar, Mutex};
use std::time::Instant;

use fs_err as fs;

use crate::lab::{Going, KUBERNETES, Lab, Output, elf, stock_as};

/// The nodes.
pub(crate) const NODES: [&str; 3] = ["node1", "node2", "node3"];
/// etcdctl on a node, as anyone who looks after its health.
pub(crate) const ETCDCTL: &str = "ETCDCTL_API=3 /usr/local/bin/etcdctl --endpoints=https://127.0.0.1:2379 \
    --cacert=/etc/etcd/certs/rootCA.pem \
    --cert=/etc/etcd/certs/healthcheck/etcd-healthcheck-client.pem \
    --key=/etc/etcd/certs/healthcheck/etcd-healthcheck-client.key";
/// The command that every test begins with.
pub(crate) const PUSH: [&str; 2] = ["push", "inventory.toml"];

/// The beds that are nobody's now; none before the first test asks for one.
static FREE: Mutex<Option<Vec<Free>>> = Mutex::new(None);
/// One of them is free again.
static LEFT: Condvar = Condvar::new();

/// A bed that is nobody's now.
struct Free {
    state: PathBuf,
    workshop: PathBuf,
    /// The cluster that is on the nodes, if it is one that a push can go on from.
    cluster: Option<Lab>,
}

/// The nodes, for as long as it is this test's turn.
pub(crate) struct Bed {
    xtask: PathBuf,
    state: PathBuf,
    standin: PathBuf,
    workshop: PathBuf,
    cluster: Option<Lab>,
}

impl Bed {
    /// The nodes; none, with the reason said, where there are none.
    pub(crate) fn take(test: &str) -> Option<Self> {
        let variable = |name: &str| {
            let value = std::env::var_os(name);
            value.ok_or_else(|| {
                format!("`{name}` is not set; `cargo xtask test` boots nodes and sets it")
            })
        };
        let bed = || {
            let (xtask, standin) = (variable("KINSTALL_XTASK")?, variable("KINSTALL_STANDIN")?);
            let begun = Instant::now();
            let free = free(&variable("KINSTALL_NODES")?);
            // `cargo xtask test` takes it from the time of the test.
            println!("WAITED: {test}: {} ms", begun.elapsed().as_millis());
            Ok(Self {
                xtask: xtask.into(),
                state: free.state,
                standin: standin.into(),
                workshop: free.workshop,
                cluster: free.cluster,
            })
        };
        let bed: Result<Self, String> = bed();
        match bed {
            Ok(bed) => Some(bed),
            Err(why) => {
                assert!(std::env::var_os("CI").is_none(), "{test} must run: {why}");
                println!("NOT RUN: {test}: {why}");
                None
            }
        }
    }

    /// Where the mirror, the cache and the labs of this bed are.
    pub(crate) fn workshop(&self) -> &Path {
        &self.workshop
    }

    /// Drives the nodes: `cut node1`.
    #[track_caller]
    pub(crate) fn nodes(&self, words: &str) -> String {
        let words: Vec<&str> = words.split(' ').collect();
        let output = self.drive(&words);
        assert_eq!(output.code, Some(0), "{output}");
        output.stdout
    }

    fn drive(&self, words: &[&str]) -> Output {
        let mut command = Command::new(&self.xtask);
        command
            .arg("nodes")
            .args(words)
            .env("KINSTALL_NODES", &self.state);
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        Going::start(&mut command).finish()
    }

    /// The configuration of ssh that reaches the nodes.
    pub(crate) fn ssh_config(&self) -> PathBuf {
        self.state.join("ssh_config")
    }

    /// Runs a script on a node as root, without ssh, and gives back what it printed.
    #[track_caller]
    pub(crate) fn on(&self, node: &str, script: &str) -> String {
        let output = self.try_on(node, script);
        assert_eq!(output.code, Some(0), "{output}");
        output.stdout.trim().to_owned()
    }

    pub(crate) fn try_on(&self, node: &str, script: &str) -> Output {
        self.drive(&["exec", node, "--", "sh", "-c", script])
    }

    /// A node's address.
    pub(crate) fn address(&self, node: &str) -> String {
        let status = self.nodes("status");
        let line = status
            .lines()
            .find(|line| line.starts_with(&format!("{node} ")));
        line.unwrap().split(' ').nth(1).unwrap().to_owned()
    }

    /// Makes sure that there is a node beyond the three, with something special about it and nothing
    /// on it.
    pub(crate) fn special(&self, number: u32, options: &str) -> String {
        let node = format!("node{number}");
        let status = self.nodes("status");
        // What another test left on it might not even boot without its peers.
        if status
            .lines()
            .any(|line| line.split(' ').next() == Some(&node))
        {
            self.nodes(&format!("reset {node}"));
        } else {
            self.nodes(format!("up {node} {options}").trim_end());
        }
        node
    }

    /// A directory to push from, for these nodes; nothing happens to them.
    pub(crate) fn lab(&self, nodes: &[&str]) -> Lab {
        self.lab_named(&nodes.join("-"), nodes)
    }

    /// The same under a name of its own.
    pub(crate) fn lab_named(&self, name: &str, nodes: &[&str]) -> Lab {
        let lab = Lab::at(&self.workshop.join(name), &self.workshop.join("cache"));
        lab.write(&self.inventory(nodes));
        lab
    }

    /// The program that makes stand-ins.
    pub(crate) fn standin(&self) -> &Path {
        &self.standin
    }

    /// Where the kernel tells of a node's processes.
    pub(crate) fn cgroup(&self, node: &str) -> PathBuf {
        let name = self.state.file_name().unwrap().to_str().unwrap();
        let name = name.strip_prefix("bed-").unwrap();
        self.state.join("cgroup").join(name).join(node)
    }

    /// How many connections, and sessions on them, each node has been asked for over SSH.
    pub(crate) fn calls(&self) -> [(u32, u32); 3] {
        NODES.map(|node| {
            let count = |text: &str| {
                let ask = format!("journalctl -b -t sshd -o cat | grep -c '{text}' || :");
                self.on(node, &ask).parse::<u32>().unwrap()
            };
            (count("Accepted publickey"), count("Starting session"))
        })
    }

    /// The three nodes wiped, and a directory to push from.
    pub(crate) fn fresh(&mut self) -> Lab {
        self.cluster = None;
        std::thread::scope(|scope| {
            for node in NODES {
                let bed = &*self;
                scope.spawn(move || {
                    bed.nodes(&format!("reset {node}"));
                    // sshd listens again when it reads its configuration, a moment after systemctl has ended.
                    let verbose = "echo LogLevel VERBOSE >/etc/ssh/sshd_config.d/99-test.conf
                        systemctl reload ssh || exit 1
                        sleep 0.5
                        for i in $(seq 50); do
                            ss -ltnH 'sport = :22' | grep -q . && exit 0
                            sleep 0.1
                        done
                        exit 1";
                    bed.on(node, verbose);
                });
            }
        });
        self.lab(&NODES)
    }

    /// An inventory of these nodes that takes a member for good as soon as it is healthy: for tests of
    /// many steps, of which none is about one that fails a moment later.
    pub(crate) fn brisk_inventory(&self, nodes: &[&str]) -> String {
        let text = self.inventory(nodes);
        text.replace("stable-seconds = 1", "stable-seconds = 0")
    }

    /// The three nodes with a healthy cluster, and the directory that it was pushed from. Whatever
    /// an earlier test changed is put back by a push.
    pub(crate) fn pushed(&mut self) -> Lab {
        let lab = match self.cluster.take() {
            Some(lab) => lab,
            None => self.fresh(),
        };
        lab.write(&self.inventory(&NODES));
        lab.run(PUSH).exits(0);
        lab
    }

    /// Leaves the cluster for the next test to go on from.
    pub(crate) fn leave(mut self, lab: Lab) {
        self.cluster = Some(lab);
    }

    /// The inventory of these nodes.
    pub(crate) fn inventory(&self, nodes: &[&str]) -> String {
        let mirror = self.workshop.join("mirror");
        if !mirror.exists() {
            self.make_mirror(&mirror);
        }
        let config = self.ssh_config();
        let mut text = format!(
            "[cluster]\nname = \"home\"\nkubernetes = \"{KUBERNETES}\"\n{etcd}\n\
             [ssh]\nuser = \"root\"\nconfig = \"{config}\"\n\n\
             [component.kube-apiserver]\nflags = {{ audit-log-maxage = 60, shutdown-delay-duration = \"0s\" }}\n\n\
             [rollout]\nready-seconds = 30\nstable-seconds = 1\n",
            etcd = etcd(&mirror),
            config = config.display(),
        );
        for node in nodes {
            let address = self.address(node);
            _ = write!(
                text,
                "\n[[node]]\nname = \"{node}\"\naddress = \"{address}\"\n"
            );
        }
        text
    }

    /// Has the mirror offer a version of Kubernetes too.
    pub(crate) fn offer(&self, version: &str) {
        stock_servers(&self.standin, &self.workshop.join("mirror"), version);
    }

    fn make_mirror(&self, mirror: &Path) {
        stock_servers(&self.standin, mirror, KUBERNETES);
    }

    /// What a node holds where kinstall puts things: for each path a line that tells all of it.
    pub(crate) fn holds(&self, node: &str) -> BTreeMap<String, String> {
        let script =
            "places=$(ls -d /etc/k8s /etc/etcd /etc/sysusers.d /etc/systemd/system /usr/local/bin 2>/dev/null)
            find $places -type f -exec sha256sum {} + | sed 's/^\\([^ ]*\\)  \\(.*\\)$/\\2 \\1/'
            find $places -printf '%p %y %m %u %g %l\\n'";
        let mut tree = BTreeMap::<String, String>::new();
        for line in self.on(node, script).lines() {
            let (path, what) = line.split_once(' ').unwrap();
            let item = tree.entry(path.to_owned()).or_default();
            item.push_str(what.trim_end());
            item.push(' ');
        }
        tree
    }

    /// Puts a newer release of one server, of which the inventory says something already, into the
    /// mirror, and has the inventory ask for it.
    pub(crate) fn upgrade(&self, lab: &Lab, name: &str) -> PathBuf {
        let (line, patch) = KUBERNETES.rsplit_once('.').unwrap();
        let newer = format!("{line}.{}", patch.parse::<u32>().unwrap() + 1);
        let mirror = self.workshop.join("mirror");
        let shelf = mirror.join(format!("release/v{newer}/bin/linux/amd64"));
        fs::create_dir_all(&shelf).unwrap();
        let program = shelf.join(name);
        let made = Command::new(&self.standin)
            .args(["make", "--name", name, "--version", &newer, "--out"])
            .arg(&program)
            .status();
        assert!(made.unwrap().success());
        let digest = kinstall::digest::Digest::of(&fs::read(&program).unwrap()).to_string();
        fs::write(shelf.join(format!("{name}.sha256")), digest).unwrap();
        let header = format!("[component.{name}]\n");
        lab.edit(&header, &format!("{header}version = \"{newer}\"\n"));
        program
    }

    /// When a unit's process started, in microseconds on the clock that all nodes share.
    pub(crate) fn started(&self, node: &str, unit: &str) -> u64 {
        let ask = format!("systemctl show -p ExecMainStartTimestampMonotonic --value {unit}");
        self.on(node, &ask).parse().unwrap()
    }

    /// When each of a node's units started.
    pub(crate) fn starts(&self, node: &str) -> Vec<u64> {
        let units = [
            "etcd",
            "kube-apiserver",
            "kube-controller-manager",
            "kube-scheduler",
        ];
        units.map(|unit| self.started(node, unit)).to_vec()
    }
}

/// That nothing is left to do, every node is healthy, and its peers take every certificate.
#[track_caller]
pub(crate) fn is_well(lab: &Lab) {
    lab.run(PUSH).exits(0).says("nothing to do");
    lab.run(["status", "inventory.toml"])
        .exits(0)
        .prints("all healthy, nothing changed by hand");
    lab.run(["certs", "check", "inventory.toml", "--nodes"])
        .exits(0);
}

/// The directory of a mirror of genuine Kubernetes servers; none, with the reason said, where there
/// is none.
pub(crate) fn kube_mirror(test: &str) -> Option<PathBuf> {
    let mirror = std::env::var_os("KINSTALL_KUBE_MIRROR").map(PathBuf::from);
    if mirror.is_none() {
        let why = std::env::var("KINSTALL_NO_KUBE_MIRROR").unwrap_or_else(|_| {
            "`KINSTALL_KUBE_MIRROR` is not set; `cargo xtask test` builds genuine servers and sets it"
                .to_owned()
        });
        assert!(std::env::var_os("CI").is_none(), "{test} must run: {why}");
        println!("NOT RUN: {test}: {why}");
    }
    mirror
}

/// Puts stand-ins of a version into a mirror.
pub(crate) fn stock_servers(standin: &Path, mirror: &Path, version: &str) {
    for name in [
        "kube-apiserver",
        "kube-controller-manager",
        "kube-scheduler",
    ] {
        stock_server(standin, mirror, version, name);
    }
    let kubectl = elf(&format!("kubectl {version}"));
    stock_as(mirror, version, "kubectl", &kubectl);
}

/// Puts stand-ins of what workers run of Kubernetes into a mirror.
pub(crate) fn stock_workers(standin: &Path, mirror: &Path, version: &str) {
    for name in ["kubelet", "kube-proxy"] {
        stock_server(standin, mirror, version, name);
    }
}

/// Puts a stand-in into a mirror.
fn stock_server(standin: &Path, mirror: &Path, version: &str, name: &str) {
    let out = mirror.with_extension("new");
    let made = Command::new(standin)
        .args(["make", "--name", name, "--version", version, "--out"])
        .arg(&out)
        .status();
    assert!(made.unwrap().success());
    stock_as(mirror, version, name, &fs::read(&out).unwrap());
    fs::remove_file(out).unwrap();
}

impl Drop for Bed {
    fn drop(&mut self) {
        let free = Free {
            state: self.state.clone(),
            workshop: self.workshop.clone(),
            // A test that failed leaves nothing to go on from.
            cluster: self.cluster.take().filter(|_| !std::thread::panicking()),
        };
        // Nothing panics while it is locked.
        if let Ok(mut beds) = FREE.lock() {
            beds.get_or_insert_default().push(free);
        }
        LEFT.notify_one();
    }
}

/// Waits for a bed. The first to ask in a run empties what may be stale in their workshops.
fn free(states: &OsStr) -> Free {
    let mut beds = FREE.lock().unwrap();
    if beds.is_none() {
        let beds_of = |(number, state): (usize, PathBuf)| {
            let workshop = match number {
                0 => "nodes".to_owned(),
                _ => format!("nodes{number}"),
            };
            let workshop = Path::new(env!("CARGO_TARGET_TMPDIR")).join(workshop);
            if workshop.exists() {
                fs::remove_dir_all(&workshop).unwrap();
            }
            let cluster = None;
            Free {
                state,
                workshop,
                cluster,
            }
        };
        *beds = Some(
            std::env::split_paths(states)
                .enumerate()
                .map(beds_of)
                .collect(),
        );
    }
    let mut beds = LEFT
        .wait_while(beds, |beds| beds.as_ref().is_none_or(Vec::is_empty))
        .unwrap();
    let bed = beds.as_mut().and_then(Vec::pop);
    bed.expect("it was waited for")
}

/// The lines of an inventory that bring a genuine etcd: of the mirror that was handed over, or
/// this machine's own.
fn etcd(mirror: &Path) -> String {
    let kubernetes = format!(
        "\n[source]\nkubernetes = [\"file://{}\"]\n",
        mirror.display()
    );
    if let Some(theirs) = std::env::var_os("KINSTALL_MIRROR").map(PathBuf::from) {
        let mut names = fs::read_dir(&theirs)
            .unwrap()
            .map(|entry| entry.unwrap().file_name());
        let version = names.find_map(|name| Some(name.to_str()?.strip_prefix("v3.5.")?.to_owned()));
        if let Some(patch) = version {
            let url = theirs.display();
            return format!(
                "etcd = \"3.5.{patch}\"\n{kubernetes}etcd = [\"file://{url}\"]\nrebuilt = true\n"
            );
        }
    }
    let output = Command::new("etcd").arg("--version").output();
    let output = output.expect("there is an etcd in `KINSTALL_MIRROR`, or on this machine");
    let text = String::from_utf8(output.stdout).unwrap();
    let version = text
        .lines()
        .find_map(|line| line.strip_prefix("etcd Version: "));
    let version = version.unwrap().trim();
    format!("etcd = \"{version}\"\n{kubernetes}\n[component.etcd]\npath = \"/usr/bin\"\n")
}
