# Makes a node out of a bare Debian or Ubuntu tree. Runs inside the tree, as root, before anything
# was booted from it. The one argument is the public key that may log in.
set -eu
key=$1

admit() { # USER HOME: lets the key log in
    install -d -m 700 -o "$1" -g "$1" "$2/.ssh"
    echo "$key" >"$2/.ssh/authorized_keys"
    chown "$1:$1" "$2/.ssh/authorized_keys"
    chmod 600 "$2/.ssh/authorized_keys"
}
person() { # USER: an ordinary login
    id -u "$1" >/dev/null 2>&1 || useradd --create-home --shell /bin/bash "$1"
    admit "$1" "/home/$1"
}
may() { # USER RULE: what sudo lets the user do
    echo "$1 $2" >"/etc/sudoers.d/$1"
    chmod 440 "/etc/sudoers.d/$1"
}

admit root /root
person ubuntu
may ubuntu 'ALL=(ALL) NOPASSWD:ALL'
person nosudo
person asksudo
may asksudo 'ALL=(ALL) ALL'
echo asksudo:raspberry | chpasswd

# Each node brings its own host key; the ones the package made would be the same everywhere.
rm -f /etc/ssh/ssh_host_*
mkdir -p /etc/ssh/sshd_config.d
cat >/etc/ssh/sshd_config.d/10-node.conf <<END
HostKey /etc/ssh/ssh_host_ed25519_key
PasswordAuthentication no
PermitRootLogin prohibit-password
END

# Nothing that a test did not start may run, and nobody sits at the console.
ln -sf /lib/systemd/system/multi-user.target /etc/systemd/system/default.target
for unit in apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer e2scrub_all.timer \
    fstrim.timer motd-news.timer man-db.timer console-getty.service getty.target \
    systemd-networkd-wait-online.service; do
    ln -sf /dev/null "/etc/systemd/system/$unit"
done
: >/etc/machine-id
rm -f /var/lib/dbus/machine-id
rm -f /etc/resolv.conf
: >/etc/resolv.conf
