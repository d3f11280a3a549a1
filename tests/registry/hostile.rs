//! Promises about registries, logins and directories of images that somebody else made: they have no
//! password that is not theirs, nothing of this machine, and no end of its time and memory.

use std::os::unix::fs::symlink;

use fs_err as fs;

use super::site::PAUSE;
use super::{fetch, paths, registry};
use crate::lab::Lab;
use crate::mirror::{Mirror, Mood};

const TAG: &str = "/v2/team/app/manifests/3";
/// What is asked of whoever gives out tokens.
const TOKEN: &str = "/token?service=home";

fn log_in(lab: &Lab, mirror: &Mirror, auth: &str) {
    fs::create_dir_all(lab.path("docker")).unwrap();
    let host = mirror.address();
    let text = format!("{{\"auths\": {{\"{host}\": {auth}}}}}");
    fs::write(lab.path("docker/config.json"), text).unwrap();
}

#[test]
fn a_login_goes_to_no_third_party_and_nowhere_unprotected() {
    let (mirror, lab, _) = registry();
    let (realm, thief) = (Mirror::start(), Mirror::start());
    let token = format!("{}/token", thief.url());
    let bearer = |realm: &str| {
        let challenge = format!("Bearer realm=\"{realm}\",service=\"home\"");
        Mood::Asks(challenge, "Bearer abc")
    };
    log_in(&lab, &mirror, "{\"auth\": \"bWU6aHVzaA==\"}");
    mirror.mood(TAG, [bearer("http://registry.invalid/token")]);
    fetch(&lab, &[])
        .exits(2)
        .says("it asks for a login over http, where everyone on the way");

    // Whoever keeps a layer for the registry is not the registry.
    mirror.recover();
    let layer = paths(&lab).pop().unwrap();
    mirror.mood(&layer, [Mood::Redirect(format!("{}/layer", realm.url()))]);
    realm.mood("/layer", [bearer(&token)]);
    fetch(&lab, &[]).exits(5).says("401");
    assert_eq!(thief.requests(TOKEN), []);

    // What is sent in a form stays with whom it is sent to.
    log_in(&lab, &mirror, "{\"identitytoken\": \"hush\"}");
    mirror.recover();
    mirror.mood(TAG, [bearer(&format!("{}/token", realm.url()))]);
    realm.mood("/token", [Mood::Redirect(token.clone())]);
    fetch(&lab, &[])
        .exits(2)
        .says("it refuses the login for `")
        .never_says("hush");
    assert_eq!(realm.requests("/token").len(), 1);
    assert_eq!(thief.requests("/token"), []);
}

#[test]
fn answers_of_a_registry_have_an_end() {
    let (mirror, lab, name) = registry();
    let refused = |told: &str| {
        let output = fetch(&lab, &[]);
        assert!([Some(2), Some(5)].contains(&output.code), "{output}");
        let output = output.says(told).says(&name);
        assert!(output.stderr.len() < 4000, "{output}");
        assert!(kinstall::plain::is_plain(&output.stderr), "{output}");
        assert!(!lab.path("kinstall.lock").exists());
    };
    let endless = Mood::Endless("HTTP/1.1 200 OK\r\n\r\n", vec![b'['; 65536]);
    mirror.mood(TAG, [endless.clone()]);
    refused("it is longer than 4194304 bytes");
    mirror.recover();
    mirror.put(TAG, "[".repeat(1 << 20));
    refused("its manifest cannot be understood");

    let digest = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    let part = |kind: &str, digest: &str, size: &str| {
        format!("{{\"mediaType\": \"{kind}\", \"digest\": \"{digest}\", \"size\": {size}}}")
    };
    let manifest = |digest: &str, size: &str| {
        let config = part(
            "application/vnd.oci.image.config.v1+json",
            &format!("sha256:{}", "0".repeat(64)),
            "5",
        );
        let layer = part("layer", digest, size);
        format!("{{\"schemaVersion\": 2, \"config\": {config}, \"layers\": [{layer}]}}")
    };
    let sound = format!("sha256:{digest}");
    for (digest, size, told) in [
        ("sha256:../../../../etc/shadow", "5", "is no SHA-256 digest"),
        ("sha256:\\u001b[2J\\u0000", "5", "is no SHA-256 digest"),
        (&sound, "9223372036854775807", "at most 1073741824"),
        (&sound, "-1", "its manifest cannot be understood"),
        (&sound, "1e300", "its manifest cannot be understood"),
        (&sound, "0", "at most 1073741824"),
    ] {
        mirror.put(TAG, manifest(digest, size));
        refused(told);
    }

    // As many platforms as fit, each with a name that acts.
    let platform = "\"os\": \"\\u001b]0;X\\u0007\", \"architecture\": \"\\u202e\"";
    let other = part("x", &sound, "5").replace('}', &format!(", \"platform\": {{{platform}}}}}"));
    let all = vec![other; 15_000].join(",");
    mirror.put(
        TAG,
        format!("{{\"schemaVersion\": 2, \"manifests\": [{all}]}}"),
    );
    refused("and 14988 more");

    let realm = Mirror::start();
    let challenge = format!("Bearer realm=\"{}/token\",service=\"home\"", realm.url());
    mirror.mood(TAG, [Mood::Asks(challenge, "Bearer abc")]);
    realm.mood(TOKEN, [endless]);
    refused("a token that cannot be read");
    realm.recover();
    realm.put(TOKEN, "{\"token\": \"a\\r\\nx: y\"}");
    refused("it asks for a login");
}

