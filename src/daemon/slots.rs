//! The job slots: each is a thread that does one job after the other, and whatever happens in a job ends that job alone.

use super::arrivals::{Arrived, Held, Unsent};
use super::ending::{self, Answer, Client, Ending};
use super::job;
use super::queue::Queue;
use super::shop::Shop;
use super::statistics::Desk;
use super::tally::Class;
use crate::model::decode::RequestDecoder;
use crate::model::error::Code;
use crate::os::net::{wait_any, Event};
use log::Level;
use smol::channel::Sender;
use std::collections::HashSet;
use std::io;
use std::net::IpAddr;
use std::os::fd::AsFd;
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::{Builder, Scope};
use std::time::{Duration, Instant};

/// How long a job slot waits for a client that does not take its answer, before it leaves that to the front.
const PATIENCE: Duration = Duration::from_millis(200);

/// The slots, and what waits for them.
#[derive(Debug)]
pub struct Slots<'s> {
    shop: &'s Shop,
    queue: Queue<IpAddr, Arrived>,
    late: Sender<Unsent>,
    /// The numbers of those whose thread lives.
    staffed: Mutex<HashSet<usize>>,
    /// Whether it was said that one can't be started.
    is_short: AtomicBool,
}

impl<'s> Slots<'s> {
    /// As many as the configuration says, none of which is at work. Answers that are not taken at once go to `late`.
    pub fn new(shop: &'s Shop, late: Sender<Unsent>) -> Slots<'s> {
        Slots {
            shop,
            queue: Queue::new(shop.config().jobs),
            late,
            staffed: Mutex::default(),
            is_short: AtomicBool::new(false),
        }
    }

    /// What waits for a slot.
    pub fn queue(&self) -> &Queue<IpAddr, Arrived> {
        &self.queue
    }

    /// Starts the threads that are missing, unless they are to end. That one can't be started is an error only if none lives.
    pub fn fill<'scope, 'env>(&'scope self, scope: &'scope Scope<'scope, 'env>) -> io::Result<()> {
        if self.queue.is_closed() {
            return Ok(());
        }
        for slot in 0..self.shop.config().jobs {
            if !self.staffed().insert(slot) {
                continue;
            }
            let staffed = Staffed { slots: self, slot };
            let builder = Builder::new().name(format!("slot {slot}"));
            let started = builder.spawn_scoped(scope, move || {
                let staffed = staffed; // All of it, and so to this thread's end.
                let slots = staffed.slots;
                let desk = slots.shop.statistics.desk();
                work(
                    &slots.queue,
                    staffed.slot,
                    || slots.has_room(),
                    |arrived| {
                        slots.serve(&desk, arrived);
                    },
                );
            });
            if let Err(err) = started {
                if !self.is_short.swap(true, Ordering::Relaxed) {
                    log::error!("start job slot {slot}: {err}; it is tried again and again");
                }
                return match self.staffed().is_empty() {
                    true => Err(err),
                    false => Ok(()),
                };
            }
        }
        if self.is_short.swap(false, Ordering::Relaxed) {
            log::warn!("all job slots are there now");
        }
        Ok(())
    }

    /// The number of jobs has changed: too many threads end after what they do; those that are missing are for
    /// [`Slots::fill`].
    pub fn resize(&self) {
        self.queue.set_slots(self.shop.config().jobs);
    }

    fn staffed(&self) -> MutexGuard<'_, HashSet<usize>> {
        self.staffed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn has_room(&self) -> bool {
        self.shop.admission.has_room(&self.shop.config())
    }

    /// Does a job, and sends the answer as far as the client takes it.
    fn serve(&self, desk: &Desk, arrived: Arrived) {
        let Arrived {
            mut client,
            decoder,
            held,
            waiting,
        } = arrived;
        client.waited = Some(waiting.over());
        if has_gone(&client) {
            let why = "hung up while its job waited";
            client.say(Level::Info, "hung_up", why);
            let gone = Ending::silent(Class::Disconnected, Code::Io as u8).because(why);
            return ending::finish(desk, client, &gone);
        }
        let ending = self.perform(desk, &client, decoder);
        self.deliver(desk, client, ending, held);
    }

    fn perform(&self, desk: &Desk, client: &Client, decoder: RequestDecoder) -> Ending {
        let job = AssertUnwindSafe(|| job::perform(self.shop, desk, client, decoder));
        catch_unwind(job).unwrap_or_else(|_| {
            let why = "a fault of distccd itself ended the job";
            client.say(Level::Error, "failed", why);
            Ending::silent(Class::Other, Code::Failed as u8).because(why)
        })
    }

    fn deliver(&self, desk: &Desk, client: Client, mut ending: Ending, mut held: Held) {
        match ending::send(&self.shop.signals, &client, &mut ending, PATIENCE) {
            Ok(true) => ending::finish(desk, client, &ending),
            Ok(false) if held.exchange(ending.answer.as_ref().map_or(0, Answer::bytes)) => {
                ending.leftover = None;
                desk.clear();
                let _ = self.late.try_send(Unsent {
                    client,
                    ending,
                    held,
                });
            }
            Ok(false) => {
                let ending = ending.not_sent(&client, &"too many others are not, either");
                ending::finish(desk, client, &ending);
            }
            Err(err) => {
                let ending = ending.not_sent(&client, &err);
                ending::finish(desk, client, &ending);
            }
        }
    }
}

/// A slot whose thread lives, for as long as it does.
struct Staffed<'s> {
    slots: &'s Slots<'s>,
    slot: usize,
}

impl Drop for Staffed<'_> {
    fn drop(&mut self) {
        self.slots.staffed().remove(&self.slot);
    }
}

/// One job slot: takes what there is to do as long as there is something for it. A fault in the middle of it ends nothing
/// else.
fn work<T>(queue: &Queue<IpAddr, T>, slot: usize, has_room: impl Fn() -> bool, serve: impl Fn(T)) {
    while let Some((arrived, turn)) = queue.take(slot, &has_room) {
        if catch_unwind(AssertUnwindSafe(|| serve(arrived))).is_err() {
            log::error!("a fault of distccd itself ended what slot {slot} did");
        }
        drop(turn);
    }
}

/// Whether the client is no longer there, so that nobody would take what its job comes to.
fn has_gone(client: &Client) -> bool {
    let now = Some(Instant::now());
    matches!(
        wait_any([(client.input.as_fd(), Event::HangUp)], now),
        Ok(Some(_))
    )
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::net::Ipv4Addr;

    #[test]
    fn a_slot_outlives_a_panic() {
        let queue = Queue::new(1);
        for number in 0..4 {
            queue.put(Ipv4Addr::LOCALHOST.into(), number);
        }
        let done = Mutex::new(Vec::new());
        work(
            &queue,
            0,
            || true,
            |number| {
                if number == 3 {
                    queue.close();
                }
                assert_ne!(number, 1, "this panic is part of the test");
                done.lock().unwrap().push(number);
            },
        );
        assert_eq!(*done.lock().unwrap(), [0, 2, 3]);
    }
}
