//! Bundles that nobody meant well, and that the same inputs make the same bytes.

use std::io::{Read, Write};

use super::*;
use crate::arch::Arch;
use crate::artifact::Program;
use crate::image::Image;
use crate::lockfile::{ImageFormat, PinnedProgram};

/// What stands in the plain archive: headers and contents, one after another.
type Blocks = Vec<Vec<u8>>;

fn program(name: &str) -> Program {
    Program {
        name: name.to_owned(),
        version: "1.99.3".parse().unwrap(),
        arch: Arch::Arm64,
        own: None,
    }
}

fn pinned(content: &[u8]) -> PinnedProgram {
    PinnedProgram {
        digest: Digest::of(content),
        size: content.len() as u64,
    }
}

fn lockfile(contents: &[(&str, &[u8])]) -> Lockfile {
    let mut lockfile = Lockfile::default();
    for (name, content) in contents {
        let pin = Pin {
            size: content.len() as u64,
            digest: Digest::of(content),
            trust: Trust::Published,
            members: BTreeMap::new(),
        };
        lockfile.insert(program(name).artifact().unwrap(), pin);
    }
    lockfile
}

fn member(name: &str, content: &[u8]) -> Vec<u8> {
    let mut bytes = stream::header(name, content.len() as u64).to_vec();
    bytes.extend(content);
    bytes.extend(stream::padding(content.len() as u64));
    bytes
}

const CONTENTS: [(&str, &[u8]); 2] = [("kubectl", b"kubectl itself"), ("kube-scheduler", b"s")];

/// A sound bundle of two programs.
fn sound() -> Blocks {
    let lockfile = lockfile(&CONTENTS);
    let (manifest, lock) = describe("home", &needs(), &lockfile).unwrap();
    let mut blocks = vec![
        member(manifest::NAME, manifest.to_text().as_bytes()),
        member(fetch::LOCKFILE, lock.as_bytes()),
    ];
    for digest in manifest.contents().into_keys() {
        let content = CONTENTS
            .iter()
            .find(|(_, content)| Digest::of(content) == digest);
        blocks.push(member(&digest.to_string(), content.unwrap().1));
    }
    blocks.push(vec![0; 1024]);
    blocks
}

fn needs() -> Needs {
    Needs {
        programs: CONTENTS.map(|(name, _)| program(name)).into(),
        images: BTreeSet::new(),
    }
}

fn gzip(plain: &[u8]) -> Vec<u8> {
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(plain).unwrap();
    gzip.finish().unwrap()
}

fn read_all(bundle: &[u8]) -> Result<(Bundle, Vec<Vec<u8>>), BadBundle> {
    let take = |content: &mut dyn Read| {
        let mut bytes = Vec::new();
        content.read_to_end(&mut bytes).map_err(CacheError::Io)?;
        Ok((Digest::of(&bytes), bytes))
    };
    let (bundle, taken) = read(bundle, |_| Ok(()), take)?;
    Ok((bundle, taken.into_iter().map(|(_, bytes)| bytes).collect()))
}

#[track_caller]
fn refuse(change: impl FnOnce(&mut Blocks), message: &str) {
    let mut blocks = sound();
    change(&mut blocks);
    for bundle in [
        gzip(&blocks.concat()),
        zstd::encode_all(&*blocks.concat(), 1).unwrap(),
    ] {
        let error = read_all(&bundle).unwrap_err();
        assert!(error.to_string().contains(message), "{error}");
    }
}

#[test]
fn a_sound_bundle_is_read_either_way() {
    let plain = sound().concat();
    for bundle in [gzip(&plain), zstd::encode_all(&*plain, 1).unwrap()] {
        let (bundle, contents) = read_all(&bundle).unwrap();
        assert_eq!(bundle.manifest.cluster, "home");
        assert_eq!(bundle.lockfile, lockfile(&CONTENTS));
        let found: BTreeSet<_> = contents.iter().map(Vec::as_slice).collect();
        assert_eq!(found, CONTENTS.map(|(_, content)| content).into());
    }
}

