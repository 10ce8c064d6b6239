//! Which events of a stream are wanted.

use std::cell::RefCell;

use crate::codec::chunk::Wanted;
use crate::codec::raw::{Layouts, RawEvent};
use crate::dictionary::TermTables;
use crate::error::Result;
use crate::model::{Severity, Text, Window};

/// What a stream query asks for besides customer and links.
#[derive(Clone, Debug, Default)]
pub(crate) struct Filter {
    pub(crate) window: Window,
    /// Any of these; all when empty.
    pub(crate) layers: Vec<Text>,
    /// Any of these; all when empty.
    pub(crate) sources: Vec<Text>,
    /// Any of these patterns; all when empty.
    pub(crate) kinds: Vec<Text>,
    pub(crate) min_severity: Severity,
    /// All of these.
    pub(crate) attributes: Vec<(Text, Text)>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Unknown,
    Unwanted,
    /// Wanted; events of this shape have no end.
    Instant,
    /// Wanted; events of this shape last.
    Lasting,
}

/// A filter bound to the terms known now. What depends on the shape alone is settled once a shape.
pub(super) struct Bound<'a> {
    filter: &'a Filter,
    tables: &'a TermTables,
    from: i64,
    to: i64,
    by_shape: bool,
    /// Whether an event before the window may reach into it.
    some_last: bool,
    /// Whether nothing is filtered out.
    everything: bool,
    verdicts: RefCell<Vec<Verdict>>,
}

impl<'a> Bound<'a> {
    pub(super) fn new(filter: &'a Filter, tables: &'a TermTables) -> Bound<'a> {
        let by_shape = !(filter.layers.is_empty() && filter.sources.is_empty() && filter.kinds.is_empty());
        Bound {
            filter,
            tables,
            from: filter.window.from.as_nanos(),
            to: filter.window.to.as_nanos(),
            by_shape,
            some_last: tables.some_last(),
            everything: !by_shape && filter.window == Window::ALL && filter.min_severity == Severity::NONE,
            verdicts: RefCell::default(),
        }
    }

    fn verdict(&self, shape: u32) -> Verdict {
        let mut verdicts = self.verdicts.borrow_mut();
        let at = shape as usize;
        if verdicts.len() <= at {
            verdicts.resize(self.tables.shapes().len().max(at + 1), Verdict::Unknown);
        }
        if verdicts[at] == Verdict::Unknown {
            verdicts[at] = self.judge(shape);
        }
        verdicts[at]
    }

    fn judge(&self, shape: u32) -> Verdict {
        let Ok(entry) = self.tables.shape(shape) else {
            // The decoder reports the unknown shape.
            return Verdict::Lasting;
        };
        let any = |wanted: &[Text], have: &str| wanted.is_empty() || wanted.iter().any(|text| text == have);
        let filter = self.filter;
        let wanted = !self.by_shape
            || (filter.layers.is_empty() || entry.layer.as_ref().is_some_and(|layer| any(&filter.layers, layer)))
                && any(&filter.sources, &entry.source)
                && (filter.kinds.is_empty() || filter.kinds.iter().any(|glob| matches(glob, &entry.kind)));
        match (wanted, entry.shape.layout.has_end) {
            (false, _) => Verdict::Unwanted,
            (true, false) => Verdict::Instant,
            (true, true) => Verdict::Lasting,
        }
    }

    /// Whether the attributes are as asked for.
    pub(super) fn attributes_fit(&self, event: &RawEvent) -> Result<bool> {
        if self.filter.attributes.is_empty() {
            return Ok(true);
        }
        let entry = self.tables.shape(event.shape)?;
        for (name, wanted) in &self.filter.attributes {
            let mut fits = false;
            for (index, ((known, _), value)) in entry.attributes.iter().zip(&event.values).enumerate() {
                if known == name {
                    fits = self.tables.value(entry, index, value)?.to_string() == wanted.as_str();
                }
            }
            if !fits {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

impl Wanted for Bound<'_> {
    fn times(&self) -> (i64, i64) {
        (if self.some_last { i64::MIN } else { self.from }, self.to)
    }

    fn wants(&self, time: i64, shape: u32, severity: u8) -> bool {
        if self.everything {
            return true;
        }
        let outside = time >= self.to || time < self.from && !self.some_last;
        if outside || severity < self.filter.min_severity.number() {
            return false;
        }
        match self.verdict(shape) {
            Verdict::Instant => time >= self.from,
            Verdict::Lasting => true,
            Verdict::Unwanted | Verdict::Unknown => false,
        }
    }
}

impl Layouts for Bound<'_> {
    fn layout(&self, shape: u32) -> Option<crate::codec::raw::Layout> {
        self.tables.layout(shape)
    }
}

/// Whether `text` fits `pattern`, in which `*` stands for any run of characters.
pub(super) fn matches(pattern: &str, text: &str) -> bool {
    let mut parts = pattern.split('*');
    let first = parts.next().unwrap_or("");
    let Some(mut rest) = text.strip_prefix(first) else { return false };
    let mut parts: Vec<&str> = parts.collect();
    let Some(last) = parts.pop() else { return rest.is_empty() };
    for part in parts {
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    rest.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_any_run_of_characters() {
        for (pattern, text, fits) in [
            ("call.dropped", "call.dropped", true),
            ("call.dropped", "call.dropped.x", false),
            ("call.*", "call.dropped", true),
            ("call.*", "recall.dropped", false),
            ("*dropped", "call.dropped", true),
            ("*.*", "call.dropped", true),
            ("a*b*a", "aba", true),
            ("a*ba", "aba", true),
            ("ab*ba", "aba", false),
            ("*", "", true),
            ("", "", true),
            ("", "x", false),
        ] {
            assert_eq!(matches(pattern, text), fits, "{pattern} on {text}");
        }
    }
}
