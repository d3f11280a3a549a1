//! The only programs that kinstall runs on a node: fixed scripts. Values travel as arguments or on
//! the standard input, never spliced into the text.
//!
//! What they need of a node: POSIX sh, awk, GNU coreutils and findutils, tar, gzip or zstd,
//! util-linux' flock, systemctl. Every Debian and Ubuntu has these.

/// A script, its name for messages, and its limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Script {
    /// Its name.
    pub name: &'static str,
    /// Its text.
    pub text: &'static str,
    /// What a call of it may take.
    pub limits: Limits,
}

/// What one call of a script may take. A node over a limit is given up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Seconds from its start, or from the last time that a chunk of its input was taken: so a long
    /// input has a least rate, and everything else a deadline.
    pub seconds: u64,
    /// Seconds without a byte in either direction.
    pub silence_seconds: u64,
    /// Kilobytes of output.
    pub output_kilobytes: usize,
}

impl Limits {
    const fn new(seconds: u64, output_kilobytes: usize) -> Self {
        Self {
            seconds,
            silence_seconds: seconds,
            output_kilobytes,
        }
    }

    const fn silent(mut self, seconds: u64) -> Self {
        self.silence_seconds = seconds;
        self
    }
}

impl Script {
    /// The same script, for a call that takes up to this many seconds.
    #[must_use]
    pub fn within(mut self, seconds: u64) -> Self {
        self.limits.seconds = seconds;
        self.limits.silence_seconds = seconds;
        self
    }
}

/// A script by its name; `+ "part"` is put before it.
macro_rules! script {
    ($(#[$doc:meta])* $constant:ident, $name:literal $(+ $part:literal)*, $limits:expr) => {
        $(#[$doc])*
        pub const $constant: Script = Script {
            name: $name,
            text: concat!(
                $(include_str!(concat!("script/", $part, ".sh")),)*
                include_str!(concat!("script/", $name, ".sh"))
            ),
            limits: $limits,
        };
    };
}

script! {
    /// Prints what a node holds; see [`crate::snapshot`].
    OBSERVE, "observe" + "root" + "sha256" + "machine" + "worker", Limits::new(900, 4096).silent(60)
}
script! {
    /// Tells which processes hold sockets.
    HOLDERS, "holders", Limits::new(120, 1024)
}
script! {
    /// Unpacks contents into the node's store.
    STAGE, "stage" + "root" + "sha256", Limits::new(900, 256).silent(300)
}
script! {
    /// Writes down what is about to be put in place.
    BEGIN, "begin" + "root", Limits::new(300, 64)
}
script! {
    /// Puts entries in place.
    INSTALL, "install" + "root", Limits::new(900, 64)
}
script! {
    /// Enables and starts a unit.
    ACTIVATE, "activate" + "root", Limits::new(300, 1024)
}
script! {
    /// Has the node carry a transaction out by itself.
    TRANSACTION, "transaction", Limits::new(900, 1024)
}
script! {
    /// What systemd runs of a transaction.
    TRANSACTION_STEPS, "transaction_steps", Limits::new(900, 1024)
}
script! {
    /// Asks etcd for its members, or changes them.
    MEMBER, "member" + "etcdctl", Limits::new(120, 1024)
}
script! {
    /// Has a unit's next start join a living etcd cluster.
    ENLIST, "enlist", Limits::new(60, 64)
}
script! {
    /// Asks a service of the node where sshd forbids to ask it from outside.
    ASK, "ask", Limits::new(30, 256)
}
script! {
    /// Has systemd read unit files again.
    RELOAD, "reload", Limits::new(120, 64)
}
script! {
    /// Stops a unit for good.
    STOP, "stop" + "root", Limits::new(300, 64)
}
script! {
    /// Tells a unit's state and last words.
    EXPLAIN, "explain", Limits::new(60, 1024)
}
script! {
    /// Records a generation.
    RECORD, "record" + "root", Limits::new(900, 64)
}
script! {
    /// Tells the generations a node has on record.
    GENERATIONS, "generations", Limits::new(60, 2048)
}
script! {
    /// Prints files for a diff.
    READ, "read" + "root", Limits::new(60, 8192)
}
script! {
    /// Counts what is stored in etcd by its encryption key.
    ETCD_KEYS, "etcd_keys" + "etcdctl", Limits::new(1800, 64)
}
script! {
    /// Tells how a value in etcd begins.
    ETCD_HEAD, "etcd_head" + "etcdctl", Limits::new(60, 4)
}
script! {
    /// Has the node's kubectl do something to a Pod.
    KUBECTL, "kubectl", Limits::new(120, 64)
}
script! {
    /// Has the node's kubectl move the Pods of a node to others; it is silent while it waits for them.
    DRAIN, "kubectl", Limits::new(3700, 64).silent(3700)
}
script! {
    /// Writes down a run.
    JOURNAL, "journal" + "root", Limits::new(300, 64)
}
script! {
    /// Makes etcd's users.
    ETCD_USERS, "etcd_users" + "etcdctl", Limits::new(900, 64)
}
script! {
    /// Holds the node for one run.
    LOCK, "lock", Limits::new(200, 4)
}
script! {
    /// Takes away what kinstall put on the node.
    UNINSTALL, "uninstall" + "root", Limits::new(1800, 64)
}
script! {
    /// Has a login shell read the next one.
    LOGIN, "login", Limits::new(60, 64)
}
script! {
    /// Has root read the next one; by itself, it tries a password.
    BECOME_ROOT, "become_root", Limits::new(60, 64)
}
script! {
    /// Runs one of the others.
    RUNNER, "runner", Limits::new(60, 64)
}
