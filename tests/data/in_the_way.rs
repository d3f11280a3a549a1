//! Promises about units and drop-ins that somebody else made under the names of kinstall's: they
//! are told with what they do, and never stopped or removed without a word.

use crate::bed::{Bed, ETCDCTL, PUSH};

const PLAN: [&str; 2] = ["plan", "inventory.toml"];
const STATUS: [&str; 2] = ["status", "inventory.toml"];
const REPLACE: [&str; 3] = ["push", "inventory.toml", "--replace-unmanaged"];
const PID: &str = "systemctl show -P MainPID etcd";

#[test]
#[expect(clippy::too_many_lines, reason = "one push serves all of it")]
fn units_and_drop_ins_of_others_are_told_and_kept() {
    let Some(mut bed) = Bed::take("units_and_drop_ins_of_others_are_told_and_kept") else {
        return;
    };
    drop(bed.fresh());
    let lab = bed.lab_named("in-the-way", &["node1"]);
    lab.run(PUSH).exits(0);

    // What is dropped into all services is the machine's own policy.
    let drop_in = "/etc/systemd/system/kube-apiserver.service.d/override.conf";
    let other = "/run/systemd/system/kube-.service.d/other.conf";
    let script = format!(
        "cd /etc/systemd/system && mkdir -p service.d {} {}
        printf '[Service]\\nNice=1\\n' >service.d/all.conf
        printf '[Service]\\nMemoryDenyWriteExecute=no\\nEnvironment=A=hush\\n' >{drop_in}
        printf '[Service]\\nNice=7\\n' >{other}
        systemctl daemon-reload && systemctl restart kube-apiserver kube-scheduler",
        "kube-apiserver.service.d", "/run/systemd/system/kube-.service.d"
    );
    bed.on("node1", &script);
    let status = lab
        .run(STATUS)
        .exits(3)
        .prints(&format!(
            "drift {drop_in}: dropped into kube-apiserver.service by hand"
        ))
        .prints("+MemoryDenyWriteExecute=no")
        .prints(&format!("{other}: dropped into kube-scheduler.service"));
    assert!(!status.stdout.contains("hush"), "{status}");
    assert!(!status.stdout.contains("service.d/all.conf"), "{status}");
    lab.run(PLAN)
        .exits(3)
        .prints(&format!(
            "kube-apiserver.service: {drop_in}, drop-in by hand"
        ))
        .prints("+MemoryDenyWriteExecute=no")
        .prints("home: nothing to do");
    for more in [
        &[][..],
        &["--keep-drift"],
        &["--keep-drift", "--replace-unmanaged"],
    ] {
        lab.run([&PUSH[..], more].concat())
            .exits(3)
            .says(&format!("node1: {drop_in}"))
            .says("nothing was changed on any node");
    }
    assert_eq!(
        bed.on("node1", "systemctl show -P Nice kube-scheduler"),
        "7"
    );
    let etcd = bed.on("node1", PID);
    lab.run(REPLACE).exits(0);
    bed.on(
        "node1",
        &format!("test ! -e {drop_in} && test ! -e {other}"),
    );
    assert_eq!(
        bed.on("node1", "systemctl show -P Nice kube-scheduler"),
        "1"
    );
    assert_eq!(bed.on("node1", PID), etcd);
    lab.run(STATUS).exits(0);
    lab.run(PUSH).exits(0).says("home: nothing to do");

    // A distribution's own etcd, running with data.
    bed.on(
        "node1",
        "cp -L /usr/local/bin/etcd /usr/local/bin/etcdctl /usr/bin/",
    );
    lab.run(["uninstall", "inventory.toml", "--yes", "--data"])
        .exits(0);
    let theirs = "mkdir -p /var/lib/etcd/default
        printf '[Service]\\nType=notify\\nEnvironment=ETCD_DATA_DIR=/var/lib/etcd/default\\nExecStart=/usr/bin/etcd\\n[Install]\\nWantedBy=multi-user.target\\n' >/usr/lib/systemd/system/etcd.service
        systemctl daemon-reload && systemctl enable -q --now etcd
        ETCDCTL_API=3 /usr/bin/etcdctl put /theirs hello";
    bed.on("node1", theirs);
    let pid = bed.on("node1", PID);
    lab.run(PLAN)
        .exits(3)
        .prints("etcd.service: runs `/usr/bin/etcd` since ")
        .prints("lib/systemd/system/etcd.service`, data in `/var/lib/etcd/default`");
    lab.run(PUSH)
        .exits(3)
        .says("node1: etcd.service runs `/usr/bin/etcd` since ")
        .says("`--replace-unmanaged`");
    // A masked unit would not start, and nothing helps but to unmask it.
    bed.on("node1", "systemctl mask -q kube-scheduler");
    lab.run(REPLACE)
        .exits(3)
        .says("kube-scheduler.service is masked")
        .says("`systemctl unmask kube-scheduler.service`");
    bed.on("node1", "systemctl unmask -q kube-scheduler");
    assert_eq!(bed.on("node1", PID), pid);
    lab.run(REPLACE).exits(0);
    assert_eq!(bed.on("node1", &format!("{ETCDCTL} get /theirs")), "");
    bed.on("node1", "test -s /var/lib/etcd/default/member/snap/db");
    lab.run(STATUS).exits(0);
    lab.run(PUSH).exits(0).says("home: nothing to do");
    lab.run(["uninstall", "inventory.toml", "--yes", "--data"])
        .exits(0);
    bed.on("node1", "test -s /var/lib/etcd/default/member/snap/db");
}
