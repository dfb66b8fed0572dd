//! distcc: the floor plan. A file uses only what stands above it here; programs do not use one another.
//! `tests/tidy.rs` reads this list and keeps the order.

/// Floor 0: data and parsing. No files, no environment, no clock, no log.
pub mod model {
    pub mod error;
    pub mod wait_status;
    pub mod findings;
    pub mod likeness;
    pub mod pump_settings;
    pub mod settings;
    pub mod hosts;
    pub mod zeroconf;
    pub mod sources;
    pub mod compiler_options;
    pub mod option_table;
    pub mod family;
    pub mod expand;
    pub mod handed_on;
    pub mod command_line;
    pub mod side_names;
    pub mod side_files;
    pub mod invocation;
    #[cfg(test)]
    pub mod testing;
    pub mod native;
    pub mod native_proof;
    pub mod explain;
    pub mod received;
    pub mod dependencies;
    pub mod charset;
    pub mod blocks;
    pub mod literals;
    pub mod indentation;
    pub mod landmarks;
    pub mod plain_text;
    pub mod optimizing;
    pub mod made_words;
    pub mod clang_text;
    pub mod clang_lines;
    pub mod empty_bodies;
    pub mod clang_warnings;
    pub mod crowded;
    pub mod layout_lines;
    pub mod layout;
    pub mod plain;
    pub mod search_variables;
    pub mod locale;
    pub mod terminal;
    pub mod stock_limits;
    pub mod pump_words;
    pub mod missed;
    pub mod lzo_encoder;
    pub mod lzo_pieces;
    pub mod lzo_lanes;
    pub mod lzo;
    pub mod packets;
    pub mod wire;
    pub mod leaks;
    pub mod bodies;
    pub mod decode;
    pub mod decode_reply;
    pub mod entries;
    pub mod about;
    pub mod client_path;
    pub mod job_tree;
    pub mod stock_line;
    pub mod make_rule;
    pub mod direct;
    pub mod sending;
    pub mod path_map;
    pub mod punt;
    pub mod interner;
    pub mod dialect;
    pub mod tokens;
    pub mod source_text;
    pub mod macros;
    pub mod directives;
    pub mod options;
    pub mod pragmas;
    pub mod text_words;
    pub mod text_notes;
    pub mod source_scan;
    pub mod predefined;
    pub mod search_chain;
    pub mod search;
    pub mod unit;
    pub mod files;
    pub mod folders;
    pub mod lacking;
    pub mod resolve;
    pub mod once;
    pub mod walker;
    pub mod beginning;
    pub mod operators;
    pub mod expansion;
    pub mod constants;
    pub mod condition;
    pub mod command_macros;
    pub mod preprocessor;
    pub mod path_list;
    pub mod plan;
    pub mod option_words;
    pub mod trace;
}

/// Floor 1: the operating system made safe; the only place with unsafe code.
pub mod os {
    pub mod sys;
    #[cfg(all(target_arch = "x86_64", any(test, target_env = "musl")))]
    pub mod copies;
    pub mod store;
    pub mod heap;
    pub mod start;
    pub mod cleanup;
    pub mod spawn;
    pub mod lock;
    pub mod watch;
    pub mod notify;
    pub mod identity;
    pub mod pages;
    pub mod files;
    pub mod beneath;
    pub mod namespace;
    pub mod limits;
    pub mod calls;
    pub mod fence;
    pub mod handover;
    pub mod locale;
    pub mod terminal;
    pub mod net;
    pub mod names;
    pub mod gather;
    pub mod process;
    pub mod liveness;
    pub mod weight;
    pub mod apart;
    pub mod signals;
    pub mod machine;
    pub mod daemonize;
    pub mod first;
    pub mod systemd;
    pub mod log_json;
    pub mod logging;
    pub mod supervise;
    pub mod job_control;
}

/// Floor 2: what the programs on one machine share: slots, state, links to hosts.
pub mod farm {
    pub mod zeroconf;
    pub mod topdir;
    pub mod state;
    pub mod waiting;
    pub mod slots;
    pub mod transport;
    pub mod cross;
    pub mod private_folder;
    pub mod include_start;
    pub mod include_link;
}

