# Sourced by the other scripts: one virtual environment, .venv, with tested versions.

# The first Python that the package supports; PYTHON=... names another.
find_python() {
  local candidate
  for candidate in ${PYTHON:-python3.12 python3.11 python3 python}; do
    if "$candidate" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 12))' 2>/dev/null; then
      echo "$candidate"
      return
    fi
  done
  echo "error: Python 3.11 or 3.12 is needed; install one, or name it: PYTHON=/path/to/python3.12 bash $0" >&2
  return 1
}

# install_into_venv REQUIREMENT: makes .venv where it is missing, and installs only where something has changed.
install_into_venv() {
  local wanted stamp=.venv/installed-$(echo "$1" | tr -dc 'a-z')
  wanted=$(cat pyproject.toml constraints.txt | cksum)
  if [ ! -x .venv/bin/python ]; then
    local python
    python=$(find_python)
    echo "making .venv with $("$python" --version)"
    "$python" -m venv .venv
  fi
  if [ "$(cat "$stamp" 2>/dev/null)" != "$wanted" ]; then
    echo "installing $1 into .venv"
    .venv/bin/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable "$1"
    echo "$wanted" > "$stamp"
  fi
}
