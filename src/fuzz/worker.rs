//! What a machine that is to run Pods tells of itself, hurt at random, up to what is found wrong with it.

use std::collections::{BTreeMap, BTreeSet};

use super::answers::hurt;
use super::run;
use crate::diff;
use crate::inventory::NodeName;
use crate::manifest::compose::fixture::Fixture;
use crate::plain;
use crate::plan::View;
use crate::preflight::Look;
use crate::snapshot::Snapshot;

/// The most bytes of one finding: 4000 characters of four, and a sign that it is not all.
const FINDING_BYTES_MAX: usize = 16_003;

const TOLD: &str = "kinstall-observe 1
dpkg arm64
kernel aarch64
systemd 252
free 10
machine id 0123 4567 pid:[1]
machine clock 1795897268.073666436
machine state running
machine address 127.0.0.0/8
machine address 10.0.0.2/32
machine address6 fd000000000000000000000000000002
machine network 0000000A 00FFFFFF 1500
machine network6 fd000000000000000000000000000000 40 1500
machine foreign 4
machine listens 0100007F:2802 7
machine lies /usr/local/bin ./usr/local/bin
machine lies /var/lib/kinstall ./var/lib
machine lies /etc/systemd/system ./etc
machine mount ./usr/local/bin 1 8:1 ro,noexec
machine mount ./var/lib 3 8:3 rw,rw
machine room ./usr/local/bin 4096 1000000 5 5 1000 9
machine room ./var/lib 4096 1000000 5 5 1000 9
machine fixed ./etc
machine link /var/lib/etcd /mnt/etcd
machine worker name other
machine worker cgroup v1
machine worker controller cpu,cpuacct
machine worker swap /dev/sda2
machine worker has iptables
machine worker module overlay
machine worker nameserver 127.0.0.53
machine worker resolved 1
machine worker forwards DROP
machine worker runs dhcpcd
machine worker runs k3s-server
machine worker spares 1
machine worker cni /etc/cni/net.d/10-other.conf
machine worker leftover /etc/kubernetes/kubelet.conf
version 12-34
end
";

#[test]
fn no_word_of_a_worker_is_too_hostile() {
    let fixture = Fixture::of(
        "[cluster]\nname = \"home\"\nkubernetes = \"1.32.3\"\n\
         [[node]]\nname = \"a\"\naddress = \"10.0.0.1\"\n\
         [[node]]\nname = \"w\"\naddress = \"10.0.0.2\"\nroles = [\"worker\"]\n",
    );
    let desired = fixture.composed();
    let name: NodeName = "w".parse().unwrap();
    let manifest = &desired.manifests[&name];
    let retired = BTreeSet::new();
    let found = |answer: &str| {
        let snapshot = Snapshot::parse(answer).ok()?;
        let difference = diff::between(manifest, &snapshot);
        let view = View {
            manifest,
            snapshot: &snapshot,
            difference: &difference,
            leads: false,
            retired: &retired,
        };
        let look = Look {
            inventory: &fixture.inventory,
            desired: &desired,
            views: &BTreeMap::from([(name.clone(), view)]),
            holders: BTreeMap::new(),
        };
        Some(look.findings())
    };
    assert!(found(TOLD).unwrap().len() > 8);
    run(|random| {
        for finding in found(&hurt(TOLD, random)).into_iter().flatten() {
            assert!(finding.text.len() <= FINDING_BYTES_MAX, "{finding:?}");
            assert!(plain::is_plain(&plain::line(&finding.text)));
        }
    });
}
