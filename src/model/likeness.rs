//! Whether a host's compiler is the one that is here, told by what it makes of a small source: that holds the compiler's
//! version, its target and the time in a string, which is read back from the object. Also tells how a host's clock goes.

/// What stands before and after what the compiler says of itself.
const BEGIN: &[u8] = b"distcc-doctor{";
const END: u8 = b'}';

/// What stands before the time, which is the end of the string.
const TIME: &str = ";time=";

/// Longest string that is looked at.
const TEXT_BYTES_MAX: usize = 1024;

/// Clocks are compared within this: what time zones differ by is a multiple of it, in seconds.
const ZONES_S: i64 = 15 * 60;

/// No two time zones differ by more, in seconds.
const ZONES_APART_MAX_S: i64 = 27 * 3600;

/// The source. It includes nothing, so any compiler can compile it.
pub const SOURCE: &str = concat!(
    "#define TEXT_OF(x) #x\n#define TEXT(x) TEXT_OF(x)\n",
    "#if defined __x86_64__\n#define CPU \"x86_64\"\n#elif defined __i386__\n#define CPU \"i386\"\n",
    "#elif defined __aarch64__\n#define CPU \"aarch64\"\n#elif defined __arm__\n#define CPU \"arm\"\n",
    "#elif defined __riscv\n#define CPU \"riscv\"\n#elif defined __powerpc__\n#define CPU \"powerpc\"\n",
    "#elif defined __s390__\n#define CPU \"s390\"\n#elif defined __mips__\n#define CPU \"mips\"\n",
    "#elif defined __loongarch__\n#define CPU \"loongarch\"\n#elif defined __sparc__\n#define CPU \"sparc\"\n",
    "#else\n#define CPU \"another processor\"\n#endif\n",
    "#if defined __linux__\n#define SYSTEM \"linux\"\n#elif defined _WIN32\n#define SYSTEM \"windows\"\n",
    "#elif defined __APPLE__\n#define SYSTEM \"darwin\"\n#elif defined __FreeBSD__\n#define SYSTEM \"freebsd\"\n",
    "#else\n#define SYSTEM \"no system\"\n#endif\n",
    "extern const char distcc_doctor[];\nconst char distcc_doctor[] = \"distcc-doctor{\" __VERSION__ \";\"\n",
    "  CPU \", \" SYSTEM \", pointers of \" TEXT(__SIZEOF_POINTER__) \" bytes, byte order \" TEXT(__BYTE_ORDER__)\n",
    "  \";time=\" __DATE__ \" \" __TIME__ \"}\";\n",
);

/// What a compiler has said of itself in an object.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Likeness {
    /// `12.2.0`
    pub version: String,
    /// `x86_64, linux, pointers of 8 bytes, byte order 1234`
    pub target: String,
    /// When it was compiled, as seconds since 1970 if the clock shows UTC.
    pub seconds: Option<i64>,
    /// The object without the time.
    rest: Vec<u8>,
}

impl Likeness {
    /// Reads it from an object; `None` if it is not there.
    pub fn of(object: &[u8]) -> Option<Likeness> {
        let begin = memchr::memmem::find(object, BEGIN)? + BEGIN.len();
        let text = object.get(begin..)?;
        let end = memchr::memchr(END, text.get(..TEXT_BYTES_MAX.min(text.len()))?)?;
        let text = std::str::from_utf8(text.get(..end)?).ok()?;
        let (said, time) = text.rsplit_once(TIME)?;
        let (version, target) = said.rsplit_once(';')?;
        let at = begin + said.len() + TIME.len();
        let rest = [object.get(..at)?, object.get(begin + end..)?].concat();
        Some(Likeness {
            version: version.to_owned(),
            target: target.to_owned(),
            seconds: seconds(time),
            rest,
        })
    }

    /// Whether both are of one version and for one target.
    pub fn is_of(&self, other: &Likeness) -> bool {
        (&self.version, &self.target) == (&other.version, &other.target)
    }

    /// Whether the objects are the same, but for the time.
    pub fn is_equal_to(&self, other: &Likeness) -> bool {
        self.rest == other.rest
    }

