# What a machine that is to run Pods brings along, for `observe.sh`: lines `machine worker WORD ...`.
#   name NAME                 the host's
#   kernel RELEASE            the one that runs; stale RELEASE: without its modules, as after an upgrade
#   cgroup v2|v1|none         which control groups there are
#   controller NAME           one that can be given to Pods; disables NAME: the kernel was told to
#   cmdline FILE              what a Raspberry Pi starts its kernel with
#   swap FILE                 what is swapped to
#   has PROGRAM               what kubelets, runtimes, kube-proxy and the network of Pods call, or what mends
#   nft VERSION
#   module NAME               there, or to be had; lacks NAME: surely not, of those that iptables takes
#   nameserver ADDRESS|none   of /etc/resolv.conf, if it is there; resolved 1: systemd-resolved has those behind it
#   broken PROGRAM WORDS      it is there, and fails
#   forwards TABLES WHAT      what becomes of packets that are passed on and that no rule is about: in iptables, in
#                             ip6tables, or in a chain of nftables, as `inet:filter:forward`
#   passes TABLES s|d NETWORK what is passed on there all the same, from that network or to it
#   trusts NETWORK            firewalld does
#   runs NAME                 something that takes part in what kinstall sets up
#   spares NAME               it was told to leave Pods' interfaces, or others' routes, alone
#   cni FILE                  a network of Pods that is configured
#   leftover PATH, link NAME, chain NAME   of a cluster that was made otherwise
#   selinux enforcing
machine_worker() (
  # Some logins, and some sudo, leave these out.
  PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin
  read -r name </proc/sys/kernel/hostname
  tell name "$name"
  worker_groups
  sed -n '2,$s/^\([^[:space:]]*\).*/machine worker swap \1/p' /proc/swaps 2>/dev/null
  for program in iptables ip6tables nft conntrack ip mount modprobe apt-get dnf zypper pacman kubeadm; do
    ! command -v "$program" >/dev/null 2>&1 || tell has "$program"
  done
  ! command -v nft >/dev/null 2>&1 || nft --version 2>/dev/null | sed -n '1s/^nftables v\([0-9.]*\).*/machine worker nft \1/p'
  worker_modules
  sed -n 's/^[[:space:]]*nameserver[[:space:]]*\([^[:space:]]*\).*/machine worker nameserver \1/p' /etc/resolv.conf 2>/dev/null
  [ -e /etc/resolv.conf ] || tell nameserver none
  [ ! -e /run/systemd/resolve/resolv.conf ] || tell resolved 1
  worker_firewall
  worker_others
  worker_leftovers
  read -r enforce 2>/dev/null </sys/fs/selinux/enforce && [ "$enforce" = 1 ] && tell selinux enforcing
  :
)

tell() { printf 'machine worker %s\n' "$*"; }

worker_groups() {
  if [ -s /sys/fs/cgroup/cgroup.controllers ] && read -r groups </sys/fs/cgroup/cgroup.controllers && [ -n "$groups" ]; then
    tell cgroup v2
    for one in $groups; do tell controller "$one"; done
  elif [ -d /sys/fs/cgroup/systemd ] || [ -d /sys/fs/cgroup/unified ]; then
    tell cgroup v1
    for one in /sys/fs/cgroup/*/; do one=${one%/}; tell controller "${one##*/}"; done
  elif [ -e /sys/fs/cgroup/cgroup.controllers ]; then
    tell cgroup v2
  else
    tell cgroup none
  fi
  tr ' ' '\n' </proc/cmdline | sed -n 's/^cgroup_disable=/machine worker disables /p'
  # Where the first is, the second says that it was moved.
  for file in /boot/firmware/cmdline.txt /boot/cmdline.txt; do
    [ ! -f "$file" ] || { tell cmdline "$file"; break; }
  done
}

worker_modules() {
  release=$(uname -r)
  tell kernel "$release"
  there=/lib/modules/$release
  [ -d "$there" ] || [ -z "$(ls /lib/modules 2>/dev/null)" ] || tell stale "$release"
  ! grep -qw overlay /proc/filesystems && ! modprobe -n -q overlay 2>/dev/null || tell module overlay
  [ ! -d /proc/sys/net/bridge ] && ! modprobe -n -q br_netfilter 2>/dev/null || tell module br_netfilter
  [ ! -d /sys/module/vxlan ] && ! modprobe -n -q vxlan 2>/dev/null || tell module vxlan
  # What is built in shows in the list alone, so that without one nothing can be said.
  [ -f "$there/modules.dep" ] && command -v modprobe >/dev/null 2>&1 || return 0
  for one in xt_comment xt_conntrack xt_mark xt_statistic; do
    [ -d "/sys/module/$one" ] || modprobe -n -q "$one" 2>/dev/null || tell lacks "$one"
  done
}

