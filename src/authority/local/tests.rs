//! Tests of the local authority: what reruns do, and what is never done.

mod changes;
mod etcd;
mod handshake;
mod openssl;

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use super::once::SERVICE_ACCOUNT_KEY;
use super::*;
use crate::certificate::describe::certificates;
use crate::certificate::{CertificateId, Kind, Usage, fixture, requests};
use crate::inventory::{Authorities, KeyType, Provider, Role, San};

/// 2026-01-01T00:00:30Z: not a whole minute.
const NOW: i64 = 1_767_225_630;

struct Site {
    #[expect(dead_code, reason = "the directory lasts as long as its handle")]
    directory: tempfile::TempDir,
    inventory: Inventory,
}

impl Site {
    /// A place with a service-account key already: an RSA key takes half a second to find.
    fn new() -> Self {
        static KEY: LazyLock<Secret> =
            LazyLock::new(|| sign::key_pem(&sign::new_key(KeyType::Rsa2048).unwrap()));
        let site = Self::bare();
        fs_err::create_dir(site.path("")).unwrap();
        fs_err::write(site.path(SERVICE_ACCOUNT_KEY), KEY.expose()).unwrap();
        site
    }

    /// A place with nothing.
    fn bare() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let mut inventory = fixture::inventory();
        inventory.directory = directory.path().to_owned();
        Self {
            directory,
            inventory,
        }
    }

    fn path(&self, path: &str) -> PathBuf {
        self.inventory.directory.join("pki").join(path)
    }

    fn try_obtain(&self, now: i64) -> Result<Obtained, Error> {
        Local::of(&self.inventory)?.obtain(&requests(&self.inventory), now)
    }

    #[track_caller]
    fn obtain(&self, now: i64) -> Obtained {
        self.try_obtain(now).unwrap()
    }

    /// What a run makes again, in words.
    #[track_caller]
    fn made(&self, now: i64) -> Vec<String> {
        words(&self.obtain(now))
    }

    /// Every file, with what it holds.
    fn files(&self) -> BTreeMap<PathBuf, Vec<u8>> {
        walk(&self.path(""))
            .into_iter()
            .filter(|path| path.is_file())
            .map(|path| (path.clone(), fs_err::read(&path).unwrap()))
            .collect()
    }
}

fn words(obtained: &Obtained) -> Vec<String> {
    let word = |note: &Note| match note.outcome {
        Outcome::Renewed(reason) => format!("{}: {reason}", note.item),
        Outcome::Created | Outcome::Reused => note.item.to_string(),
    };
    obtained.made().map(word).collect()
}

fn walk(directory: &Path) -> Vec<PathBuf> {
    let entries = fs_err::read_dir(directory).unwrap();
    let mut paths = vec![directory.to_owned()];
    for path in entries.map(|entry| entry.unwrap().path()) {
        if path.is_dir() {
            paths.extend(walk(&path));
        } else {
            paths.push(path);
        }
    }
    paths
}

#[test]
fn serial_numbers_and_keys_are_all_different() {
    let obtained = Site::new().obtain(NOW);
    let leaves = &obtained.credentials.leaves;
    let serials: BTreeSet<_> = leaves
        .values()
        .map(|leaf| describe(&leaf.chain_pem).unwrap().serial)
        .collect();
    let keys: BTreeSet<_> = leaves.values().map(|leaf| leaf.key_pem.expose()).collect();
    assert_eq!((serials.len(), keys.len()), (leaves.len(), leaves.len()));
    assert!(serials.iter().all(|serial| serial.len() >= 31), "128 bits");
}

#[test]
fn a_rerun_makes_and_writes_nothing() {
    let site = Site::bare();
    let first = site.obtain(NOW);
    assert_eq!(first.made().count(), 2 + 16 + 2, "all is new");
    let files = site.files();
    let second = site.obtain(NOW + 100 * DAY_SECONDS);
    assert_eq!(words(&second), [""; 0]);
    assert_eq!(second.credentials, first.credentials);
    assert_eq!(site.files(), files);
}

#[test]
fn a_preview_writes_nothing_and_says_what_would_be_made() {
    let site = Site::bare();
    let local = Local::of(&site.inventory).unwrap();
    let previewed = local.preview(&requests(&site.inventory), NOW).unwrap();
    assert!(!site.path("").exists());
    let obtained = site.obtain(NOW);
    assert_eq!(previewed.notes, obtained.notes);
    let again = local.preview(&requests(&site.inventory), NOW).unwrap();
    assert_eq!(again.credentials, obtained.credentials);
}

