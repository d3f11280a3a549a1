//! Random chains of certificates.

use super::der::{bits, moment, oid, sequence, value};
use super::key::{Hash, Keys, Private, Scheme, sign};
use super::part::{any_name, constraints, extension, name, usages};

const NOW: i64 = 1_767_225_630;
const DAY: i64 = 86_400;

/// Numbers that look random, the same for the same seed (splitmix64).
pub(super) struct Dice(u64);

impl Dice {
    pub(super) const fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15))
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bits ^ (bits >> 31)
    }

    pub(super) fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() % end as u64).unwrap()
    }

    /// Once in so many times.
    pub(super) fn once_in(&mut self, times: usize) -> bool {
        self.below(times) == 0
    }

    pub(super) fn of<T: Copy>(&mut self, all: &[T]) -> T {
        all[self.below(all.len())]
    }
}

/// What both are to judge.
pub(super) struct Case {
    pub(super) roots: Vec<Vec<u8>>,
    pub(super) chain: Vec<Vec<u8>>,
    pub(super) now: i64,
    pub(super) name: &'static str,
    pub(super) address: &'static str,
    odd: Vec<&'static str>,
}

/// A certificate that was made, as the issuer of another.
#[derive(Clone)]
struct Made {
    der: Vec<u8>,
    subject: Vec<u8>,
    key: usize,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Root,
    Intermediate,
    Leaf,
}

impl Case {
    pub(super) fn make(dice: &mut Dice, keys: &Keys) -> Self {
        let mut case = Self {
            roots: Vec::new(),
            chain: Vec::new(),
            now: NOW,
            name: "kube.example.home",
            address: "10.0.0.1",
            odd: Vec::new(),
        };
        let root = case.certificate(dice, keys, Place::Root, None);
        let mut all = vec![root.clone()];
        let mut roots = vec![root];
        // Another root: of the same name, with the same key, or neither.
        if dice.once_in(4) {
            let other = case.certificate(dice, keys, Place::Root, None);
            all.push(other.clone());
            roots.push(other);
        }
        let depth = dice.of(&[0, 0, 0, 1, 1, 2, 3]);
        let mut signer = roots[dice.below(roots.len())].clone();
        let mut intermediates = Vec::new();
        for _ in 0..depth {
            let next = case.certificate(dice, keys, Place::Intermediate, Some(&signer));
            intermediates.push(next.clone());
            all.push(next.clone());
            signer = next;
        }
        let leaf = case.certificate(dice, keys, Place::Leaf, Some(&signer));
        if dice.once_in(15) {
            case.odd.push("an intermediate is missing");
            intermediates.pop();
        }
        if dice.once_in(15) {
            case.odd.push("an intermediate is trusted");
            roots.extend(intermediates.last().cloned());
        }
        if dice.once_in(40) {
            case.odd.push("the leaf is trusted");
            roots.push(leaf.clone());
        }
        if dice.once_in(3) {
            intermediates.reverse();
        }
        if dice.once_in(6) {
            intermediates.push(all[dice.below(all.len())].clone());
        }
        if dice.once_in(2) {
            roots.reverse();
        }
        case.chain = std::iter::once(leaf)
            .chain(intermediates)
            .map(|made| made.der)
            .collect();
        case.roots = roots.into_iter().map(|made| made.der).collect();
        case
    }

    pub(super) fn told(&self) -> String {
        self.odd.join("; ")
    }

    /// Whether something is to be odd, once in so many times.
    fn odd(&mut self, dice: &mut Dice, times: usize, what: &'static str) -> bool {
        let is = dice.once_in(times);
        if is {
            self.odd.push(what);
        }
        is
    }

