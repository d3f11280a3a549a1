# Written by kinstall. The way to the Pods of other nodes: put there, watched, and put back when the
# uplink went down and up, or a network manager took it away. Arguments: run | differs | down; `differs` prints what is not as it should be:
# `missing ...`, `unknown ...`.
set -u
place=/etc/k8s/kinstall-network
# Marks the routes that are ours: a number that nobody has in /etc/iproute2/rt_protos.
protocol=107
# The tunnel: Linux' own port of VXLAN.
link=pods0 id=7 port=8472
how='' cluster='' address='' range='' mac=''
while read -r what one two three; do
  case $what in
    how) how=$one ;;
    cluster) cluster=$one ;;
    own) address=$one range=$two mac=$three ;;
  esac
done <$place/network.conf
# Of each other node a line: the range of its Pods, its address, the tunnel's end there, its hardware address.
peers=$(awk -v own="$address" '$1 != "#" && $2 != own { print $1, $2, $3, $4 }' $place/ways.conf)
case $cluster in *:*) family=-6 tables=ip6tables world=ip6 bits=128 ;; *) family=-4 tables=iptables world=ip bits=32 ;; esac
# What leaves the cluster goes out under the node's address; what stays in it keeps its own.
masquerades="POSTROUTING -s $cluster ! -d $cluster -m addrtype ! --dst-type MULTICAST -m comment --comment kinstall -j MASQUERADE"

each_peer() { [ -z "$peers" ] || printf '%s\n' "$peers"; }

# What `ip route show` says when all is well, sorted.
wanted() {
  each_peer | while read -r peer via gateway end; do
    if [ "$how" = vxlan ]; then echo "$peer via $gateway dev $link"; else echo "$peer via $via"; fi
  done | sort
}
found() {
  if [ "$how" = vxlan ]; then
    ip $family route show proto $protocol
  else
    # The interface is the kernel's choice.
    ip $family route show proto $protocol | sed 's/ dev [^ ]*//'
  fi 2>/dev/null | sed 's/ onlink//; s/ metric [0-9]*//; s/ pref [a-z]*//; s/ linkdown//; s/ dead//; s/ *$//' | sort
}
tunnel() {
  ip link show $link >/dev/null 2>&1 && return
  ip link add $link address "$mac" type vxlan id $id local "$address" dstport $port nolearning || return
  # A node without Pods has no range to take an address of: it speaks with its own.
  [ "$range" = - ] || ip $family addr replace "${range%/*}/$bits" dev $link
  mtu=$(uplink_mtu)
  ip link set $link mtu $((mtu - 70)) up
}
uplink_mtu() {
  dev=$(ip -o addr show to "$address" | awk '{ print $2; exit }')
  cat "/sys/class/net/${dev:-lo}/mtu" 2>/dev/null || echo 1500
}
repair() {
  [ "$how" != vxlan ] || tunnel
  wanted=$(wanted) found=$(found)
  [ "$wanted" != "$found" ] || [ "$1" = anyway ] || return 0
  printf '%s\n' "$found" | while read -r peer rest; do
    [ -z "$peer" ] || printf '%s\n' "$wanted" | grep -qxF "$peer $rest" || echo "route del $peer proto $protocol"
  done | ip $family -force -batch - 2>/dev/null
  each_peer | while read -r peer via gateway end; do
    if [ "$how" = vxlan ]; then
      echo "neigh replace $gateway lladdr $end dev $link nud permanent"
      echo "route replace $peer via $gateway dev $link onlink proto $protocol"
    else
      echo "route replace $peer via $via proto $protocol"
    fi
  done | ip $family -force -batch - 2>&1 | head -3
  if [ "$how" = vxlan ]; then
    # What is not asked for any more goes with the tunnel's end; a bridge entry each.
    each_peer | while read -r peer via gateway end; do
      echo "fdb replace $end dev $link dst $via self permanent"
    done | bridge -force -batch - 2>&1 | head -3
  fi
  echo "put $(each_peer | grep -c .) ways to other nodes' Pods in place"
}
is_masqueraded() {
  [ "$range" != - ] || return 0
  if command -v nft >/dev/null 2>&1; then
    nft list table inet kinstall 2>/dev/null | grep -q masquerade
  else
    $tables -w -t nat -C $masquerades 2>/dev/null
  fi
}
masquerade() {
  is_masqueraded && return
  if command -v nft >/dev/null 2>&1; then
    printf '%s\n' 'table inet kinstall { chain postrouting { type nat hook postrouting priority 100 ; }; }' \
      'flush table inet kinstall' \
      "table inet kinstall { chain postrouting { type nat hook postrouting priority 100 ; $world saddr $cluster $world daddr != $cluster fib daddr type != multicast masquerade ; }; }" | nft -f -
  else
    $tables -w -t nat -A $masquerades
  fi
}
differing() {
  { wanted | sed 's/^/missing /'; found | sed 's/^/unknown /'; } | awk '
    { line = substr($0, 9); seen[line] = seen[line] $1 }
    END { for (line in seen) if (seen[line] == "missing" || seen[line] == "unknown") print seen[line], line }' | sort
  is_masqueraded || echo "missing masquerading of what leaves $cluster"
}
case $1 in
  run)
    repair anyway
    while :; do
      masquerade
      sleep 2
      repair if-needed
    done
    ;;
  differs)
    found=$(differing)
    # What is about to be mended is no news.
    if [ -n "$found" ] && systemctl -q is-active kinstall-network; then sleep 3 && found=$(differing); fi
    [ -z "$found" ] || printf '%s\n' "$found"
    ;;
  down)
    ip link del $link 2>/dev/null
    ip link del cni0 2>/dev/null
    ip -4 route flush proto $protocol 2>/dev/null
    ip -6 route flush proto $protocol 2>/dev/null
    nft delete table inet kinstall 2>/dev/null
    $tables -w -t nat -D $masquerades 2>/dev/null
    rm -rf /var/lib/cni/networks/kinstall /var/lib/cni/results /var/lib/cni/cache
    rmdir /var/lib/cni/networks /var/lib/cni 2>/dev/null
    :
    ;;
esac
