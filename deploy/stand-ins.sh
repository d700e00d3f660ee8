#!/bin/bash
# stand-ins.sh ENVOY: makes stand-ins for the Dockerfile's three base images, on a
# machine that reaches no container registry. Prints the Dockerfile's arguments that
# name them, one a line. `cargo xtask compose` calls it where nothing can be pulled.
#
# They are a Debian of this machine's own release from debootstrap, the same with a C
# compiler and this machine's Rust, and the same with the Envoy that is given. Their
# tag is a digest of what goes in, so a second run finds them ready.
set -euo pipefail
envoy=$1
script=$0

fail() {
  echo "stand-ins for the base images: $*" >&2
  exit 1
}

. /etc/os-release
[ "$ID" = debian ] || fail "they can be made on Debian only; let Docker pull the official ones"
sysroot=$(rustc --print sysroot)
# A package registry may be reached through something that only this machine vouches for.
certificates=${SSL_CERT_FILE:-/etc/ssl/certs/ca-certificates.crt}

digest=$(
  {
    cat "$script" "$envoy" "$certificates"
    echo "$VERSION_CODENAME"
    rustc -vV
    ls "$sysroot/lib/rustlib"
  } | sha256sum | cut -c 1-16
)
image() { echo "rekey-standin/$1:$digest"; }
is_there() { docker image inspect "$(image "$1")" >/dev/null 2>&1; }

# TMPDIR should name a folder where devices and programs are allowed.
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

mirror() {
  apt-get indextargets --format '$(CODENAME) $(COMPONENT) $(REPO_URI)' 'Created-By: Packages' |
    awk -v release="$VERSION_CODENAME" '$1 == release && $2 == "main" { print $3; exit }'
}

# bootstrap ROOT [OPTION…]: a minimal Debian, without what the slim images lack too.
bootstrap() {
  local root=$1
  shift
  if ! command -v debootstrap >/dev/null || [ -z "$(mirror)" ]; then
    apt-get update -qq
    apt-get install -qq -y --no-install-recommends debootstrap
  fi
  debootstrap --variant=minbase "$@" "$VERSION_CODENAME" "$root" "$(mirror)" >"$scratch/log" ||
    { tail -n 20 "$scratch/log" >&2; fail "debootstrap must run as root, and may mount"; }
  for folder in share/doc share/man share/info share/locale; do
    find "$root/usr/$folder" -mindepth 1 -delete
  done
  find "$root/var/cache/apt" "$root/var/lib/apt/lists" -mindepth 1 -delete
}

import() { tar -C "$1" -c . | docker import --change 'CMD ["bash"]' - "$(image "$2")"; }

make_debian() {
  bootstrap "$scratch/debian"
  import "$scratch/debian" debian
}

make_rust() {
  bootstrap "$scratch/rust" --include=ca-certificates,gcc,g++,libc6-dev,make
  cp "$certificates" "$scratch/rust/etc/ssl/certs/ca-certificates.crt"
  cp -a "$sysroot/bin" "$sysroot/lib" "$scratch/rust/usr/local/"
  import "$scratch/rust" rust
}

make_envoy() {
  mkdir "$scratch/envoy"
  cp "$envoy" "$scratch/envoy/envoy"
  printf 'FROM %s\nCOPY envoy /usr/local/bin/\n' "$(image debian)" >"$scratch/envoy/Dockerfile"
  docker build --quiet --tag "$(image envoy)" "$scratch/envoy"
}

for kind in debian rust envoy; do
  is_there "$kind" || { echo "making $(image "$kind")" >&2; "make_$kind" >&2; }
  # One that is in use stays.
  docker images --format '{{.Repository}}:{{.Tag}}' "rekey-standin/$kind" | tail -n +3 |
    xargs -r docker rmi >/dev/null 2>&1 || true
done
echo "RUST_IMAGE=$(image rust)"
echo "DEBIAN_IMAGE=$(image debian)"
echo "ENVOY_IMAGE=$(image envoy)"
