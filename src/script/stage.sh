# Unpacks a stream of contents into the node's store and keeps those whose bytes are what their
# name says. Arguments: ROOT ENCODING(zstd|gzip) KILOBYTES. Input: a compressed tar archive whose
# members are named by their SHA-256. What arrived whole is kept even when the stream broke off.
set -u
umask 077
export LC_ALL=C
cd "$1/" || exit 2
state=./var/lib/kinstall
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
# Neither holds the lock: what waits for a lost connection ends long after this script.
$unpack 2>"$incoming/.unpack" 8>&- | tar -xmf - -C "$incoming" --no-same-owner 2>"$incoming/.tar" 8>&-
status=$?
cd "$incoming" || exit 3
set -- [0-9a-f]*
if [ -e "$1" ]; then
  sync "$@" || status=3
  sha256sum "$@" | while read -r digest name; do
    if [ "$digest" = "$name" ]; then
      mv -f "$name" "../$name" && echo "stored $name"
    elif [ "$status" = 0 ]; then
      echo "differs $name $digest"
    fi
  done
fi
if [ "$status" != 0 ]; then
  cat .unpack .tar >&2
  exit 4
fi
