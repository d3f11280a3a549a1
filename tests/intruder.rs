//! Promises about units of kinstall's in which something else runs than its program: `status` and
//! `plan` say what, and since when; a push puts the program back.

use crate::bed::{Bed, PUSH, is_well};
use crate::lab::Lab;

const STATUS: [&str; 2] = ["status", "inventory.toml"];
const PLAN: [&str; 2] = ["plan", "inventory.toml"];
const PROGRAM: &str = "/usr/local/bin/kube-scheduler-v";

/// Status and plan both say so, and a push restarts that unit alone.
#[track_caller]
fn told_and_restarted(bed: &Bed, lab: &Lab, said: &str) {
    let name = "kube-scheduler";
    lab.run(STATUS)
        .exits(3)
        .prints(&format!("runs `{said}"))
        .prints("something needs a look");
    lab.run(PLAN)
        .exits(3)
        .prints(&format!("! {name}.service: restart, it runs `{said}"));
    let others = ["etcd", "kube-apiserver"].map(|unit| bed.started("node1", unit));
    let before = bed.started("node1", name);
    lab.run(PUSH).exits(0);
    assert_ne!(bed.started("node1", name), before);
    let after = ["etcd", "kube-apiserver"].map(|unit| bed.started("node1", unit));
    assert_eq!(others, after);
    is_well(lab);
}

#[test]
fn another_program_in_a_unit_is_told_and_put_back() {
    let Some(mut bed) = Bed::take("another_program_in_a_unit_is_told_and_put_back") else {
        return;
    };
    drop(bed.fresh());
    let lab = bed.lab_named("intruder", &["node1"]);
    lab.run(PUSH).exits(0);
    is_well(&lab);

    // By a drop-in, which is in the way until somebody says that it may go.
    let place = "/etc/systemd/system/kube-scheduler.service.d";
    let drop_in = format!(
        "mkdir -p {place}
        printf '[Service]\\nExecStart=\\nExecStart=/usr/bin/sleep 3000\\n' >{place}/override.conf
        systemctl daemon-reload && systemctl restart kube-scheduler"
    );
    bed.on("node1", &drop_in);
    let json = lab.run([&STATUS[..], &["--json"]].concat()).exits(3).json();
    let units = json["nodes"][0]["units"].as_array().unwrap();
    let of = |name: &str| units.iter().find(|it| it["unit"] == name).unwrap();
    let told = of("kube-scheduler.service")["intruder"].as_str().unwrap();
    assert!(told.starts_with("runs `/usr/bin/sleep` since "), "{told}");
    assert!(told.contains(&format!("and not `{PROGRAM}")), "{told}");
    assert!(of("etcd.service")["intruder"].is_null());
    lab.run(PLAN)
        .exits(3)
        .prints("kube-scheduler.service: runs `/usr/bin/sleep` since ")
        .prints("home: nothing to do");
    lab.run(PUSH).exits(3).says("nothing was changed");

    // The drop-in is gone, and nobody restarted what it had started.
    bed.on(
        "node1",
        &format!("rm -r {place} && systemctl daemon-reload"),
    );
    told_and_restarted(&bed, &lab, "/usr/bin/sleep` since ");

    // The file of the process was moved away, and one like it put in its place.
    let file = "cd /usr/local/bin && file=$(readlink -f kube-scheduler)";
    bed.on(
        "node1",
        &format!("{file} && mv $file /root/former && cp -p /root/former $file"),
    );
    told_and_restarted(&bed, &lab, "/root/former` since ");
    bed.on(
        "node1",
        &format!("{file} && cp -p $file new && mv new $file && rm /root/former"),
    );
    told_and_restarted(&bed, &lab, PROGRAM);

    // The unit file itself starts it: told beside the change that a push takes back.
    bed.on(
        "node1",
        "cd /etc/systemd/system && sed -i 's|^ExecStart=.*|ExecStart=/usr/bin/sleep 3000|; /^    /d' kube-scheduler.service
        systemctl daemon-reload && systemctl restart kube-scheduler",
    );
    lab.run(STATUS)
        .exits(3)
        .prints("runs `/usr/bin/sleep` since ");
    lab.run(PLAN)
        .exits(3)
        .prints("kube-scheduler.service changes; it runs `/usr/bin/sleep` since ");
    lab.run(PUSH).exits(0);
    is_well(&lab);
}
