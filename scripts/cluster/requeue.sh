# shellcheck shell=bash
# Sourced by the Slurm scripts: runs a command, and queues the job again where the command was preempted.

# run_or_requeue COMMAND [ARGUMENT …]: returns the command's exit code. On 75, preempted and saved, the job is queued
# again: at most MAX_REQUEUES times (100), with those that Slurm requeued by itself, after a node failed, counted.
run_or_requeue() {
  local code=0 restarts=${SLURM_RESTART_COUNT:-0} most=${MAX_REQUEUES:-100}
  "$@" || code=$?
  if [ "$code" -ne 75 ]; then
    return "$code"
  fi
  if [ "$restarts" -ge "$most" ]; then
    echo "preempted, and not queued again: this was start $((restarts + 1)), and MAX_REQUEUES is $most" >&2
    return 75
  fi
  echo "preempted: job $SLURM_JOB_ID is queued again, for start $((restarts + 2)) of at most $((most + 1))" >&2
  # Slurm ends this script as it does so.
  scontrol requeue "$SLURM_JOB_ID" || echo "it could not be queued again; submit the same command once more" >&2
  return 75
}
