# Has systemd read unit files again: what it applies to running services (whom they may talk to) holds
# from now on, and nothing is restarted. Arguments: ROOT.
[ -n "$1" ] || systemctl daemon-reload
