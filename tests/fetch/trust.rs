//! Promises about what a pin rests on.

use std::collections::BTreeSet;

use fs_err as fs;
use kinstall::artifact::Program;
use kinstall::digest::Digest;
use kinstall::fetch::{self, Update};
use kinstall::lockfile::{Lockfile, Trust};

use super::bench::{Bench, SCHEDULER, SIDECAR, elf, program};

#[tokio::test]
async fn only_the_programs_named_are_pinned_anew() {
    let mut bench = Bench::new();
    let both = ["kube-scheduler", "etcd"].map(program);
    bench.pin(&both).await.unwrap();
    let before = bench.lockfile.clone();
    for (path, sums) in [
        (SCHEDULER, SIDECAR),
        (super::bench::ETCD, super::bench::SUMS),
    ] {
        bench.mirror.put(path, elf("changed"));
        let digest = Digest::of(&elf("changed"));
        let name = path.rsplit('/').next().unwrap();
        bench.mirror.put(sums, format!("{digest}  {name}\n"));
    }
    bench.options.update = Update::Named(BTreeSet::from(["kube-scheduler".to_owned()]));
    let report = bench.pin(&both).await.unwrap();
    assert_eq!((report.pinned.len(), report.kept), (1, 1));
    let etcd = program("etcd");
    assert_eq!(bench.lockfile.program(&etcd), before.program(&etcd));
    let scheduler = bench.lockfile.program(&program("kube-scheduler")).unwrap();
    assert_eq!(scheduler.digest, Digest::of(&elf("changed")));
}

#[tokio::test]
async fn too_little_trust_is_refused_before_anything_is_asked() {
    let mut bench = Bench::new();
    bench.options.require = Some(Trust::BuiltIn);
    let error = bench.scheduler().await.unwrap_err();
    assert_eq!(error.exit_code(), 5);
    assert_eq!(
        error.to_string(),
        "less than the digest built into kinstall is known of\n  kube-scheduler 1.99.3 arm64: it is not built in"
    );
    assert!(bench.mirror.requests(SIDECAR).is_empty());

    // A mirror without https is not enough for less either, which shows when it was asked.
    bench.options.require = Some(Trust::Published);
    let error = bench.scheduler().await.unwrap_err();
    assert_eq!(error.exit_code(), 5);
    let text = error.to_string();
    assert!(
        text.contains("it rests on a checksum from the mirror itself"),
        "{text}"
    );
    assert_eq!(bench.lockfile, Lockfile::default());
    // Nor is a pin that was made when less was asked for.
    bench.options.require = None;
    bench.scheduler().await.unwrap();
    bench.options.require = Some(Trust::Published);
    assert_eq!(bench.scheduler().await.unwrap_err().exit_code(), 5);
}

/// An earlier kinstall pinned programs inside Kubernetes' archive of servers.
#[tokio::test]
async fn a_lockfile_that_pins_the_archive_of_servers_pins_the_single_programs() {
    let mut bench = Bench::new();
    let content = elf("kube-scheduler");
    let old = |digest| {
        format!(
            "format = 1\n\n[[artifact]]\nsource = \"kubernetes\"\n\
             path = \"v1.99.3/kubernetes-server-linux-arm64.tar.gz\"\n\
             version = \"1.99.3\"\narch = \"arm64\"\nsize = 300000000\n\
             sha256 = \"{}\"\ntrust = \"built-in\"\n\n[[artifact.program]]\n\
             name = \"kube-scheduler\"\nsize = {}\nsha256 = \"{digest}\"\n",
            Digest::of(b"archive"),
            content.len(),
        )
    };
    let path = fetch::lockfile_path(&bench.inventory);
    fs::write(&path, old(Digest::of(&content))).unwrap();
    bench.lockfile = fetch::read_lockfile(&bench.inventory).unwrap();
    bench.options.locked = true;
    bench.scheduler().await.unwrap();
    bench.assert_sound();
    let requests = bench.mirror.requests(SCHEDULER);
    assert_eq!(
        (requests.len(), bench.mirror.requests(SIDECAR).len()),
        (1, 0)
    );
    // What the lockfile says of the archive cannot be checked of a program, from a mirror without https.
    let program = program("kube-scheduler");
    let (artifact, _) = bench.lockfile.artifact(&program).unwrap();
    let pin = bench.lockfile.pin(&artifact).unwrap();
    let trust = fetch::trust(&bench.inventory, &artifact, pin);
    assert_eq!(trust, Trust::Claimed);
    // The file says the same as before, so it is left as it is, for anyone who has an older kinstall.
    assert!(!fetch::write_lockfile(&bench.inventory, &bench.lockfile).unwrap());

    // Other bytes than those that were pinned in the archive are refused.
    bench.forget_cache();
    bench.lockfile = Lockfile::parse(&old(Digest::of(b"another"))).unwrap();
    let error = bench.scheduler().await.unwrap_err();
    assert_eq!(error.exit_code(), 5);
    assert!(
        error
            .to_string()
            .contains("but `kinstall.lock` pins sha256")
    );
}

#[tokio::test]
async fn servers_before_1_24_are_not_built_in_whatever_a_lockfile_says() {
    let mut bench = Bench::new();
    let scheduler = Program {
        version: "1.22.17".parse().unwrap(),
        ..program("kube-scheduler")
    };
    bench.options.require = Some(Trust::BuiltIn);
    let error = bench.pin(&[scheduler]).await.unwrap_err();
    assert_eq!(error.exit_code(), 5);
    assert_eq!(
        error.to_string(),
        "less than the digest built into kinstall is known of\n  kube-scheduler 1.22.17 arm64: it is not built in"
    );
    let sidecar = SIDECAR.replace("1.99.3", "1.22.17");
    assert!(bench.mirror.requests(&sidecar).is_empty());
}
