#!/bin/bash
# skeleton.sh SOURCE SKELETON: prepares SOURCE, a copy of the repository, for
# Docker's layer cache.
#
# - Removes from SOURCE what no image is compiled from, tests and benchmarks among
#   it: a change there must not compile anything.
# - Makes SKELETON: manifests, lock file and cargo's settings, and an empty file
#   for every target. Building it compiles the dependencies and nothing else.
set -euo pipefail
source=$1
skeleton=$2

empty_target() {
  mkdir -p "$(dirname "$1")"
  printf '#![allow(warnings)]\nfn main() {}\n' >"$1"
}

cd "$source"
rm -rf deploy envoy.yaml
find . -path ./target -prune -o -name Cargo.toml -print |
  while read -r manifest; do
    crate=$(dirname "$manifest")
    install -D -m 0644 "$manifest" "$skeleton/$manifest"

    for target in "$crate"/{build.rs,src/lib.rs,src/main.rs,src/bin/*.rs,src/bin/*/main.rs}; do
      if [ -f "$target" ]; then empty_target "$skeleton/$target"; fi
    done
    # A target that a manifest names must be there, empty or not.
    for target in "$crate"/{tests,benches,examples}/{*.rs,*/main.rs}; do
      if [ -f "$target" ] && grep -q '^\[\[\(test\|bench\|example\)\]\]' "$manifest"; then
        empty_target "$skeleton/$target"
      fi
    done
    for unused in tests benches examples; do
      rm -rf "${crate:?}/$unused"
      if [ -d "$skeleton/$crate/$unused" ]; then cp -r "$skeleton/$crate/$unused" "$crate/"; fi
    done
  done

for settings in Cargo.lock .cargo rust-toolchain rust-toolchain.toml; do
  if [ -e "$settings" ]; then cp -r "$settings" "$skeleton/"; fi
done
