//! The program itself, run as a user runs it: an inventory of one node, a mirror, a cache.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use fs_err as fs;
use kinstall::digest::Digest;

use crate::mirror::Mirror;

/// Upstream's programs at the version that the inventory asks for.
pub(crate) const SERVERS: [&str; 4] = [
    "kube-apiserver",
    "kube-controller-manager",
    "kube-scheduler",
    "kubectl",
];

/// A directory with an inventory, and a mirror that has all it asks for.
pub(crate) struct Site {
    pub(crate) mirror: Mirror,
    pub(crate) room: tempfile::TempDir,
}

impl Site {
    pub(crate) fn new() -> Self {
        let (mirror, room) = (Mirror::start(), tempfile::tempdir().unwrap());
        stock(&mirror);
        let site = Self { mirror, room };
        site.inventory(&format!(
            "kubernetes = [\"{0}\"]\netcd = [\"{0}\"]\n",
            site.mirror.url()
        ));
        site
    }

    /// Writes the inventory anew, with these words under `[source]`.
    pub(crate) fn inventory(&self, source: &str) {
        let text = format!(
            "[cluster]\nname = \"home\"\nkubernetes = \"1.36.99\"\netcd = \"3.6.99\"\n\
             [source]\n{source}\n\
             [[node]]\nname = \"az1\"\naddress = \"10.0.12.1\"\narch = \"arm64\"\n"
        );
        fs::write(self.path("inventory.toml"), text).unwrap();
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.room.path().join(name)
    }

    /// Runs it here, with a cache of its own and nothing of the environment but these variables.
    pub(crate) fn run_with(&self, words: &[&str], variables: &[(&str, &str)]) -> Told {
        let output = Command::new(env!("CARGO_BIN_EXE_kinstall"))
            .args(words)
            .current_dir(self.room.path())
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", self.room.path())
            .env("KINSTALL_CACHE", self.path("cache"))
            .envs(variables.iter().copied())
            .output()
            .unwrap();
        Told::of(&output)
    }

    pub(crate) fn run(&self, words: &[&str]) -> Told {
        self.run_with(words, &[])
    }

    /// Runs it and expects that it ends well.
    #[track_caller]
    pub(crate) fn done(&self, words: &[&str]) -> Told {
        let told = self.run(words);
        assert_eq!(told.code, 0, "{words:?}: {told:?}");
        told
    }

    /// Forgets what was downloaded, and what the mirror was asked.
    pub(crate) fn forget(&self) {
        if self.path("cache").exists() {
            fs::remove_dir_all(self.path("cache")).unwrap();
        }
        self.mirror.recover();
    }
}

/// How a run ended.
#[derive(Debug)]
pub(crate) struct Told {
    pub(crate) code: i32,
    pub(crate) data: String,
    pub(crate) talk: String,
}

impl Told {
    fn of(output: &Output) -> Self {
        Self {
            code: output.status.code().unwrap(),
            data: String::from_utf8(output.stdout.clone()).unwrap(),
            talk: String::from_utf8(output.stderr.clone()).unwrap(),
        }
    }

    /// What was said, in one line, without the frame that long messages are set in.
    pub(crate) fn words(&self) -> String {
        let words = self.talk.split_whitespace();
        words
            .filter(|word| *word != "│")
            .collect::<Vec<_>>()
            .join(" ")
    }
}

/// Puts everything that the inventory asks for where upstream has it.
pub(crate) fn stock(mirror: &Mirror) {
    for name in SERVERS {
        let path = format!("/release/v1.36.99/bin/linux/arm64/{name}");
        mirror.put(
            &format!("{path}.sha256"),
            Digest::of(&elf(name)).to_string(),
        );
        mirror.put(&path, elf(name));
    }
    let members = ["etcd", "etcdctl"].map(|name| format!("etcd-v3.6.99-linux-arm64/{name}"));
    let archive = archive(&members);
    let sums = format!(
        "{}  etcd-v3.6.99-linux-arm64.tar.gz\n",
        Digest::of(&archive)
    );
    mirror.put("/v3.6.99/etcd-v3.6.99-linux-arm64.tar.gz", archive);
    mirror.put("/v3.6.99/SHA256SUMS", sums);
}

/// Something with the header of an arm64 program and 300 KB that do not compress away.
pub(crate) fn elf(seed: &str) -> Vec<u8> {
    let mut bytes = vec![0; 64];
    bytes[..6].copy_from_slice(b"\x7fELF\x02\x01");
    bytes[18] = 183;
    let mut block = Digest::of(seed.as_bytes());
    while bytes.len() < 300_000 {
        block = Digest::of(block.to_string().as_bytes());
        bytes.extend(block.to_string().as_bytes());
    }
    bytes
}

/// A `.tar.gz` with a program at each of these paths, each made of its name.
pub(crate) fn archive(paths: &[String]) -> Vec<u8> {
    let gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    let mut archive = tar::Builder::new(gzip);
    for path in paths {
        let name = Path::new(path).file_name().unwrap().to_str().unwrap();
        let content = elf(name);
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_mode(0o755);
        archive
            .append_data(&mut header, path, content.as_slice())
            .unwrap();
    }
    archive.into_inner().unwrap().finish().unwrap()
}
