//! What certificates are made of: names, extensions and what stands in them.

use super::chain::Dice;
use super::der::{oid, sequence, value};

pub(super) fn name(dice: &mut Dice, all: &[&str]) -> Vec<u8> {
    let text = dice.of(all);
    let tag = dice.of(&[12, 12, 12, 12, 12, 12, 12, 12, 19]);
    let attribute =
        |id: &str, text: &str| value(0x31, &sequence(&[oid(id), value(tag, text.as_bytes())]));
    let mut all = vec![attribute("2.5.4.3", text)];
    if dice.once_in(4) {
        all.insert(0, attribute("2.5.4.10", "kubernetes"));
    }
    if dice.once_in(150) {
        all.push(attribute("2.5.4.11", "not_printable@"));
    }
    sequence(&all)
}

pub(super) fn extension(id: &str, is_critical: bool, contents: &[u8]) -> Vec<u8> {
    let mut fields = vec![oid(id)];
    if is_critical {
        fields.push(value(1, &[0xff]));
    }
    fields.push(value(4, contents));
    sequence(&fields)
}

pub(super) fn usages(dice: &mut Dice) -> Vec<u8> {
    let (server, client) = ("1.3.6.1.5.5.7.3.1", "1.3.6.1.5.5.7.3.2");
    let all: [&[&str]; 8] = [
        &[server, client],
        &[server, client],
        &[client, server],
        &[server],
        &[client],
        &["2.5.29.37.0"],
        &["1.3.6.1.5.5.7.3.3"],
        &["1.3.6.1.4.1.311.10.3.4", client],
    ];
    let ids: Vec<Vec<u8>> = dice.of(&all).iter().map(|id| oid(id)).collect();
    sequence(&ids)
}

pub(super) fn any_name(dice: &mut Dice) -> Vec<u8> {
    let dns = [
        "kubernetes.default.svc",
        "*.example.home",
        "KUBE.example.HOME",
        "*",
        "10.0.0.1",
        "a_b.home",
        "k*.example.home",
        "kube.example.home.",
        ".example.home",
        "",
        "-a.home",
        "*.*.home",
        "a b",
    ];
    let ips: [&[u8]; 5] = [
        &[10, 0, 0, 1],
        &[10, 0, 0, 2],
        &[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 10, 0, 0, 1],
        &[0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1],
        &[192, 168, 0, 1],
    ];
    match dice.below(12) {
        0..=5 => value(0x82, dice.of(&dns).as_bytes()),
        6 | 7 => value(0x87, dice.of(&ips)),
        8 => value(
            0x81,
            dice.of(&["me@example.home", "@home", "a..b@home", "me"])
                .as_bytes(),
        ),
        9 => value(
            0x86,
            dice.of(&["spiffe://example.home/ns/a", "https://10.0.0.1/", "urn:a"])
                .as_bytes(),
        ),
        10 if dice.once_in(4) => value(0x82, &[0xc3, 0xa9]),
        10 => value(0x88, &[42, 3, 4]),
        _ if dice.once_in(4) => value(0x87, &[10, 0, 0, 1, 2]),
        _ => value(0xa4, &name(dice, &["directory"])),
    }
}

pub(super) fn constraints(dice: &mut Dice) -> Vec<u8> {
    let dns = [
        "home",
        "example.home",
        ".example.home",
        "kube.example.home",
        "svc",
        "",
        "example.org",
        "bad..name",
    ];
    let ips: [&[u8]; 5] = [
        &[10, 0, 0, 0, 255, 0, 0, 0],
        &[10, 0, 0, 2, 255, 255, 255, 255],
        &[10, 0, 0, 0, 255, 0, 255, 0],
        &[0; 8],
        &[0; 32],
    ];
    let others = [
        (0x81, "example.home"),
        (0x81, "me@example.home"),
        (0x86, "example.home"),
        (0x86, "10.0.0.1"),
    ];
    let subtree = |dice: &mut Dice| {
        let base = match dice.below(8) {
            0..=3 => value(0x82, dice.of(&dns).as_bytes()),
            4 | 5 => value(0x87, dice.of(&ips)),
            6 => {
                let (tag, text) = dice.of(&others);
                value(tag, text.as_bytes())
            }
            _ => value(0xa4, &name(dice, &["directory"])),
        };
        sequence(&[base])
    };
    let mut fields = Vec::new();
    for tag in [0xa0, 0xa1] {
        if dice.once_in(2) {
            let trees: Vec<Vec<u8>> = (0..=dice.below(2)).map(|_| subtree(dice)).collect();
            fields.push(value(tag, &trees.concat()));
        }
    }
    sequence(&fields)
}
