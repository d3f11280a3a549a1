# The first process of a node: makes of what systemd-nspawn has set up a machine that can run containers, then
# becomes systemd.
set -u

# The groups that the keeper put us into, beside that of cgroup2: systemd-nspawn itself would mount them read-only,
# and then nothing in the node could make groups of its own. A machine of cgroup2 alone keeps what is mounted, and so
# does a node whose systemd no longer knows anything else: there limits are not enforced.
groups=$(grep -v '^0:' /proc/self/cgroup | cut -d: -f2)
version=$(/lib/systemd/systemd --version | sed -n '1s/^systemd \([0-9]*\).*/\1/p')
if [ -n "$groups" ] && [ "$version" -lt 258 ]; then
    umount /sys/fs/cgroup
    mount -t tmpfs -o mode=755,nosuid,nodev,noexec tmpfs /sys/fs/cgroup
    for names in $groups; do
        case $names in
        name=*) directory=${names#name=} options=none,$names ;;
        *) directory=$names options=$names ;;
        esac
        mkdir "/sys/fs/cgroup/$directory"
        mount -t cgroup -o "nosuid,nodev,noexec,$options" cgroup "/sys/fs/cgroup/$directory"
        # Controllers that share a hierarchy are looked for one by one, too.
        case $names in
        *,*) for one in $(echo "$names" | tr , ' '); do ln -s "$names" "/sys/fs/cgroup/$one"; done ;;
        esac
    done
    mkdir /sys/fs/cgroup/unified
    mount -t cgroup2 -o nosuid,nodev,noexec cgroup2 /sys/fs/cgroup/unified
fi

# What concerns the network is the node's own, so the node may set it. All other settings are of the whole machine
# and stay read-only, but for those that a kubelet and kube-proxy insist on: of them the node has copies.
mount --bind /proc/sys/net /proc/sys/net && mount -o remount,bind,rw /proc/sys/net
mkdir -p /run/node
for name in vm/overcommit_memory vm/panic_on_oom kernel/panic kernel/panic_on_oops \
    kernel/keys/root_maxkeys kernel/keys/root_maxbytes net/netfilter/nf_conntrack_max; do
    [ -e "/proc/sys/$name" ] || continue
    copy=/run/node/$(echo "$name" | tr / .)
    cat "/proc/sys/$name" >"$copy" && mount --bind "$copy" "/proc/sys/$name"
done

# A kubelet reads the kernel's log to learn who ran out of memory, and does not start without one.
[ -e /dev/kmsg ] || ln -s null /dev/kmsg

# systemd 256 and 257 boot with hierarchies of version 1 only where they are told to.
exec /lib/systemd/systemd SYSTEMD_CGROUP_ENABLE_LEGACY_FORCE=1
