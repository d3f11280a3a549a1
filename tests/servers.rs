//! Promises that only genuine Kubernetes servers can keep or break. `cargo xtask test` builds such
//! servers, or takes them from `--mirror DIR`.

use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use fs_err as fs;
use kinstall::version::Version;

use crate::bed::{Bed, ETCDCTL, NODES, PUSH, is_well, kube_mirror};
use crate::lab::{KUBERNETES, Lab, elf};

/// A Secret that is there before anything is renewed or rotated.
const OLD: &str = "an-old-one";
const UNITS: [&str; 4] = [
    "etcd",
    "kube-apiserver",
    "kube-controller-manager",
    "kube-scheduler",
];

/// The directory with genuine servers, and the oldest version of them; none, with the reason said,
/// where there is none.
pub(crate) fn servers(test: &str) -> Option<(PathBuf, String)> {
    let mirror = kube_mirror(test)?;
    let names = fs::read_dir(mirror.join("release")).unwrap();
    let names = names.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let version = names.filter_map(|name| name.strip_prefix('v')?.parse::<Version>().ok());
    Some((mirror, version.min().unwrap().to_string()))
}

/// Three empty nodes, and an inventory that brings the genuine servers to them.
pub(crate) fn site(bed: &mut Bed, mirror: &(PathBuf, String), more: &str) -> Lab {
    let lab = bed.fresh().of_genuine_servers();
    let version = &mirror.1;
    let own = link_release(&lab, mirror, version);
    let text = bed.inventory(&NODES);
    let text: String = text
        .lines()
        .map(|line| match line {
            line if line.starts_with("kubernetes = [") => {
                format!("kubernetes = [\"file://{}\"]\n", own.display())
            }
            line => line.replace(KUBERNETES, version) + "\n",
        })
        .collect();
    let text = text.replace("ready-seconds = 30", "ready-seconds = 240");
    lab.write(&(text + more));
    lab
}

/// Has a lab offer a release of genuine servers; the directory that it is offered in.
pub(crate) fn link_release(lab: &Lab, (mirror, _): &(PathBuf, String), version: &str) -> PathBuf {
    let own = lab.path("genuine");
    let shelf = format!("release/v{version}/bin/linux/amd64");
    fs::create_dir_all(own.join(&shelf)).unwrap();
    for entry in fs::read_dir(mirror.join(&shelf)).unwrap() {
        let path = entry.unwrap().path();
        symlink(&path, own.join(&shelf).join(path.file_name().unwrap())).unwrap();
    }
    let kubectl = own.join(&shelf).join("kubectl");
    if !kubectl.exists() {
        let program = elf("kubectl");
        let digest = kinstall::digest::Digest::of(&program).to_string();
        fs::write(kubectl.with_extension("sha256"), digest).unwrap();
        fs::write(kubectl, program).unwrap();
    }
    own
}

/// kubectl of this machine, by way of one node's server.
#[track_caller]
pub(crate) fn kubectl(lab: &Lab, node: &str, words: &[&str]) -> String {
    let file = lab.path(&format!("{node}.kubeconfig"));
    let config = lab.run(["kubeconfig", "inventory.toml", "--node", node]);
    fs::write(&file, config.exits(0).stdout).unwrap();
    let output = Command::new("kubectl")
        .arg("--kubeconfig")
        .arg(&file)
        .args(["--request-timeout=30s", "-n", "default"])
        .args(words)
        .output()
        .unwrap();
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{words:?} on {node}: {complaint}");
    String::from_utf8(output.stdout).unwrap()
}

/// That every server reads the Secret from before.
#[track_caller]
fn reads_the_old(lab: &Lab) {
    for node in NODES {
        let words = ["get", "secret", OLD, "-o", "jsonpath={.data.word}"];
        assert_eq!(kubectl(lab, node, &words), "aGVsbG8=", "{node}");
    }
}

/// A moment on the clock that all nodes share, in seconds.
fn now(bed: &Bed) -> f64 {
    bed.on("node1", "date +%s.%N").parse().unwrap()
}

