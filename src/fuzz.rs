//! Sound bytes hurt at random, for tests of what reads bytes that nobody vouches for yet.
//!
//! Each case has a seed of its own, which is told when it fails. `KINSTALL_FUZZ_RUNS` sets the
//! number of cases; `cargo xtask fuzz` runs a million of each kind.

mod answers;
mod worker;

use std::panic::{AssertUnwindSafe, catch_unwind};

/// Cases of one test unless the environment says otherwise: a second or two of an unoptimised build.
const RUNS_DEFAULT: u64 = 5_000;
/// The most memory that all cases together may leave the process with at its peak, in MiB: no case
/// makes much of little.
const MEMORY_MIB_MAX: u64 = 1024;
/// A case is hurt in so many places at most.
const WOUNDS_MAX: u64 = 6;

/// Numbers that are the same for the same seed (`SplitMix64`).
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    pub(crate) fn one_in(&mut self, count: u64) -> bool {
        self.below(count) == 0
    }

    fn index(&mut self, length: usize) -> usize {
        usize::try_from(self.below(length.max(1) as u64)).expect("it is below a length")
    }
}

/// Has many cases tried, each with its own numbers.
pub(crate) fn run(case: impl Fn(&mut Random)) {
    let runs = std::env::var("KINSTALL_FUZZ_RUNS").ok();
    let runs = runs.map_or(RUNS_DEFAULT, |runs| runs.parse().unwrap());
    for seed in 0..runs {
        let outcome = catch_unwind(AssertUnwindSafe(|| case(&mut Random(seed))));
        assert!(outcome.is_ok(), "the case of seed {seed} fails");
        if seed.is_multiple_of(1000) || seed + 1 == runs {
            let held = peak_mib();
            assert!(
                held < MEMORY_MIB_MAX,
                "{held} MiB by the case of seed {seed}"
            );
        }
    }
}

/// The most memory that this process has held so far (proc(5)).
fn peak_mib() -> u64 {
    let status = fs_err::read_to_string("/proc/self/status").unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = peak.unwrap().trim().trim_end_matches(" kB");
    kib.parse::<u64>().unwrap() / 1024
}

/// Hurts bytes in a few places: bits and whole blocks, cut off, put in, moved.
pub(crate) fn hurt(bytes: &mut Vec<u8>, random: &mut Random) {
    for _ in 0..=random.below(WOUNDS_MAX) {
        let length = bytes.len();
        let at = random.index(length);
        // Blocks begin at multiples of 512 in a tar archive, and fields are short.
        let span = [1, 8, 12, 512][random.index(4)].min(length - at);
        match random.below(8) {
            0 => bytes.truncate(at),
            1 if length < 1 << 16 => {
                let copy = bytes[at..at + span].to_vec();
                let to = random.index(length);
                bytes.splice(to..to, copy);
            }
            2 => drop(bytes.drain(at..at + span)),
            3 => bytes[at..at + span].fill([0, 0xff, b'7', b' '][random.index(4)]),
            4 if length >= 512 => {
                // In the header of a member, where the reader's decisions are made.
                let header = at / 512 * 512 + random.index(512);
                if let Some(byte) = bytes.get_mut(header) {
                    let telling = b"\0 \x80\xff01257xgLKS./";
                    *byte = telling[random.index(telling.len())];
                }
            }
            _ if length > 0 => bytes[at] ^= 1 << random.below(8),
            _ => {}
        }
    }
}

/// Makes the checksums of what looks like headers right again, so that the reader goes on.
pub(crate) fn heal_checksums(plain: &mut [u8]) {
    for block in plain.chunks_exact_mut(512) {
        if &block[257..262] == b"ustar" {
            block[148..156].fill(b' ');
            let sum: u64 = block.iter().map(|byte| u64::from(*byte)).sum();
            block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        }
    }
}

#[test]
fn wounds_hurt() {
    let sound: Vec<u8> = (0..2048_u32).map(|i| (i % 251) as u8).collect();
    let mut unhurt = 0;
    for seed in 0..1000 {
        let mut bytes = sound.clone();
        hurt(&mut bytes, &mut Random(seed));
        unhurt += u32::from(bytes == sound);
    }
    assert!(unhurt < 50, "{unhurt} of 1000 are as they were");
}
