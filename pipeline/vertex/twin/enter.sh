#!/bin/sh
# Runs a command in the root file system of an image, as a container of it would, without an engine:
#   unshare --mount [--map-root-user] sh enter.sh ROOT [OPTION]... -- COMMAND...
#     --see FOLDER      a folder of this machine, at the same path
#     --see FOLDER:AT   … at another one
#     --user UID:GID    whom the command runs as
#     --read-only       the root cannot be written, /tmp excepted
# The mounts live in the namespace that `unshare` made, and end with the command: what it writes to
# the root is gone then, and ROOT stays as it was. Network, processes and devices are this machine's;
# the environment is passed on. Needs Linux 5.11 for overlays in a namespace of an ordinary user.
set -e
root=$1
shift
# Over the root lies a memory file system for what is written; it hides where it was mounted.
mount -t tmpfs tmpfs "$root/tmp"
mkdir "$root/tmp/upper" "$root/tmp/work"
mount -t overlay overlay "$root" \
    -o "lowerdir=$root,upperdir=$root/tmp/upper,workdir=$root/tmp/work"
mount -t tmpfs -o mode=1777 tmpfs "$root/tmp"
see() { # folder or file, where
    if [ -d "$1" ]; then
        mkdir -p "$root$2"
    else
        test -e "$root$2" || : > "$root$2" # writing would copy it up
    fi
    mount --rbind "$1" "$root$2"
}
for each in /dev /proc /sys /etc/resolv.conf /etc/hosts; do
    see "$each" "$each"
done
read_only=
user=
while [ "$1" != -- ]; do
    case $1 in
        --see) see "${2%%:*}" "${2#*:}"; shift ;;
        --user) user=--userspec=$2; shift ;;
        --read-only) read_only=yes ;;
        *) echo "enter.sh: no such option: $1" >&2; exit 2 ;;
    esac
    shift
done
shift
test -z "$read_only" || mount -o remount,bind,ro "$root"
exec chroot ${user:+"$user"} "$root" "$@"
