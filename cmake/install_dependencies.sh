#!/usr/bin/env bash
# Installs the Debian packages that are missing.  Usage: install_dependencies.sh [build] [test] [slurm]
#   build   what the program needs (default)
#   test    also what its tests need
#   slurm   also what a throwaway Slurm cluster on this machine needs (tests/slurm/cluster.sh)
set -euo pipefail

packages=(g++ cmake ninja-build make openmpi-bin libopenmpi-dev libhdf5-dev nlohmann-json3-dev
  libsentencepiece-dev libpng-dev libjpeg62-turbo-dev libcli11-dev libxxhash-dev libprotobuf-dev protobuf-compiler
  python3 python3-fonttools)
for group in "$@"; do
  case $group in
    build) ;;
    test) packages+=(libgtest-dev libbenchmark-dev libdnnl-dev libopenblas-dev python3-h5py hdf5-tools chromium git) ;;
    slurm) packages+=(slurm-wlm iproute2) ;;
    *) echo "install_dependencies: expected build, test or slurm, got \"$group\"" >&2; exit 2 ;;
  esac
done

missing=()
for package in "${packages[@]}"; do
  [ "$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null)" = installed ] || missing+=("$package")
done
[ ${#missing[@]} -gt 0 ] || exit 0

sudo=
[ "$(id -u)" = 0 ] || sudo=sudo
echo "installing ${missing[*]}"
started=$(date +%s)
export DEBIAN_FRONTEND=noninteractive
log=$(mktemp)
if ! { $sudo apt-get update -q && $sudo env DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends "${missing[@]}"; } >"$log" 2>&1; then
  tail -n 20 "$log" >&2
  echo "install_dependencies: apt-get could not install ${missing[*]}" >&2
  exit 1
fi
grep -h '^Need to get' "$log" || true
echo "installed in $(($(date +%s) - started)) s (download and installation)"
rm -f "$log"
