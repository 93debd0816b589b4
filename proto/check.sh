#!/usr/bin/env bash
# Fails if the checked-in code is not what the contract generates.
set -euo pipefail
cd "$(dirname "$0")"
fresh=$(mktemp -d)
trap 'rm -rf "$fresh"' EXIT
./generate.sh "$fresh"
if ! diff -r --exclude=__pycache__ "$fresh" gen; then
    echo "The generated code is stale: run make gen" >&2
    exit 1
fi
echo "The generated code is fresh."
