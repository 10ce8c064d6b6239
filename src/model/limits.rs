//! What a record may be at most: one gate for everything that comes from outside.

/// Limits that every record must keep; one that does not is rejected, with the limit named.
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
    /// Records in one batch.
    pub batch_records: usize,
    /// Bytes of one batch in stored form; at most 512 MiB.
    pub batch_bytes: usize,
}

impl Limits {
    /// The limits, none above what the store's formats can hold.
    pub(crate) fn within_formats(mut self) -> Limits {
        let counts = [&mut self.subjects, &mut self.context, &mut self.attributes];
        counts.into_iter().for_each(|most| *most = (*most).min(u16::MAX as usize));
        self.batch_records = self.batch_records.min(1 << 24);
        self.batch_bytes = self.batch_bytes.min(512 << 20);
        self
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
            batch_records: 1 << 20,
            batch_bytes: 256 << 20,
        }
    }
}
