#!/usr/bin/env bash
# install SOURCE BUILD CC: installs a build into a folder of its own, and builds the host program of the examples there by what
# docs/embedding.md says, without a header or a library of the source tree. It trains, and the installed command reads its adapter.
set -euo pipefail
source=$1 build=$2 cc=$3
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cmake --install "$build" --prefix "$folder/ctlc" >/dev/null
mkdir "$folder/work"
cp "$source/examples/host.c" "$source/examples/tiny.ctl" "$folder/work"
cd "$folder/work"
page=$(grep -o 'cc -std=c17 host.c .*' "$source/docs/embedding.md")
export PKG_CONFIG_PATH=$folder/ctlc/lib/pkgconfig
eval "${page/#cc/$cc}"
./host tiny.ctl
if ./host nowhere.ctl 2>said; then exit 1; fi
grep -q 'E0508' said
# The command reads what the program saves, and the program what the command saves.
sed 's/tuning.double(rank = 8)/tuning.full()/' tiny.ctl >full.ctl
PATH=$folder/ctlc/bin:$PATH
ctlc train full.ctl --set tokens=4x32 --data host.c --eval-fraction 0 --steps 1 --out base --quiet
./host tiny.ctl base adapter
ctlc eval tiny.ctl --set tokens=4x32 --weights base --adapter adapter --data host.c --batches 1 --quiet
