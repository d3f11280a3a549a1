//! Promises about sites without internet: one file has it all, and nothing else is asked.

use fs_err as fs;

use crate::lab::Lab;

/// A lab whose mirror is gone, with a bundle of everything that its inventory asks for.
fn offline(name: &str) -> Lab {
    let lab = Lab::new();
    lab.run(["bundle", "create", "inventory.toml", "-o", name])
        .exits(0)
        .prints("kube-apiserver")
        .says(&format!("wrote {name}"));
    for gone in [lab.path("mirror"), lab.cache().to_owned()] {
        fs::remove_dir_all(gone).unwrap();
    }
    lab
}

#[test]
fn a_push_out_of_a_bundle_asks_nobody_else() {
    for name in ["home.tar.zst", "home.tar.gz"] {
        let lab = offline(name);
        let verified = lab.run(["bundle", "verify", name]).exits(0);
        verified
            .prints("6 programs")
            .prints("every byte of the bundle is right");
        lab.run(["fetch", "inventory.toml"]).exits(5);
        lab.run([
            "push",
            "inventory.toml",
            "--into",
            "nodes",
            "--bundle",
            name,
        ])
        .exits(0)
        .says("took 6 programs out of");
        assert!(
            lab.path("nodes/node3/usr/local/bin/kube-apiserver")
                .exists()
        );
        lab.run(["fetch", "--locked", "--bundle", name, "inventory.toml"])
            .exits(0);
    }
}

#[test]
fn a_site_without_a_lockfile_takes_the_bundles_and_says_what_that_rests_on() {
    let lab = offline("home.tar.zst");
    let lock = fs::read_to_string(lab.path("kinstall.lock")).unwrap();
    fs::remove_file(lab.path("kinstall.lock")).unwrap();
    let fetch = ["fetch", "--bundle", "home.tar.zst", "inventory.toml"];
    lab.run([
        "fetch",
        "--locked",
        "--bundle",
        "home.tar.zst",
        "inventory.toml",
    ])
    .exits(2);
    assert!(!lab.path("kinstall.lock").exists());
    lab.run(fetch)
        .exits(0)
        .prints("bundle: checked against the manifest of the bundle it came in");
    let adopted = fs::read_to_string(lab.path("kinstall.lock")).unwrap();
    assert_eq!(adopted, lock.replace("\"mirror\"", "\"bundle\""));

    // What the bundle does not have is asked of nobody.
    lab.edit("1.32.99", "1.32.98");
    lab.run(fetch)
        .exits(2)
        .says("does not hold kube-apiserver 1.32.98 amd64");
}

#[test]
fn a_bundle_that_contradicts_the_lockfile_or_itself_is_refused() {
    let lab = offline("home.tar.gz");
    let lock = fs::read_to_string(lab.path("kinstall.lock")).unwrap();
    let line = lock
        .lines()
        .find(|line| line.starts_with("sha256"))
        .unwrap();
    let other = format!("sha256 = \"{}\"", "ab".repeat(32));
    fs::write(lab.path("kinstall.lock"), lock.replace(line, &other)).unwrap();
    let fetch = ["fetch", "--bundle", "home.tar.gz", "inventory.toml"];
    lab.run(fetch)
        .exits(5)
        .says("but `kinstall.lock` pins abab");

    fs::write(lab.path("kinstall.lock"), lock).unwrap();
    fs::remove_dir_all(lab.cache()).unwrap();
    let mut bytes = fs::read(lab.path("home.tar.gz")).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(lab.path("home.tar.gz"), bytes).unwrap();
    lab.run(fetch).exits(5).says("nothing of it was used");
    lab.run(["bundle", "verify", "home.tar.gz"]).exits(5);
    assert_eq!(fs::read_dir(lab.cache().join("sha256")).unwrap().count(), 0);
    lab.run(["bundle", "create", "inventory.toml", "-o", "home.zip"])
        .exits(2);
}

#[test]
fn a_bundle_carries_the_users_templates_to_a_site_that_has_none() {
    let lab = Lab::new();
    let drop_in = "[Service]\nNice=3\n";
    let at = lab.path("templates/etcd.service.d/10-nice.conf");
    fs::create_dir_all(at.parent().unwrap()).unwrap();
    fs::write(&at, drop_in).unwrap();
    let create = ["bundle", "create", "inventory.toml", "-o", "home.tar.zst"];
    lab.run(create).exits(0);
    for gone in [
        lab.path("mirror"),
        lab.cache().to_owned(),
        lab.path("templates"),
    ] {
        fs::remove_dir_all(gone).unwrap();
    }
    let push = [
        "push",
        "inventory.toml",
        "--into",
        "nodes",
        "--bundle",
        "home.tar.zst",
    ];
    let bytes = fs::read(lab.path("home.tar.zst")).unwrap();
    // Nothing of a damaged bundle is used, its templates neither.
    let mut damaged = bytes.clone();
    *damaged.last_mut().unwrap() ^= 1;
    let middle = damaged.len() / 2;
    damaged[middle] ^= 1;
    fs::write(lab.path("home.tar.zst"), damaged).unwrap();
    lab.run(push).exits(5);
    assert!(!lab.path("templates").exists());

    fs::write(lab.path("home.tar.zst"), bytes).unwrap();
    lab.run(push)
        .exits(0)
        .says("took templates out of home.tar.zst, into `templates`");
    assert_eq!(fs::read_to_string(&at).unwrap(), drop_in);
    let on_node = "nodes/node1/etc/systemd/system/etcd.service.d/10-nice.conf";
    assert_eq!(fs::read_to_string(lab.path(on_node)).unwrap(), drop_in);

    // What the site has of its own stays, and counts.
    fs::write(&at, "[Service]\nNice=4\n").unwrap();
    lab.run(push)
        .exits(0)
        .says("and the templates in home.tar.zst differ, in `etcd.service.d/10-nice.conf` first");
    let pushed = fs::read_to_string(lab.path(on_node)).unwrap();
    assert_eq!(pushed, "[Service]\nNice=4\n");
}
