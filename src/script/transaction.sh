# Has the node carry a transaction out by itself: systemd runs it apart from this session, so that it comes
# to its end, or back, whatever becomes of the connection. Waits for that and tells how it went.
# Arguments: ROOT SECONDS UNITS LIMIT TRANSACTION_STEPS INSTALL ACTIVATE, the last three being the texts of
# scripts. Input: lines as `transaction_steps.sh` reads them, then `end`.
set -eu
umask 077
export LC_ALL=C
cd "$1/"
lines=$(cat)
# What ends early was cut off: a line may be half.
[ "${lines##*
}" = end ] || { echo 'the input ends early' >&2; exit 9; }
# The transaction of a run that was killed may still be going on.
exec 8>>./var/lib/kinstall/turning
flock -w 60 8
# Gone with the power, as the transaction is.
transaction=/run/kinstall/transaction
rm -rf "$transaction"
mkdir -p "$transaction"
printf '%s\n' "${lines%
end}" >"$transaction/lines"
printf '%s\n' "$5" >"$transaction/transaction_steps.sh"
printf '%s\n' "$6" >"$transaction/install.sh"
printf '%s\n' "$7" >"$transaction/activate.sh"
exec 8>&-
name=kinstall-transaction-$$.service
systemd-run -q --collect --unit="$name" --description="kinstall: $3" -p RuntimeMaxSec="$4" \
  sh "$transaction/transaction_steps.sh" "$transaction" "$2"
# About twenty looks a second.
left=$((20 * $4))
while [ ! -f "$transaction/status" ]; do
  left=$((left - 1))
  if [ $((left % 40)) = 0 ] && ! systemctl is-active -q "$name" && [ ! -f "$transaction/status" ]; then left=0; fi
  [ "$left" -gt 0 ] || { echo "$name ended without a word" >&2; exit 8; }
  sleep 0.05
done
cat "$transaction/said"
cat "$transaction/complaint" >&2
exit "$(cat "$transaction/status")"
