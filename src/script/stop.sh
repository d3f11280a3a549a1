# Stops a unit and keeps it from starting with the machine. Arguments: ROOT UNIT.
set -u
cd "$1/" || exit 2
place "/var/lib/kinstall/units/$2"
rm -f "$at"
if [ -n "$1" ]; then
  place "/etc/systemd/system/multi-user.target.wants/$2"
  rm -f "$at"
else
  systemctl disable -q --now "$2"
fi
