# Tries what a bed of nodes needs of the kernel. Runs in namespaces of its own, which vanish with
# it. The last line on stdout names the step that failed.
set -e
echo "mount a tmpfs"
mount -t tmpfs none /tmp
cd /tmp
mkdir lower upper work merged group
echo "mount an overlay filesystem"
mount -t tmpfs none upper
mkdir upper/upper upper/work
mount -t overlay none -o lowerdir=lower,upperdir=upper/upper,workdir=upper/work merged
echo "mount a cgroup2 filesystem"
mount -t cgroup2 none group
command -v ip >upper/ip || exit 0
echo "make a pair of veth links"
ip link add probe0 type veth peer name probe1
echo "make a bridge"
ip link add probe2 type bridge
