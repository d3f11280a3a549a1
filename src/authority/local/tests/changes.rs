//! Changes of who signs, of each kind, stopped and turned round everywhere: what one push gives to nodes
//! is always believed by those that still hold what the push before gave them, and the other way about.

use super::*;
use crate::certificate::check::{self, Severity, Terms};
use crate::certificate::path::Go;

/// A cluster that changes, and what its nodes were given last.
struct Change {
    site: Site,
    /// The inventory before and after.
    inventories: [Inventory; 2],
    /// Which of the authorities are made again.
    replaced: BTreeSet<AuthorityName>,
    given: Credentials,
}

/// A kind of change: what it does with a new site, before and after its first push.
type Kind = (fn(&mut Site), fn(&mut Site));

fn change((before, after): Kind, replaced: &[AuthorityName]) -> Change {
    let mut site = small();
    before(&mut site);
    let given = site.obtain(NOW).credentials;
    let first = site.inventory.clone();
    after(&mut site);
    Change {
        inventories: [first, site.inventory.clone()],
        site,
        replaced: replaced.iter().copied().collect(),
        given,
    }
}

/// One node has as much to believe of its fellows as many, for each of them has a push of its own.
fn small() -> Site {
    let mut site = Site::new();
    let first = site.inventory.nodes.keys().next().unwrap().clone();
    site.inventory.nodes.retain(|name, _| *name == first);
    site
}

/// Fills a directory with what another cluster's authorities have signed for the same nodes.
fn directory(site: &mut Site, name: &str) {
    let mut other = small();
    other.inventory.pki.authorities = site.inventory.pki.authorities;
    other.obtain(NOW);
    let place = site.inventory.directory.join(name);
    if place.exists() {
        fs_err::remove_dir_all(&place).unwrap();
    }
    fs_err::create_dir(&place).unwrap();
    for part in ["ca", "issued"] {
        for path in walk(&other.path(part)) {
            if path.is_file() {
                let name = path.file_name().unwrap();
                fs_err::copy(&path, place.join(name)).unwrap();
            }
        }
    }
    site.inventory.pki.from = PkiSource::Directory(name.into());
}

const NOTHING: fn(&mut Site) = |_| {};
const SEPARATE: fn(&mut Site) = |site| site.inventory.pki.authorities = Authorities::Separate;
const KINDS: [Kind; 6] = [
    (NOTHING, SEPARATE),
    (SEPARATE, |site| {
        site.inventory.pki.authorities = Authorities::Kubeadm;
    }),
    (NOTHING, |site| directory(site, "one")),
    (
        |site| directory(site, "one"),
        |site| directory(site, "other"),
    ),
    (
        |site| directory(site, "one"),
        |site| site.inventory.pki.from = PkiSource::Local,
    ),
    (NOTHING, NOTHING),
];

impl Change {
    fn local(&self) -> Local {
        Local::of(&self.site.inventory).unwrap()
    }

    fn requests(&self) -> Vec<Request> {
        requests(&self.site.inventory)
    }

    /// Whether the inventory says nothing of it.
    fn is_rotation(&self) -> bool {
        !self.replaced.is_empty()
    }

    fn begin(&self) -> bool {
        let begun = self
            .local()
            .begin(&self.requests(), &self.replaced, NOW + 600);
        begun.unwrap()
    }

    /// Goes one step towards one end, as `certs move` does; whether that was the last.
    fn step(&mut self, back: bool) -> bool {
        self.site.inventory = self.inventories[usize::from(!back)].clone();
        let (local, requests) = (self.local(), self.requests());
        let moving = local.moving().unwrap().unwrap();
        let back = self.is_rotation().then_some(back);
        let goal = local.goal(&requests, moving, back).unwrap();
        match moving.step(goal.expect("it leads to one of both")) {
            Step::Turn(phase) => local.turn(phase).unwrap(),
            Step::Trust => {
                let (frozen, inventory) = Local::frozen(&self.site.inventory).unwrap();
                let requests = crate::certificate::requests(&inventory);
                let frozen = frozen.obtain(&requests, NOW + 900).unwrap();
                assert_eq!(frozen.credentials.leaves, self.given.leaves);
                self.give(frozen.credentials);
                local.come_to(Phase::Trusted).unwrap();
            }
            Step::Sign => {
                let signed = local.sign_beside(&requests, NOW + 1200).unwrap();
                local.switch().unwrap();
                let now = self.local().obtain(&requests, NOW + 1200).unwrap();
                assert_eq!(words(&now), [""; 0], "all is signed");
                assert_eq!(now.credentials.leaves, signed.leaves);
            }
            Step::Deploy => {
                let obtained = local.obtain(&requests, NOW + 1300).unwrap();
                self.give(obtained.credentials);
                local.come_to(Phase::Close).unwrap();
            }
            Step::Close => {
                let obtained = local.obtain(&requests, NOW + 1400).unwrap();
                self.give(obtained.credentials);
                local.retire(NOW + 1400).unwrap();
                return true;
            }
        }
        false
    }

