//! What each layer between a compiler and the machine costs by itself, in CPU time: the library's own functions, called in
//! children that are forked for it. So nothing has to be left out of a daemon to see what it costs.

use super::cost;
use super::{median, ms};
use distcc::os::apart;
use distcc::os::fence::{self, Renounced};
use distcc::os::limits::{self, Limits};
use distcc::os::namespace::{self, Seal};
use std::fs;
use std::os::fd::AsFd;
use std::path::Path;

/// A folder that there is on every machine and that the step may mount something over, in namespaces of its own.
const PLACE: &str = "/proc";

/// What is mounted in a job's own root.
const SHOWN: [&str; 8] = [
    "/usr",
    "/etc/alternatives",
    "/etc/ld.so.cache",
    "/etc/localtime",
    "/dev/null",
    "/dev/zero",
    "/dev/urandom",
    "/etc/os-release",
];

/// A step, what is done before that others pay for, and whether a daemon does it for each job. What a process can do again and
/// again is done ten times, so that not all that is measured is the start of processes.
struct Layer {
    name: &'static str,
    is_each: bool,
    before: fn(),
    step: fn(),
}

fn nothing() {}

fn in_namespaces() {
    namespace::leave().unwrap();
}

fn limits() {
    limits::set(&Limits {
        memory: 4 << 30,
        file: 4 << 30,
        open_files: 1024,
        cpu_seconds: 0,
        processes: 256,
    })
    .unwrap();
}

fn filter() {
    fence::renounce_calls(false).unwrap();
}

fn signals() {
    if let Some(renounced) = Renounced::put_together(None).unwrap() {
        renounced.give_up().unwrap();
    }
}

fn memory() {
    let folder = namespace::memory_folder(1 << 30, 400_000).unwrap();
    namespace::mount_folder(folder.as_fd(), Path::new(PLACE)).unwrap();
    namespace::unmount(Path::new(PLACE)).unwrap();
}

fn root() {
    let folder = namespace::memory_folder(1 << 30, 400_000).unwrap();
    namespace::mount_folder(folder.as_fd(), Path::new(PLACE)).unwrap();
    for (number, path) in SHOWN
        .iter()
        .filter(|path| Path::new(path).exists())
        .enumerate()
    {
        let place = Path::new(PLACE).join(number.to_string());
        match Path::new(path).is_dir() {
            true => fs::create_dir(&place).unwrap(),
            false => fs::write(&place, "").unwrap(),
        }
        namespace::bind(Path::new(path), &place, Seal::ReadOnly).unwrap();
    }
    namespace::unmount(Path::new(PLACE)).unwrap();
}

/// The first process of a process namespace, which ends at once.
fn first() {
    let child = apart::start_beside(&mut || 0).unwrap();
    apart::wait(child, None, None).unwrap();
}

const LAYERS: &[Layer] = &[
    Layer {
        name: "limits of memory, files and processes",
        is_each: true,
        before: nothing,
        step: limits,
    },
    Layer {
        name: "Landlock: signals and sockets of others",
        is_each: true,
        before: nothing,
        step: signals,
    },
    Layer {
        name: "a folder in memory, mounted and taken away",
        is_each: true,
        before: in_namespaces,
        step: memory,
    },
    Layer {
        name: "the same with the system's folders in it (pump jobs)",
        is_each: true,
        before: in_namespaces,
        step: root,
    },
    Layer {
        name: "namespaces of users, mounts and processes",
        is_each: false,
        before: nothing,
        step: in_namespaces,
    },
    Layer {
        name: "the first process of a process namespace",
        is_each: false,
        before: in_namespaces,
        step: first,
    },
    Layer {
        name: "seccomp: the filter of calls",
        is_each: false,
        before: nothing,
        step: filter,
    },
];

/// CPU milliseconds of a forked child that does this so many times, with all that is its.
fn cost_of(runs: usize, before: fn(), step: fn(), times: usize) -> f64 {
    let since = cost::of_children();
    for _ in 0..runs {
        let child = apart::start_beside(&mut || {
            before();
            (0..times).for_each(|_| step());
            0
        })
        .unwrap();
        apart::wait(child, None, None).unwrap();
    }
    ms(cost::of_children() - since) / runs as f64
}

/// Prints a row for each layer. To be called while this process has one thread.
pub fn print(rounds: usize, runs: usize) {
    println!("\n| layer, CPU | for each job | once for many jobs |\n|---|---:|---:|");
    for layer in LAYERS {
        let taken = (0..rounds).map(|_| {
            let times = if layer.is_each { 10 } else { 1 };
            let whole = cost_of(runs, layer.before, layer.step, times);
            (whole - cost_of(runs, layer.before, nothing, 1)) / times as f64
        });
        let cell = format!("{:.3} ms", median(taken.collect()));
        match layer.is_each {
            true => println!("| {} | {cell} | |", layer.name),
            false => println!("| {} | | {cell} |", layer.name),
        }
    }
}
