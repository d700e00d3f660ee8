#!/bin/bash
# skeleton.sh SOURCE SKELETON: prepares SOURCE, a copy of the repository, for
# Docker's layer cache.
#
# - Empties the integration tests in SOURCE: no image needs them, and a change
#   of one must not rebuild anything. The files stay, for manifests may name them.
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
mkdir -p "$skeleton"
find . -path ./target -prune -o -name Cargo.toml -print |
  while read -r manifest; do
    crate=$(dirname "$manifest")
    install -D -m 0644 "$manifest" "$skeleton/$manifest"

    if [ -d "$crate/tests" ]; then
      find "$crate/tests" -name '*.rs' | while read -r test; do empty_target "$test"; done
    fi

    for target in "$crate"/{build.rs,src/lib.rs,src/main.rs} \
      "$crate"/{src/bin,tests,benches,examples}/{*.rs,*/main.rs}; do
      if [ -f "$target" ]; then empty_target "$skeleton/$target"; fi
    done
  done

for settings in Cargo.lock .cargo rust-toolchain rust-toolchain.toml; do
  if [ -e "$settings" ]; then cp -r "$settings" "$skeleton/"; fi
done
