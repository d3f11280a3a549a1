//! Promises for a site without internet, on real nodes with genuine Kubernetes, containerd and runc: from one bundle empty
//! nodes come to run Pods of an image that the inventory names, and nobody is asked for anything.

use std::path::{Path, PathBuf};

use fs_err as fs;

use crate::bed::is_well;
use crate::cluster::{genuine, images, pods, serve};
use crate::lab::Lab;

/// The image of the Pods.
const IMAGE: &str = "kinstall.test/serve:1";

/// Puts the image of an archive into a directory that is laid out as a registry; the directory.
fn registry(lab: &Lab, archive: &Path) -> PathBuf {
    let layout = lab.path("layout");
    fs::create_dir_all(&layout).unwrap();
    let mut archive = tar::Archive::new(fs::File::open(archive).unwrap());
    archive.unpack(&layout).unwrap();
    let place = lab.path("registry/v2/serve");
    for kind in ["blobs", "manifests"] {
        fs::create_dir_all(place.join(kind)).unwrap();
        for blob in fs::read_dir(layout.join("blobs/sha256")).unwrap() {
            let blob = blob.unwrap();
            let name = format!("sha256:{}", blob.file_name().display());
            fs::copy(blob.path(), place.join(kind).join(name)).unwrap();
        }
    }
    fs::copy(layout.join("index.json"), place.join("manifests/1")).unwrap();
    lab.path("registry")
}

#[test]
fn genuine_pods_run_on_empty_nodes_from_a_bundle_alone() {
    let test = "genuine_pods_run_on_empty_nodes_from_a_bundle_alone";
    let Some((bed, _, lab)) = genuine(test) else {
        return;
    };
    let sources = format!(
        "registries = {{ \"kinstall.test\" = [\"file://{}\"] }}\n",
        registry(&lab, &images().join("serve.tar")).display()
    );
    lab.edit("[source]\n", &format!("[source]\n{sources}"));
    let named = format!("[cluster]\nimages = [\"{IMAGE}\"]\n");
    lab.edit("[cluster]\n", &named);
    let bundle = lab.path("home.tar.zst").display().to_string();
    lab.run(["bundle", "create", "inventory.toml", "--output", &bundle])
        .exits(0)
        .prints(IMAGE)
        .prints("registry.k8s.io/pause:3.2");

    // The site has the inventory and the bundle, and no source is there.
    let site = bed.lab_named("offline", &[]).of_genuine_servers();
    fs::copy(lab.path("inventory.toml"), site.path("inventory.toml")).unwrap();
    site.edit("file:///", "file:///nowhere/");
    let empty = site.path("cache").display().to_string();
    let push = [
        "push",
        "inventory.toml",
        "--bundle",
        &bundle,
        "--cache",
        &empty,
    ];
    site.run(push).exits(0);
    is_well(&site);
    for node in ["node1", "node2", "node3"] {
        let held = bed.on(node, "ctr -n k8s.io images ls labels.kinstall==wanted");
        for name in [IMAGE, "registry.k8s.io/pause:3.2"] {
            assert!(held.contains(name), "{node}: {held}");
        }
        assert_eq!(held.matches("io.cri-containerd.pinned=pinned").count(), 2);
    }
    serve(&site);
    pods(&site, 3);

    // What nobody names any more is not kept by force.
    site.edit(&named, "[cluster]\n");
    site.run(push).exits(0);
    let held = bed.on(
        "node2",
        "ctr -n k8s.io images ls -q labels.kinstall==wanted",
    );
    assert_eq!(held, "registry.k8s.io/pause:3.2");
    pods(&site, 3);
    site.run(["uninstall", "inventory.toml", "--data", "--yes"])
        .exits(0);
    for node in ["node1", "node2", "node3"] {
        bed.on(node, "[ ! -e /var/lib/kinstall-images ]");
    }
}
