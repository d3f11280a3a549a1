# Has this node's kubectl do what takes more than a request.
# Arguments: ROOT KUBECTL NAMESPACE WORD POD, where WORD is one of:
#   exec           runs the image's program for its help; prints `ok`
#   forward        with a PORT behind POD: asks that port for /hostname, and prints `answer WORDS`
#   drain          with a node in POD's place and SECONDS behind it: has its Pods moved to others, but for those of
#                  DaemonSets and of the node itself; prints `ok COUNT`
# What goes wrong is told on the output as `failed WORDS`. Input: a kubeconfig and a line `end`. It holds a
# secret key: it lies in a directory of root's alone, for as long as that takes.
set -u
umask 077
export LC_ALL=C
kubectl=$2 namespace=$3 word=$4 pod=$5
seconds=20
state=$1/var/lib/kinstall/kubectl
mkdir -p "$state" || exit 3
# A run that was killed could not take its key away.
find "$state" -mindepth 1 -maxdepth 1 -mmin +5 -exec rm -rf {} + 2>/dev/null
room=$(mktemp -d -p "$state") || exit 3
export HOME="$room"
child=
trap '[ -z "$child" ] || kill "$child" 2>/dev/null; rm -rf "$room"; rmdir "$state" 2>/dev/null' EXIT
trap 'exit 9' HUP INT TERM
awk -v to="$room/kubeconfig" '$0 == "end" { ended = 1; exit } { print > to } END { exit !ended }' ||
  { echo 'the input ends early' >&2; exit 9; }
# No more than what a person reads, whatever it is that lies there in kubectl's place.
brief() { tr -c '[:print:]' ' ' | tail -c 500; }
failed() {
  why=$(cat "$room/why" "$room/said" 2>/dev/null | tail -n 2 | brief)
  echo "failed ${why:-no answer within $seconds s}"
  exit 0
}
ask() { timeout "$seconds" "$kubectl" --kubeconfig "$room/kubeconfig" -n "$namespace" "$@"; }
case $word in
  exec)
    ask exec "$pod" -- /agnhost --help >"$room/said" 2>"$room/why" </dev/null || failed
    [ -s "$room/said" ] || failed
    echo ok
    ;;
  forward)
    # No function: what is killed in the end must be the program itself.
    timeout "$seconds" "$kubectl" --kubeconfig "$room/kubeconfig" -n "$namespace" port-forward \
      --address=127.0.0.1 "pod/$pod" ":$6" >"$room/said" 2>"$room/why" </dev/null &
    child=$! port=
    for _ in $(seq 1 $((seconds * 5))); do
      port=$(sed -n 's/^Forwarding from 127\.0\.0\.1:\([0-9]*\) .*/\1/p' "$room/said" 2>/dev/null | head -n 1)
      [ -z "$port" ] && kill -0 "$child" 2>/dev/null || break
      sleep 0.2
    done
    [ -n "$port" ] || failed
    answer=$(timeout "$seconds" "$kubectl" --kubeconfig /dev/null --server "http://127.0.0.1:$port" get --raw /hostname \
      2>>"$room/why") || failed
    echo "answer $(printf %s "$answer" | brief)"
    ;;
  drain)
    seconds=$(($6 + 10))
    # A volume that lives as long as its Pod is no reason to keep the Pod.
    ask drain "$pod" --ignore-daemonsets --delete-emptydir-data "--timeout=${6}s" \
      >"$room/said" 2>"$room/all" </dev/null || {
      # The reason is told before what follows from it.
      { grep 'disruption budget' "$room/all" | tail -n 1; grep '^error' "$room/all" | tail -n 1; } >"$room/why"
      [ ! -s "$room/why" ] || : >"$room/said"
      failed
    }
    echo "ok $(grep -c ' evicted$' "$room/said")"
    ;;
  *) exit 2 ;;
esac
