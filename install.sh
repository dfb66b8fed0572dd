#!/bin/sh
# Installs distcc below a prefix, or removes it again: the program, a link for each role, the masquerade directory
# with a link for each compiler of this machine, man pages, completions for shells, and units for systemd. What was
# installed is written down in PREFIX/share/distcc/manifest, and only that is ever replaced or removed.
set -eu
umask 022

usage() {
    cat <<'END'
Usage: ./install.sh [OPTION]…

  --prefix DIR   install below DIR (default: /usr/local)
  --user         install below ~/.local; needs no root
  --binary FILE  install this program instead of building one with cargo
  --build-only   build the program, for an installation by somebody who has no cargo, and install nothing
  --force        also replace, or remove, files that are not known to be ours
  --no-systemd   install no units for systemd; they are anyway only if systemd is here and the prefix is /usr or /usr/local
  --dry-run      say what would be written and removed, and change nothing
  --for-package  for those who make packages: units for systemd in any case, no links for compilers, no manifest
  --uninstall    remove what was installed below the prefix
  --help         show this

DESTDIR, if set, is put in front of every path that is written to.
END
}

fail() {
    echo "install.sh: $*" >&2
    exit 1
}

# A tab and a newline, which no path of ours may hold: the manifest could not be read back.
tab=$(printf '\t')
newline='
'

here=$(cd "$(dirname "$0")" && pwd)
prefix=/usr/local
binary=
force=false
uninstall=false
dry_run=false
for_package=false
build_only=false
systemd=true
while [ $# -gt 0 ]; do
    case $1 in
    --prefix=*) prefix=${1#*=} ;;
    --binary=*) binary=${1#*=} ;;
    --prefix | --binary)
        [ $# -gt 1 ] || fail "$1 needs a value"
        case $1 in
        --prefix) prefix=$2 ;;
        --binary) binary=$2 ;;
        esac
        shift
        ;;
    --user) prefix=${HOME:?--user needs HOME to be set}/.local ;;
    --force) force=true ;;
    --uninstall) uninstall=true ;;
    --dry-run) dry_run=true ;;
    --for-package) for_package=true ;;
    --build-only) build_only=true ;;
    --no-systemd) systemd=false ;;
    --help | -h)
        usage
        exit 0
        ;;
    *) fail "unknown option $1; --help lists what there is" ;;
    esac
    shift
done
if $build_only && { $uninstall || [ -n "$binary" ]; }; then
    fail "--build-only goes with neither --binary nor --uninstall"
