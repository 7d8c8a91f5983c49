#!/usr/bin/env bash
# From nothing to a trained model and its retrieved reports, on drawn radiographs: bash scripts/quickstart.sh
# Run again, it goes on from where it stopped, or only shows the result. RUN=folder puts the run elsewhere.
set -euo pipefail
cd "$(dirname "$0")/.."
source scripts/environment.sh
install_into_venv ".[serve]"
run=${RUN:-runs/phantom}
.venv/bin/python -m cxr_jax.train --config configs/phantom.py --workdir "$run"
.venv/bin/python -m cxr_jax.evaluate --workdir "$run"
echo "its local page: .venv/bin/python -m cxr_jax.serve --workdir $run"
