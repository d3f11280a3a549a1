# Tells how a value in etcd begins: `k8s:enc:aescbc:v1:key1:` of one that kube-apiserver encrypted, `plain` of
# any other, nothing where there is none. No value leaves the node. Arguments: ROOT KEY.
set -u
key=$2
# A pipe tells only of its last command.
ask get --keys-only -- "$key" >/dev/null || exit 3
head=$(ask get --print-value-only -- "$key" | head -c 200 | tr -c '[:print:]' '\n' | head -n 1)
case $head in
  '') ;;
  k8s:enc:*) printf '%s\n' "$head" | sed -n 's/^\(k8s:enc:[a-z]*:v[0-9]*:[^:]*:\).*/\1/p' ;;
  *) echo plain ;;
esac
