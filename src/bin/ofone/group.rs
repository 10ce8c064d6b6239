//! `ofone group`: events and customers for each value of a field.

use ofone::Field;

use crate::args;
use crate::exit::Done;
use crate::top::{self, CountArgs};

/// Count events, and the customers that had one, for each value of a field, ordered by value.
///
/// FIELD is kind, layer, source, severity, subject, context or attr.NAME.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  ofone group layer
  ofone group severity --what 'kind ~ \"alarm.*\"' --since -7d --format csv
  ofone group attr.cause --what 'kind = call.dropped' --in 'reach(olt:LON-7)'")]
pub(crate) struct Args {
    /// The field.
    #[arg(value_name = "FIELD", value_parser = args::field)]
    field: Field,
    #[command(flatten)]
    count: CountArgs,
}

/// Runs the command.
pub(crate) fn run(args: &Args) -> Done {
    top::values(&args.count, &args.field, None)
}
