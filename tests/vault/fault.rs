//! Promises about a Vault that is busy, slow, cut off or not itself.

use std::time::Duration;

use super::proxy::{Fault, Proxy};
use super::{KUBECONFIG, Site, issued, keeps_secrets, lab, orders, run, site, tells};

const TABLES: &str = "[pki.vault.set.front-proxy]\nmount = \"pki_front\"\n";
const ORDER: &str = "/sign/front-proxy-client";
const TOKEN: &str = "token-file = \"token\"\n";

fn answer(status: u16, text: &str) -> Fault {
    Fault::Answer(status, String::new(), text.to_owned())
}

fn after_seconds(status: u16, seconds: u32) -> Fault {
    let headers = format!("retry-after: {seconds}\r\n");
    Fault::Answer(status, headers, "{\"errors\": [\"wait\"]}".to_owned())
}

#[test]
fn what_may_pass_is_asked_again() {
    let Some(Site {
        proxy,
        server: _server,
        ..
    }) = site("what_may_pass_is_asked_again")
    else {
        return;
    };
    let faults = [
        vec![answer(500, "oops"), answer(502, "oops")],
        vec![answer(
            412,
            "{\"errors\": [\"required index state not present\"]}",
        )],
        vec![after_seconds(429, 2)],
        vec![Fault::Cut, answer(503, "")],
    ];
    for faults in faults {
        let (what, count) = (format!("{faults:?}"), faults.len());
        let lab = lab(&proxy.url(), TOKEN, TABLES);
        proxy.asked();
        proxy.play(ORDER, faults);
        let output = run(&lab, KUBECONFIG, &[]).exits(0);
        let asked = proxy.asked();
        assert_eq!(orders(&asked).0.len(), count + 1, "{what}: {output}");
        // A second at least before each; as long as the server says, where it does.
        assert!(output.seconds > 1.0, "{what}: {output}");
        let patient = !what.contains("retry-after") || output.seconds > 2.0;
        assert!(patient, "{what}: {output}");
    }
}

#[test]
fn what_does_not_pass_is_told_after_so_many_tries() {
    let Some(Site {
        proxy,
        server: _server,
        ..
    }) = site("what_does_not_pass_is_told_after_so_many_tries")
    else {
        return;
    };
    for (fault, words, tries) in [
        (
            answer(429, "{\"errors\": [\"slow down\"]}"),
            "429: slow down (asked 3 times)",
            3,
        ),
        (
            answer(502, "Bad Gateway\n\u{1b}[2J from nginx"),
            "502: Bad Gateway \\x1b[2J from nginx (asked 3 times)",
            3,
        ),
        (answer(501, "no"), "501: no", 1),
        (answer(400, "plain words"), "400: plain words", 1),
        (
            answer(400, "{\"errors\": []}"),
            "400: without a word why",
            1,
        ),
        (
            answer(200, "<html>It works! secret-of-nobody</html>"),
            "its answer is not what Vault documents",
            1,
        ),
        (
            answer(
                200,
                "{\"data\": {\"certificate\": \"x\", \"issuing_ca\": \"y\"}}",
            ),
            "Vault's answer has no certificate",
            1,
        ),
    ] {
        let lab = lab(&proxy.url(), TOKEN, TABLES);
        proxy.asked();
        proxy.play_always(ORDER, fault);
        let output = tells(run(&lab, KUBECONFIG, &[]), words);
        keeps_secrets(output)
            .never_says("secret-of-nobody")
            .exits(1);
        let asked = proxy.asked();
        assert_eq!(orders(&asked).0.len(), tries, "{words}");
        assert_eq!(issued(&lab), 0);
    }
}

#[test]
fn a_vault_that_is_slow_or_not_there_is_waited_for_once() {
    let Some(Site {
        proxy,
        server: _server,
        ..
    }) = site("a_vault_that_is_slow_or_not_there_is_waited_for_once")
    else {
        return;
    };
    proxy.play_always("/v1/", Fault::Wait(Duration::from_secs(20)));
    let slow = lab(&proxy.url(), TOKEN, super::TABLES);
    slow.edit("seconds = 10", "seconds = 3");
    let output = run(&slow, KUBECONFIG, &[])
        .says("no answer within 3 seconds")
        .exits(1);
    assert!(output.seconds < 9.0, "{output}");
    assert_eq!(issued(&slow), 0);
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", free.local_addr().unwrap());
    drop(free);
    let gone = lab(&address, TOKEN, super::TABLES);
    let output = run(&gone, KUBECONFIG, &[])
        .says("Connection refused")
        .exits(1);
    assert!(output.seconds < 15.0, "{output}");
    // A way that leads around in a circle is left.
    let around = Proxy::before("127.0.0.1:9");
    let headers = format!("location: {}/v1/around\r\n", around.url());
    around.play_always("/v1/", Fault::Answer(307, headers, String::new()));
    let lab = lab(&around.url(), TOKEN, TABLES);
    run(&lab, KUBECONFIG, &[]).says("sent on and on").exits(1);
}

#[test]
fn a_wait_for_vault_ends_when_the_user_wants() {
    let Some(Site {
        proxy,
        lab,
        server: _server,
    }) = site("a_wait_for_vault_ends_when_the_user_wants")
    else {
        return;
    };
    proxy.play_always("/v1/", Fault::Wait(Duration::from_secs(20)));
    for words in [
        &KUBECONFIG[..],
        &["check", "inventory.toml"],
        &["push", "inventory.toml", "--into", "trees"],
    ] {
        let going = lab.start(words.iter().copied());
        let begun = std::time::Instant::now();
        proxy.asked();
        while proxy.asked().is_empty() {
            assert!(
                begun.elapsed() < Duration::from_secs(30),
                "{words:?} asks nothing"
            );
            std::thread::sleep(Duration::from_millis(20));
        }
        going.signal("INT");
        let output = going.finish().exits(130);
        assert!(output.seconds < 15.0, "{output}");
    }
}
