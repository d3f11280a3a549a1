//! A site with a worker whose sources are directories, and images as a registry keeps them.

use std::path::Path;

use fs_err as fs;
use kinstall::digest::Digest;
use serde_json::{Value, json};

use crate::lab::{Lab, elf, stock};

/// The pause image of the labs' Kubernetes.
pub(super) const PAUSE: &str = "registry.k8s.io/pause:3.10";

/// A lab with a worker, whose sources are directories.
pub(super) fn lab() -> Lab {
    let lab = Lab::new();
    let mirror = lab.path("mirror");
    for name in ["kubelet", "kube-proxy"] {
        stock(&mirror, name, &elf(name));
    }
    let base = format!("file://{}", mirror.display());
    let mut sources = format!(
        "rebuilt = true\nimages = [\"file://{}\"]\n",
        lab.path("images").display()
    );
    for (publisher, file, sums, programs) in RUNTIME {
        let content = match programs {
            [] => elf(publisher),
            programs => archive(programs),
        };
        let path = mirror.join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, &content).unwrap();
        let name = path.file_name().unwrap().to_str().unwrap();
        let line = format!("{}  {name}\n", Digest::of(&content));
        fs::write(mirror.join(sums), line).unwrap();
        sources = format!("{sources}{publisher} = [\"{base}\"]\n");
    }
    lab.edit("[source]\n", &format!("[source]\n{sources}"));
    let worker = "\n[[node]]\nname = \"worker\"\naddress = \"10.0.0.9\"\narch = \"amd64\"\nroles = [\"worker\"]\n";
    let text = fs::read_to_string(lab.path("inventory.toml")).unwrap();
    lab.write(&(text + worker));
    pause(&lab.path("images"));
    lab
}

/// What else a worker gets: a key of `[source]`, the file, where its checksum lies, the programs in it.
const RUNTIME: [(&str, &str, &str, &[&str]); 4] = [
    (
        "containerd",
        "v2.0.11/containerd-2.0.11-linux-amd64.tar.gz",
        "v2.0.11/containerd-2.0.11-linux-amd64.tar.gz.sha256sum",
        &["bin/containerd", "bin/containerd-shim-runc-v2", "bin/ctr"],
    ),
    ("runc", "v1.2.9/runc.amd64", "v1.2.9/runc.sha256sum", &[]),
    (
        "cni-plugins",
        "v1.9.1/cni-plugins-linux-amd64-v1.9.1.tgz",
        "v1.9.1/cni-plugins-linux-amd64-v1.9.1.tgz.sha256",
        &["bridge", "host-local", "loopback", "portmap"],
    ),
    (
        "crictl",
        "v1.32.0/crictl-v1.32.0-linux-amd64.tar.gz",
        "v1.32.0/crictl-v1.32.0-linux-amd64.tar.gz.sha256",
        &["crictl"],
    ),
];

fn archive(programs: &[&str]) -> Vec<u8> {
    let gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    let mut archive = tar::Builder::new(gzip);
    for name in programs {
        let content = elf(name);
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_mode(0o755);
        let appended = archive.append_data(&mut header, name, content.as_slice());
        appended.unwrap();
    }
    archive.into_inner().unwrap().finish().unwrap()
}

/// Puts the pause image into a directory that is laid out as a registry's API.
pub(super) fn pause(mirror: &Path) -> Digest {
    let index = platforms(&["amd64", "arm64"].map(|arch| {
        let layers = [format!("layer of {arch}").into_bytes(), b"both".to_vec()];
        (arch, image(mirror, "pause", arch, &layers))
    }));
    put(mirror, "pause", "3.10", &index)
}

/// Keeps a part under its digest; what refers to it.
pub(super) fn blob(mirror: &Path, name: &str, folder: &str, kind: &str, bytes: &[u8]) -> Value {
    let digest = Digest::of(bytes);
    let folder = mirror.join(format!("v2/{name}/{folder}"));
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join(format!("sha256:{digest}")), bytes).unwrap();
    json!({"mediaType": kind, "digest": format!("sha256:{digest}"), "size": bytes.len()})
}

const OCI: &str = "application/vnd.oci.image";

/// An image of some layers; what refers to its manifest.
pub(super) fn image(mirror: &Path, name: &str, arch: &str, layers: &[Vec<u8>]) -> Value {
    let config =
        json!({"os": "linux", "architecture": arch, "rootfs": {"type": "layers", "diff_ids": []}});
    let config = config.to_string();
    let kind = format!("{OCI}.config.v1+json");
    let config = blob(mirror, name, "blobs", &kind, config.as_bytes());
    let kind = format!("{OCI}.layer.v1.tar+gzip");
    let layers = layers
        .iter()
        .map(|it| blob(mirror, name, "blobs", &kind, it));
    let kind = format!("{OCI}.manifest.v1+json");
    let manifest = json!({
        "schemaVersion": 2, "mediaType": kind, "config": config, "layers": layers.collect::<Vec<_>>(),
    });
    blob(
        mirror,
        name,
        "manifests",
        &kind,
        manifest.to_string().as_bytes(),
    )
}

/// An index of manifests by architecture.
pub(super) fn platforms(manifests: &[(&str, Value)]) -> Value {
    let of = |(arch, manifest): &(&str, Value)| {
        let mut manifest = manifest.clone();
        manifest["platform"] = json!({"os": "linux", "architecture": arch});
        manifest
    };
    let manifests: Vec<Value> = manifests.iter().map(of).collect();
    json!({"schemaVersion": 2, "mediaType": format!("{OCI}.index.v1+json"), "manifests": manifests})
}

/// Keeps a manifest or an index under a tag, too.
pub(super) fn put(mirror: &Path, name: &str, tag: &str, document: &Value) -> Digest {
    let text = document.to_string();
    blob(mirror, name, "manifests", "", text.as_bytes());
    fs::write(mirror.join(format!("v2/{name}/manifests/{tag}")), &text).unwrap();
    Digest::of(text.as_bytes())
}
