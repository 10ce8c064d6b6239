//! Where text comes from.

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::path::PathBuf;

use crate::model::Text;

/// One input of an import: a file, standard input or any reader, with the name by which rejects
/// and errors call it.
pub struct Input {
    name: Text,
    source: Source,
}

enum Source {
    Path(PathBuf),
    Stdin,
    Reader(Box<dyn Read + Send>),
}

impl Input {
    /// A file, opened when its turn comes.
    pub fn path(path: impl Into<PathBuf>) -> Input {
        let path = path.into();
        Input { name: Text::from(path.to_string_lossy().into_owned()), source: Source::Path(path) }
    }

    /// Standard input, named `-`. Whole lines are handed on as they arrive, so that a slow feed is
    /// not held back.
    pub fn stdin() -> Input {
        Input { name: Text::from("-"), source: Source::Stdin }
    }

    /// Anything that can be read.
    pub fn reader(name: impl Into<Text>, reader: impl Read + Send + 'static) -> Input {
        Input { name: name.into(), source: Source::Reader(Box::new(reader)) }
    }

    /// The name by which rejects and errors call it.
    pub fn name(&self) -> &Text {
        &self.name
    }

    /// Whether whole lines should be handed on as soon as they are there.
    pub(super) fn is_live(&self) -> bool {
        matches!(self.source, Source::Stdin)
    }

    pub(super) fn open(self) -> io::Result<Box<dyn Read + Send>> {
        Ok(match self.source {
            Source::Path(path) => Box::new(File::open(path)?),
            Source::Stdin => Box::new(io::stdin()),
            Source::Reader(reader) => reader,
        })
    }
}

impl fmt::Debug for Input {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Input").field(&self.name).finish()
    }
}
