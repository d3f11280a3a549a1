# Keeps one node running, reboots included. Runs in a mount namespace of its own, so that the
# node's mounts end with it; and in the node's cgroup, so that whoever kills that kills all.
set -eu
directory=$1 base=$2 bed=$3 node=$4 netns=$5 link=$6 small=$7 legacy=$8 init=$9
group=/sys/fs/cgroup/$bed/$node
exec </dev/null >>"$directory/console.log" 2>&1

mount -t overlay overlay "$directory/root" \
    -o "lowerdir=$base,upperdir=$directory/upper,workdir=$directory/work"
[ "$small" = no ] || mount --bind "$directory/small" "$directory/root/var/lib/kinstall"
# The layers of containers are overlays, and an overlay cannot lie on another one.
for part in containerd kubelet; do
    mkdir -p "$directory/$part" "$directory/root/var/lib/$part"
    mount --bind "$directory/$part" "$directory/root/var/lib/$part"
done

# Whatever this machine has there (cgroup v1, hybrid), systemd-nspawn sees pure cgroup v2, and has a
# place for its own files that it shares with nobody. Groups of version 1 are mounted by init.sh.
mount -t cgroup2 none /sys/fs/cgroup
mkdir -p /run/systemd
mount -t tmpfs -o mode=755 none /run/systemd
echo $$ >"$group/keeper/cgroup.procs"

# Removes the groups that the node made.
clear_groups() {
    for one in "$group/machine" "$legacy"/*/"$bed/$node"; do
        [ ! -d "$one" ] || find "$one" -mindepth 1 -depth -type d -exec rmdir {} + || true
    done
}

# A container runtime gives each container a session keyring.
export SYSTEMD_NSPAWN_UNIFIED_HIERARCHY=1 SYSTEMD_NSPAWN_LOCK=0
while :; do
    code=0
    # The node takes for the root of each hierarchy the group that it is in when it begins.
    sh -c 'for one in "$0" "$1"/*/"$2"; do
            [ ! -d "$one" ] || echo $$ >"$one/cgroup.procs"
        done
        shift 2
        exec "$@"' "$group/machine" "$legacy" "$bed/$node" \
        systemd-nspawn --quiet --settings=no --register=no --keep-unit --kill-signal=SIGRTMIN+3 \
        --directory="$directory/root" --machine="$node" --hostname="$node" \
        --network-namespace-path="$netns" --capability=CAP_NET_ADMIN --system-call-filter="bpf @keyring" \
        --console=pipe --link-journal=no --resolv-conf=off --timezone=off \
        /bin/sh -c "$init" || code=$?
    # 133 is how systemd-nspawn says that the node wants to boot again.
    [ "$code" = 133 ] || break
    clear_groups
    echo "keeper: $node boots again"
done
echo "keeper: systemd-nspawn ended with $code"
# A machine that is off does not answer, not even to say that it is off.
ip link set "$link" down
