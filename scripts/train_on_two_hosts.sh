#!/usr/bin/env bash
# Trains on two hosts, network namespaces joined by a cable of their own, and once more on one, and
# compares the weights. Needs Linux and root: sudo scripts/train_on_two_hosts.sh [CONFIG [KEY=VALUE ...]]
set -euo pipefail

cd "$(dirname "$0")/.."
folder=$(mktemp -d)
port=29500
arguments=("${@:-taipei}")
trap 'ip netns delete host-a; ip netns delete host-b; rm -r "$folder"' EXIT

ip netns add host-a
ip netns add host-b
ip link add eth0 netns host-a type veth peer name eth0 netns host-b
for host in a b; do
    ip -n "host-$host" link set lo up
    ip -n "host-$host" link set eth0 up
done
ip -n host-a address add 10.0.0.1/24 dev eth0
ip -n host-b address add 10.0.0.2/24 dev eth0

train_on() { # HOST NODE_RANK
    ip netns exec "$1" env GLOO_SOCKET_IFNAME=eth0 OMP_NUM_THREADS=1 \
        torchrun --nnodes 2 --nproc-per-node 2 --node-rank "$2" --master-addr 10.0.0.1 --master-port "$port" \
        -m slotfill train "${arguments[@]}" --out "$folder/two-hosts"
}

train_on host-b 1 &
train_on host-a 0
wait
python -m slotfill train "${arguments[@]}" train.processes=4 --out "$folder/one-host"
cut -d, -f1-3 "$folder/two-hosts/history.csv" "$folder/one-host/history.csv"
cmp "$folder"/{two-hosts,one-host}/model.safetensors && echo "equal weights"
