#!/usr/bin/env bash
# Refuse changes of the contracts that would break clients built against main (buf, category FILE).
set -euo pipefail
cd "$(dirname "$0")/.."
for base in "${ASSAY_PROTO_BASE:-origin/main}" main; do
  if git rev-parse --verify --quiet "$base^{commit}" >/dev/null && git cat-file -e "$base:protos/buf.yaml" 2>/dev/null; then
    .venv/bin/buf breaking protos --against ".git#ref=$(git rev-parse "$base"),subdir=protos"
    exit 0
  fi
done
echo "breaking-change check skipped: no base with protos/ (set ASSAY_PROTO_BASE to a git revision)"
