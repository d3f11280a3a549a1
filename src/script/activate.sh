# Enables a unit, starts or restarts it, and waits until systemd calls it active.
# Arguments: ROOT UNIT FINGERPRINT SECONDS. The fingerprint is kept once the unit runs on what it
# stands for. A unit that keeps dying is given up early; its last words go to the output.
set -u
umask 077
export LC_ALL=C
cd "$1/" || exit 2
unit=$2
place /var/lib/kinstall/units/.
units=$at
mkdir -p "$units"
note() { printf '%s\n' "$1" >"$units/$unit.new" && mv -f "$units/$unit.new" "$units/$unit"; }
if [ -n "$1" ]; then
  place /etc/systemd/system/multi-user.target.wants/.
  wants=$at
  (umask 022 && mkdir -p "$wants")
  ln -sfn "/etc/systemd/system/$unit" "$wants/$unit"
  note "$3"
  exit 0
fi
systemctl daemon-reload || exit 3
systemctl enable -q "$unit" || exit 3
systemctl reset-failed "$unit" 2>/dev/null
systemctl restart --no-block "$unit" || exit 3
# Four looks a second. What systemd gives the old process to end (TimeoutStopSec=) is not the new one's.
left=$((4 * $4)) ending=$((4 * 120))
state=
while [ "$left" -gt 0 ] && [ "$ending" -gt 0 ]; do
  Job=0
  eval "$(systemctl show -p ActiveState,NRestarts,Job "$unit")"
  state=$ActiveState
  # Before its turn in the queue comes, it is the old process that is active.
  if [ "$state" = active ] && [ "${Job:-0}" != 0 ]; then state=queued; fi
  [ "$state" != active ] || break
  if [ "$state" = failed ] || [ "${NRestarts:-0}" -ge 3 ]; then break; fi
  if [ "$state" = deactivating ]; then ending=$((ending - 1)); else left=$((left - 1)); fi
  sleep 0.25
done
if [ "$state" = active ]; then
  note "$3" || exit 5
  exit 0
fi
echo "unit $unit"
systemctl show -p ActiveState,SubState,Result,ExecMainStatus,NRestarts "$unit" | tr '\n' ' ' | sed 's/^/state /; s/ *$/\n/'
journalctl "_SYSTEMD_UNIT=$unit" -n 12 --no-pager -o cat 2>/dev/null | sed 's/^/journal /'
exit 1
