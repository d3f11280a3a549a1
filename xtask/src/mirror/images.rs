//! Images for Pods, as static files: one of a registry, and one as an archive to import.
//!
//! Both hold `mite` and nothing else. `pause`, of every tag that kubeadm ever took, is said to be of three
//! architectures, and holds this machine's program in each: whoever fetches it for another machine gets what cannot
//! run there. `kinstall.test/serve:1` imitates agnhost's `netexec`.
//!
//! ```text
//! images/v2/pause/manifests/3.10, images/v2/pause/manifests/sha256:<hex>, images/v2/pause/blobs/sha256:<hex>
//! images/serve.tar                     an OCI image layout
//! ```

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::{Error, arch, sha256};
use crate::command::Program;

/// Below a mirror.
const PLACE: &str = "images";
/// What kubeadm names for one line of Kubernetes or another.
const PAUSE_TAGS: [&str; 10] = [
    "3.2", "3.4.1", "3.5", "3.6", "3.7", "3.8", "3.9", "3.10", "3.10.1", "3.10.2",
];
/// The architectures that `pause` says it is of, with the variant.
const PLATFORMS: [(&str, Option<&str>); 3] =
    [("amd64", None), ("arm64", None), ("arm", Some("v7"))];
/// The program that imitates agnhost.
const IMITATION: &str = "serve";
/// How an archive names its image.
const SERVE: &str = "kinstall.test/serve:1";

const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const LAYER: &str = "application/vnd.oci.image.layer.v1.tar+gzip";

/// How long a layer may take to pack, in seconds.
const PACK_SECONDS: u64 = 120;

/// Puts them into a mirror.
pub(super) fn put(directory: &Path, mite: &Path) -> Result<(), Error> {
    let place = directory.join(PLACE);
    let work = place.join("partial");
    put_pause(&place.join("v2/pause"), &work, mite)?;
    put_serve(&place.join("serve.tar"), &work, mite)?;
    Ok(fs_err::remove_dir_all(work)?)
}

/// `pause` as its registry serves it: an index for each tag, and all by digest.
fn put_pause(place: &Path, work: &Path, mite: &Path) -> Result<(), Error> {
    let blobs = Blobs {
        directory: place.join("blobs"),
        before: "sha256:",
    };
    let manifests = Blobs {
        directory: place.join("manifests"),
        before: "sha256:",
    };
    let layer = Layer::of(work, "pause", mite)?;
    let mut all = Vec::new();
    for (arch, variant) in PLATFORMS {
        let manifest = layer.manifest(&blobs, arch, variant, &["/pause"])?;
        let mut entry = manifests.put(MANIFEST, &manifest)?;
        entry["platform"] = json!({"os": "linux", "architecture": arch});
        if let Some(variant) = variant {
            entry["platform"]["variant"] = variant.into();
        }
        all.push(entry);
    }
    let index = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": all});
    manifests.put(INDEX, &index)?;
    for tag in PAUSE_TAGS {
        fs_err::write(manifests.directory.join(tag), index.to_string())?;
    }
    Ok(())
}

/// `serve` as an archive that containerd imports under its name.
fn put_serve(archive: &Path, work: &Path, mite: &Path) -> Result<(), Error> {
    let layout = work.join("layout");
    let blobs = Blobs {
        directory: layout.join("blobs/sha256"),
        before: "",
    };
    let layer = Layer::of(work, IMITATION, mite)?;
    let manifest = layer.manifest(&blobs, arch(), None, &["/serve"])?;
    let mut entry = blobs.put(MANIFEST, &manifest)?;
    entry["platform"] = json!({"os": "linux", "architecture": arch()});
    entry["annotations"] = json!({
        "io.containerd.image.name": SERVE,
        "org.opencontainers.image.ref.name": SERVE.rsplit(':').next(),
    });
    let index = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": [entry]});
    let version = json!({"imageLayoutVersion": "1.0.0"});
    fs_err::write(layout.join("index.json"), index.to_string())?;
    fs_err::write(layout.join("oci-layout"), version.to_string())?;
    tar(&layout, archive)
}

/// Files that are named by their digests.
struct Blobs {
    directory: PathBuf,
    before: &'static str,
}

impl Blobs {
    /// Keeps a file, and gives back what refers to it.
    fn add(&self, kind: &str, file: &Path) -> Result<Value, Error> {
        fs_err::create_dir_all(&self.directory)?;
        let digest = sha256(file)?;
        let size = fs_err::metadata(file)?.len();
        fs_err::copy(
            file,
            self.directory.join(format!("{}{digest}", self.before)),
        )?;
        Ok(json!({"mediaType": kind, "digest": format!("sha256:{digest}"), "size": size}))
    }

    fn put(&self, kind: &str, value: &Value) -> Result<Value, Error> {
        fs_err::create_dir_all(&self.directory)?;
        let partial = self.directory.join("partial");
        fs_err::write(&partial, value.to_string())?;
        let added = self.add(kind, &partial)?;
        fs_err::remove_file(partial)?;
        Ok(added)
    }
}

