# Runs a script in an environment of its own, between marks, so that what anybody else says before
# or after it is told from its words. Read by what become_root.sh starts.
# Arguments: NONCE. Input: a line of sizes in bytes, the script and its arguments without a byte
# between them, a line `run`, and then the script's own input.
# Answer, on both outputs: a line begin-NONCE, what the script says, a line `end-NONCE STATUS`.
nonce=$1
PATH=/usr/sbin:/usr/bin:/sbin:/bin:/usr/local/sbin:/usr/local/bin
export PATH
say() { printf '\n%s\n' "$1" && printf '\n%s\n' "$1" >&2; }
say "begin-$nonce"
IFS= read -r sizes
set --
for size in $sizes; do
  # What a command prints loses its last line ends.
  word=.
  [ "$size" = 0 ] || word=$(dd bs="$size" count=1 iflag=fullblock status=none && echo .)
  set -- "$@" "${word%.}"
done
IFS= read -r word
# What ends early was cut off: the script may be half.
[ "$word" = run ] || exit 9
script=$1
shift
env -i PATH="$PATH" LC_ALL=C TZ=UTC0 sh -c "$script" kinstall "$@"
status=$?
say "end-$nonce $status"
exit "$status"
