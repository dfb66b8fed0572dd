//! Daemons that announce themselves and clients that find them: ours with each other, and with avahi and stock's programs. All
//! of it in network namespaces that the tests make, two machines joined by a cable.
#![allow(clippy::unwrap_used)]

mod common;

use common::{cable, is_root};

/// Where what is found is written, and the helpers that find.
const FINDING: &str = r#"
found=$DISTCC_DIR/zeroconf/hosts
helpers() {
    for p in /proc/[0-9]*/cmdline; do
        case $(tr '\0' ' ' <$p) in "distcc-zeroconf browse $DISTCC_DIR"*) echo $p;; esac
    done 2>/dev/null
}
no_helper() { [ -z "$(helpers)" ]; }
"#;

/// Ours on both sides: found, used, listed, renamed, gone.
const OURS_ALONE: &str = r#"
distccd --daemon --no-detach --listen 10.77.0.1 --allow 10.77.0.0/24 --zeroconf --jobs 5 \
    --compilers gcc,x86_64-linux-gnu-gcc --lifetime 300 --log-file $PWD/log --nice 0 & daemon=$!
wait_for has 'zeroconf: announced as distcc@' log
there env DISTCC_HOSTS=localhost\ +zeroconf distcc --show-hosts
echo 'int a;' >x.c
DISTCC_HOSTS=+zeroconf DISTCC_FALLBACK=0 there distcc gcc -c x.c -o x.o && echo COMPILED
there lsdistcc +zeroconf
# Another machine of the same name.
mkfifo end
there distcc-zeroconf announce 4000 1 <end >second & exec 7>end
wait_for has 'is taken by another machine; now distcc@' second
wait_for has 10.77.0.2:4000/1 $found
exec 7>&-
wait_for has_not 10.77.0.2:4000/1 $found
kill $daemon
wait_for has_not 10.77.0.1:3632/5 $found
DISTCC_HOSTS=+zeroconf there distcc --show-hosts
echo 'HELPERS' $(helpers | wc -l)
rm -r $DISTCC_DIR
wait_for no_helper
echo ENDED
"#;

#[test]
fn a_daemon_is_found_used_and_forgotten() {
    let Some(ran) = cable::script("zeroconf", &[FINDING, OURS_ALONE], &[]) else {
        return;
    };
    let lines: Vec<&str> = ran.stdout.lines().collect();
    assert_eq!(lines.first(), Some(&"localhost"), "{ran}");
    assert_eq!(lines.get(1), Some(&"10.77.0.1:3632/5"), "{ran}");
    assert_eq!(lines.get(2), Some(&"COMPILED"), "{ran}");
    assert!(lines[3].starts_with("10.77.0.1"), "{ran}");
    assert_eq!(lines[4..], ["HELPERS 1", "ENDED"], "{ran}");
    let why = "+zeroconf has found no hosts";
    assert!(ran.stderr.contains(why), "{ran}");
}

/// A bus and an avahi of one's own on this machine; ours on the other, with which avahi shares nothing but the cable.
const WITH_AVAHI: &str = r#"
mount -t tmpfs none /run
mkdir -p /run/dbus /run/avahi-daemon
cat >bus.conf <<'END'
<busconfig><type>system</type><listen>unix:path=/run/dbus/system_bus_socket</listen><auth>EXTERNAL</auth>
<policy context="default"><allow send_destination="*" eavesdrop="true"/><allow eavesdrop="true"/><allow own="*"/>
<allow user="*"/></policy></busconfig>
END
dbus-daemon --config-file=$PWD/bus.conf --nofork --nopidfile 2>bus.log & bus=$!
wait_for test -S /run/dbus/system_bus_socket
printf '[server]\nhost-name=avahis\nallow-interfaces=v0\nuse-ipv6=no\n' >avahi.conf
avahi-daemon --no-rlimits --no-drop-root --no-chroot -f $PWD/avahi.conf >avahi.log 2>&1 & avahi=$!
wait_for has 'Server startup complete' avahi.log
nsenter --target $other --net distccd --daemon --no-detach --listen 10.77.0.2 --allow 10.77.0.0/24 --zeroconf --jobs 5 --enable-tcp-insecure \
    --lifetime 300 --log-file $PWD/log --nice 0 & daemon=$!
