# What a login shell is told to run, in single quotes and as one line: the lines below, joined by
# `; `. Whatever the login shell is (csh, fish, ...), it must hand this on as it stands, so there is
# no quote, backslash or exclamation mark in it. Nothing is sent before the mark is answered, so that
# login scripts have nothing of ours to read.
# Arguments: NONCE SIZE, and those of become_root.sh, which are the first SIZE bytes of the input.
echo
echo login-$1
echo >&2
echo login-$1 >&2
eval "$(dd bs=$2 count=1 iflag=fullblock status=none)"