/// An earlier kinstall took programs out of Kubernetes' archive of servers, and its bundles say so.
#[test]
fn a_bundle_whose_lockfile_pins_the_archive_of_servers_is_adopted_as_single_programs() {
    let program = |name, content: &[u8]| {
        let (size, digest) = (content.len(), Digest::of(content));
        format!("[[artifact.program]]\nname = \"{name}\"\nsize = {size}\nsha256 = \"{digest}\"\n")
    };
    let lock = format!(
        "format = 1\n\n[[artifact]]\nsource = \"kubernetes\"\n\
         path = \"v1.99.3/kubernetes-server-linux-arm64.tar.gz\"\n\
         version = \"1.99.3\"\narch = \"arm64\"\nsize = 300000000\n\
         sha256 = \"{}\"\ntrust = \"built-in\"\n\n{}\n{}",
        Digest::of(b"archive"),
        program("kube-scheduler", CONTENTS[1].1),
        program("kubectl", CONTENTS[0].1),
    );
    let mut blocks = sound();
    let manifest = Manifest {
        cluster: "home".to_owned(),
        lock_size: lock.len() as u64,
        lock_digest: Digest::of(lock.as_bytes()),
        programs: CONTENTS
            .map(|(name, content)| (self::program(name), pinned(content)))
            .into(),
        images: BTreeMap::new(),
        templates: BTreeMap::new(),
    };
    blocks[0] = member(manifest::NAME, manifest.to_text().as_bytes());
    blocks[1] = member(fetch::LOCKFILE, lock.as_bytes());
    let (bundle, contents) = read_all(&gzip(&blocks.concat())).unwrap();
    assert_eq!(contents.len(), 2);

    let inventory = "cluster = { name = \"home\", kubernetes = \"1.32.3\" }\n\
                     node = [{ name = \"n1\", address = \"10.0.12.1\", domain = \"n1.home\" }]\n";
    let inventory = Inventory::parse(inventory, "inventory.toml", Path::new("/home"));
    let (inventory, _) = inventory.unwrap();
    // A site without a lockfile believes the bundle, and one that has the same old lockfile agrees.
    let mut fresh = Lockfile::default();
    assert!(bundle.adopt(&inventory, &mut fresh).unwrap());
    let mut old = Lockfile::parse(&lock).unwrap();
    assert!(!bundle.adopt(&inventory, &mut old).unwrap());
    for (lockfile, trust) in [(&fresh, Trust::Bundle), (&old, Trust::Published)] {
        for (name, content) in CONTENTS {
            let (artifact, found) = lockfile.artifact(&self::program(name)).unwrap();
            assert_eq!(found, pinned(content));
            assert!(artifact.path.ends_with(&format!("/bin/linux/arm64/{name}")));
            assert_eq!(lockfile.pin(&artifact).unwrap().trust, trust);
        }
    }
}

#[test]
fn what_is_not_due_is_refused_whatever_it_is() {
    let insert = |at: usize, bytes: Vec<u8>| move |blocks: &mut Blocks| blocks.insert(at, bytes);
    for name in ["../../etc/passwd", "/etc/passwd", "sha256", "kinstall.lock"] {
        // Set by hand: the builder refuses what this test is about.
        let mut header = tar::Header::new_ustar();
        header.as_mut_bytes()[..name.len()].copy_from_slice(name.as_bytes());
        header.set_size(0);
        header.set_entry_type(tar::EntryType::Regular);
        header.set_cksum();
        for at in [0, 2, 4] {
            let bytes = header.as_bytes().to_vec();
            refuse(insert(at, bytes), &format!("it holds `{name}` instead"));
        }
    }
    for kind in [
        tar::EntryType::Symlink,
        tar::EntryType::Link,
        tar::EntryType::Char,
        tar::EntryType::Block,
        tar::EntryType::Fifo,
        tar::EntryType::Directory,
        tar::EntryType::GNULongName,
        tar::EntryType::XHeader,
    ] {
        let mut header = tar::Header::new_ustar();
        header.set_path("manifest.toml").unwrap();
        header.set_entry_type(kind);
        header.set_size(0);
        header.set_cksum();
        let bytes = header.as_bytes().to_vec();
        refuse(insert(0, bytes), "`manifest.toml`, which is no plain file");
    }
}

#[test]
fn order_repetition_and_remains_are_refused() {
    refuse(|blocks| blocks.swap(0, 1), "instead of `manifest.toml`");
    refuse(|blocks| blocks.swap(2, 3), "instead of `");
    refuse(|blocks| blocks.insert(2, blocks[2].clone()), "instead of `");
    refuse(|blocks| drop(blocks.remove(3)), "it holds its end instead");
    refuse(
        |blocks| blocks.push(vec![0; 512]),
        "something follows its end",
    );
    refuse(
        |blocks| blocks.push(b"x".to_vec()),
        "something follows its end",
    );
    refuse(|blocks| drop(blocks.pop()), "it cannot be read to its end");
    refuse(
        |blocks| {
            let last = blocks[3].len() - 1;
            blocks[3][last] = 1;
        },
        "something follows its end",
    );
}