wait_for has 'zeroconf: announced as distcc@' log
machine=$(cc -dumpmachine) version=$(cc -dumpversion)
subtype=_$(echo $machine | tr A-Z a-z | tr -c 'a-z0-9\n' -)--$(echo $version | tr -c 'a-z0-9\n' -)._sub._distcc._tcp
seen() { avahi-browse -rtp $1 2>/dev/null | grep '^=' >seen.now; [ -s seen.now ]; }
wait_for seen $subtype
sed 's/^/BROWSED /' seen.now
# Stock's client finds ours.
DISTCC_DIR=$PWD/stock-top; mkdir $DISTCC_DIR
stock_finds() { DISTCC_HOSTS=+zeroconf /usr/bin/distcc --show-hosts 2>/dev/null | grep 10.77.0.2:3632/5; }
wait_for stock_finds
echo STOCK FINDS OURS
DISTCC_DIR=$PWD/top
kill $daemon; wait $daemon 2>/dev/null
# What avahi tells of, ours finds, if it has the same compiler.
avahi-publish -s distcc@same _distcc._tcp 4001 txtvers=1 cpus=3 jobs=x cc_version=$version cc_machine=$machine 2>/dev/null & one=$!
avahi-publish -s distcc@other _distcc._tcp 4002 txtvers=1 jobs=3 cc_version=0.9 cc_machine=$machine 2>/dev/null & two=$!
avahi-publish -s distcc@none _distcc._tcp 4003 txtvers=1 jobs=3 2>/dev/null & three=$!
DISTCC_HOSTS=localhost\ +zeroconf there distcc --show-hosts >/dev/null
wait_for has :4001/5 $found
TMPDIR=$PWD setpriv --reuid=65534 --regid=65534 --clear-groups /usr/bin/distccd --daemon --no-detach --listen 10.77.0.1 --port 4004 \
    --zeroconf --jobs 7 --enable-tcp-insecure --allow 10.77.0.0/24 --lifetime 300 --log-file $PWD/stock.log & stock=$!
wait_for has 10.77.0.1:4004/7 $found
sed 's/^/FOUND /' $found
kill $one $two $three $stock
wait_for has_not :4001/5 $found
wait_for has_not :4004/7 $found
rm -r $DISTCC_DIR
kill $avahi $bus
"#;

#[test]
fn avahi_and_stock_see_ours_and_are_seen() {
    let needed = [
        "avahi-daemon",
        "avahi-browse",
        "dbus-daemon",
        "/usr/bin/distccd",
    ];
    if !is_root() {
        return; // The bus and avahi want to be root's.
    }
    let Some(ran) = cable::script("zeroconf", &[FINDING, WITH_AVAHI], &needed) else {
        return;
    };
    let browsed = ran.stdout.lines().find(|line| line.starts_with("BROWSED "));
    let browsed = browsed.unwrap_or_else(|| panic!("{ran}"));
    for part in [
        ";v0;IPv4;distcc\\064",
        ";10.77.0.2;3632;",
        "\"txtvers=1\"",
        "\"jobs=5\"",
        "\"distcc=",
        "\"gnuhost=",
        "\"cc_version=",
        "\"cc_machine=",
    ] {
        assert!(browsed.contains(part), "no {part}: {ran}");
    }
    assert!(ran.stdout.contains("STOCK FINDS OURS"), "{ran}");
    let found = ran
        .stdout
        .lines()
        .filter_map(|line| line.strip_prefix("FOUND "));
    let found: Vec<&str> = found.filter(|line| !line.starts_with('#')).collect();
    assert_eq!(found, ["10.77.0.1:4001/5", "10.77.0.1:4004/7"], "{ran}");
}
