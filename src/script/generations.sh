# Tells the generations a node has on record, and the record of one of them.
# Arguments: ROOT GENERATION(a number, `last`, `previous`, or `none`). Output: `have N SECONDS VERSIONS` for
# each, with when it was recorded (since 1970) and the versions as its record has them (JSON), then
# `recorded JSON` of the one that was asked for, if it is there.
set -u
cd "$1/" || exit 2
generations=./var/lib/kinstall/generations
[ -d "$generations" ] || exit 0
for number in $(ls "$generations" | sort -n); do
  record=$generations/$number/recorded.json
  [ -f "$record" ] || continue
  echo "have $number $(stat -c %Y "$record") $(sed -n 's/.*"versions":\({[^}]*}\).*/\1/p' "$record")"
done
wanted=$2
case $wanted in
  last) wanted=$(ls "$generations" | sort -n | tail -n 1) ;;
  previous)
    [ "$(ls "$generations" | wc -l)" -ge 2 ] || exit 0
    wanted=$(ls "$generations" | sort -n | tail -n 2 | head -n 1)
    ;;
esac
[ ! -f "$generations/$wanted/recorded.json" ] || echo "recorded $(cat "$generations/$wanted/recorded.json")"
