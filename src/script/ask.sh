# Asks a service of this node over HTTP, where sshd lets nobody ask it from outside.
# Arguments: ROOT WORD ADDRESS PORT [PATH SCHEME], where WORD is one of:
#   look           prints what there is to ask with: `curl`, `openssl`, or both
#   get            prints the raw answer to a GET, `failed WORDS`, or `no tool`. Input: `part ca` and `part identity`, each
#                  with PEM below it, and `end`; what is missing is not used. The identity has a secret
#                  key: it lies in a directory of root's alone, for as long as the question takes
#   certificate    prints what openssl shows of the certificate that is served
set -u
umask 077
export LC_ALL=C
word=$2 address=$3 port=$4 path=${5-} scheme=${6-https}
seconds=5 bytes=131072
state=$1/var/lib/kinstall/ask
has() { command -v "$1" >/dev/null 2>&1; }
case $word in
  look)
    for tool in curl openssl; do ! has "$tool" || echo "$tool"; done
    exit 0
    ;;
  certificate)
    timeout "$seconds" openssl s_client -connect "$address:$port" </dev/null 2>/dev/null | openssl x509 2>/dev/null
    exit 0
    ;;
esac
# openssl knows nothing but TLS.
has curl || { [ "$scheme" = https ] && has openssl; } || { echo 'no tool'; exit 0; }
mkdir -p "$state" || exit 3
# A question that was killed could not take its key away.
find "$state" -mindepth 1 -maxdepth 1 -mmin +5 -exec rm -rf {} + 2>/dev/null
room=$(mktemp -d -p "$state") || exit 3
trap 'rm -rf "$room"' EXIT
trap 'exit 9' HUP INT TERM
awk -v room="$room" '$1 == "part" { at = room "/" $2; next } $0 == "end" { ended = 1; next } { print > at }
  END { exit !ended }' || { echo 'the input ends early' >&2; exit 9; }
if has curl; then
  set -- -q -sS -i --http1.1 --noproxy '*' --max-time "$seconds"
  if [ -f "$room/ca" ]; then set -- "$@" --cacert "$room/ca"; else set -- "$@" -k; fi
  [ ! -f "$room/identity" ] || set -- "$@" --cert "$room/identity" --key "$room/identity"
  { curl "$@" "$scheme://$address:$port$path" 2>"$room/why"; echo $? >"$room/status"; } | head -c "$bytes" >"$room/answer"
else
  set -- s_client -quiet -connect "$address:$port"
  [ ! -f "$room/ca" ] || set -- "$@" -CAfile "$room/ca" -verify_return_error -verify_ip "$address"
  [ ! -f "$room/identity" ] || set -- "$@" -cert "$room/identity" -key "$room/identity" -cert_chain "$room/identity"
  {
    printf 'GET %s HTTP/1.0\r\nHost: %s\r\n\r\n' "$path" "$address" | timeout "$seconds" openssl "$@" 2>"$room/why"
    echo $? >"$room/status"
  } | head -c "$bytes" >"$room/answer"
fi
status=$(cat "$room/status" 2>/dev/null)
size=$(wc -c <"$room/answer")
if [ "$size" -lt "$bytes" ] && { [ "$size" = 0 ] || [ "${status:-1}" != 0 ]; }; then
  why=$(grep -v '^depth=' "$room/why" | tail -n 1)
  echo "failed ${why:-no answer within $seconds s}"
  exit 0
fi
cat "$room/answer"
