#!/usr/bin/env bash
# run.sh TEACHER_DIR OUT SECONDS [driver options]
# Distils both students from TEACHER_DIR/candy.safetensors within SECONDS, scores included, and
# writes at most seven files to OUT. Photographs: --photos DIR, else TEACHER_DIR/photos.
set -euo pipefail
[ $# -ge 3 ] || { echo "usage: run.sh TEACHER_DIR OUT SECONDS [options]" >&2; exit 5; }
started=$(date +%s)
here=$(cd "$(dirname "$0")" && pwd)
# NVLink multicast can put shared GPUs out of service.
export NCCL_NVLS_ENABLE=0 TORCH_SYMM_MEM_DISABLE_MULTICAST=1 NVSHMEM_DISABLE_NVLS=1 PYTHONUNBUFFERED=1
exec "${PYTHON:-python3}" "$here/driver.py" "$1" "$2" "$3" --started "$started" "${@:4}"
