# What scripts begin with that work below a root, ROOT, their first argument: a directory that holds a
# machine's root, or nothing for this machine's own.
root=$1

# Sets `at` to where PATH lies below ROOT. Links on the way are followed as if ROOT were `/`, so that
# none leads out of it; the last word is followed only where PATH ends in `/.`.
place() { # place PATH
  at=.${1%/.}
  [ -n "$root" ] || return 0
  at=. ahead=$1 links=0
  while [ -n "$ahead" ]; do
    word=${ahead%%/*}
    case $ahead in */*) ahead=${ahead#*/} ;; *) ahead= ;; esac
    case $word in
      '' | .) ;;
      ..) [ "$at" = . ] || at=${at%/*} ;;
      *)
        if [ -z "$ahead" ] || [ ! -L "$at/$word" ]; then
          at=$at/$word
          continue
        fi
        links=$((links + 1))
        target=$(readlink "$at/$word")
        case $links:$target in
          4?:* | *[!A-Za-z0-9._+@:/-]*)
            echo "$root: ${at#.}/$word is a link that cannot be followed: $target" >&2
            exit 9
            ;;
          *:/*) at=. ;;
        esac
        ahead=$target/$ahead
        ;;
    esac
  done
}

# Sets `moved` to those of PATHS, a line each, that lie elsewhere below ROOT than they say: lines
# `WHERE .PATH`.
find_moved() { # find_moved PATHS
  moved=
  [ -z "$root" ] || moved=$(
    printf '%s\n' "$1" | while read -r path; do
      place "$path"
      [ "$at" = ".$path" ] || echo "$at .$path"
    done
  ) || exit 9
}
# In each line of the input, a path that begins it as it is called and where it lies, by `moved`.
exchange() {
  [ -n "$moved" ] || { cat; return; }
  MOVED=$moved awk -v from="$1" 'BEGIN {
      count = split(ENVIRON["MOVED"], line, "\n")
      for (i = 1; i <= count; i++) { split(line[i], word, " "); other[word[from]] = word[3 - from] } }
    { first = $1
      print (first in other ? other[first] : first) substr($0, length(first) + 1) }'
}
lying() { exchange 2; }
called() { exchange 1; }

# Brings every file system that some directory of the input lies on to the disk: each may lie on one
# of its own.
to_disk() {
  xargs stat -L -c '%d %n' 2>/dev/null | sort -u -k 1,1 | cut -d ' ' -f 2- | xargs -r sync -f
}
