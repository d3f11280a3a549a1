# Takes away what kinstall put on a node: services first, its own record last, so that a run that was
# cut short can be run again. Arguments: ROOT. Input: a line each, in order:
#   stop UNIT
#   remove PATH        a directory only if it is empty
#   data DIRECTORY     with all that is in it
#   empty DIRECTORY    itself, if nothing is left in it
#   keep JSON          what is left word of, beside data that stay
#   end
set -eu
umask 077
export LC_ALL=C
cd "$1/"
state=./var/lib/kinstall
lines=$(cat)
# What ends early was cut off: a line may be half.
[ "${lines##*
}" = end ] || { echo 'the input ends early' >&2; exit 9; }
# The rest of a run that was killed may still be at work.
if [ -d "$state" ]; then
  exec 8>>"$state/busy"
  flock -w 60 8
fi
printf '%s\n' "$lines" | while read -r what path; do
  at=.$path
  case $what in
    stop)
      systemctl disable -q --now "$path"
      systemctl reset-failed "$path" 2>/dev/null || :
      rm -f "/run/systemd/system/$path.d/kinstall-join.conf"
      ;;
    remove) if [ -d "$at" ] && [ ! -L "$at" ]; then rmdir "$at" 2>/dev/null || :; else rm -f "$at"; fi ;;
    data) rm -rf "$at" ;;
    empty) rmdir "$at" 2>/dev/null || : ;;
  esac
done
systemctl daemon-reload
# The record is the last to go from the disk, too.
printf '%s\n' "$lines" | while read -r what path; do
  case $what in remove | data | empty) printf '%s\n' ".$path" ".${path%/*}/" ;; esac
done | to_disk
kept=$(printf '%s\n' "$lines" | sed -n 's/^keep //p')
if [ -n "$kept" ]; then
  mkdir -p "$state"
  printf '%s\n' "$kept" >"$state/kept.json.new"
  mv -f "$state/kept.json.new" "$state/kept.json"
  find "$state" -mindepth 1 -maxdepth 1 ! -name kept.json -exec rm -rf {} +
else
  rm -rf "$state"
fi
sync -f ./var/lib
