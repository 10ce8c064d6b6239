//! Streams: the query, and the iterator over its answer.

use std::cmp::Ordering;
use std::fmt;
use std::sync::Arc;

use smallvec::SmallVec;

use crate::codec::raw::RawEvent;
use crate::error::Result;
use crate::model::limits::HOPS;
use crate::model::{Entity, Interval, Severity, Text, Window};
use crate::query::filter::{Bound, Filter};
use crate::query::gather;
use crate::query::item::{Cursor, StreamContext, StreamItem, lasts, via};
use crate::query::lookup::{Memo, Resolver, blank};
use crate::query::order;
use crate::query::snapshot::Snapshot;
use crate::topology::{Reach, reach};

/// Asks for a customer's stream: what of it, in which direction, how much.
///
/// Filters of different fields must all hold; of one field, any of its values. Nothing is read
/// before [`StreamQuery::run`].
///
/// ```no_run
/// # fn main() -> ofone::Result<()> {
/// use ofone::{Db, Options, Severity, Timestamp};
/// let db = Db::open("provider.ofone", Options::new())?;
/// let day = "2026-01-05T00:00:00Z".parse::<Timestamp>()?.."2026-01-06T00:00:00Z".parse()?;
/// for item in db.snapshot().stream("C42").window(day).layer("network").min_severity(Severity::WARN).run()? {
///     let item = item?;
///     println!("{} {} {:?}", item.event.time, item.event.kind, item.via());
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
#[must_use = "a query does nothing until it is run"]
pub struct StreamQuery {
    snapshot: Snapshot,
    customer: Text,
    filter: Filter,
    max_hops: u32,
    newest_first: bool,
    limit: Option<usize>,
    after: Option<Cursor>,
}

impl StreamQuery {
    pub(super) fn new(snapshot: Snapshot, customer: Text) -> StreamQuery {
        let filter = Filter::default();
        StreamQuery { snapshot, customer, filter, max_hops: HOPS, newest_first: false, limit: None, after: None }
    }

    /// Only what was present at some instant of the half-open window: events at their time, events
    /// with an end while they lasted and a path held. Default: all of time.
    pub fn window(mut self, window: impl Into<Window>) -> StreamQuery {
        self.filter.window = window.into();
        self
    }

    /// Only events of this layer, or of another one named by a further call.
    pub fn layer(mut self, layer: impl Into<Text>) -> StreamQuery {
        self.filter.layers.push(layer.into());
        self
    }

    /// Only events from this feed, or from another one named by a further call.
    pub fn source(mut self, source: impl Into<Text>) -> StreamQuery {
        self.filter.sources.push(source.into());
        self
    }

    /// Only events whose kind fits this pattern, in which `*` stands for any run of characters, or
    /// one of a further call.
    pub fn kind(mut self, glob: impl Into<Text>) -> StreamQuery {
        self.filter.kinds.push(glob.into());
        self
    }

    /// Only events at least this severe; 0 lets those without severity in.
    pub fn min_severity(mut self, severity: Severity) -> StreamQuery {
        self.filter.min_severity = severity;
        self
    }

    /// Only events whose attribute `name` reads `value`; further calls must hold too.
    pub fn attribute(mut self, name: impl Into<Text>, value: impl Into<Text>) -> StreamQuery {
        self.filter.attributes.push((name.into(), value.into()));
        self
    }

    /// Follows at most this many links. Default: 8.
    pub fn max_hops(mut self, hops: u32) -> StreamQuery {
        self.max_hops = hops;
        self
    }

    /// Only events that happened to the customer itself.
    pub fn direct_only(self) -> StreamQuery {
        self.max_hops(0)
    }

    /// Latest first.
    pub fn newest_first(mut self) -> StreamQuery {
        self.newest_first = true;
        self
    }

    /// At most this many items.
    pub fn limit(mut self, items: usize) -> StreamQuery {
        self.limit = Some(items);
        self
    }

    /// Goes on behind an item of an earlier answer, in the direction of this query.
    pub fn after(mut self, cursor: Cursor) -> StreamQuery {
        self.after = Some(cursor);
        self
    }