#[test]
fn what_is_asked_for_decides_what_is_made_again() {
    let mut site = Site::new();
    site.obtain(NOW);
    let endpoint = San::Dns("other.home".parse().unwrap());
    site.inventory.cluster.endpoint.host = endpoint;
    let names = ["az1", "az2", "az3"]
        .map(|node| format!("certificate apiserver-{node}: its names changed"));
    assert_eq!(site.made(NOW), names);

    for node in site.inventory.nodes.values_mut().skip(1) {
        node.roles = [Role::Etcd].into();
    }
    let only = ["certificate apiserver-az1: its names changed"];
    assert_eq!(site.made(NOW), only);
    assert_eq!(site.made(NOW), [""; 0]);

    // As if the cluster had been made so.
    fs_err::write(site.path("authorities"), "mode kubeadm\n").unwrap();
    site.inventory.pki.authorities = Authorities::Kubeadm;
    let made = site.made(NOW);
    assert_eq!(made.len(), 1 + 3 + 3 + 2, "{made:?}");
    assert_eq!(made[0], "authority etcd");
    assert_eq!(made[1], "certificate etcd-peer-az1: its authority changed");

    let mut requests = requests(&site.inventory);
    requests.retain(|request| request.id.kind == Kind::Admin);
    let local = Local::of(&site.inventory).unwrap();
    requests[0].organizations = vec!["readers".to_owned()];
    let subject = local.obtain(&requests, NOW).unwrap();
    assert_eq!(words(&subject), ["certificate admin: its subject changed"]);
    requests[0].usages.insert(Usage::Server);
    let usages = local.obtain(&requests, NOW).unwrap();
    assert_eq!(words(&usages), ["certificate admin: its usages changed"]);
    requests[0].key = KeyType::Rsa2048;
    let key = local.obtain(&requests, NOW).unwrap();
    assert_eq!(words(&key), ["certificate admin: its kind of key changed"]);
    assert_eq!(words(&local.obtain(&requests, NOW).unwrap()), [""; 0]);
}

#[test]
fn a_certificate_is_renewed_when_little_is_left_of_it() {
    let mut site = Site::new();
    site.inventory.pki.ca_days = 500;
    let first = site.obtain(NOW);
    assert_eq!(site.made(NOW + 335 * DAY_SECONDS), [""; 0]);
    let later = NOW + 336 * DAY_SECONDS;
    let second = site.obtain(later);
    assert_eq!(second.made().count(), 16);
    assert_eq!(
        words(&second)[0],
        "certificate etcd-peer-az1: it expires soon"
    );
    let admin = CertificateId {
        kind: Kind::Admin,
        node: None,
    };
    let (old, new) = (
        &first.credentials.leaves[&admin],
        &second.credentials.leaves[&admin],
    );
    assert_ne!(old.key_pem, new.key_pem, "a renewal is a new key too");
    assert_eq!(
        new.not_after,
        NOW + 500 * DAY_SECONDS,
        "it ends with its authority"
    );
    assert_eq!(new.not_before % 60, 0);
    // It cannot be made longer any more, so it is left alone until the authority itself ends.
    assert_eq!(site.made(NOW + 499 * DAY_SECONDS), [""; 0]);
    let error = site
        .try_obtain(NOW + 500 * DAY_SECONDS)
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("of the authority `kubernetes` is valid from 2025-12-31"),
        "{error}"
    );
    assert!(error.ends_with("to 2027-05-16 only"), "{error}");
}

#[test]
fn a_short_life_is_renewed_at_two_thirds_and_a_clock_ahead_is_mended() {
    let mut site = Site::new();
    site.inventory.pki.days = 3;
    site.obtain(NOW);
    assert_eq!(site.made(NOW + DAY_SECONDS), [""; 0]);
    let made = site.made(NOW + 2 * DAY_SECONDS + 60);
    assert_eq!(made.len(), 16, "{made:?}");
    let made = site.made(NOW + DAY_SECONDS);
    assert_eq!(made.len(), 16, "{made:?}");
    assert_eq!(made[0], "certificate etcd-peer-az1: it is not valid yet");
}

#[test]
fn only_the_owner_can_read_what_is_kept() {
    let site = Site::new();
    site.obtain(NOW);
    let key = site.path("issued/admin.key");
    fs_err::set_permissions(&key, PermissionsExt::from_mode(0o644)).unwrap();
    fs_err::set_permissions(site.path(""), PermissionsExt::from_mode(0o755)).unwrap();
    site.obtain(NOW);
    for path in walk(&site.path("")) {
        let expected = if path.is_dir() { 0o700 } else { 0o600 };
        let mode = fs_err::metadata(&path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, expected, "{}", path.display());
    }
}

