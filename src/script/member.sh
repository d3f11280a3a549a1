# Asks the etcd of this node who the members of its cluster are, or changes that.
# Arguments: ROOT WORD ARGUMENT..., where WORD and its arguments are one of:
#   look                    prints `members JSON` and `health JSON`, as etcdctl has them
#   list                    prints `members JSON`, asking nobody else
#   leads                   prints `leads` if this member leads the others
#   ground PREFIX...        prints `below PREFIX` for each below which something is stored, `asks` if
#                           etcd asks who its clients are, and then `user NAME` for each it knows
#   learner NAME URL, promote ID, remove ID, move ID URL
# A refusal of etcd's is told on the output as `refused WORDS`.
set -u
word=$2
change() {
  if said=$(ask member "$@" 2>&1); then
    exit 0
  fi
  echo "refused $(printf '%s\n' "$said" | sed -n 's/^Error: *//p' | tail -n 1)"
  exit 1
}
case $word in
  look)
    list=$(ask member list -w json 2>&1) || { echo "refused $(printf '%s\n' "$list" | tail -n 1)"; exit 1; }
    echo "members $list"
    # A learner answers no question of health, only late.
    voters=$(ask member list 2>/dev/null | awk -F', ' '$2 == "started" && $6 != "true" { print $5 }' | tr '\n' ',')
    endpoint=${voters%,}
    [ -z "$endpoint" ] || echo "health $(seconds=3s ask endpoint health -w json 2>/dev/null)"
    ;;
  list)
    list=$(seconds=3s ask member list -w json 2>&1) ||
      { echo "refused $(printf '%s\n' "$list" | tail -n 1)"; exit 1; }
    echo "members $list"
    ;;
  ground)
    shift 2
    for prefix; do
      keys=$(ask get --limit=1 --keys-only -- "$prefix/" "${prefix}0" 2>&1) ||
        { echo "refused $(printf '%s\n' "$keys" | tail -n 1)"; exit 1; }
      [ -z "$keys" ] || echo "below $prefix"
    done
    if ask --user=nobody:nobody get nothing 2>&1 | grep -q 'authentication failed'; then
      echo asks
      ask user list 2>/dev/null | sed 's/^/user /'
    fi
    ;;
  # Its own status: endpoint, id, version, size, whether it leads.
  leads) seconds=3s ask endpoint status 2>/dev/null | awk -F', ' '$5 == "true" { print "leads" }' ;;
  learner) change add --learner "--peer-urls=$4" -- "$3" ;;
  promote) change promote -- "$3" ;;
  remove)
    # A leader that goes without handing over costs clients an election. Only a leader does as it is
    # asked here; a dead member does not answer.
    theirs=$(ask member list 2>/dev/null | awk -F', ' -v id="$3" '$1 == id { print $5 }')
    own=$(ask endpoint status 2>/dev/null | awk -F', ' '{ print $2 }')
    [ -z "$theirs" ] || (endpoint=$theirs seconds=3s ask move-leader -- "$own") >/dev/null 2>&1 || :
    change remove -- "$3"
    ;;
  move) change update "--peer-urls=$4" -- "$3" ;;
  *) exit 2 ;;
esac
