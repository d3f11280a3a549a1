# Makes etcd's users, each known by the common name of its certificate, and has etcd ask who a
# client is. Arguments: ROOT MODE ROLE PREFIX ADMIN USER... MODE is `grant`, or `enable`, which also
# turns authentication on, last of all. Output: a line for each thing that was missing, as
# `etcd_users.rs` foresees it by what `observe.sh` told.
set -u
mode=$2 role=$3 prefix=$4 admin=$5
shift 5
# WORDS COMMAND...: tells what is missing, and does it.
do_it() {
  echo "$1"
  shift
  ask "$@" >/dev/null || exit 3
}
# USER: makes it, if it is not there. Two certificates may name one.
user() {
  ! has "$users" "$1" || return 0
  do_it "user $1" user add --no-password -- "$1"
  users="$users
$1"
}
has() { printf '%s\n' "$1" | grep -Fqx -- "$2"; }
# USER ROLE: one that is not there yet has no role; etcd says a user's roles in one line.
is_granted() { has "$users" "$1" && ask user get -- "$1" | grep '^Roles:' | tr ' ' '\n' | grep -Fqx -- "$2"; }
users=$(ask user list) || exit 3
roles=$(ask role list) || exit 3
# etcd's own: it must be there before authentication is turned on. Nobody has its certificate.
for user in root "$admin"; do
  user "$user"
  is_granted "$user" root || do_it "role root of user $user" user grant-role -- "$user" root
done
may=
if has "$roles" "$role"; then may=$(ask role get -- "$role") || exit 3; else do_it "role $role" role add -- "$role"; fi
# Once for reading and once for writing.
[ "$(printf '%s\n' "$may" | grep -cF -- "[$prefix/, ${prefix}0)")" -ge 2 ] ||
  do_it "everything below $prefix/ for role $role" role grant-permission --prefix=true -- "$role" readwrite "$prefix/"
# What kube-apiservers agree by on when to compact; it lies beside every prefix
# (k8s.io/apiserver/pkg/storage/etcd3/compact.go).
[ "$(printf '%s\n' "$may" | grep -cFx '	compact_rev_key')" -ge 2 ] ||
  do_it "compact_rev_key for role $role" role grant-permission -- "$role" readwrite compact_rev_key
for user in "$@"; do
  user "$user"
  is_granted "$user" "$role" || do_it "role $role of user $user" user grant-role -- "$user" "$role"
done
[ "$mode" = grant ] && exit 0
# A user that cannot be is told from one that nobody asks for; `auth status` came with 3.5.
if ! ask --user=nobody:nobody get nothing 2>&1 | grep -q 'authentication failed'; then
  do_it 'authentication' auth enable
fi
