# What scripts begin with that ask the etcd of a node: ROOT, their first argument, holds its root.
umask 077
export LC_ALL=C ETCDCTL_API=3
certs=$1/etc/etcd/certs
endpoint=https://127.0.0.1:2379
seconds=5s

# Calls etcdctl as who asks for this node's health, the user of etcd that may do all.
ask() { # WORD...
  timeout 20 /usr/local/bin/etcdctl --endpoints="$endpoint" --command-timeout="$seconds" \
    --cacert="$certs/rootCA.pem" --cert="$certs/healthcheck/etcd-healthcheck-client.pem" \
    --key="$certs/healthcheck/etcd-healthcheck-client.key" "$@"
}

