//! distcc: the floor plan. A file uses only what stands above it here; programs do not use one another.
//! `tests/tidy.rs` reads this list and keeps the order.

/// Floor 0: data and parsing. No files, no environment, no clock, no log.
pub mod model {
    pub mod compiler_options;
    pub mod error;
    pub mod hosts;
    pub mod invocation;
    pub mod lzo;
    pub mod plain;
    pub mod plan;
    pub mod settings;
    pub mod sources;
    pub mod wait_status;
    pub mod wire;
}

/// Floor 1: the operating system made safe; the only place with unsafe code.
pub mod os {
    pub mod cleanup;
    pub mod daemonize;
    pub mod files;
    pub mod lock;
    pub mod logging;
    pub mod net;
    pub mod process;
    pub mod sys;
}

/// Floor 2: what the programs on one machine share: slots, state, links to hosts.
pub mod farm {
    pub mod slots;
    pub mod state;
    pub mod topdir;
    pub mod transport;
    pub mod waiting;
}

/// Floor 3: the client, also when masquerading as a compiler.
pub mod client {
    pub mod cross;
    pub mod distribute;
    pub mod local;
    pub mod masquerade;
    pub mod output;
    pub mod program;
    pub mod remote;
}

/// Floor 3: the daemon.
pub mod daemon {
    pub mod access;
    pub mod compilers;
    pub mod job;
    pub mod options;
    pub mod serve;
    pub mod workspace;
}

/// Floor 3: the small programs around them.
pub mod tools {
    pub mod sample;
    pub mod try_build;
}

/// Floor 4: which program am I?
pub mod multicall;
