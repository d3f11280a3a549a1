//! Answers of a node, hurt at random: what its scripts print, what it has on record, and what etcd
//! and its journal tell. Whoever is root there can say anything.

use std::collections::BTreeSet;

use super::{Random, run};
use crate::apply::LockAnswer;
use crate::diff;
use crate::etcd_users::Wanted;
use crate::journal;
use crate::manifest::Manifest;
use crate::manifest::compose::fixture::{Fixture, manifest};
use crate::membership;
use crate::plain;
use crate::plan::{View, generation};
use crate::snapshot::{Format, Recorded, Snapshot};

/// What has a meaning in these answers, or is at the edge of one.
const TELLING: [&str; 20] = [
    "18446744073709551615",
    "-9223372036854775808",
    "99999999999999999999",
    "0",
    "1e999",
    "\n",
    "\nend\n",
    " ",
    "\"",
    "\\u0000",
    "{",
    "}",
    "[[[[[[[[",
    "null",
    "../",
    "./etc/",
    "\u{1b}[2J",
    "é",
    "\u{202e}",
    "recorded ",
];
/// The most places in which one is hurt.
const WOUNDS_MAX: u64 = 4;

/// Puts telling words into a text, in the place of others, takes pieces out, and says them again.
pub(super) fn hurt(text: &str, random: &mut Random) -> String {
    let mut bytes = text.as_bytes().to_vec();
    for _ in 0..=random.below(WOUNDS_MAX) {
        let at = random.index(bytes.len());
        let span = [0, 1, 3, 17, 200][random.index(5)].min(bytes.len() - at);
        let word = TELLING[random.index(TELLING.len())].as_bytes();
        match random.below(6) {
            0 => bytes.truncate(at),
            1 => drop(bytes.drain(at..at + span)),
            2 if !bytes.is_empty() => bytes[at] ^= 1 << random.below(8),
            3 => {
                let copy = bytes[at..at + span].to_vec();
                let to = random.index(bytes.len());
                bytes.splice(to..to, copy);
            }
            _ => drop(bytes.splice(at..at + span, word.iter().copied())),
        }
    }
    // As the connection reads it.
    String::from_utf8_lossy(&bytes).into_owned()
}

/// A manifest of few entries, so that wounds are near each other.
fn small() -> Manifest {
    let desired = Fixture::new(1, "1.32.3", "3.5.21").composed();
    let mut small = manifest(&desired, "az1").clone();
    let kept: Vec<_> = small.entries.keys().step_by(25).cloned().collect();
    small.entries.retain(|path, _| kept.contains(path));
    let unit = small.units.keys().next().cloned();
    small.units.retain(|name, _| Some(name) == unit.as_ref());
    small
}

fn entry() -> journal::Entry {
    let line = r#"{"run":"20261121T225930Z-7","at":1795000000,"who":"ops@desk","from":"/home/ops/inventory.toml","inventory":"e3b0","command":"push","kubernetes":"1.32.3","etcd":"3.5.21","nodes":["node1"],"changes":{"node1":{"entries":3,"units":["etcd.service"],"before":2},"node2":{"entries":1,"units":[]}},"outcome":"done"}"#;
    journal::Entry::all(line).remove(0)
}

#[test]
fn no_answer_of_a_node_is_too_hostile() {
    let small = small();
    let recorded = Recorded {
        format: Format::default(),
        generation: 2,
        manifest: small.clone(),
        retired: small.entries.clone(),
    };
    let digest = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    let observed = format!(
        "kinstall-observe 1\nturning\ndpkg arm64\nkernel aarch64\nelf 7f454c4602010100\nsystemd 252\nzstd\nfree 10\n\
         entry ./etc/a f 600 root root 0 1700000000.5 1700000001.5 7 ?\n\
         entry ./var/lib/kinstall/store/{digest} f 600 root root 0 1.5 1.5 7 {digest}\n\
         entry ./etc/c l 777 root root 5 1700000000.5 1700000001.5 9 b c\nhash ./etc/a {digest}\n\
         show etcd.service ActiveState=active\nshow etcd.service MainPID=12\nshow etcd.service NRestarts=1\n\
         program etcd.service /usr/local/bin/etcd (deleted)\ninstead etcd.service /usr/local/bin/etcd\nwanted etcd.service\napplied etcd.service abc\n\
         users role {{\"perm\":[{{\"permType\":2,\"key\":\"L2s4cy8=\",\"range_end\":\"L2s4czA=\"}}]}}\nusers asks\n\
         users of root {{\"roles\":[\"root\"]}}\nusers of kube-apiserver {{\"roles\":[\"k8s\"]}}\nusers told 2\n\
         recorded {}\nbegun {}\nran {}\noutcome reverted 1795000000 etcd.service\nversion 12-34\nend\n",
        serde_json::to_string(&recorded).unwrap(),
        serde_json::to_string(&small.entries).unwrap(),
        entry().json(),
    );
    let users = ["kube-apiserver".to_owned()].into();
    let wanted = Wanted {
        admin: "root",
        role: "k8s",
        prefix: "/k8s",
        users: &users,
    };
    let sound = Snapshot::parse(&observed).unwrap().users.missing(wanted);
    assert_eq!(sound.map_or(0, |missing| missing.len()), 1);
    run(|random| {
        let answer = hurt(&observed, random);
        match Snapshot::parse(&answer) {
            Ok(snapshot) => {
                let difference = diff::between(&small, &snapshot);
                let view = View {
                    manifest: &small,
                    snapshot: &snapshot,
                    difference: &difference,
                    leads: false,
                    retired: &BTreeSet::new(),
                };
                _ = generation(&view);
                assert!(snapshot.ours().len() <= answer.len());
                _ = snapshot.users.missing(wanted);
                if let Some(ran) = &snapshot.ran {
                    assert!(plain::is_plain(&plain::line(&ran.text())));
                }
            }
            Err(error) => assert!(plain::is_plain(&plain::lines(&error.to_string()))),
        }
    });
}

#[test]
fn no_word_of_a_node_is_too_hostile() {
    let members = "members {\"header\":{\"cluster_id\":17237436991929493444,\"member_id\":14720799474854129801},\"members\":[\
        {\"ID\":7760637309661353028,\"peerURLs\":[\"http://b:2380\"],\"isLearner\":true},\
        {\"ID\":14720799474854129801,\"name\":\"a\",\"peerURLs\":[\"http://a:2380\"],\"clientURLs\":[\"http://a:2379\"]}]}\n\
        health [{\"endpoint\":\"http://a:2379\",\"health\":true,\"took\":\"1ms\"}]\n";
    let journal = format!("{}\n{}\n", entry().json(), entry().json());
    let locks = [
        "locked 12-34",
        "locked 12-34 broke ops@desk since 18:02",
        "held ops@desk since 18:02",
    ];
    run(|random| {
        _ = membership::from_etcdctl(&hurt(members, random)).map(|members| members.len());
        for entry in journal::Entry::all(&hurt(&journal, random)) {
            assert!(plain::is_plain(&plain::line(&entry.text())));
        }
        let line = hurt(locks[random.index(locks.len())], random);
        let answer = LockAnswer::read(&line);
        assert!(answer.broke.len() <= line.len());
    });
}
