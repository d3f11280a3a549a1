# Tells how a unit is, since when (`since 2026-11-30T02:03:29Z`), and what it said last: its last lines, and
# before them errors that are not among those. Arguments: ROOT UNIT.
set -u
export LC_ALL=C TZ=UTC0
systemctl show -p ActiveState,SubState,Result,ExecMainStatus,NRestarts "$2" | tr '\n' ' ' | sed 's/^/state /; s/ *$/\n/'
since=$(systemctl show -p ExecMainStartTimestamp --value "$2")
[ -z "$since" ] || date -d "$since" '+since %Y-%m-%dT%H:%M:%SZ' 2>/dev/null
# As Kubernetes, containerd and etcd mark them.
journalctl "_SYSTEMD_UNIT=$2" -n 200 --no-pager -o cat 2>/dev/null |
  awk '{ line[NR] = $0 }
    END {
      first = NR > 12 ? NR - 11 : 1
      for (i = first - 1; i > 0 && found < 3; i--)
        if (line[i] ~ /^[EF][0-9][0-9][0-9][0-9] |level=(error|fatal)|"level":"(error|fatal)"/) error[++found] = line[i]
      while (found > 0) print error[found--]
      for (i = first; i <= NR; i++) print line[i]
    }' | sed 's/^/journal /'
