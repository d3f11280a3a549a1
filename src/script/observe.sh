# Prints what a node holds. Arguments: ROOT VERIFY(index|hash). Input: lines `path P` and `unit U`,
# and, of a member of etcd, `data DIRECTORY`, after `wal DIRECTORY` where its log lies elsewhere, and
# `users ROLE` where it is to say whom it knows; `worker` where it is to run Pods.
# A file whose size, times and inode are those in the index is not read again.
set -u
umask 077
export LC_ALL=C TZ=UTC0
cd "$1/" || exit 2
place /var/lib/kinstall/.
state=$at
if [ -n "$root" ]; then
  # It is kinstall's own, and is written to by name.
  odd=$(find "$state" ! -type f ! -type d 2>/dev/null | head -n 1)
  [ -z "$odd" ] || { echo "$root${odd#.} is no file that kinstall made: remove it" >&2; exit 9; }
fi
asked=$(cat)
index=$state/index
[ "$2" = index ] || index=/dev/null

# Data of etcd, running or not, and the beginning of the newest segment of their log, which says
# whose they are.
etcd_data() {
  directory=$(printf '%s\n' "$asked" | sed -n 's/^data //p')
  [ -n "$directory" ] || return 0
  wal=$(printf '%s\n' "$asked" | sed -n 's/^wal //p')
  place "$directory/member/."
  member=$at
  place "${wal:-$directory/member/wal}/."
  wal=$at
  [ -n "$(find -H "$member" "$wal" -type f -print -quit 2>/dev/null)" ] || return 0
  newest=$(find -H "$wal" -maxdepth 1 -name '*.wal' 2>/dev/null | sort | tail -n 1)
  echo "data $directory $([ -z "$newest" ] || od -An -v -tx1 -N256 "$newest" | tr -d ' \n')"
}

