# Carries a transaction out, run by systemd: puts entries in place and activates units; where a unit does
# not start, goes back the same way. Arguments: DIRECTORY SECONDS. In the directory: the scripts
# `install.sh` and `activate.sh`, and `lines`, in order:
#   install LINE                  a line for install.sh
#   activate UNIT FINGERPRINT
#   back-install LINE, back-activate UNIT FINGERPRINT    the way back, if there is one
# A node whose network is gone starts neither: then what was there before is in place again, and
# systemd goes on trying (`returned`).
# How it ended is kept in /var/lib/kinstall/outcome for the next run, which may be the first to ask.
set -u
umask 077
export LC_ALL=C
cd / || exit 2
transaction=$1
seconds=$2
state=/var/lib/kinstall
exec 8>>"$state/turning"
flock -w 60 8 || exit 6
exec >"$transaction/said" 2>"$transaction/complaint"

part() { sed -n "s/^$1 //p" "$transaction/lines"; }
put() { # put PREFIX
  part "$1install" >"$transaction/puts"
  [ -s "$transaction/puts" ] || return 0
  echo end >>"$transaction/puts"
  sh "$transaction/install.sh" '' <"$transaction/puts" 8>&-
}
start() { # start PREFIX
  part "$1activate" >"$transaction/starts"
  while read -r unit fingerprint <&7; do
    sh "$transaction/activate.sh" '' "$unit" "$fingerprint" "$seconds" 7<&- 8>&- || return
  done 7<"$transaction/starts"
}

outcome=finished
status=0
if ! put ''; then
  # Nothing was restarted: what was put back is what still runs.
  status=9
  outcome=failed
  put back- && [ -n "$(part back-activate)" ] && outcome=reverted
else
  start '' || status=$?
  # With 5 it runs, and only the note of it is missing.
  if [ "$status" != 0 ]; then
    outcome=failed
    if [ "$status" != 5 ] && [ -n "$(part back-activate)" ]; then
      if put back-; then
        outcome=returned
        start back- >/dev/null && outcome=reverted
      fi
    fi
  fi
fi
units=$(part activate | cut -d' ' -f1 | tr '\n' ' ')
printf '%s %s %s\n' "$outcome" "$(date +%s)" "${units% }" >"$state/outcome.new" &&
  sync "$state/outcome.new" &&
  mv -f "$state/outcome.new" "$state/outcome"
rm -f "$state/outcome.new"
sync "$state"
echo "$status" >"$transaction/status.new"
mv -f "$transaction/status.new" "$transaction/status"
