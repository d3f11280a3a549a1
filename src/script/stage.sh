# Unpacks a stream of contents into the node's store and keeps those whose bytes are what their
# name says. Arguments: ROOT ENCODING(zstd|gzip) KILOBYTES LARGE. Input: a compressed tar archive
# whose members are named by their SHA-256, the first LARGE of them worth keeping one by one. What arrived whole is kept even when the stream broke off, or
# stops without a word because the network is gone.
set -u
umask 077
export LC_ALL=C
cd "$1/" || exit 2
place /var/lib/kinstall/.
state=$at
store=$state/store
mkdir -p "$store" || exit 3
# We hold the node: another one at work belongs to a run whose connection was lost, and may wait
# for the rest of its stream for hours.
exec 8>>"$state/staging"
flock -n 8 || kill "$(cat "$state/staging.pid")" 2>/dev/null
flock -w 60 8 || exit 6
echo $$ >"$state/staging.pid"
incoming=$PWD/$store/incoming
rm -rf "$incoming"
mkdir "$incoming" || exit 3
# By its whole path, for this script goes there.
trap 'rm -rf "$incoming"' EXIT
free=$(df -Pk "$store" | awk 'NR == 2 { print $4 }')
if [ "$free" -lt "$3" ]; then
  echo "full $free $3"
  exit 28
fi
case $2 in
  zstd) unpack='zstd -dcq' ;;
  *) unpack='gzip -dc' ;;
esac
keep() { # what has the right bytes goes to the store, once they are on the disk
  sync "$@" || return
  set -- $(printf '%s\n' "$@" | sha256_of | awk '$1 == $2 { print $2 }')
  # Told by a process of its own: where nobody listens any more, that is what it ends, and not this script
  # before it has tidied up.
  [ $# = 0 ] || { mv -f "$@" .. && (printf 'stored %s\n' "$@"); }
}
cd "$incoming" || exit 3
choose_sha256
# Neither of the two holds the lock: what waits for a lost connection ends long after this script.
{
  $unpack 2>.unpack 8>&- | tar -xvmf - --no-same-owner 2>.tar 8>&-
  echo $? >.status
} | {
  # tar names each member when it begins, so that the one before is whole. A large one is kept at
  # once, while the next arrives: a lost connection costs no more than the one that was under way.
  large=$4 last=
  while read -r name; do
    [ -z "$last" ] || keep "$last"
    last=
    [ "$large" -le 0 ] || last=$name
    large=$((large - 1))
  done
}
status=$(cat .status)
# What is small is brought to the disk together, which is quicker.
set -- [0-9a-f]*
[ ! -e "$1" ] || keep "$@" || status=3
if [ "$status" != 0 ]; then
  cat .unpack .tar >&2
  exit 4
fi
for name in [0-9a-f]*; do
  [ ! -e "$name" ] || echo "differs $name"
done
