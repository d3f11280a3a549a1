# Holds the node for one run, until the input ends: when kinstall dies, the lock is free. Tells what
# stands on record, so that a run which looked before another one's end notices.
# Arguments: ROOT HOLDER.
set -u
umask 077
cd "$1/" || exit 2
state=./var/lib/kinstall
mkdir -p "$state" || exit 3
exec 9>>"$state/lock"
if ! flock -n 9; then
  echo "held $(cat "$state/lock.holder" 2>/dev/null)"
  exit 75
fi
printf '%s\n' "$2" >"$state/lock.holder"
echo "locked $(cat "$state/recorded.json" "$state/begun.json" 2>/dev/null | cksum | tr ' ' -)"
cat >/dev/null
rm -f "$state/lock.holder"
