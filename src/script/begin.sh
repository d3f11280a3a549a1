# Writes down what a run is about to put in place, so that the next run knows it for kinstall's
# even if this one dies. Arguments: ROOT. Input: one line of JSON, then a path a line, then `end`.
set -eu
umask 077
cd "$1/"
place /var/lib/kinstall/.
state=$at
mkdir -p "$state/units"
IFS= read -r begun
lines=$(cat)
# What ends early was cut off: a line may be half.
[ "${lines##*
}" = end ] || { echo 'the input ends early' >&2; exit 9; }
lines=${lines%
end}
# The rest of a run that was killed may still be at work.
exec 8>>"$state/busy"
flock -w 60 8
{ printf '%s\n' "$lines"; cat "$state/paths" 2>/dev/null || :; } | LC_ALL=C sort -u >"$state/paths.new"
printf '%s\n' "$begun" >"$state/begun.json.new"
# On the disk before anything is put in place: content first, then names.
sync "$state/begun.json.new" "$state/paths.new"
mv -f "$state/begun.json.new" "$state/begun.json"
rm -f "$state/outcome"
mv -f "$state/paths.new" "$state/paths"
sync "$state"
