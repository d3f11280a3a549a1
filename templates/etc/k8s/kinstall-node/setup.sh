# Written by kinstall. Run by kinstall-node.service before anything of Kubernetes.
set -u
# Built into the kernel, or there by now: what is missing shows in the settings below.
modprobe -a $(grep -v '^#' /etc/modules-load.d/kinstall.conf) 2>/dev/null
# The settings for every container of this machine; one that cannot be set is told and ends the start.
/lib/systemd/systemd-sysctl /etc/sysctl.d/90-kinstall.conf
# Which name servers Pods are given: where the machine asks its own systemd-resolved, those behind
# it, for 127.0.0.53 is no name server inside a Pod.
mkdir -p /run/kinstall
from=/etc/resolv.conf
behind=/run/systemd/resolve/resolv.conf
if [ -e "$behind" ] && ! grep '^[[:space:]]*nameserver' "$from" 2>/dev/null | grep -qv 'nameserver[[:space:]]*\(127\.\|::1\)'; then
  from=$behind
fi
ln -sfn "$from" /run/kinstall/resolv.conf
# What the kubelet looks at decides whether it starts: better told here.
for pair in net/ipv4/ip_forward=1 net/bridge/bridge-nf-call-iptables=1 vm/overcommit_memory=1 vm/panic_on_oom=0 \
  kernel/panic=10 kernel/panic_on_oops=1 kernel/keys/root_maxkeys=1000000 kernel/keys/root_maxbytes=25000000; do
  file=/proc/sys/${pair%=*} value=
  [ ! -r "$file" ] || read -r value <"$file"
  [ "$value" = "${pair#*=}" ] || { echo "$file is \`$value\`, not ${pair#*=}"; bad=1; }
done
[ -z "${bad:-}" ]
