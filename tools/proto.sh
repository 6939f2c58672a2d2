#!/usr/bin/env bash
# Generate the Python stubs from protos/ into OUT (default services/core/src).
set -euo pipefail
cd "$(dirname "$0")/.."
out=${1:-services/core/src}
bin=.venv/bin
export PATH="$PWD/$bin:$PATH"
mapfile -t ours < <(cd protos && find assay -name '*.proto' | sort)
rm -rf "$out/assay" "$out/buf"
mkdir -p "$out"
"$bin/python" -m grpc_tools.protoc -Iprotos -Iprotos/third_party \
  --python_out="$out" --grpc_python_out="$out" --mypy_out="quiet:$out" --mypy_grpc_out="quiet:$out" "${ours[@]}"
"$bin/python" -m grpc_tools.protoc -Iprotos/third_party \
  --python_out="$out" --mypy_out="quiet:$out" buf/validate/validate.proto
# Files without services make empty gRPC modules: drop them, stubs and all.
find "$out/assay" -name '*_pb2_grpc.py' -print0 | while IFS= read -r -d '' file; do
  grep -q 'Servicer' "$file" || rm "$file"
done
find "$out/assay" -name '*_pb2_grpc.pyi' -print0 | while IFS= read -r -d '' file; do
  [ -e "${file%i}" ] || rm "$file"
done
