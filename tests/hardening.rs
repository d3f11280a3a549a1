//! Promises about the units on real nodes: little exposed, and keys that nobody else reads.

use crate::bed::{Bed, NODES};

/// The services, and the highest exposure that systemd may find, in tenths of its scale to 10.
const EXPOSURE_MAX: [(&str, u32); 4] = [
    ("etcd", 9),
    ("kube-apiserver", 11),
    ("kube-controller-manager", 11),
    ("kube-scheduler", 11),
];

#[test]
fn services_are_little_exposed() {
    let Some(mut bed) = Bed::take("services_are_little_exposed") else {
        return;
    };
    let lab = bed.pushed();
    for (service, max) in EXPOSURE_MAX {
        let ask =
            format!("systemd-analyze security --no-pager {service}.service 2>/dev/null | tail -1");
        let said = bed.on("node1", &ask);
        let level = said.split(": ").nth(1).unwrap();
        let level = level.split(' ').next().unwrap().replace('.', "");
        assert!(level.parse::<u32>().unwrap() <= max, "{said}");
    }
    bed.leave(lab);
}

#[test]
fn keys_are_read_by_their_owners_alone() {
    let Some(mut bed) = Bed::take("keys_are_read_by_their_owners_alone") else {
        return;
    };
    let lab = bed.pushed();
    let secrets = "find /etc/k8s /etc/etcd -name '*.key' -o -name '*.kubeconfig' \
                   -o -name encryption-config.yaml";
    for node in NODES {
        let count: u32 = bed.on(node, &format!("{secrets} | wc -l")).parse().unwrap();
        assert!(count >= 12, "{count} secrets");
        let read_by = |user: &str, group: &str| {
            let script = format!(
                "for file in $({secrets}); do setpriv --reuid {user} --regid {user} {group} \
                 cat $file >/dev/null 2>&1 && echo $file; done; true"
            );
            bed.on(node, &script)
        };
        assert_eq!(read_by("nobody", "--clear-groups"), "");
        for (service, _) in EXPOSURE_MAX {
            for file in read_by(service, "--init-groups").lines() {
                let shared = file == "/etc/k8s/shared/service-account.key"
                    && ["kube-apiserver", "kube-controller-manager"].contains(&service);
                let own = file.starts_with(&format!("/etc/k8s/{service}/"))
                    || service == "etcd" && file.starts_with("/etc/etcd/certs/");
                assert!(own || shared, "{service} reads {file}");
            }
        }
    }
    bed.leave(lab);
}

#[test]
fn etcd_talks_to_nobody_but_the_members() {
    let Some(mut bed) = Bed::take("etcd_talks_to_nobody_but_the_members") else {
        return;
    };
    let lab = bed.pushed();
    let show = "systemctl show etcd -p IPAddressAllow -p IPAddressDeny --value";
    let shown = bed.on("node1", show);
    let mut expected = vec!["127.0.0.0/8".to_owned(), "::1/128".to_owned()];
    expected.extend(NODES.map(|node| format!("{}/32", bed.address(node))));
    for network in &expected {
        assert!(shown.contains(network.as_str()), "{network}: {shown}");
    }
    assert!(
        shown.contains("0.0.0.0/0 ::/0") || shown.contains("::/0 0.0.0.0/0"),
        "{shown}"
    );
    bed.leave(lab);
}
