//! Promises about a cluster on which others come to sign while it runs: kinstall's own authorities made
//! again, a Vault in their place, another authority in that Vault, and back. Whoever reads always finds a
//! kube-apiserver that answers and that it believes.

use std::fmt::Write as _;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use fs_err as fs;
use serde_json::{Value, json};

use crate::api::{Api, Failure};
use crate::bed::{Bed, ETCDCTL, NODES, PUSH, is_well};
use crate::lab::{Lab, Output};
use crate::vault::server::{ROOT, Server};
use crate::watch::Watch;

const MOVE: [&str; 3] = ["certs", "move", "inventory.toml"];
const STEP: [&str; 5] = ["certs", "move", "inventory.toml", "--steps", "1"];
const ROTATE: [&str; 3] = ["certs", "rotate-ca", "inventory.toml"];
/// What the first step says when it begins, and the second.
const TRUSTS: &str = "1/3 every peer trusts";
const SIGNS: &str = "2/3 the new authorities";
/// What etcd lets clients in by where one authority signs everything.
const ONE_CA: &str = "/etc/etcd/certs/rootCA.pem";
/// What kube-apiserver believes etcd by.
const ETCD_CA: &str = "/etc/k8s/kube-apiserver/certs/etcd/rootCA.pem";
/// How often a reader asks at least, each time a kube-apiserver and a member of etcd.
const TURNS_MIN: usize = 6;
/// Between two requests of a reader: each takes several processes, on a machine that is busy.
const PAUSE: Duration = Duration::from_millis(250);

/// Somebody who reads, with the credentials that the cluster has now.
pub(crate) struct Reader<'a> {
    bed: &'a Bed,
    api: Api<'a>,
    /// Where the members of etcd are.
    endpoints: String,
    /// Whether kube-apiservers, which are stand-ins, can store: they need etcd's HTTP gateway, which is
    /// off where clients have an authority of their own.
    stores: bool,
}

impl<'a> Reader<'a> {
    pub(crate) fn of(bed: &'a Bed, lab: &'a Lab, stores: bool) -> Self {
        let endpoints = NODES.map(|node| format!("https://{}:2379", bed.address(node)));
        Self {
            bed,
            api: Api::of(bed, lab),
            endpoints: endpoints.join(","),
            stores,
        }
    }

    /// Has them write and read all the while, through any server that answers; none of them may refuse
    /// to believe them.
    #[track_caller]
    pub(crate) fn reads_while<T>(&self, work: impl FnOnce() -> T) -> T {
        let done = &AtomicBool::new(false);
        let (outcome, (well, failed)) = std::thread::scope(|scope| {
            let reading = scope.spawn(move || self.read(done));
            // Also where it fails: else the reader would never end.
            let ending = Ending(done);
            let outcome = work();
            drop(ending);
            (outcome, reading.join().unwrap())
        });
        assert!(failed.is_empty(), "after {well} requests: {failed:#?}");
        assert!(well > 10, "only {well} requests went well");
        println!("{well} requests went well, and none failed");
        outcome
    }

    /// How many requests went well, and how others failed.
    fn read(&self, done: &AtomicBool) -> (usize, Vec<String>) {
        let (mut well, mut failed) = (0, Vec::new());
        let mut turn = 0;
        // A step that is soon done is read past its end, too: what it breaks may break a moment later.
        while !done.load(Ordering::Relaxed) || turn < TURNS_MIN {
            turn += 1;
            let api = Self::any(turn, |server| self.ask(server), &mut failed);
            let etcd = Self::any(turn, |server| self.ask_etcd(server), &mut failed);
            well += usize::from(api) + usize::from(etcd);
            std::thread::sleep(PAUSE);
        }
        (well, failed)
    }

    /// Whether any server answers; where none does, or one does not believe us, that is a failure.
    fn any(
        first: usize,
        ask: impl Fn(usize) -> Result<(), Failure>,
        failed: &mut Vec<String>,
    ) -> bool {
        let mut whys = Vec::new();
        for other in 0..NODES.len() {
            match ask((first + other) % NODES.len()) {
                Ok(()) => return true,
                Err(why @ Failure::Refused(401 | 403, _)) => {
                    failed.push(why.to_string());
                    return false;
                }
                Err(why) => whys.push(why.to_string()),
            }
        }
        failed.push(whys.join("; "));
        false
    }

