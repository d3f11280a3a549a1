//! The images of a node as an image layout: parts by digest, an index that names them, and their names alone.
//!
//! The index says of each image its manifest for this node, and of no platform, so that containerd of every version
//! takes all of them. Source: `image-layout.md` of the image specification, and `images/archive` of containerd, which
//! looks for a whole name in an annotation of its own.

use serde_json::json;

use super::{Composer, Error};
use crate::artifact;
use crate::component::Access;
use crate::remote_path::RemotePath;

impl Composer<'_> {
    /// Puts them there; the path of what changes with any of them.
    pub(super) fn images(&mut self, directory: &'static str) -> Result<Vec<RemotePath>, Error> {
        let directory = RemotePath::fixed(directory);
        let blobs = directory.join("blobs")?.join("sha256")?;
        let (mut manifests, mut names) = (Vec::new(), String::new());
        for image in artifact::images_of(self.inventory, self.node, self.arch) {
            let pinned = self.lockfile.image(&image);
            let pin = pinned.ok_or_else(|| Error::NotPinned {
                name: image.to_string(),
                node: self.node.name.clone(),
            })?;
            for part in pin.parts() {
                let path = blobs.join(&part.digest.to_string())?;
                self.tree
                    .fetched(&path, &image.reference.to_string(), part, 0o444);
            }
            for name in image.reference.names() {
                names = format!("{names}{name}\n");
                manifests.push(json!({
                    "mediaType": pin.format.media_type(),
                    "digest": format!("sha256:{}", pin.manifest.digest),
                    "size": pin.manifest.size,
                    "annotations": {"io.containerd.image.name": name},
                }));
            }
        }
        let index = json!({
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.index.v1+json",
            "manifests": manifests,
        });
        let layout = json!({"imageLayoutVersion": "1.0.0"});
        let mut paths = Vec::new();
        for (file, text) in [
            ("index.json", format!("{index:#}\n")),
            ("oci-layout", layout.to_string()),
            ("names", names),
        ] {
            let path = directory.join(file)?;
            self.tree.open(&path, text, Access::Root);
            paths.push(path);
        }
        Ok(paths)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lockfile::Lockfile;
    use crate::manifest::compose;
    use crate::manifest::compose::fixture::{Fixture, manifest, text};

    const DIGEST: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    fn fixture() -> Fixture {
        Fixture::of(&format!(
            "cluster = {{ name = \"home\", kubernetes = \"1.32.3\", \
             images = [\"nginx:1.27@sha256:{DIGEST}\"] }}\n\
             [[node]]\nname = \"az1\"\naddress = \"10.0.12.1\"\n\
             [[node]]\nname = \"worker0\"\naddress = \"10.0.12.2\"\nroles = [\"worker\"]\n"
        ))
    }

    #[test]
    fn an_index_names_each_image_as_it_is_looked_up() {
        let desired = fixture().composed();
        let place = "/var/lib/kinstall-images";
        let index = text(&desired, "worker0", &format!("{place}/index.json"));
        let index: serde_json::Value = serde_json::from_str(&index).unwrap();
        let manifests = index["manifests"].as_array().unwrap();
        let name = |it: &serde_json::Value| it["annotations"]["io.containerd.image.name"].clone();
        let names: Vec<_> = manifests.iter().map(name).collect();
        let by_digest = format!("docker.io/library/nginx@sha256:{DIGEST}");
        let expected = [
            "docker.io/library/nginx:1.27",
            &by_digest,
            "registry.k8s.io/pause:3.10",
        ];
        assert_eq!(names, expected);
        let listed = text(&desired, "worker0", &format!("{place}/names"));
        assert_eq!(listed.lines().collect::<Vec<_>>(), expected);
        for it in manifests {
            let digest = it["digest"].as_str().unwrap().replace(':', "/");
            let path = RemotePath::fixed(&format!("{place}/blobs/{digest}"));
            let entry = &manifest(&desired, "worker0").entries[&path];
            assert_eq!(entry.mode.0, 0o444);
        }
        let layout = text(&desired, "worker0", &format!("{place}/oci-layout"));
        assert_eq!(layout, "{\"imageLayoutVersion\":\"1.0.0\"}");
        let unit =
            &manifest(&desired, "worker0").units[&"kinstall-images.service".parse().unwrap()];
        let index = RemotePath::fixed(&format!("{place}/index.json"));
        assert!(unit.watches.contains(&index), "{unit:?}");
        let entries = &manifest(&desired, "az1").entries;
        assert!(!entries.keys().any(|path| path.as_str().contains("images")));
    }

    #[test]
    fn an_image_that_is_not_pinned_is_named() {
        let fixture = fixture();
        let mut needs = artifact::of_cluster(&fixture.inventory, &fixture.archs);
        needs.images.clear();
        let mut lockfile = Lockfile::default();
        lockfile.suppose(&needs);
        let composed = compose(
            &fixture.inventory,
            &fixture.archs,
            &lockfile,
            &fixture.credentials,
        );
        let told = format!(
            "`docker.io/library/nginx:1.27@sha256:{DIGEST} arm64` for the node `worker0` is not pinned"
        );
        assert_eq!(composed.unwrap_err().to_string(), told);
    }
}
