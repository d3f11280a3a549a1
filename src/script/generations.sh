# Tells the generations a node has on record, and the record of one of them.
# Arguments: ROOT GENERATION(a number, or `previous`). Output: `have N` for each, then `recorded
# JSON` of the one that was asked for, if it is there.
set -u
cd "$1/" || exit 2
generations=./var/lib/kinstall/generations
[ -d "$generations" ] || exit 0
ls "$generations" | sort -n | sed 's/^/have /'
wanted=$2
if [ "$wanted" = previous ]; then
  wanted=$(ls "$generations" | sort -n | tail -n 2 | head -n 1)
  [ "$(ls "$generations" | wc -l)" -ge 2 ] || exit 0
fi
[ ! -f "$generations/$wanted/recorded.json" ] || echo "recorded $(cat "$generations/$wanted/recorded.json")"