    fn certificate(
        &mut self,
        dice: &mut Dice,
        keys: &Keys,
        place: Place,
        signer: Option<&Made>,
    ) -> Made {
        let key = keys.any(dice);
        let subject = match place {
            Place::Leaf => name(dice, &["system:node:a", "kube-apiserver", "admin"]),
            _ => name(
                dice,
                &["root", "root", "house root", "intermediate", "other"],
            ),
        };
        let issuer = signer.map_or_else(|| subject.clone(), |signer| signer.subject.clone());
        let issuer = if self.odd(dice, 60, "issuer") {
            name(dice, &["nobody"])
        } else {
            issuer
        };
        let signing = signer.map_or(key, |signer| signer.key);
        let signing = if self.odd(dice, 50, "signed by another key") {
            keys.any(dice)
        } else {
            signing
        };
        let (algorithm, scheme) = self.algorithm(dice, &keys.0[signing].private);
        let (begin, end) = self.life(dice);
        let version = match place {
            Place::Leaf => dice.of(&[2, 2, 2, 2, 2, 2, 2, 0]),
            _ => dice.of(&[2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 0, 1]),
        };
        if version != 2 {
            self.odd.push("version");
        }
        let mut fields = Vec::new();
        if version != 0 {
            fields.push(value(0xa0, &value(2, &[version])));
        }
        fields.push(value(2, &self.serial(dice)));
        fields.push(algorithm.clone());
        fields.push(issuer);
        fields.push(sequence(&[moment(begin), moment(end)]));
        fields.push(subject.clone());
        fields.push(keys.0[key].public.clone());
        let extensions = self.extensions(dice, place);
        if version == 2 && !extensions.is_empty() {
            fields.push(value(0xa3, &sequence(&extensions)));
        }
        let signed = sequence(&fields);
        let mut signature = sign(&keys.0[signing].private, scheme, &signed);
        if self.odd(dice, 80, "signature spoilt") {
            let at = dice.below(signature.len());
            signature[at] ^= 1;
        }
        let outer = if self.odd(dice, 150, "outer algorithm") {
            sequence(&[oid("1.2.840.10045.4.3.4")])
        } else {
            algorithm
        };
        let mut der = sequence(&[signed, outer, bits(&signature)]);
        if self.odd(dice, 200, "trailing data") {
            der.push(0);
        }
        Made { der, subject, key }
    }

    fn life(&mut self, dice: &mut Dice) -> (i64, i64) {
        if self.odd(dice, 30, "expired") {
            return (NOW - 100 * DAY, NOW - dice.of(&[1, DAY]));
        }
        if self.odd(dice, 40, "not valid yet") {
            return (NOW + dice.of(&[1, DAY]), NOW + 100 * DAY);
        }
        if dice.once_in(10) {
            return (NOW, NOW);
        }
        (
            NOW - 100 * DAY,
            NOW + dice.of(&[1, DAY, 10_000 * DAY, 40_000 * DAY]),
        )
    }

    fn serial(&mut self, dice: &mut Dice) -> Vec<u8> {
        if self.odd(dice, 25, "serial") {
            let all: [&[u8]; 5] = [&[0x80, 1], &[0xff], &[0], &[0, 1], &[1; 25]];
            return dice.of(&all).to_vec();
        }
        vec![
            1,
            u8::try_from(dice.below(256)).unwrap(),
            u8::try_from(dice.below(256)).unwrap(),
        ]
    }

    /// How a key signs: mostly in the usual way.
    fn algorithm(&mut self, dice: &mut Dice, key: &Private) -> (Vec<u8>, Scheme) {
        let usual = dice.of(&[
            Hash::Sha256,
            Hash::Sha256,
            Hash::Sha256,
            Hash::Sha384,
            Hash::Sha512,
        ]);
        let number = |hash| match hash {
            Hash::Sha256 => 0,
            Hash::Sha384 => 1,
            Hash::Sha512 => 2,
        };
        let null = value(5, &[]);
        if self.odd(dice, 50, "algorithm") {
            let all = [
                "1.2.840.113549.1.1.5",
                "1.2.840.113549.1.1.4",
                "1.2.840.10045.4.1",
                "1.2.840.10040.4.3",
                "1.3.101.112",
                "1.3.101.113",
                "1.2.840.113549.1.1.10",
                "1.2.840.113549.1.1.11",
                "1.2.840.10045.4.3.2",
            ];
            return (sequence(&[oid(dice.of(&all))]), Scheme::Plain(Hash::Sha256));
        }
        match key {
            Private::Rsa(_) if dice.once_in(3) => {
                let digest = format!("2.16.840.1.101.3.4.2.{}", number(usual) + 1);
                let salt = [32, 48, 64][number(usual)];
                let salt = if self.odd(dice, 8, "salt") { 20 } else { salt };
                let hash = sequence(&[oid(&digest), null]);
                let mask = sequence(&[oid("1.2.840.113549.1.1.8"), hash.clone()]);
                let parameters = sequence(&[
                    value(0xa0, &hash),
                    value(0xa1, &mask),
                    value(0xa2, &value(2, &[salt])),
                ]);
                let algorithm = sequence(&[oid("1.2.840.113549.1.1.10"), parameters]);
                (algorithm, Scheme::Pss(usual, salt.into()))
            }
            Private::Rsa(_) => {
                let algorithm = format!("1.2.840.113549.1.1.{}", number(usual) + 11);
                (sequence(&[oid(&algorithm), null]), Scheme::Plain(usual))
            }
            Private::Ed25519(_) => (sequence(&[oid("1.3.101.112")]), Scheme::Plain(usual)),
            _ => {
                let algorithm = format!("1.2.840.10045.4.3.{}", number(usual) + 2);
                (sequence(&[oid(&algorithm)]), Scheme::Plain(usual))
            }
        }
    }