fi
case $prefix in
*"$tab"* | *"$newline"*) fail "the prefix must not hold tabs or newlines" ;;
/*) ;;
*) fail "the prefix must be an absolute path, not '$prefix'" ;;
esac
prefix=${prefix%/}
case ${DESTDIR:-} in
"" | /*) ;;
*) DESTDIR=$PWD/$DESTDIR ;;
esac
root=${DESTDIR:-}$prefix
case $root in
*"$tab"* | *"$newline"*) fail "DESTDIR must not hold tabs or newlines" ;;
esac
manifest=$root/share/distcc/manifest

# The manifest: one line for each thing, KIND TAB WHAT TAB PATH-BELOW-THE-PREFIX.
#   dir   -         a directory that was not there before
#   file  checksum  a file, and what it held when it was written
#   link  target    a symbolic link, and where it led
#   above -         a directory above the prefix that was not there before; its whole path

checksum() {
    cksum <"$1" | tr ' ' '-'
}

# Whether the thing at this path is still what the manifest says.
unchanged() { # KIND WHAT PATH
    case $1 in
    file) [ -f "$root/$3" ] && [ ! -L "$root/$3" ] && [ "$(checksum "$root/$3")" = "$2" ] ;;
    link) [ -L "$root/$3" ] && [ "$(readlink "$root/$3")" = "$2" ] ;;
    dir) [ -d "$root/$3" ] ;;
    esac
}

exists() {
    [ -e "$1" ] || [ -L "$1" ]
}

# Does what it is told, or only says it.
run() { # COMMAND…
    if $dry_run; then
        echo "would run: $*"
    else
        "$@"
    fi
}

# Removes all that the old manifest names and the new one does not: files first, then directories from the inside out.
remove_old() { # OLD-MANIFEST NEW-MANIFEST
    while IFS=$tab read -r kind what path; do
        case $kind in
        dir | above) continue ;;
        esac
        if names "$2" "$path" || ! exists "$root/$path"; then
            continue
        elif unchanged "$kind" "$what" "$path" || $force; then
            run rm -f "$root/$path"
        else
            echo "install.sh: $root/$path has been changed since it was installed: left alone" >&2
        fi
    done <"$1"
    ! $dry_run || return 0
    sed -n "s/^dir$tab-$tab//p" "$1" | sort -r | while IFS= read -r path; do
        path=$root/$path
        names "$2" "${path#"$root/"}" || rmdir "${path%/.}" 2>/dev/null || :
    done
    sed -n "s/^above$tab-$tab//p" "$1" | sort -r | while IFS= read -r path; do
        names "$2" "$path" || rmdir "$path" 2>/dev/null || :
    done
}

# Whether a manifest has a line for this path.
names() { # MANIFEST PATH
    while IFS=$tab read -r _ _ known; do
        [ "$known" != "$2" ] || return 0
    done <"$1"
    return 1
}

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'exit 1' HUP INT PIPE TERM
old=$work/old
new=$work/new
: >"$new"
if [ -f "$manifest" ]; then
    cp "$manifest" "$old"
else
    : >"$old"
fi

# Whether systemd runs here, and would find units below the prefix.
systemd_sees_prefix() {
    [ -z "${DESTDIR:-}" ] && [ -d /run/systemd/system ] && case $prefix in
    /usr | /usr/local) true ;;
    *) false ;;
    esac
}

if $uninstall; then
    [ -f "$manifest" ] || fail "nothing to remove: there is no $manifest"
    if systemd_sees_prefix && names "$old" lib/systemd/system/distccd.service; then
        run systemctl disable --now distccd.service distccd.socket || :
    fi
    # Links that update-distcc-symlinks has made since.
    for link in "$root"/lib/distcc/*; do
        if [ "$(readlink "$link")" = ../../bin/distcc ] && ! names "$old" "lib/distcc/${link##*/}"; then
            run rm -f "$link"
        fi
    done
    run rm -f "$manifest"
    remove_old "$old" "$new"
    if $dry_run; then
        exit 0
    fi
    ! systemd_sees_prefix || systemctl daemon-reload || :
    echo "distcc has been removed from $root"
    exit 0
fi

build_failed() {
    if [ -x "$binary" ]; then
        fail "the build failed, see above; --binary '$binary' installs the program that an earlier one has made"
    fi
    fail "the build failed, see above"
}

