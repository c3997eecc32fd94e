#!/bin/bash
# One command on as many nodes as Slurm gives: a Ray cluster for as long as the job takes.
#
#     sbatch --nodes=4 docs/clusters/slurm.sh sweep recipe.toml --out /shared/runs
#     sbatch --nodes=4 docs/clusters/slurm.sh run recipe.toml --out /shared/runs
#
# The folder of runs and what the recipe names (data, model) have to be in the same place on all nodes. Killed or out of
# time, the same command goes on. Set ENVIRONMENT to what activates the environment that instant-soup[ray] is in.
#SBATCH --job-name=instant-soup
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=8
#SBATCH --mem=32G
#SBATCH --time=24:00:00
#SBATCH --output=instant-soup-%j.log
set -euo pipefail

if [ -n "${ENVIRONMENT:-}" ]; then
    # shellcheck disable=SC1090
    source "$ENVIRONMENT"
fi
export RAY_USAGE_STATS_ENABLED=0             # reports to nobody
export RAY_AUTH_MODE=token                   # others on these nodes cannot send work to this cluster
RAY_AUTH_TOKEN=$(od -An -N32 -tx1 /dev/urandom | tr -d ' \n')
export RAY_AUTH_TOKEN
export OMP_NUM_THREADS="${THREADS:-4}"       # that each worker computes with, and so the CPUs that it takes
port=$((20000 + SLURM_JOB_ID % 20000))       # two jobs may share a node
cpus=${SLURM_CPUS_PER_TASK:-8}
head=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)
address=$(srun --nodes=1 --ntasks=1 --nodelist="$head" hostname --ip-address | awk '{print $1}'):$port

trap 'kill $(jobs -p) 2>/dev/null || true' EXIT
srun --nodes=1 --ntasks=1 --nodelist="$head" --overlap \
    ray start --head --port="$port" --num-cpus="$cpus" --include-dashboard=false --block &
others=$((SLURM_JOB_NUM_NODES - 1))
if [ "$others" -gt 0 ]; then
    # each tries for a while, so it does not matter which comes first
    srun --nodes="$others" --ntasks="$others" --exclude="$head" --overlap \
        bash -c "for _ in \$(seq 30); do ray start --address=$address --num-cpus=$cpus --block && break; sleep 2; done" &
fi
until ray status --address="$address" >/dev/null 2>&1; do sleep 2; done

instant-soup "$@" --engine ray --address "$address"
