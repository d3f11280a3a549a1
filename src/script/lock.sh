# Holds the node for one run, until the input ends or falls silent: a byte comes every few seconds.
# When kinstall dies, the lock is free; when the network does, a minute later. Tells what stands on
# record, so that a run which looked before another one's end notices.
# Arguments: ROOT HOLDER HOW(wait|break). With `break`, what another run holds is taken from it.
# Output: `held HOLDER`, or `locked VERSION`, with ` broke HOLDER` behind it where that was done.
set -u
umask 077
cd "$1/" || exit 2
state=./var/lib/kinstall
mkdir -p "$state" || exit 3
exec 9>>"$state/lock"
broke=
if ! flock -n 9; then
  holder=$(cat "$state/lock.holder" 2>/dev/null)
  if [ "$3" != break ]; then
    echo "held $holder"
    exit 75
  fi
  # The other run notices: what held the node for it is gone.
  kill "$(cat "$state/lock.process" 2>/dev/null)" 2>/dev/null
  flock -w 10 9 || { echo "held $holder"; exit 75; }
  broke=" broke $holder"
fi
printf '%s\n' "$2" >"$state/lock.holder"
echo $$ >"$state/lock.process"
# A transaction of a run that was killed comes to its end first.
flock -w 120 "$state/turning" true
echo "locked $(cat "$state/recorded.json" "$state/begun.json" "$state/outcome" 2>/dev/null | cksum | tr ' ' -)$broke"
# Whoever waits for a byte does not hold the lock: killed, this script must take it along.
while [ -n "$(exec 9>&-; timeout 60 dd bs=1 count=1 2>/dev/null)" ]; do :; done
rm -f "$state/lock.holder" "$state/lock.process"
