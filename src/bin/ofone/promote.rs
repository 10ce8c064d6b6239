//! `ofone promote`: links out of quarantine.

use std::io::Write;

use ofone::{Entity, Link, Text};

use crate::args::StoreArgs;
use crate::commit::Totals;
use crate::exit::{Done, Failure};
use crate::output::{self, grouped};

/// Links that one commit puts in force.
const AT_ONCE: usize = 1 << 14;

/// Put links in force that are in quarantine for being too many.
///
/// `ofone links --quarantined` lists them. No limit counts here.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  ofone promote service:C0000042/tv fed_by olt:LON-7
  ofone promote --of olt:LON-7
  ofone promote --of olt:LON-7 --relation fed_by")]
pub(crate) struct Args {
    /// One link: who depends, how, on what.
    #[arg(num_args = 3, value_names = ["FROM", "RELATION", "TO"])]
    #[arg(required_unless_present = "of", conflicts_with_all = ["of", "relation"])]
    link: Vec<String>,
    /// All links of this entity, written type:id, in both directions.
    #[arg(long, value_name = "ENTITY")]
    of: Option<Entity>,
    /// Of those, only links of this relation.
    #[arg(long, value_name = "RELATION", requires = "of")]
    relation: Option<Text>,
    #[command(flatten)]
    store: StoreArgs,
}

/// Runs the command.
pub(crate) fn run(args: &Args) -> Done {
    let db = args.store.open()?;
    let snapshot = db.snapshot();
    let links: Vec<Link> = match (&args.of, args.link.as_slice()) {
        (Some(entity), _) => {
            let mut links = snapshot.quarantined(Some(entity))?;
            links.retain(|link| args.relation.as_ref().is_none_or(|relation| link.relation == *relation));
            links
        }
        (None, [from, relation, to]) => {
            let entity = |text: &String| text.parse::<Entity>().map_err(|error| Failure::usage(error.message()));
            let (from, to) = (entity(from)?, entity(to)?);
            let mut links = snapshot.quarantined(Some(&from))?;
            links.retain(|link| link.from == from && link.relation == relation.as_str() && link.to == to);
            links
        }
        _ => return Err(Failure::usage("a link is FROM RELATION TO")),
    };
    drop(snapshot);
    if links.is_empty() {
        return Err(Failure::not_found("no such link is in quarantine; see: ofone links --quarantined"));
    }
    let mut totals = Totals::default();
    for some in links.chunks(AT_ONCE) {
        totals.add(&db.promote(some.iter().cloned())?);
    }
    eprintln!("ofone: {} links are in force now", grouped(totals.inserted));
    let mut out = output::stdout();
    if !crate::screen::stdout_is_terminal() {
        writeln!(out, "{}", serde_json::json!({ "promoted": totals.inserted }))?;
    }
    out.flush()?;
    Ok(())
}