/// Writes one file more each time, in the order in which a run writes: what a run leaves that is
/// stopped after any of its steps. The next run must serve, and the one after it make nothing.
#[test]
fn a_run_that_was_stopped_anywhere_is_taken_up() {
    let local = Local::of(&Site::bare().inventory).unwrap();
    let mut requests = requests(&fixture::inventory());
    requests.truncate(3);
    let (whole, writes) = local
        .prepare(&requests, &BTreeSet::new(), None, NOW)
        .unwrap();
    assert_eq!(writes.len(), 2 * 2 + 1 + 3 * 2 + 2 + 1);
    for written in 0..=writes.len() {
        let site = Site::bare();
        let local = Local::of(&site.inventory).unwrap();
        let store = &local.store;
        drop(local.lock().unwrap());
        store.write_all(&writes[..written]).unwrap();
        if written > 0 {
            // Spares a search for an RSA key; without any file, it is made.
            let pair = &whole.credentials.service_account;
            fs_err::write(site.path(SERVICE_ACCOUNT_KEY), pair.private_pem.expose()).unwrap();
        }
        let unfinished = site.path("issued/.admin.key.new");
        fs_err::write(&unfinished, "half of a k").unwrap();

        let next = local.obtain(&requests, NOW).unwrap();
        assert!(!unfinished.exists());
        for write in &writes[..written] {
            let kept = fs_err::read(site.path(&write.path)).unwrap();
            assert_eq!(kept, write.bytes.expose(), "{}", write.path);
        }
        let again = local.obtain(&requests, NOW).unwrap();
        assert_eq!(words(&again), [""; 0], "after {written} files");
        let is_complete = written == writes.len();
        assert_eq!(next.credentials == whole.credentials, is_complete);
    }
}

#[test]
fn a_renewal_that_was_stopped_between_key_and_certificate_is_taken_up() {
    let site = Site::new();
    site.obtain(NOW);
    let (key, scheduler) = (
        site.path("issued/admin.key"),
        site.path("issued/scheduler.key"),
    );
    let other = sign::key_pem(&sign::new_key(KeyType::EcdsaP256).unwrap());
    fs_err::write(&key, other.expose()).unwrap();
    fs_err::remove_file(scheduler).unwrap();
    let made = [
        "certificate scheduler: its key was not beside it",
        "certificate admin: its key was not beside it",
    ];
    assert_eq!(site.made(NOW), made);
    assert_eq!(fs_err::read(&key).unwrap(), other.expose());
    assert_eq!(site.made(NOW), [""; 0]);
}

#[test]
fn runs_that_overlap_agree() {
    let site = Site::bare();
    let run = || site.obtain(NOW).credentials;
    let (one, other) = std::thread::scope(|scope| {
        let (one, other) = (scope.spawn(run), scope.spawn(run));
        (one.join().unwrap(), other.join().unwrap())
    });
    assert_eq!(one, other);
}

/// Changes a file, and expects to be told, with everything left as it was.
#[track_caller]
fn refuses(path: &str, contents: Option<&str>, expected: &str) {
    let site = Site::new();
    site.obtain(NOW);
    match contents {
        Some(contents) => fs_err::write(site.path(path), contents).unwrap(),
        None => fs_err::remove_file(site.path(path)).unwrap(),
    }
    let files = site.files();
    let error = site.try_obtain(NOW + 350 * DAY_SECONDS).unwrap_err();
    let root = site.path("").display().to_string();
    assert_eq!(error.to_string().replace(&root, ""), expected);
    assert!(miette::Diagnostic::help(&error).is_some() || path.ends_with("yaml"));
    assert_eq!(site.files(), files);
}

#[test]
fn what_is_not_understood_is_never_replaced() {
    let not_a_key =
        |path: &str| format!("`{path}` is not an unencrypted private key in PEM, ECDSA or RSA");
    for path in [
        "ca/kubernetes.key",
        "issued/admin.key",
        "service-account.key",
    ] {
        refuses(path, Some("a key of another kind"), &not_a_key(path));
    }
    refuses(
        "ca/kubernetes.key",
        None,
        "the authority `kubernetes` has its certificate `ca/kubernetes.pem` \
         but not its key `ca/kubernetes.key`",
    );
    let other = sign::key_pem(&sign::new_key(KeyType::EcdsaP256).unwrap());
    let other = other.expose_text();
    refuses(
        "ca/kubernetes.key",
        other,
        "the key `ca/kubernetes.key` does not belong to the certificate `ca/kubernetes.pem`",
    );
    let pair = "`service-account.pub` is not the public key of `service-account.key`";
    refuses("service-account.key", other, pair);
    refuses("service-account.key", None, pair);
    let leaf = Site::new().obtain(NOW).credentials.leaves;
    let leaf = &leaf.values().next().unwrap().chain_pem;
    refuses(
        "ca/kubernetes.pem",
        Some(leaf),
        "the certificate `ca/kubernetes.pem` of the authority `kubernetes` is not an authority's: \
         it lacks `CA:TRUE`",
    );
    refuses(
        "encryption-config.yaml",
        Some("kind: Other\napiVersion: v1\n"),
        "`encryption-config.yaml` does not serve: it is `Other` of `v1`, \
         not `EncryptionConfiguration` of `apiserver.config.k8s.io/v1`",
    );
}

