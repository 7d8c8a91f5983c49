#!/usr/bin/env bash
# Installs what the tests need into .venv and runs them: bash scripts/test.sh [pytest's arguments]
set -euo pipefail
cd "$(dirname "$0")/.."
source scripts/environment.sh
install_into_venv ".[dev]"
exec .venv/bin/python -m pytest -n 2 --dist loadfile "$@"
