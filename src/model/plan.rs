//! What to do after each outcome of an attempt to compile elsewhere. Pure policy: how often to try, whom to blame,
//! whether a failed compile is repeated here before the user hears of it, what a host's answer in pump mode is worth.

use super::error::{Code, Status};
use super::wait_status::WaitStatus;
use super::wire::Remark;

/// How many hosts a job is tried on before it is compiled here.
pub const ATTEMPTS_MAX: u32 = 3;

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
    /// This host can't do this job exactly; another may.
    Unsuited,
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
        Outcome::HostTrouble(_) | Outcome::Unsuited if attempt < ATTEMPTS_MAX => Step::TryAnother,
        Outcome::Inexact | Outcome::Unsuited => Step::CompileHere(None),
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

/// What the include server was asked for beside the command; a host's answer may make us ask for more.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Asked {
    /// System headers, too.
    pub hermetic: bool,
    /// Files as a daemon of stock's needs them.
    pub for_stock: bool,
    /// Files that the host missed.
    pub missed: bool,
}

/// A host's answer to a pump request, as far as it decides what follows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PumpAnswer {
    /// What the daemon said of it; only ours says anything, and only if it was told of the job.
    pub remark: Option<Remark>,
    /// The request told of the job.
    pub told: bool,
    /// How the compiler ended.
    pub status: WaitStatus,
    /// A daemon of stock's can't do this job exactly.
    pub needs_ours: bool,
    /// Files beside the object are wanted, and it says nothing of them.
    pub lacks_sides: bool,
    /// It could, if asked for with `for_stock`.
    pub spelled_absolutely: bool,
    /// The compiler missed files that are here.
    pub misses: bool,
}

/// What to do with an answer to a pump request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PumpStep {
    /// It is a local run's.
    Believe,
    /// It comes from a daemon that may leave traces: look for them.
    Examine,
    /// Ask the include server for this, and the same host again.
    Resend(Asked),
    /// Throw it away; this job goes to this host preprocessed, if at all.
    Leave,
}

/// What follows on the answer of a host to a request for which the include server was asked so.
pub fn after_pump(asked: Asked, answer: &PumpAnswer) -> PumpStep {
    let PumpAnswer { remark, status, .. } = *answer;
    let misses = !asked.missed && answer.misses && source_may_be_at_fault(status);
    match remark {
        Some(Remark::OtherSystem) if !asked.hermetic => PumpStep::Resend(Asked {
            hermetic: true,
            ..asked
        }),
        Some(Remark::OtherSystem | Remark::NotHere | Remark::NoSides) => PumpStep::Leave,
        _ if refusal(status) == Some(Code::Denied) => PumpStep::Leave,
        _ if refusal(status).is_some() => PumpStep::Examine,
        // It was taken for one of stock's, but is not.
        Some(Remark::Exact) if asked.for_stock => PumpStep::Resend(Asked {
            for_stock: false,
            ..asked
        }),
        None if answer.needs_ours => PumpStep::Leave,
        None if answer.told && answer.spelled_absolutely && !asked.for_stock => {
            PumpStep::Resend(Asked {
                for_stock: true,
                ..asked
            })
        }
        _ if misses => PumpStep::Resend(Asked {
            missed: true,
            ..asked
        }),
        Some(Remark::Exact) if status.success() && answer.lacks_sides => PumpStep::Leave,
        Some(Remark::Exact) => PumpStep::Believe,
        None => PumpStep::Examine,
    }
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
            (STRICT, 1, Outcome::Unsuited, Step::TryAnother),
            (STRICT, 3, Outcome::Unsuited, Step::CompileHere(None)),
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

    #[test]
    fn every_answer_in_pump_mode_has_its_step() {
        let plain = Asked::default();
        let hermetic = Asked {
            hermetic: true,
            ..plain
        };
        let for_stock = Asked {
            for_stock: true,
            ..plain
        };
        let missed = Asked {
            missed: true,
            ..plain
        };
        let [ours, other, not_here] =
            [Remark::Exact, Remark::OtherSystem, Remark::NotHere].map(Some);
        // Status; needs_ours, spelled_absolutely, misses.
        for (asked, remark, status, [needs, spelled, misses], step) in [
            (plain, ours, 0, [true, true, false], PumpStep::Believe),
            (plain, ours, 1, [false, false, false], PumpStep::Believe),
            (
                plain,
                ours,
                1,
                [false, false, true],
                PumpStep::Resend(missed),
            ),
            (missed, ours, 1, [false, false, true], PumpStep::Believe),
            (plain, ours, 0, [false, false, true], PumpStep::Believe),
            (plain, ours, 200, [false, false, true], PumpStep::Believe),
            (
                for_stock,
                ours,
                0,
                [false, true, false],
                PumpStep::Resend(plain),
            ),
            (
                plain,
                other,
                113,
                [false, false, false],
                PumpStep::Resend(hermetic),
            ),
            (hermetic, other, 113, [false, false, false], PumpStep::Leave),
            (plain, not_here, 113, [true, false, false], PumpStep::Leave),
            (plain, None, 0, [false, false, false], PumpStep::Examine),
            (plain, None, 1, [false, false, false], PumpStep::Examine),
            (plain, None, 0, [true, true, false], PumpStep::Leave),
            (plain, None, 1, [true, false, true], PumpStep::Leave),
            (
                plain,
                None,
                0,
                [false, true, false],
                PumpStep::Resend(for_stock),
            ),
            (for_stock, None, 0, [false, true, false], PumpStep::Examine),
            (
                plain,
                None,
                1,
                [false, false, true],
                PumpStep::Resend(missed),
            ),
            (plain, None, 113, [false, false, false], PumpStep::Leave),
            // A host that lacks the compiler, or failed, is judged like any other.
            (plain, None, 110, [true, true, false], PumpStep::Examine),
        ] {
            let answer = PumpAnswer {
                remark,
                told: true,
                status: WaitStatus::exited(status),
                needs_ours: needs,
                lacks_sides: false,
                spelled_absolutely: spelled,
                misses,
            };
            assert_eq!(after_pump(asked, &answer), step, "{asked:?} {answer:?}");
        }
    }

    #[test]
    fn an_answer_that_lacks_files_is_left() {
        for (remark, status, step) in [
            (Some(Remark::Exact), 0, PumpStep::Leave),
            // It did not come to that, and the compile is repeated here.
            (Some(Remark::Exact), 1, PumpStep::Believe),
            (Some(Remark::NoSides), 113, PumpStep::Leave),
            (None, 0, PumpStep::Leave),
        ] {
            let answer = PumpAnswer {
                remark,
                told: true,
                status: WaitStatus::exited(status),
                needs_ours: true,
                lacks_sides: true,
                spelled_absolutely: false,
                misses: false,
            };
            assert_eq!(after_pump(Asked::default(), &answer), step, "{answer:?}");
        }
    }
}
