# Stops a unit and keeps it from starting with the machine. Arguments: ROOT UNIT.
set -u
cd "$1/" || exit 2
rm -f "./var/lib/kinstall/units/$2"
if [ -n "$1" ]; then
  rm -f "./etc/systemd/system/multi-user.target.wants/$2"
else
  systemctl disable -q --now "$2"
fi
