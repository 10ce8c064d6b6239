//! `commits`: how long one durable commit of 1,000 events takes, seals included.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use ofone::{Batch, Db};
use serde_json::json;

use crate::Result;
use crate::args::Args;
use crate::data::{Meta, Names, Records, Subject};
use crate::measure::{self, Latencies};

pub fn run(args: &Args) -> Result {
    let scale_dir = args.scale_dir()?;
    let path = args.path("db")?;
    let commits: usize = args.number("commits")?.unwrap_or(2_000);
    let events: usize = args.number("events")?.unwrap_or(1_000);
    let segment_events: u64 = args.number("segment-events")?.unwrap_or(400_000);
    let options = args.store_options()?.segment_events(segment_events as usize);
    args.finish()?;
    if path.exists() {
        return Err(format!("{} exists; this starts from nothing", path.display()).into());
    }
    let names = Names::new(&Meta::read(&scale_dir)?);
    let mut records = Records::open(&scale_dir, None)?;
    let db = Db::open(&path, options)?;
    let writer = db.writer();
    let seals = Seals::default();

    let mut samples = Vec::with_capacity(commits);
    let mut inserted = 0_u64;
    let started = Instant::now();
    std::thread::scope(|scope| -> Result {
        let watcher = scope.spawn(|| seals.watch(&db, segment_events));
        let done = (|| -> Result {
            for _ in 0..commits {
                let mut batch = Batch::new();
                for record in records.by_ref().take(events) {
                    batch.event(names.event(&record?, Subject::Customer));
                }
                if batch.is_empty() {
                    return Err("events.bin is too short for so many commits".into());
                }
                let before = seals.sealing.load(Ordering::Relaxed);
                let started = Instant::now();
                let receipt = writer.commit(batch)?;
                let took = started.elapsed();
                inserted += receipt.inserted() as u64;
                seals.inserted.store(inserted, Ordering::Relaxed);
                let after = seals.sealing.load(Ordering::Relaxed) || inserted % segment_events < events as u64;
                samples.push((took, before || after));
            }
            Ok(())
        })();
        seals.finished.store(true, Ordering::Relaxed);
        watcher.join().map_err(|_| "the watcher panicked")??;
        done
    })?;
    let wall_s = started.elapsed().as_secs_f64();

    let (mut all, mut during, mut outside) = (Latencies::default(), Latencies::default(), Latencies::default());
    for (took, sealing) in samples {
        all.push(took);
        if sealing { during.push(took) } else { outside.push(took) }
    }
    db.flush()?;
    db.wait_until_quiet()?;
    let segments = db.snapshot().stats()?.segments;
    println!(
        "{commits} commits of {events} events, {segments} segments at the end, {:.3} M events/s",
        inserted as f64 / wall_s / 1e6
    );
    println!("commit(), ms        p50      p99      max      n");
    for (name, one) in [("all", &all), ("while sealing", &during), ("otherwise", &outside)] {
        println!("  {name:14} {:8.3} {:8.3} {:8.3} {:6}", one.p50(), one.p99(), one.max(), one.len());
    }
    let result = json!({
        "batches": commits, "rows_per_s": inserted as f64 / wall_s, "p50_ms": all.p50(), "p99_ms": all.p99(), "max_ms": all.max(),
        "sealing": during.json(), "otherwise": outside.json(),
        "how": format!("{events} events per commit(), a seal every {segment_events} events, building the events included in rows/s"),
    });
    measure::save(&scale_dir, "ofone", "small", json!({ "durable": result }))
}

/// Whether a seal is due or under way, as seen from outside: more whole segments were inserted than
/// the store lists. Merges make the list shorter, so a seal counts until the list has grown once.
#[derive(Default)]
struct Seals {
    inserted: AtomicU64,
    sealing: AtomicBool,
    finished: AtomicBool,
}

impl Seals {
    fn watch(&self, db: &Db, segment_events: u64) -> Result {
        let mut seen = 0;
        while !self.finished.load(Ordering::Relaxed) {
            let due = self.inserted.load(Ordering::Relaxed) / segment_events;
            if due > seen {
                self.sealing.store(true, Ordering::Relaxed);
                // All whole segments are sealed when less than one is left over.
                if db.snapshot().stats()?.unsealed_events < segment_events {
                    seen = due;
                    self.sealing.store(false, Ordering::Relaxed);
                }
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(())
    }
}
