//! Writes a few facts about one customer and reads their experience back.
//!
//! Run with `cargo run --release --example first_stream`.

use ofone::{Batch, Db, Entity, Event, Link, Options, Result, Severity, Timestamp};

fn main() -> Result<()> {
    let directory = std::env::temp_dir().join(format!("ofone-example-{}", std::process::id()));
    let db = Db::open(&directory, Options::new())?;
    let at = |text: &str| text.parse::<Timestamp>();

    let broadband = Entity::new("service", "C42/broadband");
    let olt = Entity::new("olt", "LON-7");
    let mut batch = Batch::new();
    batch
        .link(Link::new(Entity::customer("C42"), "uses", broadband.clone()).valid_from(at("2025-06-01T00:00:00Z")?))
        .link(Link::new(broadband.clone(), "fed_by", olt.clone()).valid_to(at("2026-01-20T00:00:00Z")?))
        .event(
            Event::new(at("2026-01-05T09:13:00Z")?, "nms", "alarm.raised")
                .id("A-1")
                .layer("network")
                .severity(Severity::ERROR)
                .end(at("2026-01-05T11:00:00Z")?)
                .subject(olt),
        )
        .event(Event::new(at("2026-01-05T09:14:30Z")?, "cpe", "session.lost").layer("network").subject(broadband))
        .event(
            Event::new(at("2026-01-05T09:40:00Z")?, "crm", "ticket.opened")
                .id("T-881")
                .layer("process")
                .subject(Entity::customer("C42")),
        );
    let receipt = db.writer().commit(batch)?;
    println!("commit {} stored {} records", receipt.commit(), receipt.inserted());

    for item in db.snapshot().stream("C42").run()? {
        let item = item?;
        println!("{}  {:14} {}", item.event.time, item.event.kind, item.event.subjects[0]);
        for path in item.paths()? {
            for link in &path.steps {
                println!("    because {} -{}-> {}", link.from, link.relation, link.to);
            }
        }
    }
    drop(db);
    std::fs::remove_dir_all(directory)?;
    Ok(())
}
