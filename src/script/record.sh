# Records a generation: its manifest, the paths it manages and the index of their files; then
# forgets the oldest generations and the contents that none of the others needs.
# Arguments: ROOT GENERATION KEEP. Input: one line of JSON, then lines `PATH DIGEST` or `PATH -`,
# then `end`.
set -eu
umask 077
export LC_ALL=C TZ=UTC0
cd "$1/"
place /var/lib/kinstall/.
state=$at
generation=$state/generations/$2
IFS= read -r recorded
lines=$(cat)
# What ends early was cut off: a line may be half.
[ "${lines##*
}" = end ] || { echo 'the input ends early' >&2; exit 9; }
lines=${lines%
end}
# The rest of a run that was killed may still be at work.
exec 8>>"$state/busy"
flock -w 60 8
# What a first start joined a cluster with has done its part.
if [ -z "$1" ]; then
  for joined in /run/systemd/system/*.d/kinstall-join.conf; do
    [ -f "$joined" ] || continue
    rm -f "$joined"
    systemctl daemon-reload
  done
fi
mkdir -p "$generation" "$state/store"
printf '%s\n' "$recorded" >"$generation/recorded.json.new"
sync "$generation/recorded.json.new"
mv -f "$generation/recorded.json.new" "$generation/recorded.json"

ls "$state/generations" | sort -n | head -n "-$3" | while read -r old; do
  rm -rf "$state/generations/$old"
done
for content in "$state"/store/*; do
  [ -f "$content" ] || continue
  grep -qF "${content##*/}" "$state"/generations/*/recorded.json || rm -f "$content"
done

printf '%s\n' "$lines" | cut -d' ' -f1 >"$state/paths.new"
find_moved "$(cat "$state/paths.new")"
{
  printf '%s\n' "$lines" | awk '$2 != "-" { print "." $1 " " $2 }' | lying
  find "$state/store" -maxdepth 1 -type f -printf '%p %f\n'
} >"$state/index.list"
cut -d' ' -f1 "$state/index.list" |
  xargs -r sh -c 'find "$@" -maxdepth 0 -type f -printf "%p %y %m %u %g %s %T@ %C@ %i\n"' find 2>/dev/null |
  awk -v list="$state/index.list" '
    BEGIN { while ((getline line < list) > 0) { split(line, word, " "); digest[word[1]] = word[2] } }
    { print $0 " " digest[$1] }' >"$state/index.new"
rm -f "$state/index.list"
cp "$generation/recorded.json" "$state/recorded.json.new"
# What starts with the machine is on the disk before the record says so, and the record before what
# it replaces is forgotten.
place /etc/systemd/system/multi-user.target.wants/.
printf '%s\n' "$state" "$at" "${at%/*}" | to_disk
mv -f "$state/paths.new" "$state/paths"
mv -f "$state/index.new" "$state/index"
mv -f "$state/recorded.json.new" "$state/recorded.json"
sync "$state"
rm -f "$state/begun.json" "$state/outcome" "$state/kept.json"
sync -f "$state"
