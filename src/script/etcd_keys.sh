# Counts what is stored in etcd below a prefix by the key it is encrypted with. Arguments: ROOT
# PREFIX, where kube-apiserver keeps everything. Output: lines
# `COUNT PREFIX`, as in `12 k8s:enc:aescbc:v1:key1:`. No value leaves the node, and no more than a
# page of them is held at a time.
set -u
prefix=$2
# A value is read from a pipe and kept nowhere. What fails says so behind it, for a pipe tells only of
# its last command.
count() {
  from=$prefix/
  while :; do
    keys=$(ask get --limit=500 --keys-only -- "$from" "${prefix}0") || { echo failed; return; }
    last=$(printf '%s\n' "$keys" | sed -n '/^\//p' | tail -n 1)
    [ -n "$last" ] || return 0
    # By the same range: whatever came between meanwhile is counted, and nothing is passed over.
    # No key of Kubernetes lies between one and itself with a `!` behind it.
    { ask get --print-value-only -- "$from" "$last!" || echo kinstall:failed; } |
      sed -n -e 's/^\(k8s:enc:[a-z]*:v[0-9]*:[^:]*:\).*/\1/p' -e 's/^kinstall:failed$/failed/p'
    from="$last!"
  done
}
count | awk '
  $0 == "failed" { failed = 1 }
  { counted[$0]++ }
  END { if (failed) exit 3; for (prefix in counted) print counted[prefix] " " prefix }'
