//! Every limit on what comes from outside: those that a program sets, and those that are fixed.

/// Links of a stream's paths unless it asks for others; of paths in questions about sets of customers always.
pub(crate) const HOPS: u32 = 8;
/// Links of a path that `why` looks for beyond [`HOPS`].
pub(crate) const FAR_HOPS: u32 = 32;
/// Paths looked at, of one subject: a mesh has exponentially many.
pub(crate) const PATHS: usize = 4096;

/// Bytes of a line or row of imported text, unless an import asks for another limit.
pub(crate) const LINE_BYTES: usize = 1 << 20;
/// Bytes of a line that an import may ask for.
pub(crate) const LINE_BYTES_ASKED: usize = 1 << 30;
/// Levels of JSON in imported text: the decoder's own limit, which a test holds against this.
pub(crate) const JSON_LEVELS: usize = 127;
/// Bytes that a compressed input may give before its growth counts.
pub(crate) const UNPACKED_BYTES: u64 = 4 << 30;
/// How many times its size a compressed input may give beyond that.
pub(crate) const UNPACKED_RATIO: u64 = 200;

/// Different words: sources, kinds, layers, relations, entity types, attribute names.
pub(crate) const WORDS: usize = 1 << 16;
/// Different shapes of events.
pub(crate) const SHAPES: usize = 1 << 18;
/// Texts of attributes that get a number, in all. This and the next two are part of the format.
pub(crate) const TEXTS: usize = 1 << 20;
/// Texts of one attribute of one kind that get a number.
pub(crate) const TEXTS_OF_ATTRIBUTE: usize = 4096;
/// Bytes of a text that gets a number.
pub(crate) const NUMBERED_TEXT_BYTES: usize = 256;
/// Customers.
pub(crate) const CUSTOMERS: u64 = 1 << 31;
/// Other entities; one number of 32 bits stands for none.
pub(crate) const OTHERS: u64 = (1 << 31) - 1;

/// Bytes of an expression's text.
pub(crate) const EXPR_BYTES: usize = 64 << 10;
/// Levels of an expression's tree.
pub(crate) const EXPR_LEVELS: usize = 100;
/// Steps of a sequence or a funnel: a mark has a bit for each.
pub(crate) const STEPS: usize = 64;
/// Buckets of a timeline.
pub(crate) const BUCKETS: usize = 100_000;
/// Bytes of the name of a saved cohort.
pub(crate) const COHORT_NAME_BYTES: usize = 256;
/// Bytes of memory of a question about a set, unless it asks for another limit.
pub(crate) const QUESTION_BYTES: usize = 1 << 30;

/// Limits that every record must keep; one that does not is rejected, with the limit named. A link beyond
/// `links_from` or `links_to` is stored, but not followed: [`crate::Outcome::Quarantined`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// Bytes of a source, kind, layer, relation, entity type or attribute name.
    pub name_bytes: usize,
    /// Bytes of an entity id or event id.
    pub id_bytes: usize,
    /// Bytes of one text attribute.
    pub text_bytes: usize,
    /// Subjects of one event.
    pub subjects: usize,
    /// Context entities of one event.
    pub context: usize,
    /// Attributes of one event.
    pub attributes: usize,
    /// Links of one relation from one entity, of all times; retracted ones do not count, closed ones do.
    pub links_from: usize,
    /// Links of one relation to one entity, likewise.
    pub links_to: usize,
    /// Records in one batch.
    pub batch_records: usize,
    /// Bytes of one batch in stored form; at most 512 MiB.
    pub batch_bytes: usize,
}

/// One limit, as [`Limits::list`] tells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limit {
    /// Its name: for one that a program sets, that of the setting.
    pub name: &'static str,
    /// The most that is let through.
    pub most: u64,
    /// What is counted.
    pub of: &'static str,
    /// What happens beyond.
    pub beyond: &'static str,
    /// What a program sets it with; `None` if it is fixed.
    pub set_by: Option<&'static str>,
}

impl Limits {
    /// The limits, none above what the store's formats can hold.
    pub(crate) fn within_formats(mut self) -> Limits {
        let counts = [&mut self.subjects, &mut self.context, &mut self.attributes];
        counts.into_iter().for_each(|most| *most = (*most).min(u16::MAX as usize));
        let links = [&mut self.links_from, &mut self.links_to];
        links.into_iter().for_each(|most| *most = (*most).min(u32::MAX as usize));
        self.batch_records = self.batch_records.min(1 << 24);
        self.batch_bytes = self.batch_bytes.min(512 << 20);
        self
    }

