#!/usr/bin/env bash
# Lints the contract and refuses changes that break callers of the golden image (lint.sh --accept renews it).
set -euo pipefail
cd "$(dirname "$0")"
image=$(mktemp --suffix=.binpb)
trap 'rm -f "$image"' EXIT
site=$(python -c 'import google.rpc, pathlib; print(pathlib.Path(next(iter(google.rpc.__path__))).parents[1])')
python -m grpc_tools.protoc -I. -I"$site" --include_imports --include_source_info --descriptor_set_out="$image" \
    reallot/v1/*.proto reallot/internal/v1/*.proto reallot/testing/v1/*.proto
buf lint "$image" --config buf.yaml
if [ "${1:-}" = --accept ]; then
    mkdir -p golden
    python -m grpc_tools.protoc -I. -I"$site" --include_imports --descriptor_set_out=golden/api_v1.binpb reallot/v1/*.proto
fi
buf breaking "$image" --against golden/api_v1.binpb --config buf.yaml
echo "The contract is in order."
