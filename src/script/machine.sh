# What a machine is beyond what kinstall put there, for `observe.sh`: lines `machine WORD ...`. It is
# asked at every look, so it reads what the kernel tells and starts few programs.

# The directories that PATHS, a line each, lie in, and where services keep what is theirs:
#   lies DIRECTORY AT            AT is as much of it as is there
#   mount AT NUMBER DEVICE OPTIONS
#   room AT BLOCK BLOCKS FREE AVAILABLE INODES INODES-FREE
#   fixed AT                     nothing can be written there
#   link DIRECTORY TARGET        a state directory that is a link
machine_places() { # machine_places PATHS
  lies=$({
    printf '%s\n' "$1" | sed -n 's|^\(/.*\)/[^/]*$|\1|p'
    printf '%s\n' /usr/local/bin /etc/systemd/system /var/lib/kinstall /var/lib/etcd /var/log/kubernetes
    [ -n "$root" ] || echo /run/kinstall
  } | sort -u | while read -r path; do
    place "$path/."
    while [ ! -d "$at" ]; do at=${at%/*}; done
    echo "$path $at"
  done) || exit 9
  printf '%s\n' "$lies" | sed 's/^/machine lies /'
  dirs=$(printf '%s\n' "$lies" | cut -d ' ' -f 2 | sort -u)
  [ ! -L "$root/var/lib/etcd" ] || echo "machine link /var/lib/etcd $(readlink "$root/var/lib/etcd")"
  printf '%s\n' "$dirs" | while read -r at; do
    [ -w "$at" ] || echo "machine fixed $at"
  done
  printf '%s\n' "$dirs" | xargs stat -f -c 'machine room %n %S %b %f %a %c %d'
  # The mount that each is on is the last of those with the longest path that it lies below.
  printf '%s\n' "$dirs" | xargs realpath | DIRS=$dirs awk '
    BEGIN { split(ENVIRON["DIRS"], name, "\n") }
    NR == FNR { real[++n] = ($0 == "/" ? "" : $0); next }
    { where = ($5 == "/" ? "" : $5); super = ""
      for (i = 7; i <= NF; i++) if ($i == "-") super = $(i + 3)
      for (i = 1; i <= n; i++)
        if (index(real[i] "/", where "/") == 1 && length(where) >= length(best[i])) {
          best[i] = where; told[i] = $1 " " $3 " " $6 "," super } }
    END { for (i = 1; i <= n; i++) print "machine mount " name[i] " " told[i] }' - /proc/self/mountinfo
}

# The machine itself:
#   id MACHINE BOOT NAMESPACE    what tells it from all others; a container has its host's BOOT
#   clock SECONDS
#   state STATE                  systemd's word for the whole
#   address ADDRESS/BITS         of its interfaces; address6 the same in hexadecimal
#   network ADDRESS MASK MTU     what an interface leads to without a router, in the kernel's hexadecimal
#   network6 ADDRESS BITS MTU
#   foreign 4|6                  an address that is on no interface can be listened on
#   listens ADDRESS:PORT INODE   in the kernel's hexadecimal
machine_itself() {
  echo "machine id $(cat /etc/machine-id 2>/dev/null) $(cat /proc/sys/kernel/random/boot_id) $(readlink /proc/1/ns/pid)"
  echo "machine clock $(date +%s.%N)"
  echo "machine state $(systemctl is-system-running 2>/dev/null)"
  awk '/\|--/ { address = $NF } /host LOCAL/ { print "machine address " address $1 }' /proc/net/fib_trie 2>/dev/null | sort -u
  awk '{ print "machine address6 " $1 }' /proc/net/if_inet6 2>/dev/null
  # Column by column as the kernel has them: a gateway of nothing is none.
  awk 'function mtu(link) { it = 0; getline it <("/sys/class/net/" link "/mtu"); return it }
    FNR == 1 && NF == 11 { next }
    NF == 11 && $3 == "00000000" && $8 != "00000000" { print "machine network " $2 " " $8 " " mtu($1) }
    NF == 10 && $5 ~ /^0*$/ && $2 != "00" && $2 != "80" && $10 != "lo" && $1 !~ /^(fe80|ff)/ {
      print "machine network6 " $1 " " $2 " " mtu($10) }' /proc/net/route /proc/net/ipv6_route 2>/dev/null
  for family in 4 6; do
    [ "$(cat "/proc/sys/net/ipv$family/ip_nonlocal_bind" 2>/dev/null)" != 1 ] || echo "machine foreign $family"
  done
  awk '$4 == "0A" { print "machine listens " $2 " " $10 }' /proc/net/tcp /proc/net/tcp6 2>/dev/null
}
