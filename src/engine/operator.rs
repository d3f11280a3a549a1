//! Who runs kinstall, and where: shown to other runs, and written into journals.

use super::clock;

/// Who runs this, and where.
pub(crate) fn who() -> String {
    let user = std::env::var("USER").unwrap_or_else(|_| "somebody".to_owned());
    let host = fs_err::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let plain = |text: &str| text.chars().filter(|c| !c.is_control()).collect::<String>();
    format!("{}@{}", plain(&user), plain(host.trim()))
}

/// Who runs this, where and since when: shown to another run that finds a node held.
pub(crate) fn holder() -> String {
    let (process, since) = (std::process::id(), clock::since());
    format!("{}, process {process}, since {since}", who())
}