    /// What is given to nodes one by one: those that have it and those that have not believe each other.
    #[track_caller]
    fn give(&mut self, new: Credentials) {
        let requests = self.requests();
        for (leaves, authorities) in [(&new, &self.given), (&self.given, &new)] {
            let mixed = Credentials {
                leaves: leaves.leaves.clone(),
                ..authorities.clone()
            };
            let terms = Terms {
                now: NOW + 1400,
                days: 0,
                go: Go::of(&self.site.inventory.cluster),
            };
            let findings = check::check(&requests, &mixed, terms);
            let is_error = |it: &&check::Finding| it.flaw.severity() == Severity::Error;
            let errors: Vec<_> = findings.iter().filter(is_error).collect();
            assert!(errors.is_empty(), "{errors:#?}");
        }
        assert_eq!(new.service_account, self.given.service_account);
        self.given = new;
    }

    fn signers(&self) -> BTreeMap<AuthorityName, String> {
        let all = self.given.authorities.iter();
        all.map(|(name, pem)| (*name, record::digest(pem)))
            .collect()
    }

    #[track_caller]
    fn is_at_rest(&self) {
        assert_eq!(self.local().moving().unwrap(), None);
        for side in store::SIDES {
            assert!(!self.site.path(side).exists(), "{side}");
        }
        assert_eq!(self.site.made(NOW + 1500), [""; 0]);
        for (name, pem) in &self.given.authorities {
            assert_eq!(
                certificates(pem).len(),
                1,
                "{name}: nothing else is trusted"
            );
        }
    }
}

fn all() -> impl Iterator<Item = Change> {
    let replaced = [AuthorityName::Kubernetes, AuthorityName::FrontProxy];
    KINDS.into_iter().enumerate().map(move |(at, kind)| {
        let is_rotation = at + 1 == KINDS.len();
        change(kind, if is_rotation { &replaced } else { &[] })
    })
}

#[test]
fn each_kind_of_change_goes_to_its_end_and_keeps_what_signed_before() {
    for (at, mut change) in all().enumerate() {
        let before = change.signers();
        if !change.is_rotation() {
            let files = change.site.files();
            let refused = change.site.try_obtain(NOW + 500).unwrap_err();
            assert_eq!(change.site.files(), files, "{refused}");
        }
        assert!(change.begin(), "kind {at}");
        let mut steps = 0;
        while !change.step(false) {
            steps += 1;
            assert!(steps < 5);
        }
        change.is_at_rest();
        let after = change.signers();
        assert_ne!(before, after, "kind {at}");
        let retired = walk(&change.site.path("retired/2026-01-01"));
        let has = |path: &str| retired.iter().any(|it| it.ends_with(path));
        assert!(has("ca/kubernetes.pem") && has("authorities"));
        assert!(has("ca/kubernetes.key"), "kind {at}: {retired:?}");
        for path in retired.iter().filter(|path| path.is_file()) {
            let mode = fs_err::metadata(path).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600, "{}", path.display());
        }
    }
}

#[test]
fn each_kind_of_change_can_be_turned_round_until_its_last_step_is_done() {
    for stop in 0..=4 {
        for (at, mut change) in all().enumerate() {
            let before = change.signers();
            assert!(change.begin());
            for _ in 0..stop {
                assert!(!change.step(false), "kind {at} ended early");
                if change.local().moving().unwrap().unwrap().phase == Phase::Close {
                    break;
                }
            }
            let mut steps = 0;
            while !change.step(true) {
                steps += 1;
                assert!(steps < 7, "kind {at} from {stop}");
            }
            change.is_at_rest();
            assert_eq!(change.signers(), before, "kind {at} from {stop}");
        }
    }
}

