# Keeps one node running, reboots included. Runs in a mount namespace of its own, so that the
# node's mounts end with it; and in the node's cgroup, so that whoever kills that kills all.
set -eu
directory=$1 base=$2 group=/sys/fs/cgroup/$3 node=$4 netns=$5 link=$6 small=$7
exec </dev/null >>"$directory/console.log" 2>&1

mount -t overlay overlay "$directory/root" \
    -o "lowerdir=$base,upperdir=$directory/upper,workdir=$directory/work"
[ "$small" = no ] || mount --bind "$directory/small" "$directory/root/var/lib/kinstall"

# Whatever this machine has there (cgroup v1, hybrid), the node gets pure cgroup v2, and
# systemd-nspawn a place for its own files that it shares with nobody.
mount -t cgroup2 none /sys/fs/cgroup
mkdir -p /run/systemd
mount -t tmpfs -o mode=755 none /run/systemd
echo $$ >"$group/keeper/cgroup.procs"

export SYSTEMD_NSPAWN_UNIFIED_HIERARCHY=1 SYSTEMD_NSPAWN_LOCK=0
while :; do
    code=0
    sh -c 'echo $$ >"$0/cgroup.procs"; exec "$@"' "$group/machine" \
        systemd-nspawn --quiet --settings=no --boot --register=no --keep-unit \
        --directory="$directory/root" --machine="$node" --hostname="$node" \
        --network-namespace-path="$netns" --capability=CAP_NET_ADMIN --system-call-filter=bpf \
        --console=pipe --link-journal=no --resolv-conf=off --timezone=off || code=$?
    # 133 is how systemd-nspawn says that the node wants to boot again.
    [ "$code" = 133 ] || break
    find "$group/machine" -mindepth 1 -depth -type d -exec rmdir {} + || true
    echo "keeper: $node boots again"
done
echo "keeper: systemd-nspawn ended with $code"
# A machine that is off does not answer, not even to say that it is off.
ip link set "$link" down
