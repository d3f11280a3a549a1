# Tells how a unit is and what it said last. Arguments: ROOT UNIT.
set -u
export LC_ALL=C
systemctl show -p ActiveState,SubState,Result,ExecMainStatus,NRestarts "$2" | tr '\n' ' ' | sed 's/^/state /; s/ *$/\n/'
journalctl "_SYSTEMD_UNIT=$2" -n 12 --no-pager -o cat 2>/dev/null | sed 's/^/journal /'
