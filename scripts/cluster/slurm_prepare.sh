#!/usr/bin/env bash
# Prepares a run's data on the cores of one node, without a GPU. From the repository's root:
#
#   sbatch [--cpus-per-task=64 …] scripts/cluster/slurm_prepare.sh --config FILE [--config.KEY=VALUE …]
#
# Then training, once that is done:
#
#   sbatch --dependency=afterok:JOB scripts/cluster/slurm_train.sh --config FILE --workdir DIR [--config.KEY=VALUE …]
#
# What is prepared stands in `data.cache`, which all nodes must see. PYTHON and MAX_REQUEUES as in slurm_train.sh.
#
#SBATCH --job-name=cxr_jax-prepare
#SBATCH --nodes=1
#SBATCH --ntasks=1
#SBATCH --cpus-per-task=16
#SBATCH --mem-per-cpu=2G
#SBATCH --time=12:00:00
#SBATCH --signal=USR1@120
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --output=cxr_jax-prepare-%j.log
set -euo pipefail
source scripts/cluster/requeue.sh

export SRUN_CPUS_PER_TASK=${SLURM_CPUS_PER_TASK:-1}
run_or_requeue srun --ntasks=1 "${PYTHON:-.venv/bin/python}" -m cxr_jax.prepare --workers "$SRUN_CPUS_PER_TASK" "$@"
