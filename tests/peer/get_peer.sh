#!/bin/sh
# Fetches llama.cpp v0.5.0's prebuilt libraries into $VERDANT_HOME/peer, for tests and benchmarks
# that compare with it. They lie in the npm package @node-llama-cpp/linux-x64; npm checks its hash.
# Nothing of it is linked into Verdant. Does nothing when they are there already. Status 77 where
# there is nothing to fetch.
set -eu

version=3.22.1
home="${VERDANT_HOME:-${XDG_DATA_HOME:-$HOME/.local/share}/verdant}"
peer="$home/peer"
[ "$(uname -m)" = x86_64 ] || { echo "get_peer: none prebuilt for $(uname -m)" >&2; exit 77; }
if [ -e "$peer/libllama.v0.5.0.so" ]; then
    echo "$peer"
    exit 0
fi
command -v npm >/dev/null || { echo "get_peer: npm is missing (apt-get install npm)" >&2; exit 1; }

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
(cd "$work" && npm pack --silent "@node-llama-cpp/linux-x64@$version" >/dev/null && tar xzf ./*.tgz)
bins="$work/package/bins/linux-x64"
if [ ! -e "$bins/libllama.v0.5.0.so" ]; then
    echo "get_peer: the package holds no libllama.v0.5.0.so" >&2
    exit 1
fi
mkdir -p "$home"
rm -rf "$peer.part"
cp -r "$bins" "$peer.part"
mv "$peer.part" "$peer"
echo "$peer"
