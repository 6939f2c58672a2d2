#!/usr/bin/env bash
# Create one locked environment: env.sh VENV LOCK PACKAGE... (packages of ours, installed editable).
# Installs retry, because a package index sometimes misses a version once.
set -euo pipefail
venv=$1 lock=$2
shift 2

uv="$(dirname "$0")/uv.sh"
retry() {
  local attempt
  for attempt in 1 2 3 4 5; do
    "$@" && return 0
    echo "attempt $attempt failed: $*" >&2
    sleep 2
  done
  return 1
}

export UV_FIND_LINKS="${UV_FIND_LINKS:-${PIP_FIND_LINKS:-}}"
[ -n "$UV_FIND_LINKS" ] || unset UV_FIND_LINKS
export UV_LINK_MODE="${UV_LINK_MODE:-hardlink}"

"$uv" --version >/dev/null
echo "environment $venv: installing $(grep -c '==' "$lock") locked packages"
retry "$uv" venv --quiet --allow-existing --python 3.11 "$venv"
retry "$uv" pip install --quiet --python "$venv/bin/python" --no-deps -r "$lock"
editable=()
for package in "$@"; do editable+=(-e "$package"); done
[ $# -eq 0 ] || retry "$uv" pip install --quiet --python "$venv/bin/python" --no-deps --no-build-isolation "${editable[@]}"
touch "$venv/.ready"
