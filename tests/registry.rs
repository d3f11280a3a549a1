//! Promises of images: what an inventory names, and what each Pod begins with, comes from a registry or a directory like
//! one, is pinned, carried and laid down like programs are.

mod hostile;
mod site;

use fs_err as fs;
use kinstall::digest::Digest;
use serde_json::Value;

use self::site::{PAUSE, image, lab, pause, platforms, put};
use crate::lab::{Lab, Output};
use crate::mirror::{Mirror, Mood};

fn fetch(lab: &Lab, more: &[&str]) -> Output {
    lab.run([&["fetch", "inventory.toml"], more].concat())
}

fn lockfile(lab: &Lab) -> toml::Table {
    let text = fs::read_to_string(lab.path("kinstall.lock")).unwrap();
    text.parse().unwrap()
}

#[test]
fn the_pause_image_is_pinned_and_fetched_for_the_architecture_of_each_worker() {
    let lab = lab();
    let index = pause(&lab.path("images"));
    let said = fetch(&lab, &[]).exits(0).prints(PAUSE);
    let said = said
        .says("and 1 image pinned and in the cache")
        .prints("mirror");
    assert!(said.stdout.contains(&index.to_string()[..12]), "{said}");
    let lock = lockfile(&lab);
    assert_eq!(lock["format"].as_integer(), Some(2));
    let image = &lock["image"][0];
    assert_eq!(image["name"].as_str(), Some(PAUSE));
    assert_eq!(image["arch"].as_str(), Some("amd64"));
    assert_eq!(image["sha256"].as_str(), Some(index.to_string().as_str()));
    assert_eq!(image["format"].as_str(), Some("oci"));
    // The configuration and two layers.
    assert_eq!(image["blob"].as_array().unwrap().len(), 3);
    let json = fetch(&lab, &["--json", "--locked"]).exits(0).json();
    let images: Vec<_> = json
        .as_array()
        .unwrap()
        .iter()
        .filter(|it| it["kind"] == "image")
        .collect();
    assert_eq!(images.len(), 1);
    assert_eq!(images[0]["name"], PAUSE);
    assert_eq!(images[0]["version"], "3.10");
}

#[test]
fn a_tag_that_moves_changes_nothing_until_somebody_updates() {
    let lab = lab();
    fetch(&lab, &[]).exits(0);
    let before = lockfile(&lab);
    let mirror = lab.path("images");
    let moved = platforms(&[(
        "amd64",
        image(&mirror, "pause", "amd64", &[b"moved".to_vec()]),
    )]);
    let moved = put(&mirror, "pause", "3.10", &moved);
    fetch(&lab, &[]).exits(0);
    assert_eq!(lockfile(&lab), before);
    // Nor where the cache is empty: everything is asked for by its digest.
    fs::remove_dir_all(lab.cache()).unwrap();
    fetch(&lab, &[]).exits(0);
    assert_eq!(lockfile(&lab), before);
    fetch(&lab, &["--update=nginx:1"])
        .exits(2)
        .says("no program or image of that name");
    fetch(&lab, &[&format!("--update={PAUSE}")])
        .exits(0)
        .prints("changed");
    let image = &lockfile(&lab)["image"][0];
    assert_eq!(image["sha256"].as_str(), Some(moved.to_string().as_str()));
}

#[test]
fn a_push_lays_images_down_for_containerd_and_a_second_one_nothing() {
    let lab = lab();
    let push = ["push", "inventory.toml", "--into", "out"];
    lab.run(push).exits(0);
    let place = lab.path("out/worker/var/lib/kinstall-images");
    let index: Value =
        serde_json::from_slice(&fs::read(place.join("index.json")).unwrap()).unwrap();
    let manifests = index["manifests"].as_array().unwrap();
    assert_eq!(manifests.len(), 1);
    assert_eq!(
        manifests[0]["annotations"]["io.containerd.image.name"],
        PAUSE
    );
    assert!(manifests[0]["platform"].is_null());
    assert_eq!(
        fs::read_to_string(place.join("names")).unwrap(),
        format!("{PAUSE}\n")
    );
    let blobs = place.join("blobs/sha256");
    let digest = manifests[0]["digest"]
        .as_str()
        .unwrap()
        .replace("sha256:", "");
    let manifest: Value = serde_json::from_slice(&fs::read(blobs.join(&digest)).unwrap()).unwrap();
    let layers = manifest["layers"].as_array().unwrap();
    for (layer, content) in layers.iter().zip(["layer of amd64", "both"]) {
        let digest = layer["digest"].as_str().unwrap().replace("sha256:", "");
        assert_eq!(fs::read_to_string(blobs.join(digest)).unwrap(), content);
    }
    assert_eq!(fs::read_dir(&blobs).unwrap().count(), 4);
    let unit = lab.path("out/worker/etc/systemd/system/kinstall-images.service");
    assert!(unit.exists());
    lab.run(push).exits(0).says("nothing to do");
}