#[test]
fn contents_are_what_the_manifest_says_and_the_lockfile_too() {
    refuse(|blocks| blocks[2][512] ^= 1, "and its manifest says");
    refuse(
        |blocks| blocks[1][512] ^= 1,
        "its `kinstall.lock` has sha256",
    );
    refuse(
        |blocks| blocks[0][520] = b'9',
        "its manifest cannot be understood",
    );
    let mut other = Vec::new();
    let text = lockfile(&[("kubectl", b"another")]).to_text();
    refuse(
        |blocks| {
            let mut manifest = String::from_utf8(blocks[0][512..].to_vec()).unwrap();
            manifest = manifest.trim_end_matches('\0').to_owned();
            let lock = lockfile(&CONTENTS).to_text();
            let digests = [&lock, &text].map(|text| Digest::of(text.as_bytes()).to_string());
            manifest = manifest.replace(&digests[0], &digests[1]);
            let sizes = [&lock, &text].map(|text| format!("size = {}\n", text.len()));
            manifest = manifest.replacen(&sizes[0], &sizes[1], 1);
            blocks[0] = member(manifest::NAME, manifest.as_bytes());
            blocks[1] = member(fetch::LOCKFILE, text.as_bytes());
            other.clone_from(blocks);
        },
        "its lockfile and its manifest say different things of kube",
    );
}

#[test]
fn a_bomb_is_refused_before_it_goes_off() {
    // A manifest that says it is long, and zeros without end after it.
    let mut long = stream::header(manifest::NAME, 1 << 40).to_vec();
    long.resize(1 << 20, 0);
    let error = read_all(&gzip(&long)).unwrap_err().to_string();
    assert_eq!(error, "its `manifest.toml` is too long to be one");
    // A window of 128 MiB.
    let mut encoder = zstd::Encoder::new(Vec::new(), 1).unwrap();
    encoder.window_log(27).unwrap();
    encoder.write_all(&sound().concat()).unwrap();
    let error = read_all(&encoder.finish().unwrap())
        .unwrap_err()
        .to_string();
    assert!(error.contains("it cannot be read to its end"), "{error}");
}

#[test]
fn a_bundle_cut_anywhere_is_refused() {
    let plain = sound().concat();
    for whole in [gzip(&plain), zstd::encode_all(&*plain, 1).unwrap()] {
        for length in 0..whole.len() {
            assert!(read_all(&whole[..length]).is_err(), "cut at {length}");
        }
    }
    assert!(matches!(read_all(b"PK\x03\x04"), Err(BadBundle::Format)));
}

#[tokio::test]
async fn the_same_inputs_make_the_same_bytes() {
    let mut made = Vec::new();
    for _ in 0..2 {
        let room = tempfile::tempdir().unwrap();
        let cache = Cache::open(Some(&room.path().join("cache"))).unwrap();
        let big: Vec<u8> = (0..3_000_000_u32)
            .map(|i| (i.wrapping_mul(i) % 251) as u8)
            .collect();
        let contents: [(&str, &[u8]); 2] = [("kubectl", &big), ("kube-scheduler", b"small")];
        for (_, content) in contents {
            let mut content = content;
            let (pinned, file) = cache.stage(&mut content).unwrap();
            cache.admit(pinned.digest, file).unwrap();
        }
        let mut bundles = Vec::new();
        for name in ["home.tar.zst", "home.tar.gz"] {
            let path = room.path().join(name);
            let lockfile = lockfile(&contents);
            let none = BTreeMap::new();
            let bundle = create(&path, "home", &needs(), none, &lockfile, &cache).await;
            assert_eq!(bundle.unwrap(), verify(&path).unwrap());
            bundles.push(fs::read(&path).unwrap());
        }
        made.push(bundles);
    }
    assert!(made[0] == made[1]);
    let room = tempfile::tempdir().unwrap();
    let nothing = Cache::open(Some(room.path())).unwrap();
    let path = room.path().join("home.zip");
    let (nobody, lockfile) = (Needs::default(), Lockfile::default());
    let made = create(&path, "home", &nobody, BTreeMap::new(), &lockfile, &nothing);
    assert_eq!(made.await.unwrap_err().exit_code(), 2);
}

#[tokio::test]
async fn nothing_of_a_bad_bundle_comes_into_the_cache() {
    let room = tempfile::tempdir().unwrap();
    let cache = Cache::open(Some(&room.path().join("cache"))).unwrap();
    let path = room.path().join("home.tar.gz");
    let mut blocks = sound();
    blocks[3][512] ^= 1;
    fs::write(&path, gzip(&blocks.concat())).unwrap();
    let error = admit(&path, &cache).await.unwrap_err();
    assert_eq!(error.exit_code(), 5);
    assert_eq!(cache.entries().unwrap(), []);
    fs::write(&path, gzip(&sound().concat())).unwrap();
    let bundle = admit(&path, &cache).await.unwrap();
    assert_eq!(
        cache.entries().unwrap().len(),
        bundle.manifest.programs.len()
    );
    let about = cache.about(pinned(b"s").digest).unwrap();
    assert_eq!(about.name, "kube-scheduler");
    assert!(about.from.unwrap().starts_with("file:///"));
}

