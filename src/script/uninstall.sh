# Takes away what kinstall put on a node: services first, its own record last, so that a run that was
# cut short can be run again. Arguments: ROOT. Input: a line each, in order:
#   stop UNIT
#   run COMMAND        of a shell: what takes away what a service left in the kernel
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
    # It is fixed text of kinstall's own. What is gone already is no failure.
    run) timeout 60 sh -c "$path" </dev/null >/dev/null 2>&1 || : ;;
    remove) if [ -d "$at" ] && [ ! -L "$at" ]; then rmdir "$at" 2>/dev/null || :; else rm -f "$at"; fi ;;
    # What is mounted there stays mounted, and is emptied.
    data) [ ! -d "$at" ] || [ -L "$at" ] || find "$at" -xdev -mindepth 1 -delete; rm -rf "$at" 2>/dev/null || : ;;
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
# What a transaction ran, and what Pods were given.
[ -n "$1" ] || rm -rf ./run/kinstall
sync -f ./var/lib
