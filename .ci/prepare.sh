# Sourced by ./run, ./test, ./bench: what is missing is installed, then built. The package list is packages.txt, nowhere else.
# shellcheck shell=bash
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

say() { printf '\033[1m%s\033[0m\n' "$*" >&2; }

install_missing() {
  local wanted missing=() p
  wanted=$(grep -v '^#' packages.txt)
  # one dpkg-query for all: a second run must be fast
  local present
  present=$(dpkg-query -W -f '${db:Status-Status} ${Package}\n' 2>/dev/null | awk '$1 == "installed" {print $2}' | sort -u)
  for p in $wanted; do
    grep -qx -- "$p" <<<"$present" || missing+=("$p")
  done
  [ ${#missing[@]} -eq 0 ] && return 0
  say "installing ${#missing[@]} Debian packages: ${missing[*]}"
  local sudo=()
  if [ "$(id -u)" -ne 0 ]; then
    command -v sudo >/dev/null || { echo "not root and no sudo: install them by hand: apt-get install ${missing[*]}" >&2; exit 1; }
    sudo=(sudo)
  fi
  "${sudo[@]}" apt-get update -q >&2
  "${sudo[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends "${missing[@]}" >&2
}

# What ./bench compares with: packages-bench.txt. Unpacked into build/peers/NAME rather than installed, so that no service starts and no root is
# needed. Without one the benchmark goes on, and says why at the figures that need it.
fetch_peers() {
  local name folder names
  mkdir -p build/peers
  mapfile -t names < <(grep -v '^#' packages-bench.txt)
  for name in "${names[@]}"; do
    folder=build/peers/$name
    [ -d "$folder" ] && continue
    say "fetching the Debian package $name to compare with"
    rm -rf "$folder.part" "$folder.missing"
    mkdir -p "$folder.part"
    if { (cd "$folder.part" && apt-get download -q "$name") ||
         { [ "$(id -u)" -eq 0 ] && apt-get update -q && (cd "$folder.part" && apt-get download -q "$name"); }; } >"$folder.log" 2>&1 &&
       dpkg-deb -x "$folder.part/${name}"_*.deb "$folder.part" 2>>"$folder.log"; then
      rm -f "$folder.part"/*.deb
      mv "$folder.part" "$folder"
    else
      echo "the Debian package $name could not be fetched ($(tail -n 1 "$folder.log"))" >"$folder.missing"
      cat "$folder.missing" >&2
      rm -rf "$folder.part"
    fi
  done
}

# fetch_node_peers NAME...: packages of npm that ./bench compares with, into build/peers/npm, without running their scripts.
fetch_node_peers() {
  local name missing=()
  for name in "$@"; do
    [ -d "build/peers/npm/node_modules/$name" ] || missing+=("$name")
  done
  [ ${#missing[@]} -eq 0 ] && return 0
  if ! command -v npm >/dev/null; then
    echo "npm is not there: the figures beside ${missing[*]} are skipped" >&2
    return 0
  fi
  say "fetching ${missing[*]} with npm to compare with"
  mkdir -p build/peers/npm
  (cd build/peers/npm && npm install --ignore-scripts --no-audit --no-fund "$@") >build/peers/npm.log 2>&1 ||
    echo "npm could not fetch ${missing[*]} ($(tail -n 1 build/peers/npm.log))" >&2
}

# build PRESET [TARGET...]: configures once, builds what changed.
build() {
  local preset=$1
  shift
  if [ ! -f "build/$preset/build.ninja" ]; then
    say "configuring build/$preset"
    cmake --preset "$preset" >&2
  fi
  local targets=()
  [ $# -gt 0 ] && targets=(--target "$@")
  say "building build/$preset (the first build takes some minutes)"
  cmake --build "build/$preset" -j "${SKERRY_JOBS:-2}" "${targets[@]}" >&2
}
