#!/usr/bin/env bash
# benchmarks/mpi_overlap on two ranks: in shared memory, and between two network namespaces whose links carry RATE.
#   mpi_overlap.sh PROGRAM [RATE=1gbit]        the second part takes root and is skipped, with the reason, elsewhere
set -euo pipefail
program=$(readlink -f "$1") rate=${2:-1gbit} name=tessera-overlap-$$
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
launch=(mpirun -n 2 --oversubscribe --bind-to none --mca mpi_yield_when_idle 1)

echo "shared memory:"
"${launch[@]}" "$program" 1 4 16 64

[ "$(id -u)" = 0 ] || { echo "network: skipped, namespaces take root"; exit 0; }
for tool in ip tc unshare; do
  command -v "$tool" >/dev/null || { echo "network: skipped, there is no $tool (package iproute2, util-linux)"; exit 0; }
done
work=$(mktemp -d)
end() {
  for host in h1 h2 hub; do ip netns del "$name-$host" 2>/dev/null || true; done
  rm -rf "$work"
}
trap end EXIT
ip netns add "$name-hub" 2>/dev/null || { echo "network: skipped, namespaces cannot be made here"; exit 0; }
ip -n "$name-hub" link add br0 type bridge
ip -n "$name-hub" link set br0 up
for i in 1 2; do
  ip netns add "$name-h$i"
  ip -n "$name-h$i" link set lo up
  ip -n "$name-h$i" link add eth0 type veth peer name "p$i" netns "$name-hub"
  ip -n "$name-h$i" addr add "169.254.78.$i/24" dev eth0
  ip -n "$name-h$i" link set eth0 up
  ip -n "$name-hub" link set "p$i" master br0 up
  ip netns exec "$name-h$i" tc qdisc add dev eth0 root tbf rate "$rate" burst 512k latency 100ms ||
    { echo "network: skipped, this kernel has no TBF"; exit 0; }
done
cat > "$work/agent" <<AGENT
#!/usr/bin/env bash
host=\$1; shift
exec ip netns exec "$name-\$host" unshare -u /bin/bash -c 'hostname "\$0"; exec /bin/bash -c "\$*"' "\$host" "\$@"
AGENT
chmod +x "$work/agent"
echo "two hosts, $rate:"
"$work/agent" h1 "${launch[*]}" --mca plm rsh --mca plm_rsh_agent "$work/agent" --mca plm_rsh_no_tree_spawn 1 \
  -H h1:1,h2:1 "$program" 1 4 16
