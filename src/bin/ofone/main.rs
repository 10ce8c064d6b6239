//! The `ofone` command line: looks into stores, fills them, and makes data to try them with.
//!
//! A file per command; they see only the public API of the library. Data goes to stdout, talk to
//! stderr, and every text that came from data is escaped on the way.

mod args;
mod ask;
mod backup;
mod backups;
mod check;
mod cohorts;
mod commit;
mod erase;
mod exit;
mod fold;
mod funnel;
mod r#gen;
mod group;
mod ingest;
mod lanes;
mod limits;
mod links;
mod output;
mod progress;
mod promote;
mod restore;
mod retain;
mod rows;
mod salvage;
mod screen;
mod stats;
mod stream;
mod time;
mod timeline;
mod top;
mod who;
mod why;
mod witness;

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use ofone::export::escape;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// The experience of one: every feed of a service provider as one stream per customer.
#[derive(Parser)]
#[command(name = "ofone", version, after_help = exit::CODES, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Gen(r#gen::Args),
    Ingest(ingest::Args),
    Stream(stream::Args),
    Why(why::Args),
    Links(links::Args),
    Promote(promote::Args),
    Limits(limits::Args),
    Who(who::Args),
    Witness(witness::Args),
    Timeline(timeline::Args),
    Top(top::Args),
    Group(group::Args),
    Funnel(funnel::Args),
    Cohorts(cohorts::Args),
    Stats(stats::Args),
    Check(check::Args),
    Retain(retain::Args),
    Erase(erase::Args),
    Backup(backup::Args),
    Backups(backups::Args),
    Restore(restore::Args),
    Salvage(salvage::Args),
}

fn main() -> ExitCode {
    keep_to_ourselves();
    let done = match parse().command {
        Command::Gen(args) => r#gen::run(&args),
        Command::Ingest(args) => ingest::run(&args),
        Command::Stream(args) => stream::run(&args),
        Command::Why(args) => why::run(&args),
        Command::Links(args) => links::run(&args),
        Command::Promote(args) => promote::run(&args),
        Command::Limits(args) => limits::run(&args),
        Command::Who(args) => who::run(&args),
        Command::Witness(args) => witness::run(&args),
        Command::Timeline(args) => timeline::run(&args),
        Command::Top(args) => top::run(&args),
        Command::Group(args) => group::run(&args),
        Command::Funnel(args) => funnel::run(&args),
        Command::Cohorts(args) => cohorts::run(&args),
        Command::Stats(args) => stats::run(&args),
        Command::Check(args) => check::run(&args),
        Command::Retain(args) => retain::run(&args),
        Command::Erase(args) => erase::run(&args),
        Command::Backup(args) => backup::run(&args),
        Command::Backups(args) => backups::run(&args),
        Command::Restore(args) => restore::run(&args),
        Command::Salvage(args) => salvage::run(&args),
    };
    exit::report(done)
}

/// The command line; if it is wrong the process ends here. clap shows what it was given as it is.
fn parse() -> Cli {
    Cli::try_parse().unwrap_or_else(|error| {
        let steers = |word: std::ffi::OsString| word.to_str().is_none_or(|word| escape(word).to_string() != word);
        if error.use_stderr() && std::env::args_os().any(steers) {
            error.render().to_string().lines().for_each(|line| eprintln!("{}", escape(line)));
            std::process::exit(error.exit_code());
        }
        error.exit()
    })
}

/// Whatever this process writes is its user's alone, and if it dies it leaves no copy of its memory behind.
fn keep_to_ourselves() {
    use rustix::process::{Resource, Rlimit, setrlimit, umask};
    umask(rustix::fs::Mode::RWXG | rustix::fs::Mode::RWXO);
    // Lowering a limit is always allowed; if it fails after all, nothing else depends on it.
    let _ = setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) });
}
