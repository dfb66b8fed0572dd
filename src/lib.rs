//! distcc: the floor plan. A file uses only what stands above it here; programs do not use one another.
//! `tests/tidy.rs` reads this list and keeps the order.

/// Floor 0: data and parsing. No files, no environment, no clock, no log.
pub mod model {
    pub mod error;
    pub mod wait_status;
    pub mod settings;
    pub mod hosts;
    pub mod sources;
    pub mod compiler_options;
    pub mod option_table;
    pub mod family;
    pub mod expand;
    pub mod command_line;
    pub mod invocation;
    pub mod received;
    pub mod dependencies;
    pub mod indentation;
    pub mod plain_text;
    pub mod plain;
    pub mod lzo_encoder;
    pub mod lzo;
    pub mod packets;
    pub mod wire;
    pub mod bodies;
    pub mod decode;
    pub mod about;
    pub mod direct;
    pub mod plan;
    pub mod option_words;
}

/// Floor 1: the operating system made safe; the only place with unsafe code.
pub mod os {
    pub mod sys;
    pub mod start;
    pub mod cleanup;
    pub mod lock;
    pub mod watch;
    pub mod pages;
    pub mod files;
    pub mod net;
    pub mod gather;
    pub mod process;
    pub mod liveness;
    pub mod daemonize;
    pub mod logging;
    pub mod supervise;
}

/// Floor 2: what the programs on one machine share: slots, state, links to hosts.
pub mod farm {
    pub mod topdir;
    pub mod state;
    pub mod waiting;
    pub mod slots;
    pub mod transport;
}

/// Floor 3: the client, also when masquerading as a compiler.
pub mod client {
    pub mod masquerade;
    pub mod cross;
    pub mod local;
    pub mod output;
    pub mod remote;
    pub mod distribute;
    pub mod program;
}

/// Floor 3: the daemon.
pub mod daemon {
    pub mod access;
    pub mod compilers;
    pub mod options;
    pub mod workspace;
    pub mod arrange;
    pub mod ending;
    pub mod job;
    pub mod front;
    pub mod serve;
}

/// Floor 3: the small programs around them.
pub mod tools {
    pub mod toolchain;
    pub mod keeper;
    pub mod sample;
    pub mod tally;
    pub mod try_build;
    pub mod monitor;
    pub mod probe;
    pub mod lsdistcc_options;
    pub mod lsdistcc;
}

/// Floor 4: which program am I?
pub mod multicall;
