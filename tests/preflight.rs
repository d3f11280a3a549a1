//! Promises of the first look: what a node lacks for a run is told by plan and push alike, with what
//! mends it, before anything is staged; and a node on which nothing is to be done is asked nothing.

use crate::bed::{Bed, PUSH};
use crate::lab::Lab;

/// What a run that was refused must not have made.
const UNTOUCHED: &str = "ls -d /etc/k8s /etc/sysusers.d/kinstall.conf /etc/systemd/system/etcd.service \
    /var/lib/kinstall/store /usr/local/bin/etcd 2>/dev/null || :";

/// One node, and what is wrong with it for a moment.
struct Case<'a> {
    bed: &'a Bed,
    node: &'a str,
    lab: &'a Lab,
}

impl Case<'_> {
    /// Plan and push end with this code and these words after a script was run on the node, which
    /// another one undoes.
    #[track_caller]
    fn refused(&self, spoil: &str, mend: &str, code: i32, says: &[&str]) {
        self.bed.on(self.node, spoil);
        for command in ["plan", "push"] {
            let mut output = self.lab.run([command, "inventory.toml"]).exits(code);
            for words in says {
                output = output.says(words);
            }
        }
        self.bed.on(self.node, mend);
        assert_eq!(self.bed.on(self.node, UNTOUCHED), "");
    }
}

#[test]
fn what_a_node_lacks_is_told_before_anything_is_staged() {
    let Some(bed) = Bed::take("what_a_node_lacks_is_told_before_anything_is_staged") else {
        return;
    };
    let node = &bed.special(8, "");
    let lab = &bed.lab(&[node]);
    lab.run(["fetch", "inventory.toml"]).exits(0);
    let case = Case {
        bed: &bed,
        node,
        lab,
    };
    let bind = "mount --bind /usr/local /usr/local && mount -o remount,bind";
    case.refused(
        &format!("{bind},ro /usr/local"),
        "umount /usr/local",
        1,
        &[
            "node8: `/usr/local/bin` cannot be written",
            "`findmnt -T /usr/local/bin` on the node tells",
        ],
    );
    case.refused(
        &format!("{bind},noexec /usr/local"),
        "umount /usr/local",
        1,
        &["node8: `/usr/local/bin` is mounted `noexec`"],
    );
    case.refused(
        "mount -t tmpfs -o size=64k tmpfs /usr/local",
        "umount /usr/local",
        1,
        &["node8: `/usr/local/bin` has 0 MB free and", "make room"],
    );
    // All at once, each with the process that holds the port.
    case.refused(
        "systemd-run -q --unit=squatter /usr/sbin/sshd -D -p 2380 -p 6443
         for i in $(seq 100); do [ -z \"$(ss -ltnH 'sport = :6443')\" ] || exit 0; sleep 0.1; done; exit 1",
        "systemctl stop squatter",
        1,
        &[
            "node8: etcd is to listen on",
            "of `squatter.service`) listens on 0.0.0.0:2380",
            "node8: kube-apiserver is to listen on 0.0.0.0:6443, and `sshd`",
            "`systemctl disable --now squatter.service`",
        ],
    );
    case.refused(
        "mkdir -p /mnt/etcd && ln -s /mnt/etcd /etc/etcd",
        "rm /etc/etcd",
        1,
        &["node8: `/etc/etcd` is a link to `/mnt/etcd`, and a directory is wanted there"],
    );

    let address = bed.address(node);
    let (network, _) = address.rsplit_once('.').unwrap();
    let other = format!("{network}.251");
    let own = format!("address = \"{address}\"\n");
    let elsewhere = format!("address = \"{other}\"\n[node.ssh]\nhost = \"{node}\"\n");
    lab.edit(&own, &elsewhere);
    let says = [
        &*format!("node8: etcd is to listen on `{other}`, which is on no interface of it"),
        &*format!("it has `{address}`"),
    ];
    case.refused("true", "true", 1, &says);

    let second =
        format!("{own}[[node]]\nname = \"nodeb\"\nroles = [\"control-plane\"]\n{elsewhere}");
    lab.edit(&elsewhere, &second);
    let device = "$(ip -o -4 addr show scope global | awk '{ print $2; exit }')";
    case.refused(
        &format!("ip addr add {other}/24 dev {device}"),
        &format!("ip addr del {other}/24 dev {device}"),
        2,
        &["nodeb: node8 and nodeb are one machine"],
    );
    lab.edit(&second, &own);

    clocks(&case);

    // Data on a disk of their own are right, and so is whatever no run will touch.
    bed.on(
        node,
        "mkdir -p /mnt/ssd/etcd && ln -s /mnt/ssd/etcd /var/lib/etcd",
    );
    lab.run(PUSH)
        .exits(1)
        .says("node8: `/var/lib/etcd` is a link to `/mnt/ssd/etcd`, and systemd wants a directory");
    bed.on(
        node,
        "rm /var/lib/etcd && mkdir /var/lib/etcd && mount --bind /mnt/ssd/etcd /var/lib/etcd",
    );
    lab.run(PUSH).exits(0).says("done: 1 node changed");
    bed.on(node, &format!("{bind},ro /usr/local"));
    lab.run(PUSH).exits(0).says("nothing to do");
    bed.on(node, "umount /usr/local");
}

/// What a clock of the node's own says is told; one that the certificates do not fit is refused.
fn clocks(case: &Case<'_>) {
    // Test nodes have the clock of this machine: one of its own stands before `date`.
    let off = |seconds: &str| {
        format!(
            "cp /usr/bin/date /root/date
            printf '#!/bin/sh\\n[ \"$*\" = +%%s.%%N ] || exec /root/date \"$@\"\\necho $(($(/root/date +%%s) {seconds})).5\\n' >/root/off
            chmod 755 /root/off && mount --bind /root/off /usr/bin/date"
        )
    };
    let mend = "umount /usr/bin/date";
    case.refused(
        &off("- 172800"),
        mend,
        1,
        &[
            "node8: by its clock, at least 17",
            "is not valid yet",
            "`timedatectl set-ntp true`, or `date -s`",
        ],
    );
    case.bed.on(case.node, &off("+ 3600"));
    let plan = case.lab.run(["plan", "inventory.toml"]).exits(3);
    plan.says("node8: its clock is at least 3")
        .says("ahead of the one here");
    let json = case.lab.run(["plan", "inventory.toml", "--json"]).exits(3);
    let json = json.json();
    let mut warnings = json["warnings"].as_array().unwrap().iter();
    assert!(warnings.any(|it| it["name"] == "clock"), "{json}");
    case.bed.on(case.node, mend);
    assert_eq!(case.bed.on(case.node, UNTOUCHED), "");
}
