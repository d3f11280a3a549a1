# Writes down a run, in place of what was written of it before, and forgets the oldest.
# Arguments: ROOT KEEP. Input: the run's name, a line of JSON, then `end`.
set -eu
umask 077
export LC_ALL=C
cd "$1/"
place /var/lib/kinstall/.
state=$at
IFS= read -r run
IFS= read -r entry
IFS= read -r end
[ "$end" = end ] || { echo 'the input ends early' >&2; exit 9; }
{ grep -vF "\"run\":\"$run\"" "$state/journal" 2>/dev/null || :; printf '%s\n' "$entry"; } |
  tail -n "$2" >"$state/journal.new"
sync "$state/journal.new"
mv -f "$state/journal.new" "$state/journal"
sync "$state"
