#!/usr/bin/env bash
# A throwaway Slurm cluster on this machine, as real as one machine allows: every host is a network and UTS namespace with a
# name, an address and a slurmd of its own.
#
#   cluster.sh HOSTS CPUS COMMAND...     run COMMAND on host h1 of a cluster of HOSTS hosts with CPUS processors each
#
# Exit code: of COMMAND; 77, with the reason, where the machine cannot (root, namespaces, packages); 1 when Slurm did not start.
# Everything lives in one PID and one mount namespace (folders in memory, CLUSTER_FOLDER among them), so when this process ends,
# however it ends, the kernel takes daemons, jobs, networks and files away with it.  Every host has two make-believe GPUs.
set -euo pipefail
PATH=$PATH:/usr/sbin:/sbin

skip() {
  echo "cluster.sh: skipped: $1"
  exit 77
}

probe() {
  [ "$(id -u)" = 0 ] || skip "a cluster on one machine needs root"
  local program
  for program in slurmctld slurmd sbatch srun scontrol mpirun ip unshare; do
    command -v "$program" >/dev/null || skip "no $program here (cmake/install_dependencies.sh build slurm)"
  done
  unshare --mount --pid --net --uts --fork bash -ec '
    mount -t tmpfs tmpfs /run
    ip link add probe0 type veth peer name probe1
    ip link add bridge0 type bridge' 2>/dev/null || skip "this machine gives no namespaces, or no network in them"
}

if [ "${1:-}" != inside ]; then
  [ $# -ge 3 ] || { echo "usage: cluster.sh HOSTS CPUS COMMAND..." >&2; exit 2; }
  probe
  exec unshare --mount --pid --fork --kill-child --mount-proc "$0" inside "$@"
fi

hosts=$2 cpus=$3
shift 3
# On the first two processors of any machine, so that jobs take as long on a large one as on a small one.
cores=()
IFS=, read -ra ranges <<<"$(awk '/^Cpus_allowed_list/ {print $2}' /proc/self/status)"
for range in "${ranges[@]}"; do
  for ((core = ${range%-*}; core <= ${range#*-}; ++core)); do cores+=("$core"); done
done
taskset -pc "$(IFS=,; echo "${cores[*]:0:2}")" $$ >/dev/null
network=169.254.77
for folder in /run /dev/shm; do mount -t tmpfs -o mode=1777 tmpfs "$folder"; done
export CLUSTER_FOLDER=/run/cluster TMPDIR=/run/cluster/tmp
mkdir -p /run/cluster/{state,spool,log,tmp}
# Programs that talk to Slurm must find this cluster and nothing of another one.
unset "${!SLURM_@}" "${!PMIX_@}" "${!OMPI_@}" 2>/dev/null || true
export SLURM_CONF=/run/cluster/slurm.conf
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1

# on HOST COMMAND...: not a function call in this shell, but the process that replaces it.
on() {
  local host=$1
  shift
  exec ip netns exec "$host" unshare --uts bash -c 'hostname "$0"; exec "$@"' "$host" "$@"
}

ip netns add hub
ip -n hub link add bridge0 type bridge
ip -n hub link set bridge0 up
names=
for ((i = 1; i <= hosts; ++i)); do
  ip netns add "h$i"
  ip -n "h$i" link set lo up
  ip -n "h$i" link add eth0 type veth peer name "port$i" netns hub
  ip -n "h$i" addr add "$network.$i/24" dev eth0
  ip -n "h$i" link set eth0 up
  ip -n hub link set "port$i" master bridge0 up
  mkdir -p "/run/cluster/spool/h$i" "/run/cluster/tmp/h$i"
  names+="NodeName=h$i NodeAddr=$network.$i CPUs=$cpus Gres=gpu:2 State=UNKNOWN"$'\n'
done

# A requeued job reuses its number, and PMIx stops at the folder that the killed step left behind.
cat >/run/cluster/prolog.sh <<'END'
#!/bin/sh
rm -rf /run/cluster/tmp/"$SLURMD_NODENAME"/spmix_appdir_*
END
chmod 755 /run/cluster/prolog.sh
echo 'Name=gpu File=/dev/null,/dev/zero' >/run/cluster/gres.conf
printf 'CgroupPlugin=cgroup/v1\nCgroupAutomount=no\nConstrainCores=no\n' >/run/cluster/cgroup.conf
cat >/run/cluster/slurm.conf <<END
ClusterName=throwaway
SlurmctldHost=h1($network.1)
AuthType=auth/none
CredType=cred/none
SlurmUser=root
SlurmdUser=root
StateSaveLocation=/run/cluster/state
SlurmdSpoolDir=/run/cluster/spool/%n
TmpFS=/run/cluster/tmp/%n
SlurmctldPidFile=/run/slurmctld.pid
SlurmdPidFile=/run/slurmd.%n.pid
SlurmctldLogFile=/run/cluster/log/slurmctld
SlurmdLogFile=/run/cluster/log/slurmd.%n
Prolog=/run/cluster/prolog.sh
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
SwitchType=switch/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
GresTypes=gpu
SchedulerType=sched/backfill
SchedulerParameters=bf_interval=1,sched_interval=1,sched_min_interval=0,batch_sched_delay=0
SlurmdParameters=config_overrides
ReturnToService=2
JobRequeue=1
KillWait=10
SlurmctldTimeout=10
SlurmdTimeout=10
MailProg=/bin/true
$names
PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP
END

(on h1 slurmctld -c) >>/run/cluster/log/start 2>&1
for ((i = 1; i <= hosts; ++i)); do (on "h$i" slurmd -c) >>/run/cluster/log/start 2>&1; done
for ((waited = 0; ; ++waited)); do
  [ "$( (on h1 timeout 10 sinfo -h -N -t idle -o %N) 2>/dev/null | wc -l)" = "$hosts" ] && break
  if [ "$waited" = 150 ]; then
    echo "cluster.sh: the hosts did not become idle" >&2
    tail -n 20 /run/cluster/log/* >&2
    exit 1
  fi
  sleep 0.1
done

code=0
(on h1 "$@") || code=$?
[ "$code" = 0 ] || [ "$code" = 77 ] || tail -n 40 /run/cluster/log/slurmctld /run/cluster/log/slurmd.* >&2
exit "$code"