    fn ask(&self, server: usize) -> Result<(), Failure> {
        /// No two requests write the same, no matter who reads.
        static NUMBER: AtomicUsize = AtomicUsize::new(0);
        if !self.stores {
            return self.api.get(server, "/readyz").map(drop);
        }
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("reader-{}-{number}", std::process::id());
        self.api.create(server, &name)?;
        self.api.read(server, &name)
    }

    /// Reads what a majority agrees on, with what lies on a node, from any member.
    fn ask_etcd(&self, server: usize) -> Result<(), Failure> {
        let ask = format!(
            "ETCDCTL_API=3 /usr/local/bin/etcdctl --endpoints={} --command-timeout=8s \
             --cacert=/etc/etcd/certs/rootCA.pem \
             --cert=/etc/etcd/certs/healthcheck/etcd-healthcheck-client.pem \
             --key=/etc/etcd/certs/healthcheck/etcd-healthcheck-client.key get any",
            self.endpoints
        );
        let output = self.bed.try_on(NODES[server], &ask);
        match output.code {
            Some(0) => Ok(()),
            _ => Err(Failure::Away(output.stderr)),
        }
    }
}

/// Has a reader end when it is dropped.
struct Ending<'a>(&'a AtomicBool);

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Starts a change, and kills it once so many members of etcd have come to a step.
fn killed(lab: &Lab, words: &[&str], step: &str, times: usize) {
    let mut going = lab.start(words);
    going.wait_for(step);
    going.wait_until("some members have it and others have not", |said| {
        let rest = said.split(step).nth(1);
        rest.is_some_and(|rest| rest.matches("etcd.service healthy after").count() >= times)
    });
    going.signal("KILL");
    going.finish();
}

/// How many authorities each node trusts for etcd's servers.
fn trusted(bed: &Bed) -> [String; 3] {
    NODES.map(|node| bed.on(node, &format!("grep -c BEGIN {ETCD_CA}")))
}

fn generation(lab: &Lab) -> u64 {
    let status = lab.run(["status", "inventory.toml", "--json"]).stdout;
    let status: Value = serde_json::from_str(&status).unwrap();
    status["nodes"][0]["generation"].as_u64().unwrap()
}

fn back_to(lab: &Lab, generation: u64) -> Output {
    let to = generation.to_string();
    lab.run(["rollback", "inventory.toml", "--plan", "--to", &to])
}

/// Takes the last step of a change while somebody reads with what was signed in it: nothing of the
/// authorities before is left, and all is well.
#[track_caller]
fn close(reader: &Reader<'_>, lab: &Lab, words: &[&str]) {
    let closed = reader.reads_while(|| lab.run(words));
    closed
        .exits(0)
        .says("3/3 the old authorities")
        .says("done: the old authorities");
    assert_eq!(trusted(reader.bed), ["1", "1", "1"]);
    is_well(lab);
}

#[test]
fn kinstalls_own_authorities_are_made_anew_on_a_living_cluster() {
    let Some(mut bed) = Bed::take("kinstalls_own_authorities_are_made_anew_on_a_living_cluster")
    else {
        return;
    };
    let lab = bed.pushed();
    lab.write(&bed.brisk_inventory(&NODES));
    let signs = || fs::read_to_string(lab.path("pki/ca/kubernetes.pem")).unwrap();
    let before = signs();
    let begun = generation(&lab);
    let watch = Watch::begin(&bed);
    let reader = || Reader::of(&bed, &lab, true);
    let step = [&ROTATE[..], &["--steps", "1"]].concat();
    reader().reads_while(|| {
        killed(&lab, &step, TRUSTS, 1);
        lab.run(&step).exits(0);
    });
    assert_eq!(trusted(&bed), ["2", "2", "2"]);
    assert_eq!(signs(), before);

    // A process that read something else is found before anything is changed. It has read it once it
    // answers clients, which systemd may be told before.
    let held = NODES.map(|node| bed.holds(node));
    let hide = format!(
        "cp -p {ONE_CA} /root/kept && awk '/BEGIN/ {{ n++ }} n == 1' /root/kept >{ONE_CA} &&
         systemctl restart etcd && {ETCDCTL} endpoint health && cp -p /root/kept {ONE_CA}"
    );
    bed.on("node2", &hide);
    lab.run(ROTATE)
        .exits(1)
        .says("node2: port 2379 (etcd) does not take the new certificate")
        .says("nothing was changed on any node");
    assert_eq!(NODES.map(|node| bed.holds(node)), held);
    bed.on("node2", "systemctl restart etcd");

    // Round, and round again.
    reader().reads_while(|| {
        killed(&lab, &ROTATE, SIGNS, 2);
        let back = [&step[..], &["--back"]].concat();
        lab.run(back).exits(0).says("turned round");
        assert_eq!(signs(), before);
        let again = [&ROTATE[..], &["--steps", "2"]].concat();
        lab.run(again).exits(0).says("turned round").says(SIGNS);
    });
    let last = reader();
    last.reads_while(|| killed(&lab, &ROTATE, "3/3 the old authorities", 1));
    close(&last, &lab, &ROTATE);
    let seen = watch.end();
    assert!(seen.is_empty(), "{seen:#?}");
    assert_ne!(signs(), before);

    // What went away is not gone back to.
    let now = generation(&lab);
    back_to(&lab, begun.max(now - 4))
        .exits(1)
        .says("that generation does not trust the authority that signs for");
    back_to(&lab, now - 1).exits(3);
    bed.leave(lab);
}

