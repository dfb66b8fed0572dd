//! How much memory there is for one more job: on the machine, and in the control groups that we are in, of both versions.
//! Reads what the kernel says; decides nothing.

use std::fs;
use std::path::{Path, PathBuf};

/// Where the kernel says it.
#[derive(Debug)]
pub struct Memory {
    root: PathBuf,
    groups: Vec<Group>,
}

/// A control group with a limit on memory, as its files say.
#[derive(Debug)]
struct Group {
    folder: PathBuf,
    names: &'static Names,
}

/// What the files are called, and the lines about memory that is given back when it is needed: files that are kept, also those
/// that were read more than once, and what is remembered of them.
#[derive(Debug)]
struct Names {
    limits: &'static [&'static str],
    used: &'static str,
    spare: &'static [&'static str],
}

const VERSION_1: Names = Names {
    limits: &["memory.limit_in_bytes"],
    used: "memory.usage_in_bytes",
    spare: &["total_inactive_file ", "total_active_file "],
};

const VERSION_2: Names = Names {
    limits: &["memory.max", "memory.high"],
    used: "memory.current",
    spare: &["inactive_file ", "active_file ", "slab_reclaimable "],
};

/// What there is, in bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Room {
    /// Of the machine, or of the group with the least left.
    pub total: u64,
    /// What more could be used of that.
    pub left: u64,
}

impl Memory {
    /// Finds out in which groups we are; `root` is `/` but in tests.
    pub fn find(root: &Path) -> Memory {
        let text = fs::read_to_string(root.join("proc/self/cgroup")).unwrap_or_default();
        let mut groups = Vec::new();
        for line in text.lines() {
            let fields: Vec<&str> = line.splitn(3, ':').collect();
            let [_, controllers, path] = fields[..] else {
                continue;
            };
            let (mount, names) = match controllers {
                "" => ("sys/fs/cgroup", &VERSION_2),
                _ if controllers.split(',').any(|name| name == "memory") => {
                    ("sys/fs/cgroup/memory", &VERSION_1)
                }
                _ => continue,
            };
            // In a container the path may be the host's; then only the top is to be seen.
            let inside = Path::new(path.trim_start_matches('/'));
            groups.extend(inside.ancestors().map(|inside| Group {
                folder: root.join(mount).join(inside),
                names,
            }));
        }
        groups.retain(|group| group.folder.join(group.names.used).exists());
        Memory {
            root: root.to_owned(),
            groups,
        }
    }

    /// The tightest of all that limit us; `None` if the kernel does not say.
    pub fn room(&self) -> Option<Room> {
        let text = fs::read_to_string(self.root.join("proc/meminfo")).ok()?;
        let kilobytes = |name| number_after(&text, name).map(|count| count.saturating_mul(1024));
        let machine = Room {
            total: kilobytes("MemTotal:")?,
            left: kilobytes("MemAvailable:")?,
        };
        let rooms = self.groups.iter().filter_map(Group::room);
        rooms
            .filter(|room| room.total < machine.total)
            .chain([machine])
            .min_by_key(|room| room.left)
    }

    /// For how much of the last ten seconds somebody waited for memory, in percent; `None` if the kernel does not measure it.
    pub fn pressure(&self) -> Option<f32> {
        let text = fs::read_to_string(self.root.join("proc/pressure/memory")).ok()?;
        let some = text.lines().find_map(|line| line.strip_prefix("some "))?;
        let mut fields = some.split_whitespace();
        fields.find_map(|field| field.strip_prefix("avg10=")?.parse().ok())
    }
}

impl Group {
    fn room(&self) -> Option<Room> {
        let read = |name: &str| fs::read_to_string(self.folder.join(name)).ok();
        let number = |name: &str| read(name)?.trim().parse::<u64>().ok();
        let limits = self.names.limits.iter();
        let total = limits.filter_map(|name| number(name)).min()?;
        let used = number(self.names.used)?;
        let stat = read("memory.stat").unwrap_or_default();
        let spare = self.names.spare.iter();
        let spare = spare.filter_map(|name| number_after(&stat, name)).sum();
        let left = total.saturating_sub(used.saturating_sub(spare));
        Some(Room { total, left })
    }
}