/// A layer with one program.
struct Layer {
    packed: PathBuf,
    /// The digest of what is packed in it.
    plain: String,
}

impl Layer {
    /// With the program under that name, and what lets it run as somebody.
    fn of(work: &Path, name: &str, program: &Path) -> Result<Self, Error> {
        let tree = work.join(format!("{name}-root"));
        for directory in ["etc", "tmp"] {
            fs_err::create_dir_all(tree.join(directory))?;
        }
        let mode = |path: &str, mode| {
            let mode = std::fs::Permissions::from_mode(mode);
            fs_err::set_permissions(tree.join(path), mode)
        };
        fs_err::copy(program, tree.join(name))?;
        if name == IMITATION {
            // Where anyone who looks for agnhost finds it.
            fs_err::os::unix::fs::symlink(name, tree.join("agnhost"))?;
        }
        let users = "root:x:0:0::/:/serve\nnobody:x:65534:65534::/:/serve\n";
        fs_err::write(tree.join("etc/passwd"), users)?;
        mode(name, 0o755)?;
        mode("etc", 0o755)?;
        mode("etc/passwd", 0o644)?;
        mode("tmp", 0o1777)?;
        let plain = work.join(format!("{name}.tar"));
        tar(&tree, &plain)?;
        let digest = sha256(&plain)?;
        let pack = Program::new("gzip").args(["--no-name", "--force"]);
        pack.arg(&plain).limit_seconds(PACK_SECONDS).done()?;
        Ok(Self {
            packed: plain.with_extension("tar.gz"),
            plain: digest,
        })
    }

    /// The manifest of an image of this layer alone.
    fn manifest(
        &self,
        blobs: &Blobs,
        arch: &str,
        variant: Option<&str>,
        entrypoint: &[&str],
    ) -> Result<Value, Error> {
        let mut config = json!({
            "architecture": arch, "os": "linux",
            "rootfs": {"type": "layers", "diff_ids": [format!("sha256:{}", self.plain)]},
            "config": {"Entrypoint": entrypoint, "Env": ["PATH=/"], "WorkingDir": "/"},
        });
        if let Some(variant) = variant {
            config["variant"] = variant.into();
        }
        let config = blobs.put(CONFIG, &config)?;
        let layer = blobs.add(LAYER, &self.packed)?;
        Ok(json!({
            "schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": [layer],
        }))
    }
}

/// Packs everything in a directory, the same each time.
fn tar(directory: &Path, archive: &Path) -> Result<(), Error> {
    Ok(Program::new("tar")
        .args([
            "--sort=name",
            "--mtime=@0",
            "--owner=0",
            "--group=0",
            "--numeric-owner",
        ])
        .arg("--transform=s,^\\./,,")
        .arg("-C")
        .arg(directory)
        .arg("-cf")
        .arg(archive)
        .arg(".")
        .limit_seconds(PACK_SECONDS)
        .done()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(path: &Path) -> Value {
        serde_json::from_slice(&fs_err::read(path).unwrap()).unwrap()
    }

    #[test]
    fn whatever_is_named_by_its_digest_has_it() {
        let root = std::env::temp_dir().join(format!("xtask-images-{}", std::process::id()));
        let program = root.join("mite");
        fs_err::create_dir_all(&root).unwrap();
        fs_err::write(&program, "a program").unwrap();
        put(&root, &program).unwrap();
        let pause = root.join("images/v2/pause");
        let check = |directory: &str, entry: &Value| {
            let digest = entry["digest"].as_str().unwrap();
            let file = pause.join(directory).join(digest);
            assert_eq!(format!("sha256:{}", sha256(&file).unwrap()), digest);
            assert_eq!(fs_err::metadata(&file).unwrap().len(), entry["size"]);
            file
        };
        for tag in PAUSE_TAGS {
            let index = pause.join("manifests").join(tag);
            let digest = sha256(&index).unwrap();
            let same = pause.join(format!("manifests/sha256:{digest}"));
            assert_eq!(read(&index), read(&same), "{tag}");
            let index = read(&index);
            let all = index["manifests"].as_array().unwrap();
            assert_eq!(all.len(), PLATFORMS.len());
            for entry in all {
                let manifest = read(&check("manifests", entry));
                let config = read(&check("blobs", &manifest["config"]));
                check("blobs", &manifest["layers"][0]);
                assert_eq!(config["architecture"], entry["platform"]["architecture"]);
            }
        }
        let list = Program::new("tar")
            .arg("-tf")
            .arg(root.join("images/serve.tar"));
        let list = list.text().unwrap();
        for name in ["index.json", "oci-layout", "blobs/sha256/"] {
            assert!(list.lines().any(|line| line == name), "{name}");
        }
        fs_err::remove_dir_all(root).unwrap();
    }
}