/// The tables of an inventory whose etcd and kube-apiserver are signed for by a Vault.
fn tables(server: &Server) -> String {
    let mut text = format!(
        "\n[pki]\nfrom = \"vault\"\n\n[pki.vault]\naddress = \"{}\"\ntoken-file = \"token\"\nrole = \"any\"\n",
        server.url()
    );
    for (set, mount) in [
        ("etcd", "pki_etcd"),
        ("etcd-peer", "pki_etcd"),
        ("etcd-client", "pki_etcd"),
        ("kubernetes", "pki_api"),
    ] {
        _ = write!(text, "\n[pki.vault.set.{set}]\nmount = \"{mount}\"\n");
    }
    text
}

#[test]
fn a_vault_comes_to_sign_on_a_living_cluster_and_exchanges_its_authority() {
    let name = "a_vault_comes_to_sign_on_a_living_cluster_and_exchanges_its_authority";
    let Some(server) = Server::start(name) else {
        return;
    };
    let Some(mut bed) = Bed::take(name) else {
        return;
    };
    for mount in ["pki_etcd", "pki_api"] {
        server.mount(mount);
        server.role(mount, "any", &json!({}));
    }
    let lab = bed.pushed();
    lab.write(&bed.brisk_inventory(&NODES));
    let local = fs::read_to_string(lab.path("inventory.toml")).unwrap();
    // While the inventory is one that it reads.
    let reader = Reader::of(&bed, &lab, false);
    fs::write(lab.path("token"), format!("{ROOT}\n")).unwrap();
    lab.write(&format!("{local}{}", tables(&server)));
    let kept = fs::read(lab.path("pki/authorities")).unwrap();
    for words in [&PUSH[..], &["plan", "inventory.toml"]] {
        lab.run(words.iter().copied())
            .exits(1)
            .says("`kinstall certs move INVENTORY` takes a running cluster there")
            .never_says("reaching");
    }
    assert_eq!(fs::read(lab.path("pki/authorities")).unwrap(), kept);

    let ca_of_etcd = || fs::read_to_string(lab.path("pki/ca/etcd.pem")).unwrap();
    let watch = Watch::begin(&bed);
    reader.reads_while(|| lab.run(STEP)).exits(0).says(TRUSTS);
    let reader = || Reader::of(&bed, &lab, false);
    reader().reads_while(|| {
        killed(&lab, &MOVE, SIGNS, 2);
        lab.run(STEP).exits(0);
    });
    close(&reader(), &lab, &MOVE);
    let ca = server.authority_pem("pki_etcd");
    assert_eq!(ca_of_etcd().trim(), ca.trim());
    lab.run(MOVE).exits(0).says("nothing to move");

    // The authority of a mount is exchanged.
    server.rotate("pki_etcd");
    lab.run(["certs", "renew", "inventory.toml", "etcd-peer"])
        .exits(1)
        .says("the CA of `pki_etcd` has changed");
    reader().reads_while(|| {
        killed(&lab, &MOVE, TRUSTS, 1);
        lab.run(STEP).exits(0);
        assert_eq!(trusted(&bed), ["2", "2", "2"]);
        assert_eq!(ca_of_etcd().trim(), ca.trim());
        lab.run(STEP).exits(0).says(SIGNS);
    });
    close(&reader(), &lab, &MOVE);
    let seen = watch.end();
    assert!(seen.is_empty(), "{seen:#?}");
    let exchanged = server.authority_pem("pki_etcd");
    assert_ne!(exchanged.trim(), ca.trim());
    assert_eq!(ca_of_etcd().trim(), exchanged.trim());
}