/// That since a moment no unit was down on two nodes at once, by systemd's own journal, and which
/// of them were down at all.
#[track_caller]
fn one_at_a_time(bed: &Bed, since: f64) -> Vec<(&'static str, usize)> {
    let mut all = Vec::new();
    for unit in UNITS {
        let mut down: Vec<(f64, f64, &str)> = Vec::new();
        for node in NODES {
            let ask = format!(
                "journalctl -b -o short-unix --since=@{since:.0} -u {unit}.service _PID=1 \
                 | grep -E 'Stopping|Started' || :"
            );
            let mut stopped = None;
            for line in bed.on(node, &ask).lines() {
                let (moment, rest) = line.trim().split_once(' ').unwrap();
                let moment: f64 = moment.parse().unwrap();
                if rest.contains("Stopping") {
                    stopped = Some(moment);
                } else if let Some(begun) = stopped.take() {
                    down.push((begun, moment, node));
                }
            }
            assert_eq!(stopped, None, "{unit} on {node} did not come back");
        }
        down.sort_by(|one, other| one.0.total_cmp(&other.0));
        for pair in down.windows(2) {
            let ((_, back, one), (gone, _, other)) = (pair[0], pair[1]);
            assert!(back <= gone, "{unit}: {other} went while {one} was down");
        }
        all.push((unit, down.len()));
    }
    all
}

/// A healthy cluster in which everything can be renewed.
fn lives(test: &str, more: &str, make: impl FnOnce(&Lab, &[String])) -> Option<(Bed, Lab)> {
    let servers = servers(test)?;
    let mut bed = Bed::take(test)?;
    let lab = site(&mut bed, &servers, more);
    let addresses = NODES.map(|node| bed.address(node));
    make(&lab, &addresses);
    let pushed = lab.run(PUSH).exits(0);
    is_well(&lab);
    let word = "--from-literal=word=hello";
    kubectl(&lab, "node1", &["create", "secret", "generic", OLD, word]);
    reads_the_old(&lab);
    let since = now(&bed);
    let renewed = lab.run(["certs", "renew", "inventory.toml"]).exits(0);
    let down = one_at_a_time(&bed, since);
    assert!(down.iter().all(|(_, count)| *count >= 3), "{down:?}");
    reads_the_old(&lab);
    is_well(&lab);
    println!(
        "{test}: Kubernetes {}: pushed in {:.0} s, all certificates renewed in {:.0} s; restarted, \
         one node at a time: {down:?}",
        servers.1, pushed.seconds, renewed.seconds
    );
    Some((bed, lab))
}

fn nothing(_: &Lab, _: &[String]) {}

#[test]
fn genuine_with_one_authority_is_renewed_and_its_key_rotated() {
    let test = "genuine_with_one_authority_is_renewed_and_its_key_rotated";
    let Some((bed, lab)) = lives(test, "", nothing) else {
        return;
    };
    let since = now(&bed);
    let rotated = lab.run(["encryption", "rotate", "inventory.toml"]).exits(0);
    let down = one_at_a_time(&bed, since);
    reads_the_old(&lab);
    let status = lab.run(["encryption", "status", "inventory.toml"]).exits(0);
    let status = status.prints("k8s:enc:aescbc:v1:key2:");
    assert!(!status.stdout.contains(":key1:"), "{status}");
    println!("{test}: rotated in {:.0} s: {down:?}", rotated.seconds);
}

#[test]
fn genuine_with_kubeadms_authorities_is_renewed() {
    let test = "genuine_with_kubeadms_authorities_is_renewed";
    lives(test, "\n[pki]\nauthorities = \"kubeadm\"\n", nothing);
}

