//! Promises about who leads the controllers after a push.

use crate::api::Api;
use crate::bed::{Bed, PUSH};
use crate::lab::{Lab, Output};

const LEASE: &str = "/apis/coordination.k8s.io/v1/namespaces/kube-system/leases/kube-scheduler";

#[test]
fn a_push_ends_when_the_controllers_that_it_restarted_are_led_again() {
    let name = "a_push_ends_when_the_controllers_that_it_restarted_are_led_again";
    let Some(mut bed) = Bed::take(name) else {
        return;
    };
    let lab = bed.pushed();
    let flags =
        |v: u32| format!("[component.kube-scheduler]\nflags = {{ v = {v} }}\n\n[rollout]\n");
    lab.edit("[rollout]\n", &flags(3));
    let pushed = lab.run(PUSH).exits(0);
    assert!(!pushed.stderr.contains("kube-controller-manager: led by"));
    pushed.says("kube-scheduler: led by node");

    // Somebody who is gone without a word holds the lease: nobody takes it for 15 s, and it says so.
    let api = Api::of(&bed, &lab);
    lab.edit("ready-seconds = 30", "ready-seconds = 5");
    lab.edit("stable-seconds = 1", "stable-seconds = 0");
    lab.edit("v = 3", "v = 4");
    let waited = haunted(&lab, &api, 15)
        .exits(0)
        .says("kube-scheduler: led by node");
    assert!(waited.seconds > 10.0, "{waited}");
    // It says that it has run out long ago, and still nobody takes it.
    lab.edit("v = 4", "v = 5");
    haunted(&lab, &api, 1)
        .exits(1)
        .says("`kube-scheduler.service` has no leader: its Lease has not been renewed yet");
    lab.edit("ready-seconds = 5", "ready-seconds = 30");
    lab.run(PUSH).exits(0);
    lab.run(["status", "inventory.toml"]).exits(0);
    bed.leave(lab);
}

/// A push in the midst of which a ghost takes the lease for so many seconds.
fn haunted(lab: &Lab, api: &Api, seconds: u32) -> Output {
    let mut going = lab.start(PUSH);
    going.wait_for("controllers:");
    let mut taken = false;
    for _ in 0..20 {
        let lease = api.get(0, LEASE).unwrap();
        let mut lease: serde_json::Value = serde_json::from_str(&lease).unwrap();
        lease["spec"]["holderIdentity"] = "ghost".into();
        lease["spec"]["leaseDurationSeconds"] = seconds.into();
        // Whoever renewed it meanwhile was faster.
        taken = taken || api.put(0, LEASE, &lease.to_string()).is_ok();
    }
    assert!(taken);
    going.finish()
}
