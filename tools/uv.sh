#!/usr/bin/env bash
# Run uv: the machine's own, or one in a folder of ours that is made for it. No Python of the system
# is installed into: distributions forbid that (PEP 668).
set -euo pipefail
if command -v uv >/dev/null; then exec uv "$@"; fi
own="$(cd "$(dirname "$0")/.." && pwd)/.venvs/uv"
if [ ! -x "$own/bin/uv" ]; then
  mkdir -p "$(dirname "$own")"
  partial=$(mktemp -d "$own.XXXXXX")
  trap 'rm -rf "$partial"' EXIT
  if ! { python3 -m venv "$partial" && "$partial/bin/python" -m pip install --quiet --disable-pip-version-check uv; }; then
    echo "uv is not installed, and could not be put into $own; install it and run make again:" >&2
    echo "on Debian and Ubuntu 'apt install python3-venv' is enough, elsewhere see https://docs.astral.sh/uv" >&2
    exit 1
  fi
  # Another make may have been first.
  mv -T "$partial" "$own" 2>/dev/null || rm -rf "$partial"
fi
exec "$own/bin/uv" "$@"