#[test]
fn genuine_with_an_authority_for_each_set_and_users_of_etcd_is_renewed() {
    let test = "genuine_with_an_authority_for_each_set_and_users_of_etcd_is_renewed";
    let more = "\n[pki]\nauthorities = \"separate\"\n\n\
                [etcd]\nauth = true\nuser = \"kube-apiserver-{node}\"\nprefix = \"/k8s\"\n";
    let Some((bed, lab)) = lives(test, more, nothing) else {
        return;
    };
    let keys = format!("{ETCDCTL} get / --prefix --keys-only");
    let keys = bed.on("node2", &keys);
    let outside = keys
        .lines()
        .filter(|key| !key.is_empty() && !key.starts_with("/k8s/"));
    assert_eq!(outside.count(), 0, "{keys}");
    let status = lab.run(["encryption", "status", "inventory.toml"]).exits(0);
    let status = status.prints("k8s:enc:aescbc:v1:key1:");
    println!("{test}: {}", status.stdout.replace('\n', "; "));
}

/// The files of the two guides that have cfssl make them; the shorter stops after `kube-proxy`.
fn cfssl(directory: &Path, addresses: &[String], is_long: bool) {
    fs::create_dir_all(directory).unwrap();
    let config = r#"{"signing":{"default":{"expiry":"8760h"},"profiles":{"kubernetes":{"usages":
        ["signing","key encipherment","server auth","client auth"],"expiry":"8760h"}}}}"#;
    fs::write(directory.join("config.json"), config).unwrap();
    let run = |name: &str, subject: (&str, &str), hosts: &str, is_authority: bool| {
        let (name_of, organization) = subject;
        let request = format!(
            r#"{{"CN":"{name_of}","key":{{"algo":"rsa","size":2048}},"names":[{{"O":"{organization}"}}]}}"#
        );
        fs::write(directory.join("request.json"), request).unwrap();
        let sign = "cfssl gencert -loglevel=5 -ca=ca.pem -ca-key=ca-key.pem -config=config.json \
                    -profile=kubernetes";
        let hosts = if hosts.is_empty() {
            String::new()
        } else {
            format!("-hostname={hosts}")
        };
        let make = if is_authority {
            "cfssl gencert -initca".to_owned()
        } else {
            format!("{sign} {hosts}")
        };
        let line = format!("{make} request.json | cfssljson -bare {name} && rm request.json");
        let output = Command::new("sh")
            .args(["-c", &line])
            .current_dir(directory)
            .output()
            .unwrap();
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        assert!(directory.join(format!("{name}.pem")).exists(), "{name}");
    };
    let hosts = format!(
        "{},127.0.0.1,10.32.0.1,kubernetes,kubernetes.default,kubernetes.default.svc,\
         kubernetes.default.svc.cluster.local,{}",
        addresses.join(","),
        NODES.join(",")
    );
    run("ca", ("kubernetes", "k8s"), "", true);
    run("kubernetes", ("kubernetes", "k8s"), &hosts, false);
    run("admin", ("admin", "system:masters"), "", false);
    run("kube-proxy", ("system:kube-proxy", "k8s"), "", false);
    if is_long {
        for name in ["kube-scheduler", "kube-controller-manager"] {
            let user = format!("system:{name}");
            run(name, (&user, &user), "", false);
        }
        run(
            "service-account",
            ("service-accounts", "Kubernetes"),
            "",
            false,
        );
    }
}

#[test]
fn genuine_from_the_eight_files_of_cfssl_is_renewed() {
    let test = "genuine_from_the_eight_files_of_cfssl_is_renewed";
    let make = |lab: &Lab, addresses: &[String]| cfssl(&lab.path("theirs"), addresses, false);
    lives(
        test,
        "\n[pki]\nfrom = \"directory\"\ndir = \"theirs\"\n",
        make,
    );
}

#[test]
fn genuine_from_the_long_list_of_cfssl_is_renewed() {
    let test = "genuine_from_the_long_list_of_cfssl_is_renewed";
    let make = |lab: &Lab, addresses: &[String]| cfssl(&lab.path("theirs"), addresses, true);
    lives(
        test,
        "\n[pki]\nfrom = \"directory\"\ndir = \"theirs\"\n",
        make,
    );
}