# Which program to install. A dry run builds none.
is_built=true
if [ -z "$binary" ]; then
    folder=${CARGO_TARGET_DIR:-target}
    case $folder in
    /*) ;;
    *) folder=$here/$folder ;; # As cargo takes it, which is run there.
    esac
    triple=$("$here/packaging/target" $($dry_run && echo --look))
    binary=$folder/${triple:+$triple/}release/distcc
    if command -v cargo >/dev/null 2>&1; then
        if $dry_run; then
            [ -x "$binary" ] || is_built=false
        else
            (cd "$here" && cargo build --release --locked ${triple:+--target "$triple"}) || build_failed
            touch "$binary" # The last build, also if there was nothing to do.
        fi
    else
        ! $build_only || $dry_run || fail "there is no cargo to build with (Rust: https://rustup.rs)"
        # What somebody else has built, as with sudo: the target that is named, or the last of all.
        [ -n "${CARGO_BUILD_TARGET:-}" ] ||
            binary=$(ls -t "$folder"/release/distcc "$folder"/x86_64-unknown-linux-musl/release/distcc 2>/dev/null | head -n 1)
        if [ ! -x "$binary" ]; then
            is_built=false
            what="program that it has built${CARGO_BUILD_TARGET:+ for $CARGO_BUILD_TARGET}"
            $dry_run || fail "there is neither cargo nor a $what; run './install.sh --build-only' first (Rust: https://rustup.rs)"
            binary=$folder/release/distcc
        fi
    fi
fi
if $is_built && { [ ! -f "$binary" ] || [ ! -x "$binary" ]; }; then
    fail "$binary is not a program"
fi

if $build_only; then
    $is_built && echo "$binary is ready; ./install.sh installs it" || echo "would build $binary"
    exit 0
fi

# What is to be installed, SOURCE TAB PATH, and the new manifest for it.
plan=$work/plan
: >"$plan"

want_file() { # SOURCE PATH
    want_directory "${2%/*}"
    printf '%s\t%s\n' "$1" "$2" >>"$plan"
    sum=unknown # Of what a dry run has not built.
    [ ! -f "$1" ] || sum=$(checksum "$1")
    printf 'file\t%s\t%s\n' "$sum" "$2" >>"$new"
}

want_link() { # TARGET PATH
    want_directory "${2%/*}"
    printf 'link\t%s\t%s\n' "$1" "$2" >>"$new"
}

# Writes down each level of a directory that is not there yet, or that an earlier run has made.
want_directory() { # PATH
    case $1 in
    */*) want_directory "${1%/*}" ;;
    .) ;;
    *) want_directory . ;;
    esac
    if ! names "$new" "$1" && { [ ! -d "$root/$1" ] || names "$old" "$1"; }; then
        printf 'dir\t-\t%s\n' "$1" >>"$new"
    fi
}

# Writes down the directories above the prefix that are not there yet, or that an earlier run has made.
want_above() { # DIRECTORY
    case $1 in
    */?*) ;;
    *) return 0 ;;
    esac
    want_above "${1%/*}"
    if [ ! -d "$1" ] || names "$old" "$1"; then
        printf 'above\t-\t%s\n' "$1" >>"$new"
    fi
}

# The compilers of this machine, by name. The program itself knows what is one.
compilers() {
    ln -sf "$(readlink -f "$binary")" "$work/update-distcc-symlinks"
    "$work/update-distcc-symlinks" --list || fail "$binary does not run here"
}

# A unit for systemd, with our own prefix in it.
want_unit() { # FILE
    sed "s|/usr/local/bin/|$prefix/bin/|g" "$here/packaging/systemd/$1" >"$work/$1"
    want_file "$work/$1" "lib/systemd/system/$1"
}

want_above "${root%/*}"
$for_package || want_directory share/distcc
want_file "$binary" bin/distcc
for role in distcc-include_server distcc-pump distccd distccmon-text include_server lsdistcc pump \
    update-distcc-symlinks; do
    want_link distcc "bin/$role"
done
for page in "$here"/man/*.[1-8]; do
    [ ! -f "$page" ] || want_file "$page" "share/man/man${page##*.}/${page##*/}"
done
for role in include_server pump; do # Debian's names for them.
    want_link "$role.1" "share/man/man1/distcc-$role.1"
done
want_file "$here/packaging/completions/distcc.bash" share/bash-completion/completions/distcc
for name in distcc-pump distccd distccmon-text include_server distcc-include_server lsdistcc pump update-distcc-symlinks; do
    want_link distcc "share/bash-completion/completions/$name"
done
want_file "$here/packaging/completions/_distcc" share/zsh/site-functions/_distcc
want_file "$here/packaging/completions/distcc.fish" share/fish/vendor_completions.d/distcc.fish
for file in "$here/packaging/distccd.conf" "$here/README.md"; do
    want_file "$file" "share/doc/distcc/${file##*/}"
done
if $for_package || { $systemd && systemd_sees_prefix; }; then
    want_unit distccd.service
    want_unit distccd.socket
fi
if $for_package; then
    want_directory lib/distcc
elif ! $is_built; then
    echo "would build $binary, which knows the compilers of this machine, and link each in $root/lib/distcc"
    grep -F "${tab}lib/distcc/" "$old" >>"$new" || : # Which of them would go is not known.
