# Counts what is stored in etcd below a prefix by the key it is encrypted with. Arguments: ROOT
# PREFIX, where kube-apiserver keeps everything. Output: lines
# `COUNT PREFIX`, as in `12 k8s:enc:aescbc:v1:key1:`. No value leaves the node, and no more than a
# page of them is held at a time.
set -u
umask 077
export LC_ALL=C ETCDCTL_API=3
certs=$1/etc/etcd/certs prefix=$2
ask() {
  /usr/local/bin/etcdctl --endpoints=https://127.0.0.1:2379 --cacert="$certs/rootCA.pem" \
    --cert="$certs/healthcheck/etcd-healthcheck-client.pem" \
    --key="$certs/healthcheck/etcd-healthcheck-client.key" "$@"
}
found=$(mktemp) || exit 2
trap 'rm -f "$found"' EXIT
from=$prefix/
while :; do
  keys=$(ask get "$from" "${prefix}0" --limit=500 --keys-only) || exit 3
  last=$(printf '%s\n' "$keys" | sed -n '/^\//p' | tail -n 1)
  [ -n "$last" ] || break
  # By the same range: whatever came between meanwhile is counted, and nothing is passed over.
  # No key of Kubernetes lies between one and itself with a `!` behind it.
  ask get "$from" "$last!" --print-value-only >"$found.page" || { rm -f "$found.page"; exit 3; }
  grep -a -o '^k8s:enc:[a-z]*:v[0-9]*:[^:]*:' "$found.page" >>"$found"
  rm -f "$found.page"
  from="$last!"
done
sort "$found" | uniq -c | sed 's/^ *//'
