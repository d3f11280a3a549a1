# Puts entries in place, each by one rename, after all of them were made ready and are on the disk.
# Arguments: ROOT. Input: a line each, in order:
#   directory PATH MODE USER GROUP
#   file PATH MODE USER GROUP DIGEST SHARE(link|copy)
#   link PATH TARGET
#   unsettle UNIT       what the unit runs on is forgotten, before anything is put in place
#   users PATH          the users that the sysusers.d file at PATH declares are made
#   remove PATH
#   end
set -eu
umask 077
export LC_ALL=C
cd "$1/"
place /var/lib/kinstall/.
state=$at
store=$state/store
lines=$(cat)
# What ends early was cut off: a line may be half.
[ "${lines##*
}" = end ] || { echo 'the input ends early' >&2; exit 9; }
lines=${lines%
end}
# The rest of a run that was killed may still be at work.
exec 8>>"$state/busy"
flock -w 60 8

place /etc/passwd/.
passwd=$at
place /etc/group/.
group_file=$at
number() { # number NAME FILE
  [ ! -f "$2" ] || sed -n "s/^$1:[^:]*:\([0-9]*\):.*/\1/p" "$2"
}
own() { # own MODE USER GROUP ENTRY...
  mode=$1 user=$2 group=$3
  shift 3
  if [ -z "$root" ]; then
    chown "$user:$group" "$@"
  elif [ "$(id -u)" = 0 ]; then
    uid=$(number "$user" "$passwd") gid=$(number "$group" "$group_file")
    [ -z "$uid" ] || [ -z "$gid" ] || chown "$uid:$gid" "$@"
  fi
  chmod "$mode" "$@"
}
parents() { # the parents of an entry that are not entries themselves are the system's own
  case $1 in */*) [ -d "${1%/*}" ] || (umask 022 && mkdir -p "${1%/*}") ;; esac
}

all_to_disk() {
  {
    echo "$store"
    printf '%s\n' "$lines" | while read -r what path _; do
      case $path in /*) place "$path" && echo "${at%/*}" ;; esac
    done
  } | sort -u | to_disk
}

# Nothing is in place before all is ready: what a full disk stopped is taken away again.
tidy() {
  printf '%s\n' "$lines" | while read -r what path _; do
    case $what in file | link) place "$path" && echo "$at.kinstall-new" ;; esac
  done | xargs -r rm -f
}
tidy
trap tidy EXIT
printf '%s\n' "$lines" | while read -r what path mode user group digest share; do
  case $path in /*) place "$path" ;; esac
  case $what in
    directory)
      parents "$at"
      [ -d "$at" ] && [ ! -L "$at" ] || mkdir "$at"
      ;;
    file)
      parents "$at"
      if [ "$share" = copy ] || ! ln "$store/$digest" "$at.kinstall-new" 2>/dev/null; then
        cp "$store/$digest" "$at.kinstall-new"
      fi
      ;;
    link)
      parents "$at"
      ln -s "$mode" "$at.kinstall-new"
      ;;
  esac
done
# All of one owner and mode in one call: on a small machine it is the number of programs run that takes
# its time.
printf '%s\n' "$lines" | while read -r what path mode user group _; do
  case $what in
    directory) place "$path" && echo "$mode $user $group $at" ;;
    file) place "$path" && echo "$mode $user $group $at.kinstall-new" ;;
  esac
done | awk '{ kind = $1 " " $2 " " $3; all[kind] = all[kind] " " $4 } END { for (kind in all) print kind all[kind] }' |
  while read -r kind; do
    # Neither a path nor a name holds anything that a shell reads.
    own $kind
  done
printf '%s\n' "$lines" | while read -r what unit _; do
  [ "$what" != unsettle ] || rm -f "$state/units/$unit"
done
all_to_disk
trap - EXIT
printf '%s\n' "$lines" | while read -r what path _; do
  case $path in /*) place "$path" ;; esac
  case $what in
    file | link)
      # Both may be one inode already, which mv refuses; then only owner or mode were wrong.
      if [ "$what" = file ] && [ ! -L "$at" ] && [ "$at.kinstall-new" -ef "$at" ]; then
        rm -f "$at.kinstall-new"
      else
        mv -fT "$at.kinstall-new" "$at"
      fi
      ;;
    users) [ -n "$root" ] || systemd-sysusers "$path" ;;
    remove) if [ -d "$at" ] && [ ! -L "$at" ]; then rmdir "$at" 2>/dev/null || :; else rm -f "$at"; fi ;;
  esac
done
all_to_disk
