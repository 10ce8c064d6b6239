//! A process that writes is killed with SIGKILL, again and again, on the same store.

use std::time::Duration;

use crate::ordeal::{Feed, Holding, Mark, Oracle, Ordeal, Scope, WRITERS, scramble};
use crate::support::setting;

/// Stores are small so that looking at all of one stays cheap.
const GENERATIONS_PER_STORE: u64 = 25;

#[test]
fn acknowledged_batches_survive_kill_9_and_no_batch_is_torn() {
    let kills: u64 = setting("OFONE_CRASH_KILLS", 300);
    let seed: u64 = setting("OFONE_CRASH_SEED", 1);
    eprintln!("{kills} kills; lives as in: OFONE_CRASH_SEED={seed}");
    let mut ordeal = Ordeal::new();
    let (mut acknowledged, mut events, mut again, mut unclean) = (0, 0, false, 0);
    for generation in 0..kills {
        let random = scramble(&[seed, generation]);
        // After one kill in four the store is killed once more before anybody looks, while it recovers.
        let life = if again { random % 30 } else { 5 + random % 196 };
        acknowledged += ordeal.live(generation, Duration::from_millis(life));
        again = !again && (random >> 32).is_multiple_of(4);
        if again {
            continue;
        }
        ordeal.inspect(if generation % 5 == 0 { Scope::All } else { Scope::New });
        if ordeal.feeds.len() as u64 >= GENERATIONS_PER_STORE * WRITERS {
            ordeal.inspect(Scope::All);
            unclean += ordeal.unclean;
            events += ordeal.oracle.acknowledged_events();
            ordeal = Ordeal::new();
        }
    }
    ordeal.inspect(Scope::All);
    unclean += ordeal.unclean;
    events += ordeal.oracle.acknowledged_events();
    eprintln!(
        "{kills} kills: {acknowledged} batches of {events} events acknowledged, {unclean} left something half done"
    );
    assert!(acknowledged > kills / 10, "some lives are long enough to write: {acknowledged} batches");
}

/// A feed of which `acknowledged` batches were reported, and what a store holds with `present` of them.
fn example(acknowledged: u64, present: u64) -> (Oracle, Feed, Holding) {
    let feed = Feed { generation: 0, writer: 0 };
    let mut oracle = Oracle::default();
    for batch in 0..acknowledged {
        oracle.acknowledge(feed, batch);
    }
    let batches = || 0..present;
    let marks = |batch| (0..feed.batch_events(batch)).map(move |index| Mark { feed, batch, index });
    let holding =
        Holding { events: batches().flat_map(marks).collect(), links: batches().map(|batch| (feed, batch)).collect() };
    (oracle, feed, holding)
}

#[test]
fn the_oracle_accepts_all_acknowledged_batches_and_one_more() {
    for present in [4, 5] {
        let (oracle, feed, holding) = example(4, present);
        assert_eq!(oracle.judge(&[feed], &holding), Vec::<String>::new());
    }
}

#[test]
fn the_oracle_reports_whatever_is_lost_torn_doubled_or_invented() {
    for present in [0, 3, 6, 7] {
        let (oracle, feed, holding) = example(4, present);
        assert_ne!(oracle.judge(&[feed], &holding), Vec::<String>::new(), "{present} of 4");
    }
    let spoilt = |spoil: &dyn Fn(&mut Holding)| {
        let (oracle, feed, mut holding) = example(4, 5);
        spoil(&mut holding);
        oracle.judge(&[feed], &holding).join("; ")
    };
    let lost_amid = spoilt(&|holding| {
        holding.events.retain(|mark| mark.batch != 2);
        holding.links.retain(|(_, batch)| *batch != 2);
    });
    assert!(lost_amid.contains("one before is lost"), "{lost_amid}");
    let torn = spoilt(&|holding| holding.events.truncate(holding.events.len() - 1));
    assert!(torn.contains("torn"), "{torn}");
    let without_link = spoilt(&|holding| holding.links.retain(|(_, batch)| *batch != 0));
    assert!(without_link.contains("torn"), "{without_link}");
    let doubled = spoilt(&|holding| holding.events.push(holding.events[0]));
    assert!(doubled.contains("twice"), "{doubled}");
    let beyond = spoilt(&|holding| holding.events.push(Mark { index: 1000, ..holding.events[0] }));
    assert!(beyond.contains("torn"), "{beyond}");
    let stranger = Feed { generation: 9, writer: 1 };
    let invented = spoilt(&|holding| holding.events.push(Mark { feed: stranger, ..holding.events[0] }));
    assert!(invented.contains("not expected"), "{invented}");
}

#[test]
fn the_oracle_reports_a_later_change_of_what_was_found_once() {
    let (mut oracle, feed, holding) = example(4, 5);
    oracle.settle(&[feed], &holding);
    assert_eq!(oracle.judge(&[feed], &holding), Vec::<String>::new());
    for present in [4, 6] {
        let (_, _, later) = example(4, present);
        assert_ne!(oracle.judge(&[feed], &later), Vec::<String>::new(), "5 batches became {present}");
    }
}