else
    names=$(compilers)
    for name in $names; do # No name of a compiler holds a blank.
        want_link ../../bin/distcc "lib/distcc/$name"
    done
fi

# Nothing is written before it is sure that nothing of anybody else's is in the way.
grep -E '^(file|link)' "$new" | while IFS=$tab read -r _ _ path; do
    if exists "$root/$path" && ! names "$old" "$path" && ! $force; then
        fail "$root/$path is there already and not ours; remove it, choose another --prefix, or use --force"
    fi
done

if $dry_run; then
    grep -E '^(file|link)' "$new" | while IFS=$tab read -r kind what path; do
        if unchanged "$kind" "$what" "$path"; then
            continue
        elif [ "$kind" = file ]; then
            echo "would write $root/$path"
        else
            echo "would link $root/$path to $what"
        fi
    done
    remove_old "$old" "$new"
    exit 0
fi

# The manifest comes first, so that a run that breaks off can be repeated, or undone by --uninstall.
if $for_package; then
    manifest=$work/manifest
elif ! mkdir -p "$root/share/distcc" || ! cat "$old" "$new" >"$manifest"; then
    fail "cannot write below $root; --user installs below ~/.local and needs no root"
fi
sed -n "s/^dir$tab-$tab//p" "$new" | while IFS= read -r path; do
    mkdir -p "$root/$path"
done
while IFS=$tab read -r source path; do
    # Under a temporary name first, then renamed: the old program may be running.
    cp "$source" "$work/copy"
    case $path in
    bin/*) chmod 755 "$work/copy" ;;
    *) chmod 644 "$work/copy" ;;
    esac
    cp -p "$work/copy" "$root/$path.new"
    mv -f "$root/$path.new" "$root/$path"
done <"$plan"
grep '^link' "$new" | while IFS=$tab read -r _ target path; do
    rm -f "$root/$path"
    ln -s "$target" "$root/$path"
done
remove_old "$old" "$new"
cp "$new" "$manifest"
! $for_package || exit 0

# Whether this name means what has been installed. With DESTDIR that is not there yet, but its path is known.
means_ours() { # NAME
    found=$(command -v "$1") && [ "${found%/*}" = "$prefix/bin" ]
}

path=$prefix/lib/distcc
other=
if ! means_ours distcc || ! means_ours pump; then
    path=$path:$prefix/bin
    found=$(command -v distcc) || found=
    case $found in
    "" | "$prefix"/*) ;;
    *) other=" ($found would come first otherwise)" ;;
    esac
fi

# A word as a shell reads it.
quoted() { # WORD
    case $1 in
    *[!A-Za-z0-9_./:@%+=,-]*) printf '%s' "$1" | sed "s/'/'\\\\''/g; 1s/^/'/; \$s/\$/'/" ;;
    *) printf '%s' "$1" ;;
    esac
}

staying=
if names "$new" lib/systemd/system/distccd.service; then
    staying="
So that it stays: options in /etc/distcc/distccd.conf (see $prefix/share/doc/distcc/distccd.conf), then
    systemctl daemon-reload && systemctl enable --now distccd.socket distccd.service"
fi
cat <<END
distcc is installed in $prefix/bin; its links for compilers are in $prefix/lib/distcc.

On each machine that is to compile for others (10.0.0.0/24: who may use it):
    $(quoted "$prefix/bin/distccd") --daemon --allow 10.0.0.0/24$staying

On each machine that builds$other:
    export PATH=$(quoted "$path"):"\$PATH"
    export DISTCC_HOSTS='localhost/2 SERVER/8,lzo'
    make -j10
In pump mode, where the servers preprocess, too:
    export DISTCC_HOSTS='SERVER/8,cpp,lzo'
    pump make -j10

If compilers are installed later: $(quoted "$prefix/bin/update-distcc-symlinks"), for their links.
To remove it: ${DESTDIR:+DESTDIR=$(quoted "$DESTDIR") }./install.sh --prefix $(quoted "$prefix") --uninstall
END