/// A bundle of an image of two parts, and no program.
fn of_an_image() -> (Image, Blocks) {
    let image = Image {
        reference: "nginx:1.27".parse().unwrap(),
        arch: Arch::Arm64,
    };
    let parts: [&[u8]; 2] = [b"manifest", b"layer"];
    let mut lockfile = Lockfile::default();
    let pin = ImagePin {
        named: Digest::of(b"index"),
        trust: Trust::Published,
        format: ImageFormat::Docker,
        manifest: pinned(parts[0]),
        blobs: vec![pinned(parts[1])],
    };
    lockfile.insert_image(image.clone(), pin);
    let needs = Needs {
        images: [image.clone()].into(),
        ..Needs::default()
    };
    let (manifest, lock) = describe("home", &needs, &lockfile).unwrap();
    let mut blocks = vec![
        member(manifest::NAME, manifest.to_text().as_bytes()),
        member(fetch::LOCKFILE, lock.as_bytes()),
    ];
    for digest in manifest.contents().into_keys() {
        let content = parts.into_iter().find(|it| Digest::of(it) == digest);
        blocks.push(member(&digest.to_string(), content.unwrap()));
    }
    blocks.push(vec![0; 1024]);
    (image, blocks)
}

#[test]
fn an_image_is_carried_by_its_parts_and_adopted_as_it_was_pinned() {
    let (image, blocks) = of_an_image();
    let (bundle, contents) = read_all(&gzip(&blocks.concat())).unwrap();
    assert_eq!(contents.len(), 2);
    let text = "cluster = { name = \"home\", kubernetes = \"1.32.3\" }\n\
                node = [{ name = \"n1\", address = \"10.0.12.1\", domain = \"n1.home\" }]\n";
    let inventory = Inventory::parse(text, "inventory.toml", Path::new("/home"));
    let (inventory, _) = inventory.unwrap();
    let mut lockfile = Lockfile::default();
    assert!(bundle.adopt(&inventory, &mut lockfile).unwrap());
    let adopted = lockfile.image(&image).unwrap().clone();
    assert_eq!(adopted.trust, Trust::Bundle);
    assert!(!bundle.adopt(&inventory, &mut lockfile).unwrap());
    let other = ImagePin {
        blobs: vec![pinned(b"other layer")],
        ..adopted
    };
    lockfile.insert_image(image, other);
    let error = bundle.adopt(&inventory, &mut lockfile).unwrap_err();
    let told = "the bundle holds docker.io/library/nginx:1.27 arm64 with sha256";
    assert!(error.to_string().starts_with(told), "{error}");
}

#[test]
fn an_image_that_the_lockfile_of_a_bundle_pins_otherwise_is_refused() {
    let (_, mut blocks) = of_an_image();
    let (manifest, lock) = (&blocks[0][512..], &blocks[1][512..]);
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    let (manifest, lock) = (text(manifest), text(lock));
    let manifest = manifest.trim_end_matches('\0');
    let lock = lock.trim_end_matches('\0');
    let (layer, other) = (Digest::of(b"layer"), Digest::of(b"other"));
    let edited = lock.replace(&layer.to_string(), &other.to_string());
    let digests = [lock, &edited].map(|it| Digest::of(it.as_bytes()).to_string());
    let manifest = manifest.replace(&digests[0], &digests[1]);
    blocks[0] = member(manifest::NAME, manifest.as_bytes());
    blocks[1] = member(fetch::LOCKFILE, edited.as_bytes());
    let error = read_all(&gzip(&blocks.concat())).unwrap_err();
    let told =
        "its lockfile and its manifest say different things of docker.io/library/nginx:1.27 arm64";
    assert_eq!(error.to_string(), told);
}

/// Whatever a bundle holds, what is taken out of it is what its manifest says, or it is refused.
#[test]
fn no_bundle_is_too_hostile() {
    let blocks = sound();
    let plain = blocks.concat();
    let packed = [gzip(&plain), zstd::encode_all(&*plain, 1).unwrap()];
    crate::fuzz::run(|random| {
        let bytes = if random.one_in(4) {
            let mut bytes = packed[usize::from(random.one_in(2))].clone();
            crate::fuzz::hurt(&mut bytes, random);
            bytes
        } else {
            let mut bytes = plain.clone();
            crate::fuzz::hurt(&mut bytes, random);
            if !random.one_in(4) {
                crate::fuzz::heal_checksums(&mut bytes);
            }
            gzip(&bytes)
        };
        if let Ok((bundle, contents)) = read_all(&bytes) {
            let stated = bundle.manifest.contents();
            let found = contents
                .iter()
                .map(|content| (Digest::of(content), content.len() as u64));
            assert_eq!(found.collect::<BTreeMap<_, _>>(), stated);
        }
    });
}
