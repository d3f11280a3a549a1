# Holds the node for one run, until the input ends or falls silent: a byte comes every few seconds.
# When kinstall dies, the lock is free; when the network does, a minute later. Tells what stands on
# record, so that a run which looked before another one's end notices.
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
while [ -n "$(timeout 60 dd bs=1 count=1 2>/dev/null)" ]; do :; done
rm -f "$state/lock.holder"
