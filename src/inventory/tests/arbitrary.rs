//! Whatever a file holds, it is read or refused, and the report of it can be shown.

use proptest::prelude::*;
use proptest::sample::Index;

use super::{parse, report};

/// Inventories that say much, to be spoilt.
const WHOLE: [&str; 4] = [
    include_str!("../../../inventories/single-node.toml"),
    include_str!("../../../inventories/home-lab.toml"),
    include_str!("../../../inventories/home-lab-armhf.toml"),
    include_str!("../../../inventories/kubenet.toml"),
];

/// What a slip of the hand, or of a program, may put somewhere.
const SLIPS: [&str; 16] = [
    "", "\"", "=", "[", "]]", "{", ".", "\n", "0", "-1", "é", "\u{202e}", "\\u0000", "/33", "::",
    "true",
];

fn read_or_refuse(text: &str) {
    if let Err(problems) = parse(text) {
        assert!(problems.iter().any(|problem| !problem.is_warning()));
        for problem in problems.iter() {
            let span = problem.span();
            assert!(text.get(span.clone()).is_some(), "{span:?} of {text:?}");
        }
        assert!(!report(&problems).contains("Failed to read"));
    }
}

/// Puts a slip in place of some bytes of a text.
fn spoilt(text: &str, at: Index, length: usize, slip: &str) -> String {
    let characters: Vec<char> = text.chars().collect();
    let start = at.index(characters.len() + 1);
    let end = (start + length).min(characters.len());
    let [before, after] = [&characters[..start], &characters[end..]];
    let (before, after): (String, String) = (before.iter().collect(), after.iter().collect());
    format!("{before}{slip}{after}")
}

proptest! {
    #[test]
    fn any_text_is_read_or_refused(text in ".{0,200}") {
        read_or_refuse(&text);
    }

    #[test]
    fn any_value_of_any_key_is_read_or_refused(key in 0..KEYS.len(), value in VALUE) {
        let text = format!("{}{value}\n[cluster]\nname='a'\nkubernetes='1.32.3'\n", KEYS[key]);
        read_or_refuse(&text);
        let node = "[[node]]\nname='a'\naddress='10.0.0.1'\n";
        read_or_refuse(&format!("{text}{node}"));
    }

    #[test]
    fn a_spoilt_inventory_is_read_or_refused(
        whole in 0..WHOLE.len(),
        spoils in prop::collection::vec((any::<Index>(), 0..12_usize, 0..SLIPS.len()), 1..4),
    ) {
        let mut text = WHOLE[whole].to_owned();
        for (at, length, slip) in spoils {
            text = spoilt(&text, at, length, SLIPS[slip]);
        }
        read_or_refuse(&text);
    }

    #[test]
    fn a_starter_is_an_inventory_or_none(
        words in prop::collection::vec("([a-z]{1,2}=)?(10\\.0\\.0\\.[0-9]|fd00::[0-9]|[a-z]{1,3})?", 0..7),
    ) {
        if let Ok(text) = super::Inventory::starter(&words, "1.36.3".parse().unwrap()) {
            prop_assert!(parse(&text).is_ok());
        }
    }
}

/// Keys that stand before `[cluster]`, up to their value.
const KEYS: [&str; 14] = [
    "node = ",
    "ssh.user = ",
    "ssh.port = ",
    "ssh.host-keys = ",
    "source.etcd = ",
    "pki.from = ",
    "pki.days = ",
    "encryption.resources = ",
    "rollout.ready-seconds = ",
    "component.etcd.version = ",
    "component.etcd.path = ",
    "component.etcd.flags.v = ",
    "component.etcd.flags-removed = ",
    "component.etcd.environment.\"a\" = ",
];

/// Values of every type, sound and not.
const VALUE: &str = "\"[ -!#-\\[\\]-~é]{0,12}\"|-?[0-9]{1,30}|0x[0-9a-f]{1,17}|[0-9]\\.[0-9]|true|\
                     \\[(\"[a-z*.]{0,5}\", )?[0-9]?\\]|\\{( a = [0-9])? \\}|1979-05-27";
