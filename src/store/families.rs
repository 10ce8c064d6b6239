//! The column families: one table of what each holds and how it is tuned.

use rocksdb::{BlockBasedOptions, Cache, DBCompressionType, DataBlockIndexType, Options};

use crate::fail;

/// A column family.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(usize)]
pub(crate) enum Family {
    /// Header, manifest, sets of homes. Few rows, read at open.
    Meta,
    /// Commits not yet sealed, trimmed by segment.
    Log,
    /// (type, id) -> number.
    Names,
    /// number -> (type, id).
    Numbers,
    /// Words, shapes, attribute texts. Read at open.
    Terms,
    /// Links both ways, and where entities' events lie.
    Links,
    /// Events: written by seals as whole files, never through the memtable.
    Rows,
    /// Filters and identity indexes: written by seals as whole files.
    Dedupe,
    /// Who had which kind of event when: written by seals and merges as whole files.
    Index,
}

struct Definition {
    family: Family,
    name: &'static str,
    block_bytes: usize,
    compression: DBCompressionType,
    /// Bits an entry of a bloom filter, for families asked about keys that they often lack.
    bloom_bits: Option<f64>,
    write_buffer_bytes: usize,
}

const MIB: usize = 1 << 20;

/// In the order of the enum. `log` has a buffer as large as a segment's rows, so that most of it is
/// trimmed before it is ever flushed; `rows` compress well in larger blocks; `dedupe` is random bits.
const DEFINITIONS: [Definition; 9] = {
    use DBCompressionType::{Lz4, None as Plain, Zstd};
    use Family::{Dedupe, Index, Links, Log, Meta, Names, Numbers, Rows, Terms};
    const fn define(
        family: Family,
        name: &'static str,
        block_bytes: usize,
        compression: DBCompressionType,
        bloom_bits: Option<f64>,
        write_buffer_bytes: usize,
    ) -> Definition {
        Definition { family, name, block_bytes, compression, bloom_bits, write_buffer_bytes }
    }
    [
        define(Meta, "meta", 16 << 10, Lz4, None, 4 * MIB),
        define(Log, "log", 64 << 10, Lz4, None, 256 * MIB),
        define(Names, "names", 8 << 10, Zstd, Some(10.0), 32 * MIB),
        define(Numbers, "numbers", 8 << 10, Zstd, None, 32 * MIB),
        define(Terms, "terms", 16 << 10, Lz4, None, 4 * MIB),
        define(Links, "links", 8 << 10, Zstd, Some(10.0), 32 * MIB),
        define(Rows, "rows", 16 << 10, Zstd, None, 4 * MIB),
        define(Dedupe, "dedupe", 16 << 10, Plain, None, 4 * MIB),
        define(Index, "index", 16 << 10, Plain, None, 4 * MIB),
    ]
};

impl Family {
    /// All families, in the order of their numbers.
    pub(crate) fn all() -> impl Iterator<Item = Family> {
        DEFINITIONS.iter().map(|definition| definition.family)
    }

    pub(crate) fn name(self) -> &'static str {
        DEFINITIONS[self as usize].name
    }

    /// Compression of files written by seals.
    pub(super) fn sealed_compression(self) -> DBCompressionType {
        DEFINITIONS[self as usize].compression
    }

    pub(super) fn options(self, cache: &Cache) -> Options {
        let definition = &DEFINITIONS[self as usize];
        let mut table = BlockBasedOptions::default();
        table.set_block_cache(cache);
        table.set_block_size(definition.block_bytes);
        table.set_format_version(6);
        // Index blocks compete in the cache instead of growing with the store.
        table.set_cache_index_and_filter_blocks(true);
        table.set_pin_l0_filter_and_index_blocks_in_cache(true);
        if self == Family::Rows {
            // Rows are asked for one by one and are long: a hash leads to the row, and no row hides
            // behind the ones before it.
            table.set_data_block_index_type(DataBlockIndexType::BinaryAndHash);
            table.set_data_block_hash_ratio(0.75);
            table.set_block_restart_interval(1);
        }
        if let Some(bits) = definition.bloom_bits {
            table.set_bloom_filter(bits, false);
        }
        let mut options = Options::default();
        // Block options count only from this call on.
        options.set_block_based_table_factory(&table);
        options.set_compression_type(definition.compression);
        if definition.compression == DBCompressionType::Zstd {
            // Upper levels are rewritten soon; the bottom holds nearly everything.
            options.set_compression_type(DBCompressionType::Lz4);
            options.set_bottommost_compression_type(DBCompressionType::Zstd);
        }
        options.set_write_buffer_size(definition.write_buffer_bytes);
        options.set_max_write_buffer_number(2);
        options.set_target_file_size_base(64 << 20);
        options.set_level_compaction_dynamic_level_bytes(true);
        // Or those that happen to run would do its work.
        options.set_disable_auto_compactions(fail::bug("spare-files"));
        if self == Family::Log {
            // What is flushed is trimmed before it is worth compacting.
            options.set_level_zero_file_num_compaction_trigger(8);
        }
        options
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_in_the_order_of_the_enum() {
        assert!(DEFINITIONS.iter().enumerate().all(|(index, definition)| definition.family as usize == index));
    }
}
