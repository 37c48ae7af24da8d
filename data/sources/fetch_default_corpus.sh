#!/usr/bin/env bash
# Downloads the Debian packages of the default corpus and unpacks them, without installing, into DIR/root.
# Everything happens in a temporary folder that is renamed at the end, so DIR/root is either absent or whole.
# usage: fetch_default_corpus.sh DIR
set -euo pipefail
export LC_ALL=C

packages=(fonts-noto-color-emoji unicode-cldr-core gimp-help-en gimp-help-common dict-gcide)

fail() { echo "fetch_default_corpus: $*" >&2; exit 1; }

[ $# -eq 1 ] || fail "expected one argument, the folder to fill, got $#"
for tool in apt-get dpkg-deb; do
  command -v "$tool" >/dev/null || fail "$tool not found: this script needs a Debian system"
done

mkdir -p "$1" 2>/dev/null || fail "$1: cannot create this folder"
dir=$(cd "$1" && pwd)
root=$dir/root
versions=$root/packages.txt

if [ -e "$root" ]; then
  # Names and versions are written last, just before the rename: no list, not ours.
  [ -f "$versions" ] || fail "$root: exists but has no packages.txt, so this script did not make it; remove it first"
  for package in "${packages[@]}"; do
    grep -q "^$package " "$versions" || fail "$versions: has no $package; remove $root and run again"
  done
  echo "reusing $root"
  exit 0
fi

partial=$(mktemp -d "$dir/fetch.XXXXXX" 2>/dev/null) || fail "$dir: cannot write to this folder"
trap 'rm -rf "$partial"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
mkdir "$partial/deb" "$partial/root"

apt=(apt-get -q -o Acquire::Retries=2 -o Acquire::http::Timeout=30 -o Acquire::https::Timeout=30)
# The unprivileged download user of apt may not be able to write to DIR.
[ "$(id -u)" -ne 0 ] || apt+=(-o APT::Sandbox::User=root)

download() { (cd "$partial/deb" && "${apt[@]}" download "${packages[@]}" >"$partial/log" 2>&1); }
reason() { grep -m 1 '^E: ' "$partial/log" | cut -c 4- || true; }

start=$(date +%s.%N)
if ! download; then
  # Absent lists: the package is unknown. Outdated lists: the mirror has dropped the version they name.
  grep -qE 'Unable to locate package|No packages found|Can.t select candidate|404 +Not Found' "$partial/log" ||
    fail "download failed, is the network up? apt-get says: $(reason)"
  # apt-get update returns 0 when it cannot reach the mirror, unless told otherwise.
  "${apt[@]}" -o APT::Update::Error-Mode=any update >"$partial/log" 2>&1 ||
    fail "apt-get update failed (it needs root and the network); apt-get says: $(reason)"
  download || fail "download failed, is the network up? apt-get says: $(reason)"
fi
end=$(date +%s.%N)

for package in "${packages[@]}"; do
  deb=("$partial/deb/${package}_"*.deb)
  [ -f "${deb[0]}" ] || fail "$package: apt-get download left no file"
  dpkg-deb -x "${deb[0]}" "$partial/root" || fail "$package: cannot unpack ${deb[0]##*/}"
  dpkg-deb -W --showformat='${Package} ${Version}\n' "${deb[0]}" >>"$partial/versions"
done
bytes=$(cat "$partial"/deb/*.deb | wc -c)

mv "$partial/versions" "$partial/root/packages.txt"
mv -T "$partial/root" "$root" 2>/dev/null || fail "$root: another run has put a folder there in the meantime"
awk -v b="$bytes" -v s="$start" -v e="$end" -v n="${#packages[@]}" \
  'BEGIN { printf "downloaded %d packages, %d bytes in %.1f s\n", n, b, e - s }'