/// Floor 3: the client, also when masquerading as a compiler.
pub mod client {
    pub mod masquerade;
    pub mod local;
    pub mod native;
    pub mod output;
    pub mod progress;
    pub mod here;
    pub mod remote;
    pub mod discrepancy;
    pub mod pumped;
    pub mod sides;
    pub mod scan_includes;
    pub mod distribute;
    pub mod call;
    pub mod program;
    pub mod report;
    pub mod account;
    pub mod why_words;
    pub mod why;
}

/// Floor 3: the daemon.
pub mod daemon {
    pub mod tally;
    pub mod statistics;
    pub mod options;
    pub mod addresses;
    pub mod access;
    pub mod compilers;
    pub mod sandbox;
    pub mod config;
    pub mod changes;
    pub mod config_file;
    pub mod source;
    pub mod rereading;
    pub mod settle;
    pub mod listening;
    pub mod memory;
    pub mod admission;
    pub mod repeats;
    pub mod queue;
    pub mod scratch;
    pub mod workspace;
    pub mod arrange;
    pub mod shown;
    pub mod view;
    pub mod told;
    pub mod cell;
    pub mod enter;
    pub mod inside;
    pub mod job_root;
    pub mod launch;
    pub mod cells;
    pub mod system_headers;
    pub mod shop;
    pub mod ending;
    pub mod compile;
    pub mod text_job;
    pub mod pump_common;
    pub mod side_search;
    pub mod pump_view;
    pub mod mirror;
    pub mod pump_mirror;
    pub mod pump_job;
    pub mod job;
    pub mod stock_page;
    pub mod metrics;
    pub mod page;
    pub mod web;
    pub mod announcer;
    pub mod arrivals;
    pub mod slots;
    pub mod front;
    pub mod serve;
}

/// Floor 3: pump mode's own programs.
pub mod pump {
    pub mod clock;
    pub mod content;
    pub mod place;
    pub mod tree;
    pub mod basis;
    pub mod met;
    pub mod walk;
    pub mod questions;
    pub mod search_output;
    pub mod ask_compiler;
    pub mod compiler_flags;
    pub mod asking;
    pub mod reliance;
    pub mod toolchain;
    pub mod beginnings;
    pub mod world;
    pub mod shipment;
    pub mod system_lookups;
    pub mod reply;
    pub mod spool;
    pub mod answers;
    pub mod turns;
    pub mod analysis;
    pub mod include_server_options;
    pub mod compiler_path;
    pub mod closure_files;
    pub mod statistics;
    pub mod talk;
    pub mod include_server;
    pub mod wrapper_path;
    pub mod wrapper_shell;
    pub mod wrapper_hosts;
    pub mod wrapper_session;
    pub mod wrapper_life;
    pub mod wrapper_keeper;
    pub mod wrapper;
}

/// Floor 3: the small programs around them.
pub mod tools {
    pub mod output;
    pub mod toolchain;
    pub mod keeper;
    pub mod sample;
    pub mod tally;
    pub mod try_build;
    pub mod symlinks;
    pub mod monitor;
    pub mod top_past;
    pub mod top_sample;
    pub mod top_limit;
    pub mod top_text;
    pub mod top_screen;
    pub mod top;
    pub mod trace_index;
    pub mod trace_events;
    pub mod trace_summary;
    pub mod trace;
    pub mod probe;
    pub mod lsdistcc_options;
    pub mod lsdistcc;
    pub mod bounded;
    pub mod doctor_folders;
    pub mod doctor_path;
    pub mod doctor_here;
    pub mod doctor_compilers;
    pub mod doctor_builds;
    pub mod doctor_answers;
    pub mod doctor_hosts;
    pub mod doctor;
    pub mod browse;
    pub mod announce;
    pub mod zeroconf;
}

/// Floor 4: which program am I?
pub mod multicall;
