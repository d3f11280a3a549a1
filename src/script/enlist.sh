# Has the next start of a unit join a living etcd cluster: its command line, with two flags more that
# only a first start reads, in a drop-in that is gone when the run is recorded, or with the machine.
# Arguments: ROOT UNIT INITIAL-CLUSTER.
set -eu
umask 022
export LC_ALL=C
# Below a directory there is no living cluster.
[ -z "$1" ] || exit 0
unit=/etc/systemd/system/$2
line=$(awk '/^ExecStart=/ { on = 1 } on { print } on && !/\\$/ { exit }' "$unit")
[ -n "$line" ] || { echo "$unit starts nothing" >&2; exit 3; }
place=/run/systemd/system/$2.d
mkdir -p "$place"
drop=$place/kinstall-join.conf
{
  printf '[Service]\nExecStart=\n%s \\\n    --initial-cluster-state=existing \\\n    "--initial-cluster=%s"\n' "$line" "$3"
} >"$drop.new"
mv -f "$drop.new" "$drop"
