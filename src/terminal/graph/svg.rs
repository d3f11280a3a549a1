//! The graph as one picture that needs nothing else: who calls is left, kube-apiserver in the
//! middle, whom it calls right; on each line what the caller shows, and what it is shown.
//! Colours are authorities.

use std::fmt::Write as _;

use super::{Arrow, End, Graph};
use crate::certificate::link::Party;
use crate::plain::count;

const WIDTH: i32 = 1480;
const MARGIN: i32 = 30;
const BOX_WIDTH: i32 = 236;
const MIDDLE: i32 = (WIDTH - BOX_WIDTH) / 2;
const ROW: i32 = 118;
const BOX_HEIGHT: i32 = 74;
const TOP: i32 = 96;
/// Space below a box that calls itself.
const LOOP: i32 = 96;

/// Told apart by people who see red and green alike (Okabe and Ito's palette, darkened for text).
const COLORS: [&str; 8] = [
    "#0072B2", "#B84A00", "#00795A", "#9C4F86", "#8A6D00", "#5E35B1", "#444444", "#A3122F",
];

const LEFT: [Party; 6] = [
    Party::Admin,
    Party::ControllerManager,
    Party::Scheduler,
    Party::Kubelet,
    Party::KubeProxy,
    Party::Etcdctl,
];
const RIGHT: [Party; 3] = [Party::Etcd, Party::Kubelet, Party::Aggregated];

/// The picture, in SVG 1.1.
pub fn svg(graph: &Graph) -> String {
    let left: Vec<&Arrow> = callers(graph);
    let right: Vec<&Arrow> = callees(graph);
    let height = |arrows: &[&Arrow]| arrows.iter().map(|arrow| rows_of(arrow)).sum::<i32>();
    let rows = height(&left).max(height(&right));
    let bottom = TOP + rows * ROW;
    let mut picture = Picture {
        graph,
        text: String::new(),
    };
    picture.apiserver(bottom);
    for (arrow, y) in spread(&left, rows) {
        picture.party(MARGIN, y, arrow.caller, left_note(arrow.caller));
        picture.connection(arrow, MARGIN + BOX_WIDTH, MIDDLE, y);
    }
    for (arrow, y) in spread(&right, rows) {
        let x = WIDTH - MARGIN - BOX_WIDTH;
        picture.party(x, y, arrow.callee, right_note(arrow.callee));
        picture.connection(arrow, MIDDLE + BOX_WIDTH, x, y);
        if arrow.callee == Party::Etcd {
            picture.etcd(x, y);
        }
    }
    let height = picture.legend(bottom + 24);
    picture.whole(height)
}

/// The connections into kube-apiserver, in the order of their callers.
fn callers(graph: &Graph) -> Vec<&Arrow> {
    let of = |party| {
        let mut links = graph.links.iter();
        links.find(|arrow| arrow.caller == party && arrow.callee == Party::Apiserver)
    };
    LEFT.into_iter().filter_map(of).collect()
}

/// The connections out of it.
fn callees(graph: &Graph) -> Vec<&Arrow> {
    let of = |party| {
        let mut links = graph.links.iter();
        links.find(|arrow| arrow.callee == party && arrow.caller == Party::Apiserver)
    };
    RIGHT.into_iter().filter_map(of).collect()
}

const fn left_note(party: Party) -> &'static str {
    match party {
        Party::Admin => "people with the admin kubeconfig",
        Party::Kubelet | Party::KubeProxy => "on each worker, by kubeconfig",
        _ => "on each control node, by kubeconfig",
    }
}

const fn right_note(party: Party) -> &'static str {
    match party {
        Party::Etcd => "a member on each etcd node",
        Party::Kubelet => "as a server: logs, exec",
        _ => "metrics and the like",
    }
}

/// How many rows a box takes: what etcd's members show each other stands below theirs.
fn rows_of(arrow: &Arrow) -> i32 {
    if arrow.callee == Party::Etcd { 2 } else { 1 }
}

/// The top of each box, spread over the height of so many rows.
fn spread<'a>(arrows: &[&'a Arrow], rows: i32) -> Vec<(&'a Arrow, i32)> {
    let own: i32 = arrows.iter().map(|arrow| rows_of(arrow)).sum();
    let step = rows * ROW / own.max(1);
    let mut at = TOP;
    let mut places = Vec::new();
    for arrow in arrows {
        let inner = BOX_HEIGHT + (rows_of(arrow) - 1) * LOOP;
        let height = step * rows_of(arrow);
        places.push((*arrow, at + (height - inner) / 2));
        at += height;
    }
    places
}

