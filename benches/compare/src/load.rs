//! `ofone-load`: bulk ingest through the library, from flat records to acknowledged events.

use std::collections::VecDeque;
use std::path::Path;
use std::time::Instant;

use ofone::{Batch, Db, Event, LinkChange, Pending, Writer};
use serde_json::json;

use crate::Result;
use crate::args::Args;
use crate::data::{Meta, Names, Records, Subject};
use crate::links;
use crate::measure;

pub fn run(args: &Args) -> Result {
    let dry = args.flag("dry");
    let plan = Plan::read(args)?;
    let db = if dry { None } else { Some(args.path("db")?) };
    args.finish()?;
    match db {
        Some(path) => load(&plan, &path),
        None => build_only(&plan),
    }
}

/// What to load, and how.
pub struct Plan {
    scale_dir: std::path::PathBuf,
    limit: Option<u64>,
    subject: Subject,
    links: bool,
    batch: usize,
    pending: usize,
    options: ofone::Options,
}

impl Plan {
    pub fn read(args: &Args) -> Result<Plan> {
        Ok(Plan {
            scale_dir: args.scale_dir()?,
            limit: args.number("limit")?,
            subject: match args.text("subject") {
                None | Some("customer") => Subject::Customer,
                Some("service") => Subject::Service,
                Some(other) => return Err(format!("--subject is customer or service, got `{other}`").into()),
            },
            links: args.flag("links"),
            batch: args.number("batch")?.unwrap_or(20_000),
            pending: args.number("pending")?.unwrap_or(4),
            options: args.store_options()?,
        })
    }

    pub fn with_links(self) -> Plan {
        Plan { links: true, ..self }
    }

    /// The column of the table that a load belongs to.
    fn result_name(&self) -> &'static str {
        match (self.subject, self.links) {
            (Subject::Customer, false) => "ofone",
            (Subject::Service, false) => "ofone-service",
            (Subject::Customer, true) => "ofone-links",
            (Subject::Service, true) => "ofone-service-links",
        }
    }
}

/// Builds every event and drops it: the part of a load that is not ofone's.
fn build_only(plan: &Plan) -> Result {
    let names = Names::new(&Meta::read(&plan.scale_dir)?);
    let (started, mut events) = (Instant::now(), 0_u64);
    for record in Records::open(&plan.scale_dir, plan.limit)? {
        std::hint::black_box(names.event(&record?, plan.subject));
        events += 1;
    }
    let seconds = started.elapsed().as_secs_f64();
    println!("building alone: {events} events in {seconds:.2} s, {:.3} M events/s", events as f64 / seconds / 1e6);
    Ok(())
}

