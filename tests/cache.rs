//! Promises about what is kept on the operator's machine.

use fs_err as fs;

use crate::lab::Lab;

#[test]
fn the_cache_tells_what_it_holds_and_is_made_smaller() {
    let lab = Lab::new();
    lab.run(["fetch", "inventory.toml"]).exits(0);
    let list = lab.run(["cache", "list", "--json"]).exits(0).json();
    let list = list.as_array().unwrap();
    let names: Vec<_> = list
        .iter()
        .map(|entry| entry["name"].as_str().unwrap())
        .collect();
    assert_eq!(names.len(), 6);
    assert!(
        names.contains(&"etcdctl") && names.contains(&"kube-apiserver"),
        "{names:?}"
    );
    let origin = list
        .iter()
        .find(|entry| entry["name"] == "etcdctl")
        .unwrap();
    assert!(
        origin["url"]
            .as_str()
            .unwrap()
            .ends_with("linux-amd64.tar.gz"),
        "{origin}"
    );
    lab.run(["cache", "list"])
        .exits(0)
        .prints("kube-scheduler")
        .prints("6 entries in");

    lab.run(["cache", "clean"]).exits(2);
    lab.run(["cache", "clean", "--max-size", "much"])
        .exits(2)
        .says("500MB");
    lab.run(["cache", "clean", "--older-than", "1"])
        .exits(0)
        .prints("removed 0 entries");
    lab.run(["cache", "clean", "--max-size", "250kB"])
        .exits(0)
        .prints("2 left");
    let cleaned = lab
        .run(["cache", "clean", "--all", "--json"])
        .exits(0)
        .json();
    assert_eq!(
        (
            &cleaned["entries_left"],
            cleaned["removed"].as_array().unwrap().len()
        ),
        (&0.into(), 2)
    );
    assert_eq!(fs::read_dir(lab.cache().join("sha256")).unwrap().count(), 0);

    // What was removed is fetched again, and the lockfile still knows it.
    lab.run(["fetch", "--locked", "inventory.toml"]).exits(0);
    lab.run(["cache", "list"]).exits(0).prints("6 entries in");
}
