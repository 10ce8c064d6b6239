//! The whole feed as numbered units, made by several threads and handed out in order.

use std::thread;

use crossbeam::channel::{self, Receiver};
use ofone::{Event, Record};

use super::life::{Life, Story, better};
use super::shared::{Shared, begins_on};
use super::world::{Sizes, World};

/// Events of a unit, about. Memory is bounded by this, whatever the number of customers.
const UNIT_EVENTS: u64 = 16_384;
/// The most customers whose links, or whose day, make one unit.
const MAX_BLOCK_CUSTOMERS: u64 = 4096;
/// Units that a thread may be ahead.
const UNITS_AHEAD: usize = 2;

/// A piece of the feed.
#[derive(Default)]
pub(crate) struct Unit {
    pub(crate) records: Vec<Record>,
    /// The best story in it.
    pub(crate) story: Option<Story>,
}

/// All records: the network, the customers' links, then day by day what is shared and what each
/// block of customers lives through, in order of time within a unit.
///
/// A unit depends on its number alone, so the feed does not depend on threads or batches.
pub(crate) struct Feed {
    world: World,
    shared: Shared,
}

impl Feed {
    pub(crate) fn new(world: World) -> Feed {
        Feed { shared: Shared::new(&world), world }
    }

    /// How many units there are.
    pub(crate) fn units(&self) -> u64 {
        1 + self.blocks() + u64::from(self.world.sizes.days) * (1 + self.blocks())
    }

    /// The unit with this number.
    pub(crate) fn unit(&self, number: u64) -> Unit {
        if number == 0 {
            return Unit { records: self.world.network_links(), story: None };
        }
        if number <= self.blocks() {
            let customers = self.block(number - 1).map(|number| self.world.customer(number));
            let records = customers.flat_map(|customer| self.world.customer_links(&customer)).collect();
            return Unit { records, story: None };
        }
        let in_days = number - 1 - self.blocks();
        let (day, part) = ((in_days / (1 + self.blocks())) as u32, in_days % (1 + self.blocks()));
        match part {
            0 => self.shared_day(day),
            block => self.day_of(day, block - 1),
        }
    }

    /// Calls `take` with each unit in order, while `threads` threads make the next ones.
    pub(crate) fn run<E>(&self, threads: usize, mut take: impl FnMut(Unit) -> Result<(), E>) -> Result<(), E> {
        thread::scope(|scope| {
            let makers: Vec<Receiver<Unit>> = (0..threads)
                .map(|first| {
                    let (sender, receiver) = channel::bounded(UNITS_AHEAD);
                    scope.spawn(move || {
                        for number in (first as u64..self.units()).step_by(threads) {
                            // Whoever took units has given up; its error tells why.
                            if sender.send(self.unit(number)).is_err() {
                                return;
                            }
                        }
                    });
                    receiver
                })
                .collect();
            for number in 0..self.units() {
                let unit =
                    makers[(number % threads as u64) as usize].recv().expect("a maker lives until its last unit");
                take(unit)?;
            }
            Ok(())
        })
    }

    fn blocks(&self) -> u64 {
        self.world.sizes.customers.div_ceil(self.block_customers())
    }

    fn block_customers(&self) -> u64 {
        let Sizes { events_per_customer, days, .. } = self.world.sizes;
        (UNIT_EVENTS * u64::from(days) / events_per_customer.max(1)).clamp(1, MAX_BLOCK_CUSTOMERS)
    }

    fn block(&self, block: u64) -> std::ops::Range<u64> {
        let first = block * self.block_customers();
        first..self.world.sizes.customers.min(first + self.block_customers())
    }

    fn shared_day(&self, day: u32) -> Unit {
        let begin = self.world.sizes.day(day);
        let today = self.shared.events.iter().filter(|event| begins_on(event.time, begin));
        Unit { records: today.cloned().map(Record::from).collect(), story: None }
    }

    fn day_of(&self, day: u32, block: u64) -> Unit {
        let mut unit = Unit::default();
        for number in self.block(block) {
            let customer = self.world.customer(number);
            let mut life = Life::new(&self.world, &self.shared, &customer, day);
            life.live();
            unit.records.append(&mut life.records);
            unit.story = better(unit.story, life.story);
        }
        unit.records.sort_by_key(|record| match record {
            Record::Event(Event { time, .. }) => time.as_nanos(),
            // The links of a day come before its events.
            _ => i64::MIN,
        });
        unit
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ofone::Timestamp;
    use std::collections::HashSet;

    fn feed(seed: u64) -> Feed {
        let start = Timestamp::from_secs(1_767_225_600);
        Feed::new(World::new(Sizes { seed, customers: 5_000, events_per_customer: 40, days: 6, start }))
    }

    fn all(feed: &Feed, threads: usize) -> Vec<Record> {
        let mut records = Vec::new();
        feed.run::<()>(threads, |unit| {
            records.extend(unit.records);
            Ok(())
        })
        .unwrap();
        records
    }

    #[test]
    fn the_feed_depends_on_seed_and_sizes_alone() {
        let one = all(&feed(1), 1);
        assert!(one == all(&feed(1), 3));
        assert!(one != all(&feed(2), 1));
    }

    #[test]
    fn every_event_has_a_name_of_its_own_and_ends_after_it_begins() {
        let mut names = HashSet::new();
        for record in all(&feed(3), 2) {
            if let Record::Event(event) = record {
                assert!(event.end.is_none_or(|end| end > event.time), "{event:?}");
                assert!(names.insert(event.name()), "{event:?}");
            }
        }
        assert!((150_000..260_000).contains(&names.len()), "about 5,000 x 40, got {}", names.len());
    }

    #[test]
    fn an_error_of_the_taker_ends_the_feed() {
        let mut taken = 0;
        let result = feed(1).run(2, |_| {
            taken += 1;
            if taken == 3 { Err("enough") } else { Ok(()) }
        });
        assert_eq!((result, taken), (Err("enough"), 3));
    }
}