/// A registry that holds `team/app:3`, and a lab that wants it of there; the name.
fn registry() -> (Mirror, Lab, String) {
    let (mirror, lab) = (Mirror::start(), lab());
    let folder = lab.path("registry");
    let app = image(&folder, "team/app", "amd64", &[b"app".to_vec()]);
    put(&folder, "team/app", "3", &platforms(&[("amd64", app)]));
    for kind in ["manifests", "blobs"] {
        for file in fs::read_dir(folder.join("v2/team/app").join(kind)).unwrap() {
            let file = file.unwrap();
            let name = file.file_name().into_string().unwrap();
            let content = fs::read(file.path()).unwrap();
            mirror.put(&format!("/v2/team/app/{kind}/{name}"), content);
        }
    }
    let name = format!("{}/team/app:3", mirror.address());
    lab.edit(
        "[cluster]\n",
        &format!("[cluster]\nimages = [\"{name}\"]\n"),
    );
    (mirror, lab, name)
}

/// The paths of the registry, with what stands for its layer last.
fn paths(lab: &Lab) -> Vec<String> {
    let blobs = lab.path("registry/v2/team/app/blobs");
    let blobs = fs::read_dir(blobs).unwrap();
    let mut paths: Vec<_> = blobs
        .map(|it| it.unwrap().file_name().into_string().unwrap())
        .collect();
    paths.sort_by_key(|name| *name == format!("sha256:{}", Digest::of(b"app")));
    paths
        .iter()
        .map(|name| format!("/v2/team/app/blobs/{name}"))
        .collect()
}

#[test]
fn an_image_of_the_inventory_comes_from_its_registry() {
    let (mirror, lab, name) = registry();
    fetch(&lab, &[])
        .exits(0)
        .prints(&name)
        .says("and 2 images pinned and in the cache");
    let asked = mirror.requests("/v2/team/app/manifests/3");
    let accept = &asked[0].headers["accept"];
    for kind in [
        "application/vnd.oci.image.index.v1+json",
        "application/vnd.docker.distribution.manifest.list.v2+json",
        "application/vnd.oci.image.manifest.v1+json",
        "application/vnd.docker.distribution.manifest.v2+json",
    ] {
        assert!(accept.contains(kind), "{accept}");
    }
    // What is pinned and at hand is asked for no more.
    mirror.recover();
    fetch(&lab, &["--locked"]).exits(0);
    assert_eq!(mirror.requests("/v2/team/app/manifests/3"), []);
    lab.run(["cache", "list"]).exits(0).prints(&name);
}

#[test]
fn a_registry_is_given_the_password_that_docker_login_left_and_nobody_else_is() {
    const KNOWN: &str = "Basic bWU6c2VjcmV0";
    let (mirror, lab, _) = registry();
    let store = Mirror::start();
    let all = [
        "/v2/team/app/manifests/3".to_owned(),
        format!("/v2/team/app/manifests/sha256:{}", manifest(&lab)),
    ];
    let ask = || Mood::Asks("Basic realm=\"home\"".to_owned(), KNOWN);
    for path in all.iter().chain(&paths(&lab)) {
        mirror.mood(path, [ask()]);
    }
    // The layer lies elsewhere, as with most registries.
    let layer = paths(&lab).pop().unwrap();
    store.put("/layer", "app");
    mirror.mood(&layer, [Mood::Redirect(format!("{}/layer", store.url()))]);
    let host = mirror.address();
    fetch(&lab, &[]).exits(2).says(&format!(
        "it asks for a login, and there is none for `{host}` in `{}`",
        lab.path("docker/config.json").display()
    ));
    let login = |text: &str| {
        fs::create_dir_all(lab.path("docker")).unwrap();
        fs::write(lab.path("docker/config.json"), text).unwrap();
    };
    login("{\"auths\": [");
    fetch(&lab, &[])
        .exits(2)
        .says("config.json` cannot be read: it is no such file from line 1, column 10 on");
    login(&format!("{{\"credHelpers\": {{\"{host}\": \"pass\"}}}}"));
    fetch(&lab, &[])
        .exits(2)
        .says("which the helper `docker-credential-pass` keeps; kinstall runs no helpers");
    login(&format!(
        "{{\"auths\": {{\"{host}\": {{\"auth\": \"bWU6d3Jvbmc=\"}}}}}}"
    ));
    fetch(&lab, &[])
        .exits(2)
        .says(&format!("it refuses the login for `{host}` of"))
        .never_says("wrong");
    login(&format!(
        "{{\"auths\": {{\"{host}\": {{\"auth\": \"bWU6c2VjcmV0\"}}}}}}"
    ));
    fetch(&lab, &[]).exits(0).never_says("secret");
    let asked = store.requests("/layer");
    assert!(!asked.is_empty());
    assert!(
        asked
            .iter()
            .all(|it| !it.headers.contains_key("authorization"))
    );
}

