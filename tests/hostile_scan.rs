//! Scanners and floods, packet by packet: half-open connections from made-up addresses, SYN scans, packets with odd flags, and
//! knocks from very many addresses. Two machines that the test makes; the next honest job is served, also while it goes on.
#![allow(clippy::unwrap_used)]

mod common;

use common::cable;

/// Lines of the log that all this may cost: the first times are named, then it is counted.
const LINES_MAX: usize = 250;

/// What may stay of memory, in KB.
const GROWTH_MAX: usize = 16 << 10;

/// Sends packets that no system's own calls would, from addresses that nobody has.
const ATTACK: &str = r##"
cat >attack.py <<'END'
import itertools, random, socket, struct, sys
FIN, SYN, RST, PSH, ACK, URG = 1, 2, 4, 8, 16, 32
THERE, PORT = "10.77.0.1", 3632
raw = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)
raw.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
def checksum(data):
    total = sum(struct.unpack("!%dH" % (len(data) // 2), data))
    while total >> 16:
        total = (total & 0xffff) + (total >> 16)
    return ~total & 0xffff
def send(source, from_port, port, flags, options=b""):
    source, target = socket.inet_aton(source), socket.inet_aton(THERE)
    sent, got = random.getrandbits(32), random.getrandbits(32) if flags & ACK else 0
    def tcp(check):
        return struct.pack("!HHIIBBHHH", from_port, port, sent, got, (20 + len(options)) // 4 << 4, flags, 64240, check, 0) + options
    check = checksum(source + target + struct.pack("!HH", 6, 20 + len(options)) + tcp(0))
    head = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 40 + len(options), 0, 0, 64, 6, 0, source, target)
    raw.sendto(head + tcp(check), (THERE, 0))
def half(count):
    for number in range(count):
        send("10.79.%d.%d" % (number >> 8 & 255, number & 255), 1024 + number % 60000, PORT, SYN, b"\x02\x04\x05\xb4")
def scan():
    for port in range(1, 6000):
        send("10.77.0.2", 40000 + port % 20000, port, SYN)
    for number in range(500):
        send("10.77.0.2", 30000 + number, PORT, SYN)
    odd = [0, FIN, ACK, FIN | PSH | URG, SYN | FIN, SYN | RST, RST, RST | ACK, 63, SYN | ACK]
    for flags, options in itertools.product(odd, [b"", b"\x02\x00\x00\x00", b"\x08\xff\xff\xff", b"\xff" * 40, b"\x01" * 40]):
        for number in range(20):
            send("10.77.0.2", 20000 + number, PORT, flags, options)
def knock(count, sources):
    words = [b"", b"D", b"DIST00000001", b"GET / HTTP/1.0\r\n\r\n", b"\x16\x03\x01\x02\x00\x01", b"\0" * 4000, b"DIST00000001ARGCffffffff"]
    for number in range(count):
        knocking = socket.socket()
        knocking.settimeout(20)
        knocking.bind((sources % (64 + number % 60), 0))
        try:
            knocking.connect((THERE, PORT))
            knocking.sendall(words[number % len(words)])
        except OSError:
            pass # It is refused in the middle.
        if number % 2:
            knocking.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        knocking.close()
what, *count = sys.argv[1:]
if what == "half": half(int(count[0]))
if what == "scan": scan()
if what == "knock": knock(int(count[0]), "10.77.0.%d" if count[1] == "allowed" else "10.78.0.%d")
END
there ip addr add 10.77.0.200/24 dev v1
for net in 10.77.0.64/26 10.78.0.64/26; do there ip route add local $net dev lo; done
ip route add default via 10.77.0.200
gcc -c -x c - -o local.o <<<'int a;'
echo 'int a;' >x.c
distccd --daemon --no-detach --listen 10.77.0.1 --allow 10.77.0.0/24 --jobs 2 --compilers gcc,$(gcc -dumpmachine)-gcc \
    --lifetime 300 --log-file $PWD/log --nice 0 & daemon=$!
wait_for has 'listening on' log
honest() {
    rm -f x.o
    DISTCC_HOSTS=10.77.0.1 DISTCC_FALLBACK=0 DISTCC_BACKOFF_PERIOD=0 there distcc gcc -c x.c -o x.o && cmp -n 16 local.o x.o && echo "HONEST $1"
}
files() { ls /proc/$daemon/fd | wc -l; }
few_files() { [ $(files) -le $few ]; }
status() { awk -v name=$1: '$1 == name { print $2 }' /proc/$daemon/status; }
numbers() { echo "$1 $(status VmRSS) $(files) $(status Threads) $(grep -vc COMPILE_OK log)"; }
for job in 1 2 3 4; do honest first; done
few=$(files)
numbers BEFORE
there python3 attack.py half 30000 & flood=$!
half_open() { awk '$4 == "03"' /proc/net/tcp; }
is_flooded() { [ $(half_open | wc -l) -gt 500 ]; }
wait_for is_flooded
honest flooded
wait $flood || echo FAILED half
echo HALF-OPEN $(half_open | wc -l)
honest half-open
there python3 attack.py scan || echo FAILED scan
honest scanned
there python3 attack.py knock 1500 refused || echo FAILED knock
there python3 attack.py knock 3000 allowed || echo FAILED knock
honest knocked
wait_for few_files
numbers AFTER
kill $daemon
wait $daemon
echo ENDED $?
"##;

#[test]
fn floods_scans_and_knocks_are_survived() {
    let needed = ["/usr/bin/python3", "awk", "cmp"];
    let Some(ran) = cable::script("hostile_scan", &[ATTACK], &needed) else {
        return;
    };
    let line = |name: &str| {
        let found = ran
            .stdout
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        found.unwrap_or_else(|| panic!("no {name}: {ran}"))
    };
    for when in ["first", "flooded", "half-open", "scanned", "knocked"] {
        assert!(
            ran.stdout.contains(&format!("HONEST {when}\n")),
            "{when}: {ran}"
        );
    }
    assert!(!ran.stdout.contains("FAILED"), "{ran}");
    assert_eq!(line("ENDED"), "143", "{ran}"); // By SIGTERM, which was ours.
    let numbers = |name| -> Vec<usize> {
        let words = line(name).split(' ');
        words.map(|word| word.parse().unwrap()).collect()
    };
    assert!(numbers("HALF-OPEN")[0] > 500, "{ran}");
    let [before, after] = [numbers("BEFORE"), numbers("AFTER")];
    let [(memory, more), (files, left), (threads, now), (_, lines)] =
        [0, 1, 2, 3].map(|at| (before[at], after[at]));
    assert!(more.saturating_sub(memory) < GROWTH_MAX, "{ran}");
    assert!(left <= files, "{ran}");
    assert_eq!(now, threads, "{ran}");
    assert!(lines < LINES_MAX, "{ran}");
}