#[test]
fn logins_and_directories_of_images_are_regular_files() {
    let (mirror, lab, _) = registry();
    let docker = lab.path("docker/config.json");
    mirror.mood(TAG, [Mood::Asks("Basic realm=\"x\"".to_owned(), "Basic x")]);
    fs::create_dir_all(lab.path("docker")).unwrap();
    let refused = |told: &str| {
        fetch(&lab, &[]).exits(2).says(told);
        fs::remove_file(&docker).unwrap();
    };
    symlink("/dev/zero", &docker).unwrap();
    refused("is a device, not a regular file");
    rustix::fs::mkfifoat(rustix::fs::CWD, &docker, 0o600.into()).unwrap();
    refused("is a FIFO, not a regular file");
    fs::write(&docker, vec![b' '; (1 << 20) + 1]).unwrap();
    refused("is larger than 1048576 bytes");
    fs::write(&docker, "{\"x\":".repeat(100_000)).unwrap();
    refused("it is no such file from line 1");
    fs::write(&docker, "{\"auths\": \u{0}}").unwrap();
    refused("it is no such file from line 1");
    mirror.recover();

    let (pause, _) = PAUSE.rsplit_once(':').unwrap();
    let folder = lab.path(&format!("images/v2/{}", pause.rsplit('/').next().unwrap()));
    let tag = folder.join("manifests/3.10");
    let text = fs::read(&tag).unwrap();
    let spoilt = |path: &std::path::Path, told: &str| {
        let output = fetch(&lab, &[]);
        assert!([Some(2), Some(5)].contains(&output.code), "{output}");
        output.says(told);
        fs::remove_file(path).unwrap();
    };
    fs::remove_file(&tag).unwrap();
    rustix::fs::mkfifoat(rustix::fs::CWD, &tag, 0o600.into()).unwrap();
    spoilt(&tag, "is a FIFO, not a regular file");
    symlink("/dev/zero", &tag).unwrap();
    spoilt(&tag, "is a device, not a regular file");
    fs::write(&tag, text).unwrap();
    let mut refusals = 0;
    // A fetch that was refused may have brought parts that were all right.
    let forget = || {
        for made in [lab.cache(), lab.path("kinstall.lock").as_path()] {
            let _ = fs::remove_dir_all(made).or_else(|_| fs::remove_file(made));
        }
    };
    // Read as a whole before anything in it is touched: what is written meanwhile may be met again.
    let blobs = fs::read_dir(folder.join("blobs")).unwrap();
    let blobs: Vec<_> = blobs.map(|blob| blob.unwrap().path()).collect();
    for blob in blobs {
        forget();
        let content = fs::read(&blob).unwrap();
        fs::remove_file(&blob).unwrap();
        rustix::fs::mkfifoat(rustix::fs::CWD, &blob, 0o600.into()).unwrap();
        let size = content.len();
        let output = fetch(&lab, &[]);
        // Those of the other architecture are asked for by nobody.
        if output.code != Some(0) {
            output.says(&format!("it is 0 bytes long, and not {size}"));
            refusals += 1;
        }
        fs::remove_file(&blob).unwrap();
        fs::write(&blob, content).unwrap();
    }
    // A configuration and two layers.
    assert_eq!(refusals, 3);
    fetch(&lab, &[]).exits(0);
}
