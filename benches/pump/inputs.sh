#!/bin/sh
# inputs.sh TREES DIR: makes DIR/NAME/jobs for git and libtorrent, one line for each compile: folder, source, words,
# separated by tabs. Sources come from Debian, below TREES; copies in DIR are built, with a compiler that only takes notes.
set -eu
trees=$(realpath -m "${1:?usage: inputs.sh TREES DIR}")
dir=$(realpath -m "${2:?usage: inputs.sh TREES DIR}")
tests=$(dirname "$(readlink -f "$0")")/../../tests
"$tests/fetch-trees" "$trees" git libtorrent-rasterbar >&2
mkdir -p "$dir"

git() {
    NOTES=$dir/git/jobs make -s -k -C git objects CC="$tests/note-compile gcc" CFLAGS='-O2 -Wall' NO_CURL=1 NO_EXPAT=1 \
        NO_GETTEXT=1 NO_TCLTK=1 NO_PERL=1 NO_PYTHON=1 NO_OPENSSL=1
}
libtorrent_rasterbar() {
    cmake -S libtorrent-rasterbar -B libtorrent-rasterbar/build -DCMAKE_BUILD_TYPE=Release -Dencryption=OFF \
        -DCMAKE_CXX_COMPILER_LAUNCHER="$tests/note-compile"
    NOTES=$dir/libtorrent-rasterbar/jobs make -s -k -C libtorrent-rasterbar/build torrent-rasterbar
}
cd "$dir"
for name in git libtorrent-rasterbar; do
    [ -e "$name/.noted" ] && continue
    rm -rf "$name"
    cp -r "$trees/$name" "$name"
    rm -f "$name/jobs" # Left there by an older version of this.
    "$(echo "$name" | tr - _)" >"$dir/$name.log" 2>&1 || true
    [ -s "$name/jobs" ]
    touch "$name/.noted"
done
