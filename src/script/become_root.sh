# Becomes root, and has what is root's then read runner.sh from the input. Read by login.sh.
# Arguments: NONCE SIZE HOW(plain|sudo|password|check) RUNNER-SIZE.
# With `password`, the input begins with the password for sudo, then a line KINSTALL-BODY; sudo
# takes the password only where it wants one, so what follows skips to that line. `check` tries the
# password, and nothing else.
# sudo is given one line without the script: it may repeat in a message what it was to run.
run='eval "$(dd bs=$2 count=1 iflag=fullblock status=none)"'
skip='while IFS= read -r line; do [ "$line" = KINSTALL-BODY ] && break; done; '
mark='echo; echo "begin-$1"'
if [ "$(id -u)" = 0 ]; then
  case $3 in
    password) exec sh -c "$skip$run" kinstall "$1" "$4" ;;
    check) exec sh -c "$mark" kinstall "$1" ;;
    *) exec sh -c "$run" kinstall "$1" "$4" ;;
  esac
fi
case $3 in
  plain) exec sh -c "$run" kinstall "$1" "$4" ;;
  sudo) exec sudo -n -- sh -c "$run" kinstall "$1" "$4" ;;
  password) exec sudo -k -S -p '' -- sh -c "$skip$run" kinstall "$1" "$4" ;;
  check) exec sudo -k -S -p '' -- sh -c "$mark" kinstall "$1" ;;
esac