    fn extensions(&mut self, dice: &mut Dice, place: Place) -> Vec<Vec<u8>> {
        let mut all = Vec::new();
        let is_authority = place != Place::Leaf;
        if !self.odd(
            dice,
            if is_authority { 30 } else { 3 },
            "no basic constraints",
        ) {
            let mut fields = Vec::new();
            let is = is_authority ^ self.odd(dice, 30, "CA flag");
            if is {
                fields.push(value(1, &[0xff]));
            } else if dice.once_in(3) {
                fields.push(value(1, &[0]));
            }
            if is && dice.once_in(3) {
                fields.push(value(2, &[dice.of(&[0, 1, 1, 2, 3])]));
            }
            all.push(extension("2.5.29.19", dice.once_in(2), &sequence(&fields)));
        }
        if dice.once_in(2) {
            let usual: u8 = if is_authority {
                0b0000_0110
            } else {
                0b1010_0000
            };
            let odd = self.odd(dice, 20, "key usage");
            let bits = if odd {
                dice.of(&[0, 0b1000_0000, 0b0010_0000])
            } else {
                usual
            };
            all.push(extension(
                "2.5.29.15",
                dice.once_in(2),
                &value(3, &[0, bits]),
            ));
        }
        if dice.once_in(if is_authority { 6 } else { 2 }) {
            all.push(extension("2.5.29.37", dice.once_in(4), &usages(dice)));
        }
        if place == Place::Leaf && !self.odd(dice, 10, "no names") || dice.once_in(20) {
            let names = self.names(dice);
            all.push(extension("2.5.29.17", dice.once_in(4), &sequence(&names)));
        }
        if is_authority && self.odd(dice, 6, "name constraints") {
            all.push(extension("2.5.29.30", dice.once_in(2), &constraints(dice)));
        }
        if dice.once_in(3) {
            let id = [u8::try_from(dice.below(3)).unwrap(); 20];
            all.push(extension("2.5.29.14", false, &value(4, &id)));
        }
        if dice.once_in(3) {
            let id = [u8::try_from(dice.below(3)).unwrap(); 20];
            all.push(extension(
                "2.5.29.35",
                false,
                &sequence(&[value(0x80, &id)]),
            ));
        }
        if self.odd(dice, 20, "strange extension") {
            let id = dice.of(&[
                "1.3.6.1.4.1.99999.1",
                "2.5.29.36",
                "2.5.29.54",
                "2.16.840.1.113730.1.1",
            ]);
            all.push(extension(id, dice.once_in(3), &value(2, &[0])));
        }
        if self.odd(dice, 100, "extension twice") {
            all.extend(all.first().cloned());
        }
        all
    }

    fn names(&mut self, dice: &mut Dice) -> Vec<Vec<u8>> {
        let count = dice.below(4);
        let mut names: Vec<Vec<u8>> = (0..count).map(|_| any_name(dice)).collect();
        if !self.odd(dice, 6, "other names") {
            names.push(value(0x82, self.name.as_bytes()));
            names.push(value(0x87, &[10, 0, 0, 1]));
        }
        if names.is_empty() {
            names.push(value(0x82, b"localhost"));
        }
        names
    }
}
