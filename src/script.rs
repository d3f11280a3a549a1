//! The only programs that kinstall runs on a node: fixed scripts. Values travel as arguments or on
//! the standard input, never spliced into the text.
//!
//! What they need of a node: POSIX sh, awk, GNU coreutils and findutils, tar, gzip or zstd,
//! util-linux' flock, systemctl. Every Debian and Ubuntu has these.

/// A script and its name for messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Script {
    /// Its name.
    pub name: &'static str,
    /// Its text.
    pub text: &'static str,
}

/// A script by its name; `+ "part"` is put before it.
macro_rules! script {
    ($(#[$doc:meta])* $constant:ident, $name:literal $(+ $part:literal)*) => {
        $(#[$doc])*
        pub const $constant: Script = Script {
            name: $name,
            text: concat!(
                $(include_str!(concat!("script/", $part, ".sh")),)*
                include_str!(concat!("script/", $name, ".sh"))
            ),
        };
    };
}

script! {
    /// Prints what a node holds; see [`crate::snapshot`].
    OBSERVE, "observe" + "root"
}
script! {
    /// Unpacks contents into the node's store.
    STAGE, "stage" + "root"
}
script! {
    /// Writes down what is about to be put in place.
    BEGIN, "begin" + "root"
}
script! {
    /// Puts entries in place.
    INSTALL, "install" + "root"
}
script! {
    /// Enables and starts a unit.
    ACTIVATE, "activate" + "root"
}
script! {
    /// Has the node carry a turn out by itself.
    TURN, "turn"
}
script! {
    /// What systemd runs of a turn.
    COURSE, "course"
}
script! {
    /// Asks etcd for its members, or changes them.
    MEMBER, "member" + "root"
}
script! {
    /// Has a unit's next start join a living etcd cluster.
    ENLIST, "enlist"
}
script! {
    /// Has systemd read unit files anew.
    RELOAD, "reload"
}
script! {
    /// Stops a unit for good.
    STOP, "stop" + "root"
}
script! {
    /// Tells a unit's state and last words.
    EXPLAIN, "explain"
}
script! {
    /// Records a generation.
    RECORD, "record" + "root"
}
script! {
    /// Tells the generations a node has on record.
    GENERATIONS, "generations"
}
script! {
    /// Prints files for a diff.
    READ, "read" + "root"
}
script! {
    /// Counts what is stored in etcd by its encryption key.
    ETCD_KEYS, "etcd_keys"
}
script! {
    /// Writes down a run.
    JOURNAL, "journal" + "root"
}
script! {
    /// Makes etcd's users.
    ETCD_USERS, "etcd_users"
}
script! {
    /// Holds the node for one run.
    LOCK, "lock"
}
script! {
    /// Takes away what kinstall put on the node.
    UNINSTALL, "uninstall" + "root"
}
script! {
    /// Runs one of the others as root.
    BECOME_ROOT, "become_root"
}