struct Picture<'a> {
    graph: &'a Graph,
    text: String,
}

impl Picture<'_> {
    fn add(&mut self, element: std::fmt::Arguments<'_>) {
        self.text.write_fmt(element).expect("a string takes all");
        self.text.push('\n');
    }

    fn color(&self, signer: &str) -> &'static str {
        let mut names = self.graph.authorities.iter().map(|it| it.name.as_str());
        let index = names.position(|name| name == signer).unwrap_or_default();
        COLORS[index % COLORS.len()]
    }

    fn label(&mut self, x: i32, y: i32, class: &str, color: &str, text: &str) {
        let text = escaped(text);
        self.add(format_args!(
            r#"<text x="{x}" y="{y}" class="{class}" fill="{color}">{text}</text>"#
        ));
    }

    fn party(&mut self, x: i32, y: i32, party: Party, note: &str) {
        self.add(format_args!(
            r#"<rect x="{x}" y="{y}" width="{BOX_WIDTH}" height="{BOX_HEIGHT}" rx="8" class="box"/>"#
        ));
        let middle = x + BOX_WIDTH / 2;
        self.label(middle, y + 33, "name", "#1b1b1b", party.name());
        self.label(middle, y + 54, "note", "#5a5a5a", note);
    }

    fn apiserver(&mut self, bottom: i32) {
        let (y, height) = (TOP + 8, bottom - TOP - 16);
        self.add(format_args!(
            r#"<rect x="{MIDDLE}" y="{y}" width="{BOX_WIDTH}" height="{height}" rx="8" class="box main"/>"#
        ));
        let (x, y) = (WIDTH / 2, TOP + (bottom - TOP) / 2);
        self.label(x, y - 4, "name", "#1b1b1b", Party::Apiserver.name());
        self.label(x, y + 18, "note", "#5a5a5a", "one on each control node");
    }

    /// Two lines between two boxes: there what the caller shows, back what it is shown.
    fn connection(&mut self, arrow: &Arrow, from: i32, to: i32, top: i32) {
        let (above, below) = (top + 26, top + BOX_HEIGHT - 22);
        let middle = i32::midpoint(from, to);
        self.line(&arrow.client, (from, to), above);
        let (text, color) = told(&arrow.client, self.color(&arrow.client.signer));
        self.label(middle, above - 8, "shown", color, &text);
        if let Some(server) = &arrow.server {
            self.line(server, (to, from), below);
            let (text, color) = told(server, self.color(&server.signer));
            self.label(middle, below + 17, "shown", color, &text);
        } else {
            let note = format!("what it shows is verified by {}", arrow.server_trust);
            self.label(middle, below + 6, "note", "#5a5a5a", &note);
        }
        let Some(port) = arrow.port else { return };
        let y = i32::midpoint(above, below) + 4;
        self.label(middle, y, "port", "#5a5a5a", &format!(":{port}"));
    }

    fn line(&mut self, end: &End, (from, to): (i32, i32), y: i32) {
        let color = self.color(&end.signer);
        let title = escaped(&title(end));
        let tip = if to > from { to - 9 } else { to + 9 };
        let (up, down) = (y - 5, y + 5);
        self.add(format_args!(
            r#"<g><title>{title}</title><path d="M{from} {y}H{tip}" stroke="{color}" stroke-width="2" fill="none"/><path d="M{to} {y}L{tip} {up}V{down}Z" fill="{color}"/></g>"#
        ));
    }

    /// What is special to etcd: its members among themselves, and who asks for its health.
    fn etcd(&mut self, x: i32, y: i32) {
        let to_itself = |arrow: &&Arrow| arrow.caller == Party::Etcd;
        let by_hand = |arrow: &&Arrow| arrow.caller == Party::Etcdctl;
        let mut at = y + BOX_HEIGHT;
        for arrow in self.graph.links.iter().filter(to_itself) {
            let color = self.color(&arrow.client.signer);
            let title = escaped(&title(&arrow.client));
            let (left, right, low) = (x + 60, x + BOX_WIDTH - 60, at + 24);
            self.add(format_args!(
                r#"<g><title>{title}</title><path d="M{left} {at}V{low}H{right}V{}" stroke="{color}" stroke-width="2" fill="none"/><path d="M{right} {at}l-5 9h10Z" fill="{color}"/></g>"#,
                at + 9
            ));
            let (text, color) = told(&arrow.client, color);
            let port = arrow
                .port
                .map(|port| format!("  :{port}"))
                .unwrap_or_default();
            self.label(x + BOX_WIDTH / 2, low + 17, "shown", color, &(text + &port));
            at += LOOP / 2;
        }
        for arrow in self.graph.links.iter().filter(by_hand) {
            let (text, color) = told(&arrow.client, self.color(&arrow.client.signer));
            self.label(x + BOX_WIDTH / 2, at + 14, "shown", color, &text);
            let note = "shown by etcdctl, and for health  :2379";
            self.label(x + BOX_WIDTH / 2, at + 30, "note", "#5a5a5a", note);
        }
    }

    /// The authorities; how far down the picture goes.
    fn legend(&mut self, top: i32) -> i32 {
        let mut y = top + 26;
        self.label(MARGIN, y, "heading", "#1b1b1b", "Authorities");
        for authority in &self.graph.authorities {
            y += 30;
            let color = self.color(&authority.name);
            let swatch = y - 13;
            self.add(format_args!(
                r#"<rect x="{MARGIN}" y="{swatch}" width="26" height="16" rx="3" fill="{color}"/>"#
            ));
            self.label(MARGIN + 38, y, "left strong", color, &authority.name);
            let rest = match &authority.facts {
                Some(facts) => format!(
                    "{}   ·   {}   ·   {} left, until {}   ·   signs {}",
                    facts.subject,
                    facts.key,
                    count(facts.days_left, "day"),
                    facts.ends,
                    authority.signs.join(", ")
                ),
                None => "not made yet".to_owned(),
            };
            self.label(MARGIN + 190, y, "left", "#3a3a3a", &rest);
        }
        y + 34
    }

    fn whole(&self, height: i32) -> String {
        let (title, body) = (escaped(&self.graph.cluster), &self.text);
        let middle = WIDTH / 2;
        format!(
            r##"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" font-family="'DejaVu Sans', Verdana, Helvetica, Arial, sans-serif">
<title>Certificates of the cluster {title}</title>
<style>
.box {{ fill: #f6f7f9; stroke: #8a929c; stroke-width: 1.2 }}
.main {{ fill: #eef2f7; stroke: #5c6b7d; stroke-width: 1.6 }}
text {{ font-size: 12px; text-anchor: middle }}
.name {{ font-size: 15px; font-weight: bold }}
.note, .port {{ font-size: 11px }}
.shown {{ font-size: 12px }}
.heading {{ font-size: 15px; font-weight: bold; text-anchor: start }}
.left {{ text-anchor: start }}
.strong {{ font-weight: bold }}
.title {{ font-size: 20px; font-weight: bold }}
</style>
<rect width="{WIDTH}" height="{height}" fill="#ffffff"/>
<text x="{middle}" y="38" class="title" fill="#1b1b1b">Certificates of the cluster {title}</text>
<text x="{middle}" y="62" class="note" fill="#5a5a5a">a line points from who shows a certificate to who verifies it; its colour is the authority that signed it; the text tells the certificate, its common name and the days left</text>
{body}</svg>
"##
        )
    }
}

/// What stands at a line, and its colour: red where little is left.
fn told(end: &End, color: &'static str) -> (String, &'static str) {
    const FEW_DAYS: i64 = 30;
    let Some(facts) = &end.facts else {
        return (format!("{}, not made yet", end.certificate), color);
    };
    let name = facts.subject.strip_prefix("CN=").unwrap_or(&facts.subject);
    let name = name.split(',').next().unwrap_or_default();
    let text = if end.count > 1 {
        format!("{} ×{}, {} d", end.certificate, end.count, facts.days_left)
    } else {
        format!("{name}, {} d", facts.days_left)
    };
    if facts.days_left < FEW_DAYS {
        (text, "#D00000")
    } else {
        (text, color)
    }
}

/// What a pointer that rests on a line is told.
fn title(end: &End) -> String {
    let facts = end.facts.as_ref();
    let subject = facts.map_or("", |facts| facts.subject.as_str());
    let names = facts.map_or_else(String::new, |facts| facts.sans.join(", "));
    format!(
        "{}\n{subject}\nsigned by {}\nread by {}\nverified by {}\n{names}",
        end.certificate, end.signer, end.flag, end.trust
    )
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}
