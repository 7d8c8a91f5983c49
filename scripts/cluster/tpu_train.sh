#!/usr/bin/env bash
# Trains, or goes on with, a run on a slice of TPU VMs: asks for the slice as a queued resource, starts the same command
# on all of its hosts, and starts over, on a new slice where the old one was taken away, while the run is preempted.
#
#   TPU=cxr ZONE=us-east5-b ACCELERATOR=v6e-16 RUNTIME=v2-alpha-tpuv6e REPOSITORY=/shared/cxr_jax \
#     SETUP='sudo mount -o vers=3 10.0.0.2:/share /shared' \
#     bash scripts/cluster/tpu_train.sh --config configs/base.py --workdir /shared/runs/a [--config.KEY=VALUE …]
#
# It runs where gcloud is set up, and must live as long as the run: in tmux, on a small VM of the same zone. The slice
# is left as it is in the end: gcloud compute tpus queued-resources delete "$TPU" --zone "$ZONE" --force
#
# TPU          name of the queued resource and of its node
# ZONE, ACCELERATOR, RUNTIME   gcloud's --zone, --accelerator-type, --runtime-version
# REPOSITORY   the checkout with its .venv, extra tpu, at this path on every host
# SETUP        a command for every host of a new slice, to mount the shared folder and install what is missing
# SPOT         1: spot capacity, which is cheaper and may be taken away (default); 0: on demand
# MAX_RESTARTS how often the run may be started again (100)
# POLL_SECONDS between two looks at a slice that is waited for (30)
set -euo pipefail

missing=()
for name in TPU ZONE ACCELERATOR RUNTIME REPOSITORY; do
  [ -n "${!name:-}" ] || missing+=("$name")
done
if [ "${#missing[@]}" -gt 0 ]; then
  echo "error: ${missing[*]}: not set; the head of $0 explains them" >&2
  exit 2
fi

slice() {
  gcloud compute tpus queued-resources "$1" "$TPU" --zone="$ZONE" "${@:2}"
}

# ACTIVE, SUSPENDED, …; nothing where there is none.
state() {
  slice describe --format='value(state.state)' 2>/dev/null || true
}

on_all_hosts() {
  gcloud compute tpus tpu-vm ssh "$TPU" --zone="$ZONE" --worker=all --command="$1"
}

# Waits for an active slice; asks for one where there is none, or only what is left of one.
await_slice() {
  local now spot=() new=0
  if [ "${SPOT:-1}" = 1 ]; then spot=(--spot); fi
  while now=$(state) && [ "$now" != ACTIVE ]; do
    case $now in
      SUSPENDING | SUSPENDED | FAILED) slice delete --force --quiet ;;
      "")
        slice create --node-id="$TPU" --accelerator-type="$ACCELERATOR" --runtime-version="$RUNTIME" --quiet \
          "${spot[@]}"
        new=1
        ;;
      *) sleep "${POLL_SECONDS:-30}" ;;
    esac
  done
  if [ "$new" = 1 ] && [ -n "${SETUP:-}" ]; then on_all_hosts "$SETUP"; fi
}

train=$(printf 'cd %q && exec .venv/bin/python -m cxr_jax.train' "$REPOSITORY")
train+=$(printf ' %q' "$@")
most=${MAX_RESTARTS:-100}
for ((start = 0; start <= most; start++)); do
  await_slice
  echo "start $((start + 1)) of at most $((most + 1))" >&2
  code=0
  on_all_hosts "$train" || code=$? # of the first host that has one
  case $code in
    0) exit 0 ;;
    # A slice that was taken away may look like a fault of the program's.
    1 | 2 | 130) if [ "$(state)" = ACTIVE ]; then exit "$code"; fi ;;
  esac
  echo "ended with exit code $code" >&2
done
echo "error: not started again: MAX_RESTARTS is $most; run the same command to go on" >&2
exit "$code"
