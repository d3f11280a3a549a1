//! What befalls a push.

use std::fmt;
use std::path::Path;
use std::thread::sleep;
use std::time::Duration;

use fs_err as fs;

use crate::bed::{Bed, NODES};
use crate::lab::Going;

/// How long after an action began something happens to it, in milliseconds: points take turns.
const MOMENTS: [u64; 6] = [0, 20, 60, 150, 400, 900];
/// How long a push goes on with a cable cut before it is killed, in milliseconds.
const CUT_MILLISECONDS: u64 = 800;
/// Of so many pushes with a cable cut, one is left to notice it by itself, which takes half a minute.
const NOTICES_EVERY: usize = 15;

/// What befalls a push.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    /// kinstall is killed.
    Kill,
    /// The node's cable is cut.
    Cut,
    /// The node loses its power.
    Power,
    /// The node's disk is full.
    Disk,
}

impl Fault {
    /// All of them; those that change how nodes' disks are mounted come last.
    pub(super) const ALL: [Self; 4] = [Self::Kill, Self::Cut, Self::Power, Self::Disk];

    /// Has it befall a push that is held before an action of this number on this node, and brings
    /// node and cable back.
    pub(super) fn strike(self, bed: &Bed, room: &Path, number: usize, node: &str, going: Going) {
        let go = || fs::write(room.join("go"), "").unwrap();
        let moment = Duration::from_millis(MOMENTS[number % MOMENTS.len()]);
        match self {
            Self::Kill => {
                go();
                sleep(moment);
                going.signal("KILL");
                going.finish();
            }
            Self::Cut => {
                bed.nodes(&format!("cut {node}"));
                go();
                if !number.is_multiple_of(NOTICES_EVERY) {
                    sleep(Duration::from_millis(CUT_MILLISECONDS));
                    going.signal("KILL");
                }
                going.finish();
                bed.nodes(&format!("heal {node}"));
            }
            Self::Power => {
                // A push that has gone on to the next node may have a member away there, and the
                // one that goes with the power is not its doing.
                fs::write(room.join("hold"), "").unwrap();
                go();
                sleep(moment);
                bed.nodes(&format!("kill {node}"));
                going.signal("KILL");
                going.finish();
                bed.nodes(&format!("start {node}"));
            }
            Self::Disk => {
                bed.on(node, FILL);
                go();
                going.finish();
                bed.on(node, "rm /small/fill");
            }
        }
    }
}

/// Takes the last byte.
const FILL: &str = "dd if=/dev/zero of=/small/fill bs=64k 2>/dev/null; \
    dd if=/dev/zero bs=1 count=65536 2>/dev/null >>/small/fill; true";

/// Puts everything that a push writes onto a small disk, on each node.
pub(super) fn shrink_disks(bed: &Bed) {
    let script = "set -e
        mountpoint -q /small && exit
        mkdir -p /small
        mount -t tmpfs -o size=700m tmpfs /small
        for place in /var/lib/kinstall /usr/local/bin /etc/k8s /etc/etcd /etc/systemd/system; do
            mkdir -p /small$place
            cp -a $place/. /small$place/
            mount --bind /small$place $place
        done
        free=$(df -Pk /small | awk 'NR == 2 { print $4 }')
        head -c $(((free - 150 * 1024) * 1024)) /dev/zero >/small/ballast";
    std::thread::scope(|scope| {
        for node in NODES {
            scope.spawn(move || bed.on(node, script));
        }
    });
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Kill => "kinstall killed",
            Self::Cut => "cable cut",
            Self::Power => "power lost",
            Self::Disk => "disk full",
        })
    }
}
