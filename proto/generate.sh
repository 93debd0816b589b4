#!/usr/bin/env bash
# Generates the Python code of the contract: generate.sh DIRECTORY. The only way to do it (grpcio-tools 1.81.1, mypy-protobuf 5).
set -euo pipefail
out=$(realpath "$1")
cd "$(dirname "$0")"
site=$(python -c 'import google.rpc, pathlib; print(pathlib.Path(next(iter(google.rpc.__path__))).parents[1])')
packages="reallot/v1 reallot/internal/v1 reallot/testing/v1"
for package in $packages; do
    mkdir -p "$out/$package"
    rm -f "$out/$package"/*_pb2*.py "$out/$package"/*_pb2*.pyi
done
python -m grpc_tools.protoc -I. -I"$site" \
    --python_out="$out" --grpc_python_out="$out" --mypy_out=quiet:"$out" --mypy_grpc_out=quiet:"$out" \
    $(for package in $packages; do ls "$package"/*.proto; done)
# Files without services get empty stubs: drop them.
for package in $packages; do
    for stub in "$out/$package"/*_pb2_grpc.py; do
        grep -q 'class .*Stub' "$stub" || rm -f "$stub" "${stub}i"
    done
    touch "$out/$package/py.typed"
done
echo '"""The contract: generated code of reallot.v1."""' > "$out/reallot/v1/__init__.py"
echo '"""What is inside the opaque tokens: generated code of reallot.internal.v1."""' > "$out/reallot/internal/v1/__init__.py"
echo '"""The manual clock: generated code of reallot.testing.v1."""' > "$out/reallot/testing/v1/__init__.py"
