//! Events as a person sees them: a line each, and live bars on a terminal.

use std::collections::BTreeMap;

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use tokio::sync::mpsc::UnboundedReceiver;

use super::Volume;
use crate::event::Event;
use crate::fetch;
use crate::plain;

/// How often a bar is drawn, in hertz.
const DRAWS_PER_SECOND: u8 = 10;

/// Shows events.
pub(super) struct Progress {
    volume: Volume,
    bars: MultiProgress,
    open: BTreeMap<String, ProgressBar>,
}

impl Progress {
    pub(super) fn new(live: bool, volume: Volume) -> Self {
        let target = if live {
            ProgressDrawTarget::stderr_with_hz(DRAWS_PER_SECOND)
        } else {
            ProgressDrawTarget::hidden()
        };
        Self {
            volume,
            bars: MultiProgress::with_draw_target(target),
            open: BTreeMap::new(),
        }
    }

    pub(super) async fn follow(mut self, mut events: UnboundedReceiver<Event>) {
        while let Some(event) = events.recv().await {
            if event == Event::End {
                break;
            }
            self.show(event);
        }
        for bar in self.open.values() {
            bar.finish_and_clear();
        }
    }

    fn show(&mut self, event: Event) {
        match event {
            Event::End => {}
            Event::Phase(name) => self.line(&format!("{name}:")),
            Event::Wave(name) => self.line(&format!("{}:", name.name())),
            Event::Note(text) => self.line(&text),
            Event::Warning(text) => self.line(&format!("warning: {text}")),
            Event::Fetch(event) => self.fetch(event),
            Event::Connecting(node) => self.spin(node.as_str(), "connecting"),
            Event::Surveyed(node) => self.close(node.as_str()),
            Event::Staging { node, sent, total } => self.bar(node.as_str(), sent, total),
            Event::Staged(node) => {
                let total = self.open.get(node.as_str()).and_then(ProgressBar::length);
                self.close(node.as_str());
                let size = total
                    .map(|total| format!(" ({} sent)", size(total)))
                    .unwrap_or_default();
                self.line(&format!("  {node}: staged{size}"));
            }
            Event::Installed { node, count } => {
                self.detail(&format!(
                    "  {node}: {} put in place",
                    plain::count(count, "entry")
                ));
            }
            Event::Activating {
                node,
                unit,
                restart,
            } => {
                let what = if restart { "restarting" } else { "starting" };
                self.spin(&format!("{node} {unit}"), what);
                self.detail(&format!("  {node}: {what} {unit}"));
            }
            Event::Waiting { node, unit, why } => self.spin(&format!("{node} {unit}"), &why),
            Event::Healthy {
                node,
                unit,
                seconds,
            } => {
                self.close(&format!("{node} {unit}"));
                self.line(&format!("  {node}: {unit} healthy after {seconds:.1} s"));
            }
            Event::Reverting { node, generation } => {
                self.line(&format!(
                    "  {node}: failed; going back to generation {generation}"
                ));
            }
            Event::Recorded { node, generation } => {
                self.line(&format!("  {node}: generation {generation}"));
            }
        }
    }

    fn fetch(&mut self, event: fetch::Event) {
        use fetch::Event as Fetch;
        match event {
            Fetch::Started {
                name,
                size,
                resumed,
                ..
            } => {
                self.bar(&name, resumed, size.unwrap_or(0));
            }
            Fetch::Progress { name, bytes } => {
                if let Some(bar) = self.open.get(&name) {
                    bar.set_position(bytes);
                }
            }
            Fetch::Retrying {
                name,
                reason,
                wait_milliseconds,
            } => {
                self.line(&format!(
                    "  {name}: {reason}; trying again in {wait_milliseconds} ms"
                ));
            }
            Fetch::SourceFailed { name, url, reason } => {
                self.line(&format!("  {name}: not from {url}: {reason}"));
            }
            Fetch::Verified {
                name,
                digest,
                trust,
            } => {
                self.close(&name);
                self.line(&format!(
                    "  {name}: sha256 {} verified ({trust})",
                    digest.short()
                ));
            }
            Fetch::Cached { name, .. } => self.detail(&format!("  {name}: in the cache")),
            Fetch::Corrupt { name } => {
                self.line(&format!(
                    "  {name}: the cache held other bytes; it is fetched again"
                ));
            }
            Fetch::Waiting { name } => {
                self.line(&format!(
                    "  {name}: another kinstall is fetching it; waiting"
                ));
            }
            Fetch::Compressing { name } => self.spin(&name, "compressing"),
            Fetch::Done { name } => self.close(&name),
        }
    }

    /// A line that stays.
    fn line(&self, text: &str) {
        if self.volume == Volume::Quiet {
            return;
        }
        if self.bars.is_hidden() {
            super::write(std::io::stderr(), &(plain::lines(text) + "\n"));
        } else {
            _ = self.bars.println(plain::lines(text));
        }
    }

    fn detail(&self, text: &str) {
        if self.volume == Volume::Verbose {
            self.line(text);
        }
    }

    fn bar(&mut self, name: &str, position: u64, length: u64) {
        let bar = self.open.entry(name.to_owned()).or_insert_with(|| {
            let template =
                "  {prefix:24!} {bar:24} {bytes:>10}/{total_bytes:10} {bytes_per_sec:>12} {eta:>4}";
            let style =
                ProgressStyle::with_template(template).expect("the template is written right");
            self.bars.add(
                ProgressBar::new(length)
                    .with_style(style)
                    .with_prefix(plain::line(name).into_owned()),
            )
        });
        bar.set_length(length);
        bar.set_position(position);
    }

    fn spin(&mut self, name: &str, message: &str) {
        let bar = self.open.entry(name.to_owned()).or_insert_with(|| {
            let style = ProgressStyle::with_template("  {spinner} {prefix} {wide_msg} {elapsed}")
                .expect("the template is written right");
            self.bars.add(
                ProgressBar::new_spinner()
                    .with_style(style)
                    .with_prefix(plain::line(name).into_owned()),
            )
        });
        bar.set_message(plain::line(message).into_owned());
        bar.tick();
    }

    fn close(&mut self, name: &str) {
        if let Some(bar) = self.open.remove(name) {
            bar.finish_and_clear();
            self.bars.remove(&bar);
        }
    }
}

/// A size as people write it.
pub(crate) fn size(bytes: u64) -> String {
    #[expect(
        clippy::cast_precision_loss,
        reason = "one digit after the point is shown"
    )]
    let bytes = bytes as f64;
    match bytes {
        0.0..1e3 => format!("{bytes} B"),
        1e3..1e6 => format!("{:.1} kB", bytes / 1e3),
        1e6..1e9 => format!("{:.1} MB", bytes / 1e6),
        _ => format!("{:.2} GB", bytes / 1e9),
    }
}