/// The digest of the manifest that the registry's index leads to.
fn manifest(lab: &Lab) -> String {
    let index = fs::read(lab.path("registry/v2/team/app/manifests/3")).unwrap();
    let index: Value = serde_json::from_slice(&index).unwrap();
    let digest = index["manifests"][0]["digest"].as_str().unwrap();
    digest.replace("sha256:", "")
}

#[test]
fn a_lockfile_that_pins_other_parts_than_its_manifest_names_is_refused() {
    let (_mirror, lab, name) = registry();
    fetch(&lab, &[]).exits(0);
    let mut lock = lockfile(&lab);
    let images = lock["image"].as_array_mut().unwrap();
    let app = images
        .iter_mut()
        .find(|it| it["name"].as_str() == Some(&name));
    let blobs = app.unwrap()["blob"].as_array_mut().unwrap();
    assert_eq!(blobs.len(), 2);
    blobs.pop();
    fs::write(lab.path("kinstall.lock"), lock.to_string()).unwrap();
    fetch(&lab, &["--locked"])
        .exits(5)
        .says("`kinstall.lock` contradicts itself")
        .says(&name)
        .says("kinstall fetch --update");
    fetch(&lab, &["--update"]).exits(0);
}

#[test]
fn a_token_is_asked_for_where_the_registry_says() {
    let (mirror, lab, _) = registry();
    let realm = Mirror::start();
    let scope = "repository:team/app:pull";
    let challenge = format!(
        "Bearer realm=\"{}/token\",service=\"home\",scope=\"{scope}\"",
        realm.url()
    );
    let asks = || Mood::Asks(challenge.clone(), "Bearer abc");
    let documents = [
        "/v2/team/app/manifests/3".to_owned(),
        format!("/v2/team/app/manifests/sha256:{}", manifest(&lab)),
    ];
    for path in documents.iter().chain(&paths(&lab)) {
        mirror.mood(path, [asks()]);
    }
    let token = "/token?service=home&scope=repository%3Ateam%2Fapp%3Apull";
    // Who may not have it, gets a token that is good for nothing; or none.
    realm.put(token, "{\"token\": \"nothing\"}");
    fetch(&lab, &[])
        .exits(2)
        .says("there is no such image, or only those may have it who log in");
    realm.mood(token, [Mood::Page(401, "")]);
    fetch(&lab, &[]).exits(2).says("it asks for a login");
    realm.recover();
    realm.put(token, "no token");
    fetch(&lab, &[])
        .exits(2)
        .says("a token that cannot be read");
    realm.put(token, "{\"access_token\": \"abc\", \"expires_in\": 300}");
    realm.recover();
    fetch(&lab, &[]).exits(0);
    // One token is enough for all of it.
    assert_eq!(realm.requests(token).len(), 1);
}

