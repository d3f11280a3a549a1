//! Promises about the CIS benchmark.

use crate::bed::Bed;
use crate::lab::Lab;

const CIS: [&str; 3] = ["check", "inventory.toml", "--cis"];
const OFFLINE: [&str; 4] = ["check", "inventory.toml", "--cis", "--offline"];

#[test]
fn what_would_be_installed_is_scored_without_any_node() {
    let lab = Lab::new();
    let passed = lab.run(OFFLINE).exits(0);
    passed
        .prints("1.2 kube-apiserver: 26 pass, 0 fail, 4 manual, 0 not applicable")
        .prints("no kubelet is to run here")
        .prints("0 fail,");
    lab.edit(
        "audit-log-maxage = 60",
        "audit-log-maxage = 7, profiling = true",
    );
    let failed = lab.run(OFFLINE).exits(3);
    failed
        .prints("`--audit-log-maxage=7`: set `audit-log-maxage` to 30 or more")
        .prints("`--profiling=true`: set `profiling` to `false`");
    let mut words = OFFLINE.to_vec();
    words.push("--json");
    let json = lab.run(words).exits(3).json();
    assert_eq!(json["total"]["fail"], 2);
    assert_eq!(json["checks"].as_array().unwrap().len(), 97);
    let failed = json["checks"].as_array().unwrap().iter();
    let failed = failed.filter(|check| check["status"] == "fail");
    let ids: Vec<_> = failed.map(|check| check["id"].as_str().unwrap()).collect();
    assert_eq!(ids, ["1.2.15", "1.2.17"]);
    lab.edit(
        "audit-log-maxage = 7, profiling = true",
        "audit-log-maxage = 30",
    );
    let drop_in = lab.path("templates/etcd.service.d/open.conf");
    fs_err::create_dir_all(drop_in.parent().unwrap()).unwrap();
    fs_err::write(&drop_in, "[Service]\nStateDirectoryMode=0755\n").unwrap();
    lab.run(OFFLINE)
        .exits(3)
        .prints("`/var/lib/etcd` is 0755, 0700 is the most");
}

#[test]
fn what_lies_on_the_nodes_is_scored_too() {
    let Some(mut bed) = Bed::take("what_lies_on_the_nodes_is_scored_too") else {
        return;
    };
    let lab = bed.pushed();
    let passed = lab.run(CIS).exits(0);
    passed.prints("0 fail,").never_says("rendered:");
    bed.on(
        "node2",
        "chmod 0755 /var/lib/etcd; chmod 0640 /etc/systemd/system/etcd.service",
    );
    lab.run(CIS)
        .exits(3)
        .prints("installed: fail: `/var/lib/etcd` is 0755, 0700 is the most")
        .prints("installed: fail: `/etc/systemd/system/etcd.service` is 0640")
        .prints("(node2)")
        .prints("2 fail,");
    bed.on("node2", "chmod 0700 /var/lib/etcd");
    lab.run(["push", "inventory.toml"]).exits(0);
    lab.run(CIS).exits(0);
    bed.leave(lab);
}
