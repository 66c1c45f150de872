#!/bin/sh
# Called in a network and mount namespace of its own (unshare -rnm): in_namespaces.sh alone|wired PYTHON GREETER SECONDS
#   alone: one machine whose only interface is lo, which carries no multicast; a greeter says and another hears.
#   wired: two machines with a cable between them and no shared memory in common; one says, the other hears.
set -eu
case $1 in
    alone)
        ip link set lo up
        "$2" "$3" say &
        ;;
    wired)
        mount -t tmpfs tmpfs /dev/shm
        ip link set lo up
        ip link add name here type veth peer name there
        ip addr add 10.99.0.1/24 dev here
        ip link set here up
        fifo=$(mktemp -u)
        mkfifo "$fifo"
        # shellcheck disable=SC2016  # the inner shell expands its own arguments
        unshare -nm sh -c '
            mount -t tmpfs tmpfs /dev/shm
            read -r _ <"$1"
            ip link set lo up
            ip addr add 10.99.0.2/24 dev there
            ip link set there up
            exec "$2" "$3" say' sh "$fifo" "$2" "$3" &
        # The other machine is there as soon as it opens the pipe to wait for its end of the cable.
        exec 3>"$fifo"
        rm "$fifo"
        ip link set there netns $!
        echo >&3
        ;;
esac
sayer=$!
trap 'kill $sayer' EXIT
"$2" "$3" hear "$4"
