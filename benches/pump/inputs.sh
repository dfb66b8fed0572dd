#!/bin/sh
# inputs.sh DIR: makes DIR/NAME/jobs for git and libtorrent, one line for each compile: folder, source, words, separated
# by tabs. Sources come from Debian; the builds run with a compiler that only takes notes.
set -eu
dir=$(realpath -m "${1:?usage: inputs.sh DIR}")
here=$(dirname "$(readlink -f "$0")")
"$here/../../tests/fetch-trees" "$dir" git libtorrent-rasterbar >&2

mkdir -p "$dir/notes"
cat >"$dir/notes/note" <<'N'
#!/bin/bash
# note COMPILER WORDS…: notes a compile, and leaves an empty object; anything else is run.
output= source= compiles=
words=()
previous=
for word in "${@:2}"; do
    case $previous in
        -o) output=$word ;;
        -MF | -MT | -MQ) ;;
        *) case $word in
            -c) compiles=1 ;;
            -o | -MF | -MT | -MQ | -MD | -MMD | -MP) ;;
            *.c | *.cc | *.cpp) source=$word words+=("$word") ;;
            *) words+=("$word") ;;
        esac ;;
    esac
    previous=$word
done
if [[ -z $compiles || -z $output || -z $source ]]; then exec "$@"; fi
: >"$output"
{ printf '%s\t%s\t%s' "$PWD" "$source" "${1##*/}"; printf '\t%s' "${words[@]}"; echo; } >>"$NOTES"
N
chmod +x "$dir/notes/note"

git() {
    make -s -k -C git objects CC="$dir/notes/note gcc" CFLAGS='-O2 -Wall' NO_CURL=1 NO_EXPAT=1 NO_GETTEXT=1 NO_TCLTK=1 \
        NO_PERL=1 NO_PYTHON=1 NO_OPENSSL=1
}
libtorrent_rasterbar() {
    cmake -S libtorrent-rasterbar -B libtorrent-rasterbar/build -DCMAKE_BUILD_TYPE=Release -Dencryption=OFF \
        -DCMAKE_CXX_COMPILER_LAUNCHER="$dir/notes/note"
    make -s -k -C libtorrent-rasterbar/build torrent-rasterbar
}
cd "$dir"
for name in git libtorrent-rasterbar; do
    [ -e "$name/jobs" ] && continue
    NOTES=$dir/$name/jobs.part
    export NOTES
    rm -f "$NOTES"
    "$(echo "$name" | tr - _)" >"$dir/$name.log" 2>&1 || true
    mv "$NOTES" "$name/jobs"
done
