#!/usr/bin/env bash
# lean_build SOURCE FOLDER CC [STANDINS]: builds ctlc without the CPU back end in FOLDER, and sees that it needs libc and libm alone, and
# that it still writes kernels for a GPU and trains on one (on stand-ins): what a machine without LLVM, oneDNN or OpenMP gets.
set -euo pipefail
source=$1 folder=$2 cc=$3 standins=${4:-}
mkdir -p "$folder"
exec 9>"$folder/lock" # one at a time: builds may share the folder
flock 9
cmake -S "$source" -B "$folder" -G Ninja -DCMAKE_BUILD_TYPE=Debug -DCTL_LLVM=OFF -DCMAKE_C_COMPILER="$cc" >/dev/null
cmake --build "$folder" --target ctlc >"$folder/build.log" || { tail -30 "$folder/build.log"; exit 1; }
needed=$(readelf -d "$folder/ctlc" | sed -n 's/.*(NEEDED).*\[\(.*\)\]/\1/p' | sort | tr '\n' ' ')
if [ "$needed" != "libc.so.6 libm.so.6 " ]; then
  echo "it needs: $needed"
  exit 1
fi
cd "$source"
"$folder/ctlc" check examples/tiny.ctl
"$folder/ctlc" build examples/tiny.ctl --target cuda:sm_90 --emit=cu --out "$folder/kernels" >/dev/null
ls "$folder"/kernels/rows_*.cu "$folder/kernels/moves.cu" "$folder/kernels/plan.txt" >/dev/null
train=(train examples/tiny.ctl --engine cuda --data README.md --eval-fraction 0 --steps 2 --set tokens=1x16 --set model.depth=1)
if [ -n "$standins" ]; then
  rm -rf "$folder/run"
  "$folder/ctlc" "${train[@]}" --cuda-libraries "$standins" --out "$folder/run" --quiet 2>/dev/null >&2
  grep -q '"step": 2' "$folder/run/log.jsonl"
fi
if ! /sbin/ldconfig -p | grep -q libcuda.so.1; then
  code=0
  said=$("$folder/ctlc" "${train[@]}" --out "$folder/none" 2>&1) || code=$?
  if [ $code -ne 7 ] || [[ "$said" != *"NVIDIA's driver (libcuda.so.1) is not where the loader looks"*"--engine cpu"* ]]; then
    echo "without a driver: exit code $code, said $said"
    exit 1
  fi
fi
# The CPU is said not to be there, and how to have it.
code=0
said=$("$folder/ctlc" plan examples/tiny.ctl 2>&1) || code=$?
if [ $code -ne 7 ] || [[ "$said" != *"this build has no CPU back end"* ]]; then
  echo "ctlc plan: exit code $code, said $said"
  exit 1
fi
