//! Which processor a thread, and all that it starts, runs on.

/// From now on on this one, if the machine has it.
#[allow(unsafe_code)] // The standard library has no sched_setaffinity.
pub fn pin(processor: usize) {
    let all = std::thread::available_parallelism().map_or(1, usize::from);
    if processor >= all.max(2) {
        return;
    }
    // SAFETY: the set is plain data, filled by the macro and read by the call.
    unsafe {
        let mut set: libc::cpu_set_t = std::mem::zeroed();
        libc::CPU_SET(processor, &mut set);
        // Where there is no such processor, it runs where it did.
        libc::sched_setaffinity(0, size_of_val(&set), &set);
    }
}
