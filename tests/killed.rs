//! Promises about a `kinstall` that is killed: at no moment is a managed path neither the whole
//! old nor the whole new version, and the next run ends as if nothing had happened.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use fs_err as fs;

use crate::lab::Lab;
use crate::tree::content;

/// How many runs are killed onto empty directories, and how many that change what is there.
const FIRST_PUSHES: u32 = 12;
const CHANGES: u32 = 20;
const NODES: [&str; 3] = ["node1", "node2", "node3"];

type Content = BTreeMap<String, (String, u32)>;

fn push(directory: &str) -> [&str; 4] {
    ["push", "inventory.toml", "--into", directory]
}

fn contents(lab: &Lab, directory: &str) -> [Content; 3] {
    NODES.map(|node| {
        let root = lab.path(&format!("{directory}/{node}"));
        if root.exists() {
            content(&root)
        } else {
            Content::new()
        }
    })
}

/// Runs a push and kills it after a part of the time that an undisturbed one took.
fn kill_after(lab: &Lab, directory: &str, whole: Duration, part: u32, parts: u32) {
    let going = lab.start(push(directory));
    std::thread::sleep(whole * part / parts);
    going.signal("KILL");
    going.finish();
}

/// Whatever is there is whole, of one version or the other; directories and what is not in place
/// yet aside.
#[track_caller]
fn assert_whole(found: &[Content; 3], old: &[Content; 3], new: &[Content; 3], moment: &str) {
    for (index, node) in NODES.iter().enumerate() {
        for (path, (what, mode)) in &found[index] {
            let is_new = path.ends_with(".kinstall-new");
            if is_new || what == "directory" {
                continue;
            }
            let versions = [old[index].get(path), new[index].get(path)];
            let is_one = versions
                .iter()
                .flatten()
                .any(|(whole, right)| (whole, right) == (what, mode));
            assert!(
                is_one,
                "{moment}: {node}{path} is {what} with mode {mode:o}, of neither version"
            );
        }
        for path in old[index]
            .keys()
            .filter(|path| new[index].contains_key(*path))
        {
            assert!(
                found[index].contains_key(path),
                "{moment}: {node}{path} is gone"
            );
        }
    }
}

/// No trace of what was under way.
#[track_caller]
fn assert_tidy(root: &Path) {
    let left: Vec<_> = content(root)
        .into_keys()
        .filter(|path| path.contains("kinstall-new"))
        .collect();
    assert!(left.is_empty(), "{left:?}");
    let incoming = |node: &&str| {
        root.join(node)
            .join("var/lib/kinstall/store/incoming")
            .exists()
    };
    assert!(!NODES.iter().any(incoming));
    for node in NODES {
        assert!(
            !root.join(node).join("var/lib/kinstall/begun.json").exists(),
            "{node}"
        );
    }
}

#[test]
fn a_killed_push_is_finished_by_the_next() {
    let lab = Lab::new();
    lab.run(["fetch", "inventory.toml"]).exits(0);
    lab.run(push("whole")).exits(0);
    fs::remove_dir_all(lab.path("whole")).unwrap();
    let begun = Instant::now();
    lab.run(push("whole")).exits(0);
    let time = begun.elapsed();
    let whole = contents(&lab, "whole");
    let nothing = [Content::new(), Content::new(), Content::new()];
    for part in 0..FIRST_PUSHES {
        let directory = format!("first{part}");
        kill_after(&lab, &directory, time, part, FIRST_PUSHES);
        let moment = format!("first push killed after {part}/{FIRST_PUSHES} of {time:?}");
        assert_whole(&contents(&lab, &directory), &nothing, &whole, &moment);
        lab.run(push(&directory)).exits(0);
        assert_eq!(contents(&lab, &directory), whole, "{moment}");
        assert_tidy(&lab.path(&directory));
        fs::remove_dir_all(lab.path(&directory)).unwrap();
    }

    lab.edit("audit-log-maxage = 60", "audit-log-maxage = 61");
    let begun = Instant::now();
    lab.run(push("whole")).exits(0);
    let time = begun.elapsed();
    let other = contents(&lab, "whole");
    // From one version to the other and back.
    let versions = [(&whole, "60"), (&other, "61")];
    let mut now = 1;
    for part in 0..CHANGES {
        let ((old, from), (new, to)) = (versions[now], versions[1 - now]);
        lab.edit(
            &format!("audit-log-maxage = {from}"),
            &format!("audit-log-maxage = {to}"),
        );
        now = 1 - now;
        kill_after(&lab, "whole", time, part, CHANGES);
        let moment = format!("change killed after {part}/{CHANGES} of {time:?}");
        assert_whole(&contents(&lab, "whole"), old, new, &moment);
        lab.run(push("whole")).exits(0);
        assert_eq!(&contents(&lab, "whole"), new, "{moment}");
        assert_tidy(&lab.path("whole"));
    }
    lab.run(push("whole")).exits(0).says("nothing to do");
}