    /// Every limit that a store opened with these has, and every fixed one: records first, then imported
    /// text, terms and questions.
    ///
    /// ```
    /// let limits = ofone::Limits::default().list();
    /// let names = limits.iter().find(|limit| limit.name == "name_bytes").unwrap();
    /// assert_eq!((names.most, names.set_by), (256, Some("Options::limits")));
    /// ```
    pub fn list(&self) -> Vec<Limit> {
        let kept = self.clone().within_formats();
        const RECORD: &str = "record rejected";
        const BATCH: &str = "batch refused";
        const LINE: &str = "line refused";
        const QUESTION: &str = "question refused";
        let set = |name, most: usize, of, beyond| Limit {
            name,
            most: most as u64,
            of,
            beyond,
            set_by: Some("Options::limits"),
        };
        let fixed = |name, most: u64, of, beyond| Limit { name, most, of, beyond, set_by: None };
        let asked = |name, most, of, beyond, by| Limit { set_by: Some(by), ..fixed(name, most, of, beyond) };
        vec![
            set("name_bytes", kept.name_bytes, "bytes of a kind, source, type, any name", RECORD),
            set("id_bytes", kept.id_bytes, "bytes of an entity id or event id", RECORD),
            set("text_bytes", kept.text_bytes, "bytes of a text attribute", RECORD),
            set("subjects", kept.subjects, "subjects of an event", RECORD),
            set("context", kept.context, "context entities of an event", RECORD),
            set("attributes", kept.attributes, "attributes of an event", RECORD),
            set("links_from", kept.links_from, "links of a relation from an entity", "link quarantined"),
            set("links_to", kept.links_to, "links of a relation to an entity", "link quarantined"),
            set("batch_records", kept.batch_records, "records of a batch", BATCH),
            set("batch_bytes", kept.batch_bytes, "bytes of a batch, packed", BATCH),
            asked("line_bytes", LINE_BYTES as u64, "bytes of a line or row", LINE, "ImportOptions"),
            fixed("json_levels", JSON_LEVELS as u64, "levels of a line of JSON", LINE),
            asked(
                "unpacked_ratio",
                UNPACKED_RATIO,
                "times its size that an input unpacks to",
                "import given up",
                "ImportOptions",
            ),
            asked(
                "unpacked_bytes",
                UNPACKED_BYTES,
                "bytes that any input may unpack to",
                "unpacked_ratio counts",
                "ImportOptions",
            ),
            fixed("words", WORDS as u64, "different kinds, sources, types, names", RECORD),
            fixed("shapes", SHAPES as u64, "different shapes of events", RECORD),
            fixed("texts", TEXTS as u64, "numbered texts of attributes", "stored with the event"),
            fixed(
                "texts_of_attribute",
                TEXTS_OF_ATTRIBUTE as u64,
                "numbered texts of an attribute of a kind",
                "stored with the event",
            ),
            fixed("numbered_bytes", NUMBERED_TEXT_BYTES as u64, "bytes of a numbered text", "stored with the event"),
            fixed("customers", CUSTOMERS, "customers", RECORD),
            fixed("entities", OTHERS, "entities that are no customers", RECORD),
            asked("hops", u64::from(HOPS), "links of a path", "not followed", "StreamQuery"),
            fixed("paths", PATHS as u64, "paths from a customer to a subject", "not looked at"),
            fixed("expr_bytes", EXPR_BYTES as u64, "bytes of an expression", QUESTION),
            fixed("expr_levels", EXPR_LEVELS as u64, "levels of an expression", QUESTION),
            fixed("steps", STEPS as u64, "steps of a sequence or funnel", QUESTION),
            fixed("buckets", BUCKETS as u64, "buckets of a timeline", QUESTION),
            asked(
                "question_bytes",
                QUESTION_BYTES as u64,
                "bytes of memory of a question about a set",
                QUESTION,
                "WhoQuery",
            ),
            fixed("cohort_name_bytes", COHORT_NAME_BYTES as u64, "bytes of a saved cohort's name", "not saved"),
        ]
    }
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            name_bytes: 256,
            id_bytes: 1024,
            text_bytes: 64 * 1024,
            subjects: 64,
            context: 256,
            attributes: 256,
            links_from: 1 << 18,
            links_to: 1 << 24,
            batch_records: 1 << 20,
            batch_bytes: 256 << 20,
        }
    }
}
