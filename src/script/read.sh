# Prints the contents of files that are no secrets, for a diff. Arguments: ROOT. Input: a path a
# line. Output: a line each, `PATH BASE64`.
set -u
cd "$1/" || exit 2
while read -r path; do
  place "$path/."
  [ ! -f "$at" ] || echo "$path $(head -c 262144 "$at" | base64 -w 0)"
done