#[test]
fn an_encryption_configuration_is_kept_byte_for_byte_or_refused() {
    let mut site = Site::new();
    let path = site.path("encryption-config.yaml");
    let new = site.obtain(NOW).credentials.encryption_config;
    let edited = format!("# mine\n{}", new.expose_text().unwrap());
    fs_err::write(&path, &edited).unwrap();
    let kept = site.obtain(NOW + 1000 * DAY_SECONDS).credentials;
    assert_eq!(kept.encryption_config, Secret::new(edited.as_bytes()));

    site.inventory.encryption.provider = Provider::Secretbox;
    let error = site.try_obtain(NOW).unwrap_err();
    let expected = "it encrypts with `aescbc`, the inventory says `secretbox`";
    assert!(error.to_string().ends_with(expected), "{error}");
    let report = format!("{:?}", miette::Report::new(error));
    assert!(report.contains("encryption rotate"), "{report}");
    assert_eq!(fs_err::read_to_string(&path).unwrap(), edited);
}

#[test]
fn a_directory_that_is_not_there_is_told() {
    let mut site = Site::bare();
    site.inventory.pki.from = PkiSource::Directory("elsewhere".into());
    let error = site.try_obtain(NOW).unwrap_err().to_string();
    assert!(error.contains("elsewhere"), "{error}");
    assert!(!site.path("").exists());
}

#[test]
fn another_number_of_authorities_is_refused_and_nothing_is_made_for_it() {
    let mut site = Site::new();
    site.obtain(NOW);
    let files = site.files();
    site.inventory.pki.authorities = Authorities::Kubeadm;
    let error = site.try_obtain(NOW).unwrap_err();
    assert!(matches!(error, Error::OtherMode { .. }), "{error}");
    assert_eq!(site.files(), files);
    site.inventory.pki.authorities = Authorities::Single;
    assert_eq!(site.made(NOW), [""; 0]);
}

#[test]
fn an_authority_that_was_exchanged_by_hand_is_refused_whatever_is_trusted_besides() {
    let (site, other) = (Site::new(), Site::new());
    site.obtain(NOW);
    other.obtain(NOW);
    let take = |site: &Site, name: &str| fs_err::read_to_string(site.path(name)).unwrap();
    let both = take(&site, "ca/kubernetes.pem") + &take(&other, "ca/kubernetes.pem");
    fs_err::write(site.path("trust/kubernetes.pem"), both).unwrap();
    assert_eq!(site.made(NOW), [""; 0], "leaves stay");
    let bundle = site.obtain(NOW).credentials.authorities[&AuthorityName::Etcd].clone();
    assert_eq!(certificates(&bundle).len(), 2);
    for name in ["ca/kubernetes.pem", "ca/kubernetes.key"] {
        fs_err::write(site.path(name), take(&other, name)).unwrap();
    }
    let files = site.files();
    let error = site.try_obtain(NOW).unwrap_err();
    assert!(matches!(error, Error::OtherAuthority { .. }), "{error}");
    assert_eq!(site.files(), files);
}

#[test]
fn what_is_renewed_on_request_has_another_date_and_key() {
    let site = Site::new();
    let before = site.obtain(NOW).credentials;
    let requests = requests(&site.inventory);
    let ids: BTreeSet<_> = requests.iter().map(|request| request.id.clone()).collect();
    let local = Local::of(&site.inventory).unwrap();
    let after = local.renew(&requests, &ids, NOW).unwrap();
    assert_eq!(words(&after).len(), ids.len());
    for id in &ids {
        let (old, new) = (&before.leaves[id], &after.credentials.leaves[id]);
        assert_ne!(old.key_pem, new.key_pem);
        assert_eq!(new.not_before, old.not_before + 60, "another dated name");
    }
    assert_eq!(before.authorities, after.credentials.authorities);
    assert_eq!(site.obtain(NOW).credentials, after.credentials);
}

#[test]
fn no_key_shows_in_debug() {
    let site = Site::new();
    let obtained = site.obtain(NOW);
    let shown = format!("{obtained:?}");
    assert!(
        !shown.contains("PRIVATE KEY") && !shown.contains("secret:"),
        "{shown}"
    );
    let (_, writes) = Local::of(&Site::new().inventory)
        .unwrap()
        .prepare(&[], &BTreeSet::new(), None, NOW)
        .unwrap();
    assert!(!format!("{writes:?}").contains("PRIVATE KEY"));
}