#[test]
fn only_the_authorities_that_are_named_are_made_again_and_only_what_they_signed() {
    let mut change = change((SEPARATE, NOTHING), &[AuthorityName::EtcdPeer]);
    let before = change.given.clone();
    assert!(change.begin());
    while !change.step(false) {}
    for (id, leaf) in &change.given.leaves {
        let is_new = before.leaves[id] != *leaf;
        assert_eq!(
            is_new,
            id.kind == crate::certificate::Kind::EtcdPeer,
            "{id}"
        );
    }
    change.is_at_rest();
    let local = change.local();
    let requests = change.requests();
    let all = local.to_replace(&requests, &[]).unwrap();
    assert_eq!(all.len(), AuthorityName::ALL.len());
    change.site.inventory.pki.authorities = Authorities::Kubeadm;
    let local = Local::of(&change.site.inventory).unwrap();
    let refuse = |word: &str| {
        let refused = local.to_replace(&change.requests(), &[word.to_owned()]);
        let help = miette::Diagnostic::help(&refused.unwrap_err()).map(|help| help.to_string());
        help.unwrap()
    };
    assert_eq!(
        refuse("etcd-peer"),
        "with `authorities = \"kubeadm\"`, `etcd` signs for it"
    );
    assert!(refuse("ectd").starts_with("kinstall makes these: kubernetes, etcd, front-proxy."));
}

/// A run that is killed between any two renames leaves what the next one finishes.
#[test]
fn a_switch_that_was_stopped_between_two_renames_is_finished_by_whoever_looks_next() {
    for done in 0..=2 * store::BY_SIGNER.len() {
        let mut change = change(KINDS[0], &[]);
        assert!(change.begin());
        change.step(false);
        let local = change.local();
        let signed = local.sign_beside(&change.requests(), NOW + 1200).unwrap();
        fs_err::write(change.site.path("moving"), "switch\n").unwrap();
        fs_err::create_dir_all(change.site.path("before")).unwrap();
        let renames = store::BY_SIGNER.iter().flat_map(|part| {
            let part = (*part).to_owned();
            [
                (part.clone(), format!("before/{part}")),
                (format!("next/{part}"), part),
            ]
        });
        for (from, to) in renames.take(done) {
            fs_err::rename(change.site.path(&from), change.site.path(&to)).unwrap();
        }
        // Looking is enough.
        let kept = change.local().kept(&change.requests()).unwrap();
        assert_eq!(kept.leaves, signed.leaves, "after {done} renames");
        let moving = change.local().moving().unwrap().unwrap();
        assert_eq!(moving.phase, Phase::Signed);
        while !change.step(false) {}
        change.is_at_rest();
    }
}

#[test]
fn what_is_begun_and_stopped_is_begun_again_or_gone_on_with() {
    let mut change = change(KINDS[0], &[]);
    assert!(change.begin());
    let made = fs_err::read(change.site.path("next/ca/etcd.key")).unwrap();
    // As if it had been stopped before its last write.
    fs_err::write(change.site.path("moving"), "").unwrap();
    change.site.inventory = change.inventories[0].clone();
    assert_eq!(change.site.made(NOW + 500), [""; 0], "nothing happened yet");
    change.site.inventory = change.inventories[1].clone();
    assert!(change.begin());
    let key = fs_err::read(change.site.path("next/ca/etcd.key")).unwrap();
    assert_eq!(key, made, "for the same end");
    fs_err::write(change.site.path("moving"), "").unwrap();
    change.site.inventory.pki.authorities = Authorities::Kubeadm;
    change.inventories[1] = change.site.inventory.clone();
    assert!(change.begin());
    let key = fs_err::read(change.site.path("next/ca/etcd.key")).unwrap();
    assert_ne!(key, made, "for another");
    while !change.step(false) {}
    change.is_at_rest();
}

#[test]
fn a_change_of_an_earlier_version_goes_on_from_where_it_was() {
    for (text, mode, phase) in [
        ("single separate\n", "single", Phase::Trust),
        ("single separate trusted\n", "single", Phase::Trusted),
        ("single separate trusted\n", "separate", Phase::Signed),
    ] {
        let mut change = change(KINDS[0], &[]);
        // As it left things: the authorities of both in one directory, and a record without a source.
        assert!(change.begin());
        let local = change.local();
        let leaves = local.sign_beside(&change.requests(), NOW + 1200).unwrap();
        for path in walk(&change.site.path("next/ca")) {
            if path.is_file() {
                let to = change.site.path("ca").join(path.file_name().unwrap());
                fs_err::copy(path, to).unwrap();
            }
        }
        let record = |side: &str| {
            let path = change.site.path(&format!("{side}authorities"));
            let text = fs_err::read_to_string(path).unwrap();
            text.replace("from local\n", "")
        };
        let (single, separate) = (record(""), record("next/"));
        assert!(
            separate.starts_with("mode separate\nkubernetes "),
            "{separate}"
        );
        if mode == "separate" {
            fs_err::write(change.site.path("authorities"), separate).unwrap();
            for path in walk(&change.site.path("next/issued")) {
                if path.is_file() {
                    let to = change.site.path("issued").join(path.file_name().unwrap());
                    fs_err::copy(path, to).unwrap();
                }
            }
            change.given.leaves = leaves.leaves;
            change.given.authorities = leaves.authorities;
        } else {
            fs_err::write(change.site.path("authorities"), single).unwrap();
            if phase == Phase::Trusted {
                // What its first step gave.
                change.given.authorities = leaves.authorities;
            }
        }
        fs_err::remove_dir_all(change.site.path("next")).unwrap();
        fs_err::write(change.site.path("moving"), text).unwrap();
        assert_eq!(change.local().moving().unwrap().unwrap().phase, phase);
        while !change.step(false) {}
        change.is_at_rest();
        let signers: BTreeSet<_> = change.signers().into_values().collect();
        assert_eq!(signers.len(), AuthorityName::ALL.len(), "{text}");
    }
}