/// Loads a new store at `path` and saves what it took.
pub fn load(plan: &Plan, path: &Path) -> Result {
    if path.exists() {
        return Err(format!("{} exists; a load starts from nothing", path.display()).into());
    }
    let meta = Meta::read(&plan.scale_dir)?;
    let names = Names::new(&meta);
    let db = Db::open(path, plan.options.clone())?;
    let mut feed = Feed::new(&db.writer(), plan.batch, plan.pending);

    let links_started = Instant::now();
    let mut link_count = 0;
    let mut add = |link: LinkChange| {
        link_count += 1;
        feed.link(link)
    };
    if plan.links {
        links::for_each_link(&meta, &names, &mut add)?;
    } else if plan.subject == Subject::Service {
        links::for_each_service_link(&meta, &names, &mut add)?;
    }
    feed.drain()?;
    if link_count > 0 {
        let seconds = links_started.elapsed().as_secs_f64();
        println!("links: {link_count} in {seconds:.1} s, {:.3} M/s", f64::from(link_count) / seconds / 1e6);
    }

    let alarms = if plan.links { links::alarms(&meta, &names) } else { Vec::new() };
    let mut alarms = alarms.into_iter().peekable();
    let linked = feed.counts;
    let started = Instant::now();
    for record in Records::open(&plan.scale_dir, plan.limit)? {
        let event = names.event(&record?, plan.subject);
        while let Some(alarm) = alarms.next_if(|alarm| alarm.time <= event.time) {
            feed.event(alarm)?;
        }
        feed.event(event)?;
    }
    for alarm in alarms {
        feed.event(alarm)?;
    }
    feed.drain()?;
    let acknowledged_s = started.elapsed().as_secs_f64();
    db.flush()?;
    let flushed_s = started.elapsed().as_secs_f64();
    db.wait_until_quiet()?;
    let quiet_s = started.elapsed().as_secs_f64();

    let counts = feed.counts.since(&linked);
    let events = counts.inserted as f64;
    let rss_mb = measure::peak_rss_mb()?;
    // The reserve is room that is held, not data, and as large for any store.
    let reserve = path.join("reserve");
    let held = if reserve.exists() { measure::disk_bytes(&reserve)? } else { 0 };
    let bytes = measure::disk_bytes(path)? - held;
    let stats = db.snapshot().stats()?;
    println!("events: {counts:?}");
    println!("acknowledged: {acknowledged_s:.2} s, {:.3} M events/s", events / acknowledged_s / 1e6);
    println!("flushed:      {flushed_s:.2} s, {:.3} M events/s", events / flushed_s / 1e6);
    println!("quiet:        {quiet_s:.2} s, {:.3} M events/s", events / quiet_s / 1e6);
    println!("peak RSS {rss_mb:.0} MB; disk {:.1} MB, {:.2} bytes/event", bytes as f64 / 1e6, bytes as f64 / events);
    println!(
        "stats: {} events, {} customers, {} links, {} segments, {} unsealed, {} commits, {:.1} MB",
        stats.events,
        stats.customers,
        stats.links,
        stats.segments,
        stats.unsealed_events,
        stats.commits,
        stats.disk_bytes as f64 / 1e6
    );
    if stats.events != counts.inserted as u64 {
        return Err(format!("{} events inserted, the store counts {}", counts.inserted, stats.events).into());
    }
    let result = json!({
        "rows": counts.inserted, "rows_per_s": events / quiet_s, "rows_per_s_acknowledged": events / acknowledged_s,
        "bulk_s": quiet_s, "acknowledged_s": acknowledged_s, "bytes": bytes, "bytes_per_event": bytes as f64 / events,
        "load_peak_rss_mb": rss_mb, "links": link_count,
    });
    measure::save(&plan.scale_dir, plan.result_name(), "load", result)
}

/// What became of the records handed in.
#[derive(Clone, Copy, Debug, Default)]
pub struct Counts {
    pub inserted: usize,
    pub duplicates: usize,
    pub conflicts: usize,
    pub rejected: usize,
}

impl Counts {
    fn since(&self, earlier: &Counts) -> Counts {
        Counts {
            inserted: self.inserted - earlier.inserted,
            duplicates: self.duplicates - earlier.duplicates,
            conflicts: self.conflicts - earlier.conflicts,
            rejected: self.rejected - earlier.rejected,
        }
    }
}

/// Batches records and keeps a few batches on the way.
struct Feed {
    writer: Writer,
    batch: Batch,
    batch_len: usize,
    pending: VecDeque<Pending>,
    pending_max: usize,
    counts: Counts,
}

impl Feed {
    fn new(writer: &Writer, batch_len: usize, pending_max: usize) -> Feed {
        let (batch, pending) = (Batch::new(), VecDeque::new());
        Feed { writer: writer.clone(), batch, batch_len, pending, pending_max, counts: Counts::default() }
    }

    fn event(&mut self, event: Event) -> Result {
        self.batch.event(event);
        self.submit_when_full()
    }

    fn link(&mut self, link: LinkChange) -> Result {
        self.batch.link(link);
        self.submit_when_full()
    }

    fn submit_when_full(&mut self) -> Result {
        if self.batch.len() < self.batch_len {
            return Ok(());
        }
        self.submit()
    }

    fn submit(&mut self) -> Result {
        if self.pending.len() == self.pending_max {
            self.settle_oldest()?;
        }
        let batch = std::mem::replace(&mut self.batch, Batch::new());
        self.pending.push_back(self.writer.submit(batch)?);
        Ok(())
    }

    fn settle_oldest(&mut self) -> Result {
        let Some(oldest) = self.pending.pop_front() else { return Ok(()) };
        let receipt = oldest.wait()?;
        self.counts.inserted += receipt.inserted();
        self.counts.duplicates += receipt.duplicates();
        self.counts.conflicts += receipt.conflicts();
        self.counts.rejected += receipt.rejected();
        Ok(())
    }

    /// Returns when everything handed in is acknowledged.
    fn drain(&mut self) -> Result {
        if !self.batch.is_empty() {
            self.submit()?;
        }
        while !self.pending.is_empty() {
            self.settle_oldest()?;
        }
        Ok(())
    }
}
