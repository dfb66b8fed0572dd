//! Start: argv in, exit status out.

fn main() -> std::process::ExitCode {
    distcc::multicall::run(std::env::args_os().collect())
        .0
        .into()
}
