# Tells which processes hold sockets. Arguments: ROOT INODE... Output: lines `INODE PID UNIT NAME`, with
# `-` for a process of no unit.
set -u
export LC_ALL=C
shift
wanted=
for inode; do wanted="$wanted -o -lname socket:\[$inode\]"; done
# shellcheck disable=SC2086 # words of find
find /proc/[0-9]*/fd -maxdepth 1 \( ${wanted# -o} \) -printf '%h %l\n' 2>/dev/null | sort -u |
  while read -r fd link; do
    process=${fd%/fd}
    inode=${link#socket:[}
    unit=$(sed -nE 's#.*/([^/]+\.(service|scope))(/.*)?$#\1#p' "$process/cgroup" 2>/dev/null | tail -n 1)
    echo "${inode%]} ${process#/proc/} ${unit:--} $(tr -d '\n' <"$process/comm" 2>/dev/null)"
  done