#[test]
fn what_cannot_be_trusted_any_more_is_not_left_behind() {
    // Somebody removed what the other side's authorities are known by.
    let mut change = change(KINDS[0], &[]);
    assert!(change.begin());
    change.step(false);
    change.step(false);
    fs_err::remove_file(change.site.path("before/ca/kubernetes.pem")).unwrap();
    let error = change.site.try_obtain(NOW + 1300).unwrap_err().to_string();
    assert!(
        error.contains("before/ca/kubernetes.pem` is not there"),
        "{error}"
    );
    // A directory that an earlier version knew only by digests has been exchanged.
    let change = self::change(KINDS[3], &[]);
    fs_err::remove_dir_all(change.site.path("ca")).unwrap();
    let begun = change
        .local()
        .begin(&change.requests(), &BTreeSet::new(), NOW);
    let error = begun.unwrap_err();
    assert!(matches!(error, Error::NotKept { .. }), "{error}");
    assert!(!change.site.path("next").exists());
}

#[test]
fn nothing_new_is_signed_before_every_peer_trusts_both() {
    let mut change = change(KINDS[0], &[]);
    let mut node = change.site.inventory.nodes.values().next().unwrap().clone();
    node.name = "az9".parse().unwrap();
    change.site.inventory.nodes.insert(node.name.clone(), node);
    assert!(change.begin());
    let (frozen, inventory) = Local::frozen(&change.site.inventory).unwrap();
    let error = frozen.obtain(&requests(&inventory), NOW).unwrap_err();
    let error = error.to_string();
    assert!(
        error.contains("no certificate yet of: `etcd-peer-az9`"),
        "{error}"
    );
    change.site.inventory = change.inventories[1].clone();
    while !change.step(false) {}
}

#[test]
fn while_a_change_has_not_come_to_it_what_is_looked_at_is_what_nodes_hold() {
    let mut change = change(KINDS[0], &[]);
    let look = |change: &Change| {
        let (local, inventory) = Local::in_effect(&change.site.inventory).unwrap();
        let requests = requests(&inventory);
        (local.kept(&requests).unwrap(), inventory.pki.authorities)
    };
    assert!(change.begin());
    let (kept, mode) = look(&change);
    assert_eq!(mode, Authorities::Single);
    assert!(kept.leaves == change.given.leaves);
    change.step(false);
    assert!(look(&change).0 == change.given);
    for _ in 0..2 {
        change.step(false);
    }
    let (kept, mode) = look(&change);
    assert_eq!(mode, Authorities::Separate);
    assert!(kept.leaves == change.given.leaves);
}

#[test]
fn an_authority_that_ends_is_told_of_a_year_before() {
    let site = Site::new();
    let credentials = site.obtain(NOW).credentials;
    let local = Local::of(&site.inventory).unwrap();
    let requests = requests(&site.inventory);
    let told = |days_left: i64| {
        let now = NOW + (3650 - days_left) * DAY_SECONDS;
        let found = local.examine(&requests, &credentials, now, 30);
        let of_authority = found.iter().map(ToString::to_string);
        of_authority
            .filter(|it| it.starts_with("authority"))
            .collect::<Vec<_>>()
    };
    assert_eq!(told(366), [""; 0]);
    let all = told(300);
    assert_eq!(all.len(), 2, "{all:?}");
    assert!(
        all[0].starts_with("authority kubernetes: ends in 300 days")
            && all[0].contains("`kinstall certs rotate-ca INVENTORY`"),
        "{all:?}"
    );
}