#[test]
fn what_is_wrong_with_an_image_is_told_with_a_way_out() {
    let (mirror, lab, name) = registry();
    let tag = "/v2/team/app/manifests/3";
    let check = |mood: Mood, code: i32, told: &str| {
        mirror.mood(tag, [mood]);
        fetch(&lab, &[])
            .exits(code)
            .says(&format!("could not fetch {name} amd64"))
            .says(told);
        assert!(!lab.path("kinstall.lock").exists());
    };
    check(
        Mood::Page(404, "{}"),
        5,
        "it has no `3` of that image (404 Not Found)",
    );
    check(
        Mood::Page(200, "{\"schemaVersion\": 1}"),
        2,
        "a manifest of schema 1 only",
    );
    let other = "{\"schemaVersion\": 2, \"manifests\": [{\"mediaType\": \"x\", \"digest\": \"sha256:abc\", \
                 \"size\": 5, \"platform\": {\"os\": \"linux\", \"architecture\": \"s390x\"}}]}";
    check(
        Mood::Page(200, other),
        2,
        "there is none for linux/amd64: there are linux/s390x",
    );
    mirror.recover();
    let layer = paths(&lab).pop().unwrap();
    mirror.mood(&layer, [Mood::WrongBytes]);
    fetch(&lab, &[])
        .exits(5)
        .says("it was asked for by that digest: suspect the source");
    mirror.mood(&layer, [Mood::LengthOff(5)]);
    fetch(&lab, &[])
        .exits(5)
        .says("it is 8 bytes long, and not 3 as it should be");
    mirror.mood(&layer, [Mood::CutAfter(1), Mood::Right]);
    fetch(&lab, &[]).exits(0);
}

#[test]
fn a_digest_in_the_inventory_is_what_the_image_must_be() {
    let (_mirror, lab, name) = registry();
    let text = fs::read(lab.path("registry/v2/team/app/manifests/3")).unwrap();
    let digest = Digest::of(&text);
    let whole = format!("{name}@sha256:{digest}");
    lab.edit(&name, &whole);
    fetch(&lab, &[]).exits(0).prints(&whole);
    let lock = lockfile(&lab);
    assert_eq!(
        lock["image"][0]["sha256"].as_str(),
        Some(digest.to_string().as_str())
    );
    let wrong = format!("{name}@sha256:{}", Digest::of(b"other"));
    lab.edit(&whole, &wrong);
    fetch(&lab, &[]).exits(5).says("it has no `sha256:");
}

#[test]
fn images_come_from_the_mirrors_of_their_registries() {
    let (mirror, lab, name) = registry();
    lab.edit(&name, "registry.home/team/app:3");
    lab.edit(
        "[component.kube-apiserver]",
        &format!(
            "[source.registries]\n\"registry.home\" = [\"file:///nowhere\", \"{}\"]\n\n[component.kube-apiserver]",
            mirror.url()
        ),
    );
    fetch(&lab, &[])
        .exits(0)
        .prints("registry.home/team/app:3")
        .says("not from file:///nowhere/v2/team/app/manifests/3");
    let json = fetch(&lab, &["--json"]).exits(0).json();
    let images = json.as_array().unwrap().iter();
    let urls: Vec<_> = images
        .filter(|it| it["kind"] == "image")
        .map(|it| it["url"].clone())
        .collect();
    assert_eq!(urls[0], format!("{}/v2/team/app/manifests/3", mirror.url()));
    fetch(&lab, &["--require", "published"])
        .exits(5)
        .says("registry.home/team/app:3 amd64: it rests on a checksum from the mirror itself");
    lab.edit("file:///nowhere", "https://mirror.home/{name}");
    fs::remove_file(lab.path("kinstall.lock")).unwrap();
    fetch(&lab, &[])
        .exits(2)
        .says("images are many files, and no template says where each lies");
}

#[test]
fn a_bundle_carries_images_to_a_site_without_internet() {
    let (mirror, lab, name) = registry();
    let bundle = lab.path("home.tar.zst").display().to_string();
    lab.run(["bundle", "create", "inventory.toml", "--output", &bundle])
        .exits(0)
        .prints(&name)
        .prints("and 2 images, ");
    lab.run(["bundle", "verify", &bundle])
        .exits(0)
        .prints(PAUSE);
    drop(mirror);
    let site = Lab::empty();
    fs::copy(lab.path("inventory.toml"), site.path("inventory.toml")).unwrap();
    site.edit("file:///", "file:///nowhere/");
    let push = [
        "push",
        "inventory.toml",
        "--into",
        "out",
        "--bundle",
        &bundle,
    ];
    site.run(push).exits(0).says("and 2 images out of");
    let names = "out/worker/var/lib/kinstall-images/names";
    let names = fs::read_to_string(site.path(names)).unwrap();
    assert_eq!(names, format!("{name}\n{PAUSE}\n"));
    let lock = lockfile(&site);
    assert_eq!(lock["image"][0]["trust"].as_str(), Some("bundle"));
    site.edit(&name, "registry.home/other:1");
    site.run(push)
        .exits(2)
        .says("does not hold registry.home/other:1 amd64");
}