worker_firewall() {
  for tables in iptables ip6tables; do
    command -v $tables >/dev/null 2>&1 || continue
    told=$($tables -w 2 -S 2>&1)
    case $? in
      0)
        printf '%s\n' "$told" | sed -n "s/^-P FORWARD /machine worker forwards $tables /p
          s/^-A FORWARD -j \(DROP\|REJECT\).*/machine worker forwards $tables \1/p
          s/^-A [^ ]*\(FORWARD\|forward\|DOCKER-USER\) -\([sd]\) \([^ ]*\) -j ACCEPT\$/machine worker passes $tables \2 \3/p"
        ;;
      # Somebody else holds its lock.
      4) ;;
      *) tell broken "$tables" "$(printf '%s\n' "$told" | head -n 1 | cut -c 1-200)" ;;
    esac
  done
  # What iptables writes by way of nftables was told already.
  nft list chains 2>/dev/null | awk '$1 == "table" { table = $2 " " $3 } $1 == "chain" { chain = $2 }
    /hook forward/ && /policy drop/ && chain != "FORWARD" { print table, chain }' |
    while read -r family table chain; do
      tables=$family:$table:$chain
      tell forwards "$tables" DROP
      nft list chain "$family" "$table" "$chain" 2>/dev/null | sed -n "s/ counter packets [0-9]* bytes [0-9]*//
        s|^[[:space:]]*ip6\{0,1\} \([sd]\)addr \([0-9a-f.:/]*\) accept\$|machine worker passes $tables \1 \2|p"
    done
  sed -n 's/.*<source address="\([^"]*\)".*/machine worker trusts \1/p' /etc/firewalld/zones/trusted.xml 2>/dev/null
}

# Whether a dhcpcd looks after all interfaces: newer ones say so as their title, older ones are named none.
is_for_all() { # is_for_all /proc/PROCESS
  words=$(tr '\0' ' ' <"$1/cmdline" 2>/dev/null)
  case $words in
    *'[manager]'* | *'[master]'*) return 0 ;;
    'dhcpcd: '*) return 1 ;;
  esac
  for word in ${words#* }; do
    case $word in -*) ;; *) return 1 ;; esac
  done
}

worker_others() {
  for it in /proc/[0-9]*; do
    read -r program 2>/dev/null <"$it/comm" || continue
    case $program in
      NetworkManager | firewalld | dockerd | k3s-server | k3s-agent | rke2 | k0s | kubelite | crio | dhcpcd | systemd-network) ;;
      *) continue ;;
    esac
    # Anybody may call a process so: what counts is whose it is.
    case $(stat -c %U "$it" 2>/dev/null):$program in
      root:dhcpcd | dhcpcd:dhcpcd | _dhcpcd:dhcpcd) ! is_for_all "$it" || tell runs dhcpcd ;;
      # It leaves links alone that it was told nothing of, and their routes.
      systemd-network:systemd-network) ! grep -hs '^ADMIN_STATE=' /run/systemd/netif/links/* | grep -qv unmanaged || tell runs networkd ;;
      root:*) tell runs "$program" ;;
    esac
  done
  ! grep -qs '^[[:space:]]*\(denyinterfaces.*veth\|allowinterfaces\)' /etc/dhcpcd.conf || tell spares dhcpcd
  ! grep -qsr 'unmanaged-devices.*veth' /etc/NetworkManager/conf.d || tell spares NetworkManager
  ! grep -qsr '^ManageForeignRoutes=\(no\|false\|off\|0\)' /etc/systemd/networkd.conf /etc/systemd/networkd.conf.d ||
    tell spares networkd
}

worker_leftovers() {
  # A runtime reads no other files.
  for found in /etc/cni/net.d/*.conf /etc/cni/net.d/*.conflist /etc/cni/net.d/*.json; do
    [ ! -f "$found" ] || tell cni "$(printf '%s' "$found" | tr -c 'A-Za-z0-9/._+@:-' '?')"
  done
  for found in /etc/kubernetes/*.conf /etc/kubernetes/manifests/*.yaml /var/lib/kubelet/config.yaml \
    /var/lib/kubelet/kubeconfig /var/lib/kubelet/pods/* /etc/rancher /var/lib/rancher /var/lib/k0s /var/snap/microk8s; do
    [ ! -e "$found" ] || case $found in
      /etc/kubernetes/*) tell leftover /etc/kubernetes ;;
      /var/lib/kubelet/*) tell leftover /var/lib/kubelet ;;
      *) tell leftover "$found" ;;
    esac
  done
  for link in cni0 flannel.1 vxlan.calico cilium_host weave kube-bridge kube-ipvs0; do
    [ ! -e "/proc/sys/net/ipv4/conf/$link" ] || tell link "$link"
  done
  iptables -w 2 -t nat -S PREROUTING 2>/dev/null |
    sed -n 's/.* -j \(KUBE-SERVICES\|cali-PREROUTING\|CILIUM_PRE_nat\)$/machine worker chain \1/p'
  ! nft list tables 2>/dev/null | grep -qx 'table ip kube-proxy' || tell chain kube-proxy
}
