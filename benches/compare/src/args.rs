//! `--name value` and `--flag`, nothing more.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::str::FromStr;

use ofone::{Durability, Options};

use crate::Result;

const FLAGS: [&str; 2] = ["links", "dry"];

/// The options of one call. Each must be asked for by the command, else [`Args::finish`] refuses it.
pub struct Args {
    given: BTreeMap<String, String>,
    asked: RefCell<BTreeSet<String>>,
}

impl Args {
    pub fn parse(mut words: impl Iterator<Item = String>) -> Result<Args> {
        let mut given = BTreeMap::new();
        while let Some(word) = words.next() {
            let name = word.strip_prefix("--").ok_or_else(|| format!("an option begins with --, got `{word}`"))?;
            let value = if FLAGS.contains(&name) { Some(String::new()) } else { words.next() };
            given.insert(name.to_owned(), value.ok_or_else(|| format!("--{name} needs a value"))?);
        }
        Ok(Args { given, asked: RefCell::default() })
    }

    pub fn flag(&self, name: &str) -> bool {
        self.asked.borrow_mut().insert(name.to_owned());
        self.given.contains_key(name)
    }

    pub fn text(&self, name: &str) -> Option<&str> {
        self.asked.borrow_mut().insert(name.to_owned());
        self.given.get(name).map(String::as_str)
    }

    pub fn path(&self, name: &str) -> Result<PathBuf> {
        Ok(self.text(name).ok_or_else(|| format!("--{name} is missing"))?.into())
    }

    pub fn number<T: FromStr>(&self, name: &str) -> Result<Option<T>> {
        let Some(text) = self.text(name) else { return Ok(None) };
        let digits = text.replace('_', "");
        digits.parse().map(Some).map_err(|_| format!("--{name} is a number, got `{text}`").into())
    }

    /// The folder of one scale: events, parameters, results.
    pub fn scale_dir(&self) -> Result<PathBuf> {
        Ok(self.path("work")?.join(self.text("scale").ok_or("--scale is missing")?))
    }

    /// The options of a store that several commands share.
    pub fn store_options(&self) -> Result<Options> {
        let mut options = Options::new();
        if let Some(events) = self.number("segment-events")? {
            options = options.segment_events(events);
        }
        if let Some(megabytes) = self.number::<usize>("cache-mb")? {
            options = options.cache_bytes(megabytes << 20).index_cache_bytes(megabytes << 20);
        }
        if let Some(megabytes) = self.number::<usize>("index-cache-mb")? {
            options = options.index_cache_bytes(megabytes << 20);
        }
        match self.text("durability") {
            None | Some("sync") => Ok(options.durability(Durability::Sync)),
            Some("os") => Ok(options.durability(Durability::Os)),
            Some(other) => Err(format!("--durability is sync or os, got `{other}`").into()),
        }
    }

    /// Refuses what no one asked for, so that a misspelt option cannot pass as a measurement.
    pub fn finish(&self) -> Result {
        let asked = self.asked.borrow();
        match self.given.keys().find(|name| !asked.contains(*name)) {
            Some(name) => Err(format!("this command has no option --{name}").into()),
            None => Ok(()),
        }
    }
}