    /// Reads the stream. A customer that the store does not know has an empty one.
    ///
    /// Cost: one scan of links for each entity reached that is not cached, one read for each home
    /// with events in each segment that overlaps the window, and the decoding of those chunks that
    /// overlap it. Text is looked up while iterating.
    ///
    /// # Errors
    /// `Corrupt` or `Io` from the store.
    pub fn run(self) -> Result<Stream> {
        let snapshot = self.snapshot.clone();
        let Some(customer) = snapshot.customer_number(&self.customer)? else { return Ok(Stream::empty()) };
        let links = snapshot.links_view();
        let reach = reach(&links, customer, Interval::ALL, self.max_hops)?;
        let window = self.filter.window.interval();
        let homes = gather::homes(&reach, &links, &window)?;
        let rows = gather::fetch(&snapshot.lookup, &snapshot.view, &homes, &[window])?;
        let resolver = Resolver::new(&snapshot.lookup);
        let bound = Bound::new(&self.filter, resolver.tables());
        let mut hits = gather::gather(&snapshot.lookup, &snapshot.view, &rows, &homes, &reach, &bound, window)?;
        order::sort(&mut hits, &resolver)?;
        if self.newest_first {
            hits.reverse();
        }
        if let Some(Cursor(place)) = &self.after {
            let behind = if self.newest_first { Ordering::Less } else { Ordering::Greater };
            let mut failure = Ok(());
            let from = hits.partition_point(|hit| match place.compare(hit, &resolver) {
                Ok(order) => order != behind,
                Err(error) => {
                    failure = Err(error);
                    false
                }
            });
            failure?;
            hits.drain(..from);
        }
        hits.truncate(self.limit.unwrap_or(usize::MAX));
        drop(bound);
        drop((resolver, rows));
        let hop_limit_reached = reach.limit_reached && self.max_hops > 0;
        let context = Arc::new(StreamContext::new(snapshot, customer, self.max_hops));
        let answer = Answer::new(context, reach);
        // The one name that is known already.
        let entity = Entity { kind: answer.context.snapshot.lookup.customer_type.clone(), id: self.customer };
        answer.memo.borrow_mut().insert(customer, entity);
        Ok(Stream { hits: hits.into_iter(), answer: Some(answer), hop_limit_reached })
    }
}

impl fmt::Debug for StreamQuery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StreamQuery")
            .field("customer", &self.customer)
            .field("filter", &self.filter)
            .field("max_hops", &self.max_hops)
            .field("newest_first", &self.newest_first)
            .field("limit", &self.limit)
            .field("after", &self.after)
            .finish_non_exhaustive()
    }
}

/// Turns events of a stream into items.
pub(super) struct Answer {
    context: Arc<StreamContext>,
    reach: Reach,
    memo: Memo,
}

/// The events of a stream, in order; owns what it reads. After an error it yields nothing more.
pub struct Stream {
    hits: std::vec::IntoIter<RawEvent>,
    answer: Option<Answer>,
    hop_limit_reached: bool,
}

impl Stream {
    fn empty() -> Stream {
        Stream { hits: Vec::new().into_iter(), answer: None, hop_limit_reached: false }
    }

    /// Whether links went on behind the last hop allowed, so that more hops might show more events.
    pub fn hop_limit_reached(&self) -> bool {
        self.hop_limit_reached
    }
}

impl Iterator for Stream {
    type Item = Result<StreamItem>;

    fn next(&mut self) -> Option<Result<StreamItem>> {
        let answer = self.answer.as_ref()?;
        let Some(hit) = self.hits.next() else {
            self.answer = None;
            return None;
        };
        let item = answer.item(hit);
        if item.is_err() {
            self.answer = None;
        }
        Some(item)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = if self.answer.is_some() { self.hits.len() } else { 0 };
        (0, Some(left))
    }
}

impl Answer {
    pub(super) fn new(context: Arc<StreamContext>, reach: Reach) -> Answer {
        Answer { context, reach, memo: Memo::default() }
    }

    pub(super) fn item(&self, mut raw: RawEvent) -> Result<StreamItem> {
        let resolver = Resolver::with_memo(&self.context.snapshot.lookup, &self.memo);
        let mut item = StreamItem {
            event: blank(),
            felt: gather::felt(&raw, &self.reach),
            commit: raw.commit,
            via: via(&raw, self.context.customer, |subject| {
                self.reach.get(subject).is_some_and(|reached| reached.when.overlaps(&lasts(&raw)))
            }),
            subjects: SmallVec::new(),
            context: self.context.clone(),
        };
        resolver.fill(&mut raw, &mut item.event)?;
        item.subjects = raw.subjects;
        Ok(item)
    }
}

impl fmt::Debug for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stream").field("left", &self.hits.len()).finish_non_exhaustive()
    }
}