/// The number in the line that begins with `name`.
fn number_after(text: &str, name: &str) -> Option<u64> {
    let rest = text.lines().find_map(|line| line.strip_prefix(name))?;
    rest.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn write(root: &Path, name: &str, text: &str) {
        let path = root.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    const MEGABYTE: u64 = 1 << 20;

    fn machine(root: &Path) {
        let text = "MemTotal:    8388608 kB\nMemFree:    4 kB\nMemAvailable:    2097152 kB\n";
        write(root, "proc/meminfo", text);
    }

    fn megabytes(root: &Path) -> Option<(u64, u64)> {
        let room = Memory::find(root).room();
        room.map(|room| (room.total / MEGABYTE, room.left / MEGABYTE))
    }

    #[test]
    fn the_machine_alone() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(megabytes(dir.path()), None);
        machine(dir.path());
        assert_eq!(megabytes(dir.path()), Some((8192, 2048)));
        assert!(Memory::find(Path::new("/")).room().is_some());
    }

    #[test]
    fn groups_of_version_2_at_every_level() {
        let dir = tempfile::tempdir().unwrap();
        machine(dir.path());
        let top = "sys/fs/cgroup";
        write(dir.path(), "proc/self/cgroup", "0::/system.slice/distccd\n");
        for (name, text) in [
            ("system.slice/memory.max", format!("{}\n", 1000 * MEGABYTE)),
            ("system.slice/memory.high", "max\n".to_owned()),
            (
                "system.slice/memory.current",
                format!("{}\n", 900 * MEGABYTE),
            ),
            (
                "system.slice/memory.stat",
                format!(
                    "anon 1\ninactive_file {}\nactive_file {}\nslab_reclaimable {}\n",
                    200 * MEGABYTE,
                    70 * MEGABYTE,
                    30 * MEGABYTE
                ),
            ),
            ("system.slice/distccd/memory.max", "max\n".to_owned()),
            ("system.slice/distccd/memory.current", "1\n".to_owned()),
        ] {
            write(dir.path(), &format!("{top}/{name}"), &text);
        }
        assert_eq!(megabytes(dir.path()), Some((1000, 400)));
        let high = format!("{}\n", 700 * MEGABYTE);
        write(
            dir.path(),
            &format!("{top}/system.slice/memory.high"),
            &high,
        );
        assert_eq!(megabytes(dir.path()), Some((700, 100)));
    }

    #[test]
    fn groups_of_version_1_also_if_the_path_is_the_hosts() {
        let dir = tempfile::tempdir().unwrap();
        machine(dir.path());
        let text = "4:cpu,cpuacct:/x\n5:memory:/docker/0123\n0::/\n";
        write(dir.path(), "proc/self/cgroup", text);
        let top = "sys/fs/cgroup/memory";
        let mut limit = 500 * MEGABYTE;
        for _ in 0..2 {
            write(
                dir.path(),
                &format!("{top}/memory.limit_in_bytes"),
                &format!("{limit}\n"),
            );
            let used = format!("{}\n", 450 * MEGABYTE);
            write(dir.path(), &format!("{top}/memory.usage_in_bytes"), &used);
            let found = megabytes(dir.path()).unwrap();
            // A limit above all that there is, is none.
            let expected = if limit == 500 * MEGABYTE {
                (500, 50)
            } else {
                (8192, 2048)
            };
            assert_eq!(found, expected);
            limit = 9_223_372_036_854_771_712;
        }
    }

    #[test]
    fn pressure_where_it_is_measured() {
        let dir = tempfile::tempdir().unwrap();
        let memory = Memory::find(dir.path());
        assert_eq!(memory.pressure(), None);
        let text = "some avg10=12.50 avg60=1.00 avg300=0.00 total=1\nfull avg10=3.00 avg60=0 avg300=0 total=0\n";
        write(dir.path(), "proc/pressure/memory", text);
        assert_eq!(memory.pressure(), Some(12.5));
    }
}
