#!/usr/bin/env bash
# Trains, or goes on with, a run on the GPUs of several nodes. From the repository's root:
#
#   sbatch [--nodes=4 …] scripts/cluster/slurm_train.sh --config FILE --workdir /shared/runs/a [--config.KEY=VALUE …]
#
# sbatch's own options stand before the script and win over those below; cxr_jax.train's stand after it.
# PYTHON names the interpreter (.venv/bin/python), MAX_REQUEUES how often the job may be queued again (100).
#
# One task per GPU, since JAX gives a task of a Slurm job one device, number SLURM_LOCALID. The devices are asked for by
# node, not by task: --gpus-per-task shows each task its own GPU alone, as number 0, and JAX asks for the others.
# docs/cluster.md has the rest.
#
#SBATCH --job-name=cxr_jax
#SBATCH --nodes=2
#SBATCH --gpus-per-node=4
#SBATCH --ntasks-per-node=4
#SBATCH --cpus-per-task=8
#SBATCH --time=24:00:00
# 120 s before the time is over each task saves and ends with 75; Slurm may be a minute early.
#SBATCH --signal=USR1@120
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --output=cxr_jax-%j.log
set -euo pipefail
source scripts/cluster/requeue.sh

refuse() {
  echo "error: $1" >&2
  exit 2
}

gpus=${SLURM_GPUS_PER_NODE:-} # of a kind: h100:4
gpus=${gpus##*:}
if [ "${SLURM_NTASKS:-1}" -gt 1 ]; then
  if [ -n "${SLURM_GPUS_PER_TASK:-}" ]; then
    refuse "--gpus-per-task hides from JAX the devices that it numbers by node; give --gpus-per-node"
  elif [ "${gpus:-0}" != 0 ] && [ "${SLURM_NTASKS_PER_NODE:-}" != "$gpus" ]; then
    refuse "--ntasks-per-node=${SLURM_NTASKS_PER_NODE:-}, --gpus-per-node=$gpus: a task uses one GPU; make them equal"
  fi
fi

# srun does not take sbatch's --cpus-per-task over by itself.
export SRUN_CPUS_PER_TASK=${SLURM_CPUS_PER_TASK:-1}
echo "start $((${SLURM_RESTART_COUNT:-0} + 1)) of job $SLURM_JOB_ID: ${SLURM_NTASKS:-1} tasks on $SLURM_JOB_NODELIST"
# The program ends its processes together, with one exit code: srun is not to kill the others of the first one.
run_or_requeue srun --kill-on-bad-exit=0 "${PYTHON:-.venv/bin/python}" -m cxr_jax.train "$@"
