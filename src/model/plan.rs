//! What to do after each outcome of an attempt to compile elsewhere. Pure policy: how often to try, whom to blame,
//! whether a failed compile is repeated here before the user hears of it.

use super::error::{Code, Status};
use super::wait_status::WaitStatus;

/// How many hosts a job is tried on before it is compiled here.
const ATTEMPTS_MAX: u32 = 3;

/// What the user allows.
#[derive(Clone, Copy, Debug)]
pub struct Policy {
    /// Whether a job may be compiled here when no host takes it.
    pub fallback: bool,
    /// Whether what a remote compiler says of a faulty source is believed without a second look.
    pub skip_local_retry: bool,
}

/// How an attempt ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// The compiler ran over there and ended so; its answer can be used as it is.
    Compiled(WaitStatus),
    /// The compiler ran, but its answer is not what a local run would give.
    Inexact,
    /// The host could not be reached, hung up, talked nonsense or refused.
    HostTrouble(Code),
    /// There is no host, or none is left; with the cause that the user is to see.
    NoOther(Code),
}

/// What to do next.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Step {
    /// Give the user what the host answered.
    Finish,
    /// Try again, without this host.
    TryAnother,
    /// Compile on this machine; if the remote compiler failed, with the status that it gave.
    CompileHere(Option<WaitStatus>),
    /// End with this status: compiling here is not allowed.
    GiveUp(Status),
}

/// The next step after the `attempt`-th attempt, counted from 1.
pub fn next(policy: Policy, attempt: u32, outcome: Outcome) -> Step {
    match outcome {
        Outcome::Compiled(status) if status.success() => Step::Finish,
        Outcome::Compiled(status) => match (source_may_be_at_fault(status), policy) {
            (
                true,
                Policy {
                    skip_local_retry: true,
                    ..
                },
            ) => Step::Finish,
            (_, Policy { fallback: true, .. }) => Step::CompileHere(Some(status)),
            _ => Step::Finish,
        },
        Outcome::Inexact => Step::CompileHere(None),
        Outcome::HostTrouble(_) if attempt < ATTEMPTS_MAX => Step::TryAnother,
        Outcome::HostTrouble(code) | Outcome::NoOther(code) => last_resort(policy, code),
    }
}

fn last_resort(policy: Policy, code: Code) -> Step {
    match policy.fallback {
        true => Step::CompileHere(None),
        false => Step::GiveUp(code.into()),
    }
}

/// Whether a failed compile can be due to what was compiled, rather than to the host: a compiler's own exit codes
/// are small, distcc's begin at 100, and a signal is never the source's doing alone.
fn source_may_be_at_fault(status: WaitStatus) -> bool {
    matches!(status.exit_code(), Some(1..=127))
}

/// What a daemon means by a status that it made up because it could not or would not run the job; `None` for all that
/// compilers end with.
pub fn refusal(status: WaitStatus) -> Option<Code> {
    let made_up = [
        Code::Failed,
        Code::OutOfMemory,
        Code::Io,
        Code::CompilerMissing,
        Code::Denied,
        Code::Timeout,
    ];
    made_up
        .into_iter()
        .find(|code| status.exit_code() == Some(*code as u8))
}

/// Whether a host that failed so is to be left alone for a while. One that lacks a compiler, or does not like a
/// command, may be of use to all other jobs.
pub fn blames_host(code: Code) -> bool {
    !matches!(code, Code::CompilerMissing | Code::Denied)
}

#[cfg(test)]
mod tests {
    use super::*;

    const USUAL: Policy = Policy {
        fallback: true,
        skip_local_retry: false,
    };
    const STRICT: Policy = Policy {
        fallback: false,
        skip_local_retry: false,
    };
    const TRUSTING: Policy = Policy {
        fallback: true,
        skip_local_retry: true,
    };

    #[test]
    fn every_outcome_has_its_step() {
        let exit = |code| Outcome::Compiled(WaitStatus::exited(code));
        let segv = Outcome::Compiled(WaitStatus(11));
        let here = |code| Step::CompileHere(Some(WaitStatus::exited(code)));
        let refused = Outcome::HostTrouble(Code::ConnectFailed);
        for (policy, attempt, outcome, step) in [
            (USUAL, 1, exit(0), Step::Finish),
            (USUAL, 1, exit(1), here(1)),
            (USUAL, 1, exit(200), here(200)),
            (USUAL, 1, segv, Step::CompileHere(Some(WaitStatus(11)))),
            (STRICT, 1, exit(1), Step::Finish),
            (STRICT, 1, segv, Step::Finish),
            (TRUSTING, 1, exit(1), Step::Finish),
            (TRUSTING, 1, segv, Step::CompileHere(Some(WaitStatus(11)))),
            (STRICT, 1, Outcome::Inexact, Step::CompileHere(None)),
            (USUAL, 1, refused, Step::TryAnother),
            (USUAL, 3, refused, Step::CompileHere(None)),
            (STRICT, 3, refused, Step::GiveUp(Status(103))),
            (
                STRICT,
                1,
                Outcome::NoOther(Code::NoHosts),
                Step::GiveUp(Status(116)),
            ),
        ] {
            assert_eq!(
                next(policy, attempt, outcome),
                step,
                "{policy:?} {outcome:?}"
            );
        }
    }

    #[test]
    fn what_a_daemon_makes_up_is_no_compilers_end() {
        for code in [Code::CompilerMissing, Code::Denied, Code::Timeout] {
            assert_eq!(refusal(WaitStatus::exited(code as u8)), Some(code));
        }
        for status in [0x0000, 0x0100, 0x0200, 0x0400, 0x8b00, 0x000b] {
            assert_eq!(refusal(WaitStatus(status)), None, "{status:x}");
        }
        assert!(blames_host(Code::Timeout) && blames_host(Code::ConnectFailed));
        assert!(!blames_host(Code::CompilerMissing) && !blames_host(Code::Denied));
    }
}