    /// By how many seconds the clock that this was compiled by is ahead of one that showed `now`, seconds since 1970. If
    /// its time zone is not known, as far as no time zone explains it.
    pub fn ahead(&self, now: i64, is_utc: bool) -> Option<i64> {
        let ahead = self.seconds? - now;
        match is_utc || ahead.abs() > ZONES_APART_MAX_S {
            true => Some(ahead),
            false => {
                let rest = ahead.rem_euclid(ZONES_S);
                Some(if rest > ZONES_S / 2 {
                    rest - ZONES_S
                } else {
                    rest
                })
            }
        }
    }
}

/// `Nov 30 2026 04:04:26`, as C has `__DATE__` and `__TIME__`.
fn seconds(time: &str) -> Option<i64> {
    const MONTHS: [&str; 12] = [
        "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
    ];
    let mut words = time.split_ascii_whitespace();
    let name = words.next()?;
    let month = MONTHS.iter().position(|known| *known == name)? as i64 + 1;
    let day: i64 = words.next()?.parse().ok()?;
    let year: i64 = words
        .next()?
        .parse()
        .ok()
        .filter(|year| (1970..9999).contains(year))?;
    let mut clock = words
        .next()?
        .split(':')
        .map(|part| part.parse::<i64>().ok());
    let (hour, minute, second) = (clock.next()??, clock.next()??, clock.next()??);
    if !(1..=31).contains(&day) || !(0..24).contains(&hour) || !(0..60).contains(&minute) {
        return None;
    }
    Some(((days(year, month, day) * 24 + hour) * 60 + minute) * 60 + second)
}

/// Days from 1970-01-01 to a date of the Gregorian calendar: years are taken to begin in March, so that the odd day is
/// their last.
fn days(year: i64, month: i64, day: i64) -> i64 {
    let (year, month) = match month > 2 {
        true => (year, month - 3),
        false => (year - 1, month + 9),
    };
    let in_year = (153 * month + 2) / 5 + day - 1;
    year * 365 + year / 4 - year / 100 + year / 400 + in_year - 719_468
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn object(version: &str, time: &str, more: &str) -> Vec<u8> {
        format!("\u{7f}ELF\0distcc-doctor{{{version};x86_64, linux;time={time}}}\0{more}")
            .into_bytes()
    }

    #[test]
    fn times_are_those_of_the_calendar() {
        for (time, expected) in [
            ("Jan  1 1970 00:00:00", Some(0)),
            ("Feb 29 2024 12:00:01", Some(1_709_208_001)),
            ("Nov 30 2026 04:04:26", Some(1_796_011_466)),
            ("Dec 31 1999 23:59:59", Some(946_684_799)),
            ("Mai  1 2026 00:00:00", None),
            ("May 32 2026 00:00:00", None),
            ("May  1 2026 00:00", None),
            ("", None),
        ] {
            assert_eq!(seconds(time), expected, "{time}");
        }
    }

    #[test]
    fn only_the_time_may_differ() {
        let one = Likeness::of(&object("12;2", "Nov 30 2026 04:04:26", "x")).unwrap();
        let later = Likeness::of(&object("12;2", "Dec  1 2026 04:04:26", "x")).unwrap();
        let odd = Likeness::of(&object("12;2", "Nov 30 2026 04:04:26", "y")).unwrap();
        let newer = Likeness::of(&object("13", "Nov 30 2026 04:04:26", "x")).unwrap();
        assert_eq!(
            (&one.version[..], &one.target[..]),
            ("12;2", "x86_64, linux")
        );
        assert!(one.is_of(&later) && one.is_equal_to(&later));
        assert!(one.is_of(&odd) && !one.is_equal_to(&odd));
        assert!(!one.is_of(&newer));
        for none in [
            &b""[..],
            b"distcc-doctor{",
            b"distcc-doctor{a;b}",
            b"distcc-doctor{\xff;;time=x}",
        ] {
            assert_eq!(Likeness::of(none), None);
        }
    }

    #[test]
    fn a_clock_is_judged_as_far_as_its_zone_is_known() {
        let noon = Likeness::of(&object("1", "Jan  2 1970 12:00:00", "")).unwrap();
        let now = (24 + 12) * 3600;
        for (now, is_utc, ahead) in [
            (now, true, 0),
            (now - 3600, true, 3600),
            (now - 3600, false, 0),
            (now - 3660, false, 60),
            (now + 3660, false, -60),
            (now + 30 * 3600, false, -30 * 3600),
        ] {
            assert_eq!(noon.ahead(now, is_utc), Some(ahead), "{now} {is_utc}");
        }
    }
}