# Whether two paths lead to one file.
is_same() {
  both=$(stat -L -c '%d:%i,' "$1" "$2" 2>/dev/null)
  [ "${both%%,*}," = "${both##*
}" ] && [ "${both#*,}" != '' ]
}

# What is dropped into units, by whoever, in each place that systemd looks at. What is dropped into
# all services (service.d) is the machine's own policy.
drop_ins() {
  for unit in $units; do
    stem=${unit%.service} names="$unit.d"
    while case $stem in *-*) : ;; *) false ;; esac; do
      stem=${stem%-*}
      names="$names $stem-.service.d"
    done
    for place in etc/systemd/system.control run/systemd/system.control run/systemd/transient \
      etc/systemd/system run/systemd/system run/systemd/generator.early run/systemd/generator \
      run/systemd/generator.late usr/local/lib/systemd/system usr/lib/systemd/system lib/systemd/system; do
      [ "$place" != lib/systemd/system ] || [ ! -L ./lib ] || continue
      for name in $names; do
        for found in "./$place/$name"/*.conf; do
          if [ -e "$found" ] || [ -L "$found" ]; then
            printf 'dropin %s %s\n' "$unit" "$(printf '%s' "${found#.}" | tr -c 'A-Za-z0-9/._+@:-' '?')"
          fi
        done
      done
    done
  done
}

# Whom the etcd of this node knows, in etcdctl's words, and what ROLE may touch:
#   users of NAME JSON, users role JSON, users asks, users told COUNT
# It is told whole or not at all, and within seconds.
etcd_users() {
  role=$(printf '%s\n' "$asked" | sed -n 's/^users //p')
  if [ -z "$role" ] || [ -n "$root" ] || ! systemctl -q is-active etcd.service; then
    return 0
  fi
  told=$(timeout -k 1 10 sh -c "$users_program" users "$role" 2>/dev/null) || return 0
  printf '%s\n' "$told" | sed 's/^/users /'
}
# shellcheck disable=SC2016 # it is another shell's
users_program='
  export ETCDCTL_API=3
  certs=/etc/etcd/certs
  ask() {
    /usr/local/bin/etcdctl --endpoints=https://127.0.0.1:2379 --command-timeout=3s --cacert="$certs/rootCA.pem" \
      --cert="$certs/healthcheck/etcd-healthcheck-client.pem" \
      --key="$certs/healthcheck/etcd-healthcheck-client.key" "$@"
  }
  names=$(ask user list) || exit 1
  count=$(printf "%s\n" "$names" | grep -c .)
  # More are not worth the time.
  [ "$count" -le 100 ] || exit 1
  roles=$(ask role list) || exit 1
  if printf "%s\n" "$roles" | grep -Fqx -- "$1"; then
    may=$(ask -w json role get -- "$1") || exit 1
    printf "role %s\n" "$may"
  fi
  # `auth status` came with 3.5. A user that cannot be is told from one that nobody asks for.
  if ask --user=nobody:nobody get nothing 2>&1 | grep -q "authentication failed"; then echo asks; fi
  begun=0
  while read -r name; do
    [ -n "$name" ] || continue
    printf "of %s %s\n" "$name" "$(ask -w json user get -- "$name")" &
    begun=$((begun + 1))
    [ $((begun % 4)) -ne 0 ] || wait
  done <<END
$names
END
  wait
  echo "told $count"
'

# What of the ways to other nodes' Pods is not as it should be, in the words of what keeps them there.
ways() {
  keeper=/etc/k8s/kinstall-network/network.sh
  [ -z "$root" ] && [ -f "$keeper" ] || return 0
  timeout -k 1 10 sh "$keeper" differs 2>/dev/null | head -n 50 | tr -c 'A-Za-z0-9/.: \n-' '?' | sed 's/^/way /'
}

look() {
  echo 'kinstall-observe 1'
  # Asked first: what is looked at below may be half-way otherwise.
  [ ! -f "$state/turning" ] || flock -n "$state/turning" true || echo turning
  [ -n "$1" ] || echo "dpkg $(dpkg --print-architecture 2>/dev/null)"
  [ -n "$1" ] || echo "kernel $(uname -m)"
  place /bin/sh/.
  [ ! -f "$at" ] || echo "elf $(od -An -v -tx1 -N40 "$at" 2>/dev/null | tr -d ' \n')"
  if [ -z "$1" ] && [ -d /run/systemd/system ]; then
    echo "systemd $(systemctl --version | sed -n '1s/^systemd \([0-9]*\).*/\1/p')"
  fi
  command -v zstd >/dev/null 2>&1 && echo 'zstd'
  near=$state
  while [ ! -d "$near" ]; do near=${near%/*}; done
  df -Pk "$near" | awk 'NR == 2 { print "free " $4 }'

  paths=$({
    printf '%s\n' "$asked" | sed -n 's/^path //p'
    cat "$state/paths" 2>/dev/null
    [ ! -d "$state/store" ] || find "$state/store" -maxdepth 1 -type f -printf '/var/lib/kinstall/store/%f\n'
  } | sort -u)
  machine_places "$paths"
  [ -n "$1" ] || machine_itself
  [ -n "$1" ] || ! printf '%s\n' "$asked" | grep -qx worker || machine_worker
  find_moved "$paths"
  found=$(printf '%s\n' "$paths" | sed -n 's/^./.&/p' | lying |
    xargs -r sh -c 'find "$@" -maxdepth 0 -printf "%p %y %m %u %g %s %T@ %C@ %i %l\n"' find 2>/dev/null |
    awk -v index_file="$index" '
      BEGIN { while ((getline line < index_file) > 0) {
        at = length(line) - 64; known[substr(line, 1, at - 1)] = substr(line, at + 1) } }
      $2 != "f" { print; next }
      { key = $1; for (i = 2; i <= 9; i++) key = key " " $i
        print key " " (key in known ? known[key] : "?") }')
  [ -z "$found" ] || printf '%s\n' "$found" | called | sed 's/^/entry /'
  changed=$(printf '%s\n' "$found" | awk '$2 == "f" && $NF == "?" { print $1 }')
  if [ -n "$changed" ]; then
    choose_sha256
    printf '%s\n' "$changed" | sha256_of | awk '{ print $2 " " $1 }' | called | sed 's/^/hash /'
  fi

  units=$(printf '%s\n' "$asked" | sed -n 's/^unit //p')
  if [ -n "$units" ] && [ -z "$1" ] && [ -d /run/systemd/system ]; then
    # shellcheck disable=SC2086 # unit names have no spaces
    shown=$(systemctl show -p Id,LoadState,FragmentPath,ActiveState,SubState,UnitFileState,MainPID,NRestarts,Result,NeedDaemonReload,ExecMainStartTimestamp $units |
      awk -v units="$(printf '%s ' $units)" 'BEGIN { RS = ""; FS = "\n"; split(units, asked, " ") }
        { for (i = 1; i <= NF; i++) print "show " asked[NR] " " $i }')
    printf '%s\n' "$shown"
    printf '%s\n' "$shown" | sed -n 's/^show \([^ ]*\) MainPID=\([1-9][0-9]*\)$/\1 \2/p' |
      while read -r unit pid; do
        echo "program $unit $(printf '%s' "$(readlink "/proc/$pid/exe")" | tr -c 'A-Za-z0-9/._+@:() -' '?')"
        # What the unit file starts, where something else runs; what a script becomes is for it to say.
        wanted=$(sed -n '\|^ExecStart=[-@:+!]*/| { s|^[^/]*\(/[^[:space:]]*\).*|\1|p; q }' "/etc/systemd/system/$unit" 2>/dev/null)
        [ -z "$wanted" ] || is_same "/proc/$pid/exe" "$wanted" || [ "$(head -c 2 "$wanted" 2>/dev/null)" = '#!' ] ||
          echo "instead $unit $(readlink -m "$wanted")"
        held=$(ls -l "/proc/$pid/fd" 2>/dev/null | sed -n 's|.* -> \(/.*\)/member/snap/db$|\1|p' | head -n 1)
        [ -z "$held" ] || echo "holds $unit $held"
      done
  fi
  drop_ins
  place /etc/systemd/system/multi-user.target.wants/.
  wants=$at
  for unit in $units; do
    # Below a directory the link points out of it, at nothing: that it is there is what counts.
    [ ! -L "$wants/$unit" ] || echo "wanted $unit"
    [ ! -f "$state/units/$unit" ] || echo "applied $unit $(cat "$state/units/$unit")"
  done
  etcd_data
  etcd_users
  ways
  [ ! -f "$state/kept.json" ] || echo "kept $(cat "$state/kept.json")"
  [ ! -f "$state/recorded.json" ] || echo "recorded $(cat "$state/recorded.json")"
  [ ! -f "$state/begun.json" ] || echo "begun $(cat "$state/begun.json")"
  [ ! -f "$state/journal" ] || echo "ran $(tail -n 1 "$state/journal")"
  [ ! -f "$state/outcome" ] || echo "outcome $(cat "$state/outcome")"
  echo "version $(cat "$state/recorded.json" "$state/begun.json" "$state/outcome" 2>/dev/null | cksum | tr ' ' -)"
  echo end
}

# Told at once: the other end would wake up for every line of many nodes.
told=$(look "$@") || exit
printf '%s\n' "$told"
