//! Promises about a power cut: what a run calls done is on the disk, on whatever file system it
//! lies. A disk is a file here, mounted so that nothing gets to it by itself for minutes; the power
//! cut is a copy of that file.

use std::path::{Path, PathBuf};
use std::process::Command;

use fs_err as fs;

use crate::lab::Lab;
use crate::tree::content;

/// How large a disk is, in MiB.
const DISK_MIB: u64 = 64;

/// A disk of its own at a directory, until it is dropped.
struct Disk {
    image: PathBuf,
    at: PathBuf,
}

impl Disk {
    fn at(at: &Path, image: PathBuf) -> Result<Self, String> {
        let file = fs::File::create(&image).unwrap();
        file.set_len(DISK_MIB << 20).unwrap();
        let options = "lazy_itable_init=0,lazy_journal_init=0";
        run("mkfs.ext4", &["-q", "-E", options, text(&image)])?;
        fs::create_dir_all(at).unwrap();
        run("mount", &["-o", "loop,commit=300", text(&image), text(at)])?;
        run("sync", &["-f", text(at)])?;
        let at = at.to_owned();
        Ok(Self { image, at })
    }

    /// What is on the disk when the power goes now.
    fn cut(&self) -> Self {
        let image = self.image.with_extension("cut");
        let at = self.image.with_extension("after");
        fs::copy(&self.image, &image).unwrap();
        fs::create_dir_all(&at).unwrap();
        run("mount", &["-o", "loop", text(&image), text(&at)]).unwrap();
        Self { image, at }
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // A test that failed already has more to say.
        _ = run("umount", &[text(&self.at)]);
    }
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

fn run(program: &str, words: &[&str]) -> Result<(), String> {
    let output = Command::new(program).args(words).output();
    let output = output.map_err(|error| format!("{program}: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    let why = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    Err(format!("{program}: {why}"))
}

/// A disk at each of these directories; none, with the reason said, where nothing can be mounted.
fn disks(test: &str, room: &Path, places: &[PathBuf]) -> Option<Vec<Disk>> {
    let mut disks = Vec::new();
    for (number, at) in places.iter().enumerate() {
        match Disk::at(at, room.join(format!("disk{number}"))) {
            Ok(disk) => disks.push(disk),
            Err(why) => {
                assert!(std::env::var_os("CI").is_none(), "{test} must run: {why}");
                println!("NOT RUN: {test}: {why}");
                return None;
            }
        }
    }
    Some(disks)
}

#[test]
fn what_is_called_done_is_on_every_disk() {
    let room = tempfile::tempdir().unwrap();
    // The operator's own directory, with `pki/`, is on a disk too.
    let own = room.path().join("own");
    let nodes = room.path().join("nodes");
    let places = [
        own.clone(),
        nodes.join("node1/usr/local"),
        nodes.join("node1/etc"),
        nodes.join("node2/var/lib/kinstall"),
    ];
    let Some(disks) = disks("what_is_called_done_is_on_every_disk", room.path(), &places) else {
        return;
    };
    let lab = Lab::new();
    // Beside the inventory lie `pki/`, the lockfile and the history.
    let inventory = own.join("inventory.toml");
    fs::copy(lab.path("inventory.toml"), &inventory).unwrap();
    run("sync", &["-f", text(&own)]).unwrap();
    lab.run(["push", text(&inventory), "--into", text(&nodes)])
        .exits(0);
    for disk in &disks {
        let (there, after) = (content(&disk.at), content(&disk.cut().at));
        let lost: Vec<_> = there
            .iter()
            .filter(|(path, item)| after.get(*path) != Some(*item))
            .collect();
        assert!(there.len() > 5, "{there:?}");
        assert!(lost.is_empty(), "{}: {lost:?}", disk.at.display());
    }
}
