# Runs a script as root. Arguments: HOW(plain|sudo|password) SCRIPT ARGUMENT...
# With `password`, the input begins with the password for sudo, then a line KINSTALL-BODY; sudo
# takes the password only where it wants one, so the script skips to that line.
how=$1
script=$2
shift 2
skip='while IFS= read -r line; do [ "$line" = KINSTALL-BODY ] && break; done
'
if [ "$(id -u)" = 0 ]; then
  [ "$how" != password ] || script=$skip$script
  exec sh -c "$script" kinstall "$@"
fi
case $how in
  plain) exec sh -c "$script" kinstall "$@" ;;
  sudo) exec sudo -n -- sh -c "$script" kinstall "$@" ;;
  password) exec sudo -k -S -p '' -- sh -c "$skip$script" kinstall "$@" ;;
esac
