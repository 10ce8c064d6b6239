//! Events in numbers: the form between text and bytes, and its packed row for log and active segment.
//!
//! A [`RawEvent`] holds dictionary numbers where an event has text. How many subjects, context
//! entities and attributes it has, and which optional fields, is the *layout* of its shape, so the
//! packed row stores none of those counts.

use smallvec::SmallVec;

use crate::codec::varint::{self, Reader};
use crate::error::{Error, Result};
use crate::model::Text;

/// First number that is not a customer's: customers are dense below it, other entities from it up.
pub(crate) const FIRST_OTHER: u32 = 1 << 31;

/// Which fields the events of one shape have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, bincode::Encode, bincode::Decode)]
pub(crate) struct Layout {
    pub(crate) has_end: bool,
    pub(crate) has_sequence: bool,
    pub(crate) has_value: bool,
    pub(crate) has_id: bool,
    pub(crate) subjects: u16,
    pub(crate) context: u16,
    pub(crate) attributes: u16,
}

/// The layouts of all shapes, by shape number.
pub(crate) trait Layouts {
    fn layout(&self, shape: u32) -> Option<Layout>;
}

impl Layouts for [Layout] {
    fn layout(&self, shape: u32) -> Option<Layout> {
        self.get(shape as usize).copied()
    }
}

/// An attribute's value in numbers.
#[derive(Clone, Debug)]
pub(crate) enum RawValue {
    /// Number of a text in the dictionary of the event's kind and the attribute's name.
    Term(u32),
    Text(Text),
    Int(i64),
    Float(f64),
    Bool(bool),
}

impl PartialEq for RawValue {
    fn eq(&self, other: &RawValue) -> bool {
        match (self, other) {
            (RawValue::Term(a), RawValue::Term(b)) => a == b,
            (RawValue::Text(a), RawValue::Text(b)) => a == b,
            (RawValue::Int(a), RawValue::Int(b)) => a == b,
            (RawValue::Float(a), RawValue::Float(b)) => a.to_bits() == b.to_bits(),
            (RawValue::Bool(a), RawValue::Bool(b)) => a == b,
            _ => false,
        }
    }
}

/// What stands at the front of every row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) time: i64,
    pub(crate) shape: u32,
    pub(crate) severity: u8,
}

/// An event in numbers.
#[derive(Clone, Debug, Default)]
pub(crate) struct RawEvent {
    pub(crate) time: i64,
    pub(crate) shape: u32,
    pub(crate) severity: u8,
    pub(crate) end: Option<i64>,
    pub(crate) sequence: Option<u64>,
    pub(crate) value: Option<f64>,
    pub(crate) subjects: SmallVec<[u32; 2]>,
    pub(crate) context: SmallVec<[u32; 4]>,
    pub(crate) values: SmallVec<[RawValue; 2]>,
    pub(crate) id: Option<Text>,
    /// The commit that brought it; not part of the packed row, nor of equality.
    pub(crate) commit: u64,
}

impl PartialEq for RawEvent {
    fn eq(&self, other: &RawEvent) -> bool {
        self.time == other.time
            && self.shape == other.shape
            && self.severity == other.severity
            && self.end == other.end
            && self.sequence == other.sequence
            && self.value.map(f64::to_bits) == other.value.map(f64::to_bits)
            && self.subjects == other.subjects
            && self.context == other.context
            && self.values == other.values
            && self.id == other.id
    }
}

impl RawEvent {
    /// Appends the packed row.
    pub(crate) fn pack(&self, out: &mut Vec<u8>) {
        let entities: Vec<u32> = self.subjects.iter().chain(&self.context).copied().collect();
        RawEvent::pack_head(self.time, self.shape, self.severity, &entities, out);
        self.put_rest(out);
    }

    /// Appends the front of a packed row, up to and with the entities: subjects, then context.
    pub(crate) fn pack_head(time: i64, shape: u32, severity: u8, entities: &[u32], out: &mut Vec<u8>) {
        out.extend_from_slice(&time.to_le_bytes());
        varint::put(out, u64::from(shape));
        out.push(severity);
        for &number in entities {
            varint::put(out, u64::from(number.wrapping_sub(FIRST_OTHER)));
        }
    }

    /// Reads a packed row; the reader may go on behind it.
    pub(crate) fn unpack<L: Layouts + ?Sized>(reader: &mut Reader<'_>, layouts: &L) -> Result<RawEvent> {
        let time = i64::from_le_bytes(reader.array()?);
        let shape = reader.varint_u32()?;
        let layout = layouts.layout(shape).ok_or_else(|| unknown_shape(shape))?;
        let severity = severity(reader.byte()?)?;
        let mut event = RawEvent { time, shape, severity, ..RawEvent::default() };
        for _ in 0..layout.subjects {
            event.subjects.push(reader.varint_u32()?.wrapping_add(FIRST_OTHER));
        }
        for _ in 0..layout.context {
            event.context.push(reader.varint_u32()?.wrapping_add(FIRST_OTHER));
        }
        event.read_rest(reader, layout)?;
        Ok(event)
    }

    /// The front of a packed row without reading further.
    pub(crate) fn unpack_head(row: &[u8]) -> Result<Head> {
        let mut reader = Reader::new(row);
        let time = i64::from_le_bytes(reader.array()?);
        Ok(Head { time, shape: reader.varint_u32()?, severity: severity(reader.byte()?)? })
    }

    /// The time of a packed row without reading further.
    pub(crate) fn packed_time(row: &[u8]) -> i64 {
        row.first_chunk().map_or(0, |bytes| i64::from_le_bytes(*bytes))
    }

    /// Appends everything but time, shape, severity and entities, which needs `time` for an `end`:
    /// shared by rows and chunks.
    pub(crate) fn put_rest(&self, out: &mut Vec<u8>) {
        if let Some(end) = self.end {
            varint::put(out, end.wrapping_sub(self.time) as u64);
        }
        if let Some(sequence) = self.sequence {
            varint::put(out, sequence);
        }
        if let Some(value) = self.value {
            put_float(out, value);
        }
        for value in &self.values {
            put_value(out, value);
        }
        if let Some(id) = &self.id {
            varint::put(out, id.len() as u64);
            out.extend_from_slice(id.as_bytes());
        }
    }

    /// The inverse of [`RawEvent::put_rest`]; `time` must be set.
    pub(crate) fn read_rest(&mut self, reader: &mut Reader<'_>, layout: Layout) -> Result<()> {
        if layout.has_end {
            self.end = Some(self.time.wrapping_add(reader.varint()? as i64));
        }
        if layout.has_sequence {
            self.sequence = Some(reader.varint()?);
        }
        if layout.has_value {
            self.value = Some(read_float(reader)?);
        }
        for _ in 0..layout.attributes {
            self.values.push(read_value(reader)?);
        }
        if layout.has_id {
            let length = reader.length()?;
            self.id = Some(Text::from(reader.text(length)?));
        }
        Ok(())
    }

    /// Passes over what [`RawEvent::read_rest`] reads.
    pub(crate) fn skip_rest(reader: &mut Reader<'_>, layout: Layout) -> Result<()> {
        for _ in 0..u8::from(layout.has_end) + u8::from(layout.has_sequence) {
            reader.varint()?;
        }
        if layout.has_value {
            read_float(reader)?;
        }
        for _ in 0..layout.attributes {
            skip_value(reader)?;
        }
        if layout.has_id {
            let length = reader.length()?;
            reader.bytes(length)?;
        }
        Ok(())
    }

    /// End of its presence: `end`, or the instant after `time`.
    pub(crate) fn until(&self) -> i64 {
        self.end.unwrap_or(self.time.saturating_add(1))
    }
}

pub(crate) fn unknown_shape(shape: u32) -> Error {
    Error::corrupt(format!("event of unknown shape {shape}"))
}

pub(crate) fn severity(byte: u8) -> Result<u8> {
    if byte <= 24 { Ok(byte) } else { Err(Error::corrupt(format!("severity {byte}"))) }
}

/// Widest power-of-two scale tried for a float, as a shift.
const SCALES: u64 = 6;
/// Tag of a float that no scale makes a small whole number: its eight bytes follow.
const RAW_FLOAT: u64 = 7;
/// Tag of a float scaled by 1,000 after decimal rounding proved exact.
const MILLI_FLOAT: u64 = 6;

/// Appends a float: most measurements are whole multiples of 1/1 ... 1/32 or of 1/1000, and take as
/// many bytes as that multiple; the others take nine. Low three bits: scale.
pub(crate) fn put_float(out: &mut Vec<u8>, value: f64) {
    const LARGEST: f64 = (1u64 << 40) as f64;
    let raw = |out: &mut Vec<u8>| {
        varint::put(out, RAW_FLOAT);
        out.extend_from_slice(&value.to_bits().to_le_bytes());
    };
    if value == 0.0 && value.is_sign_negative() {
        // A whole number has no negative zero.
        return raw(out);
    }
    for shift in 0..SCALES {
        let scaled = value * (1u64 << shift) as f64;
        if scaled.abs() <= LARGEST && scaled.fract() == 0.0 {
            return varint::put(out, varint::zigzag(scaled as i64) << 3 | shift);
        }
    }
    let milli = (value * 1000.0).round();
    if milli.abs() <= LARGEST && (milli / 1000.0).to_bits() == value.to_bits() {
        return varint::put(out, varint::zigzag(milli as i64) << 3 | MILLI_FLOAT);
    }
    raw(out);
}

/// The inverse of [`put_float`].
pub(crate) fn read_float(reader: &mut Reader<'_>) -> Result<f64> {
    let coded = reader.varint()?;
    let whole = varint::unzigzag(coded >> 3) as f64;
    Ok(match coded & 7 {
        RAW_FLOAT => f64::from_bits(u64::from_le_bytes(reader.array()?)),
        MILLI_FLOAT => whole / 1000.0,
        shift => whole / (1u64 << shift) as f64,
    })
}

const TAG_TERM: u64 = 0;
const TAG_TEXT: u64 = 1;
const TAG_INT: u64 = 2;
const TAG_FLOAT: u64 = 3;
const TAG_BOOL: u64 = 4;
const TAG_BITS: u32 = 3;

fn put_value(out: &mut Vec<u8>, value: &RawValue) {
    match value {
        RawValue::Term(term) => varint::put(out, u64::from(*term) << TAG_BITS | TAG_TERM),
        RawValue::Text(text) => {
            varint::put(out, (text.len() as u64) << TAG_BITS | TAG_TEXT);
            out.extend_from_slice(text.as_bytes());
        }
        RawValue::Int(number) => {
            varint::put(out, TAG_INT);
            varint::put_signed(out, *number);
        }
        RawValue::Float(number) => {
            varint::put(out, TAG_FLOAT);
            put_float(out, *number);
        }
        RawValue::Bool(flag) => varint::put(out, u64::from(*flag) << TAG_BITS | TAG_BOOL),
    }
}

fn skip_value(reader: &mut Reader<'_>) -> Result<()> {
    let head = reader.varint()?;
    match head & ((1 << TAG_BITS) - 1) {
        TAG_TEXT => reader.bytes(usize::try_from(head >> TAG_BITS).unwrap_or(usize::MAX)).map(drop),
        TAG_INT => reader.varint().map(drop),
        TAG_FLOAT => read_float(reader).map(drop),
        _ => Ok(()),
    }
}

fn read_value(reader: &mut Reader<'_>) -> Result<RawValue> {
    let head = reader.varint()?;
    let rest = head >> TAG_BITS;
    Ok(match head & ((1 << TAG_BITS) - 1) {
        TAG_TERM => RawValue::Term(u32::try_from(rest).map_err(|_| Error::corrupt("term number wider than 32 bits"))?),
        TAG_TEXT => {
            let length = usize::try_from(rest).map_err(|_| Error::corrupt("text longer than memory"))?;
            RawValue::Text(Text::from(reader.text(length)?))
        }
        TAG_INT => RawValue::Int(reader.signed()?),
        TAG_FLOAT => RawValue::Float(read_float(reader)?),
        TAG_BOOL => RawValue::Bool(rest != 0),
        tag => return Err(Error::corrupt(format!("value of unknown type {tag}"))),
    })
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use proptest::prelude::*;

    /// One layout per combination that the strategies below use, by shape number.
    pub(crate) fn layouts() -> Vec<Layout> {
        (0..64u16)
            .map(|bits| Layout {
                has_end: bits & 1 != 0,
                has_sequence: bits & 2 != 0,
                has_value: bits & 4 != 0,
                has_id: bits & 8 != 0,
                subjects: 1 + (bits >> 4 & 1) * 2,
                context: bits >> 5,
                attributes: bits >> 4 & 3,
            })
            .collect()
    }

    fn any_value() -> impl Strategy<Value = RawValue> {
        prop_oneof![
            any::<u32>().prop_map(RawValue::Term),
            ".{0,40}".prop_map(|text: String| RawValue::Text(text.into())),
            any::<i64>().prop_map(RawValue::Int),
            any::<f64>().prop_map(RawValue::Float),
            (-5000i32..5000).prop_map(|n| RawValue::Float(f64::from(n) / 8.0)),
            any::<bool>().prop_map(RawValue::Bool),
        ]
    }

    pub(crate) fn any_event() -> impl Strategy<Value = RawEvent> {
        let numbers = prop_oneof![0u32..20, FIRST_OTHER..FIRST_OTHER + 20, any::<u32>()];
        (
            (prop_oneof![0i64..1000, any::<i64>()], 0u32..64, 0u8..=24, 1i64..i64::MAX, any::<u64>()),
            (any::<f64>(), proptest::collection::vec(numbers, 8), proptest::collection::vec(any_value(), 3), ".{0,30}"),
            0u64..1000,
        )
            .prop_map(|((time, shape, severity, length, sequence), (value, numbers, values, id), commit)| {
                let layout = layouts()[shape as usize];
                let subjects = usize::from(layout.subjects);
                RawEvent {
                    time,
                    shape,
                    severity,
                    end: layout.has_end.then(|| time.wrapping_add(length)),
                    sequence: layout.has_sequence.then_some(sequence),
                    value: layout.has_value.then_some(value),
                    subjects: numbers[..subjects].into(),
                    context: numbers[subjects..subjects + usize::from(layout.context)].into(),
                    values: values[..usize::from(layout.attributes)].iter().cloned().collect(),
                    id: layout.has_id.then(|| Text::from(id)),
                    commit,
                }
            })
    }

    proptest! {
        #[test]
        fn packed_rows_survive(event in any_event()) {
            let mut bytes = Vec::new();
            event.pack(&mut bytes);
            let mut reader = Reader::new(&bytes);
            let back = RawEvent::unpack(&mut reader, layouts().as_slice()).unwrap();
            prop_assert!(reader.finish().is_ok());
            prop_assert_eq!(RawEvent::packed_time(&bytes), event.time);
            prop_assert_eq!(back, event);
        }

        #[test]
        fn arbitrary_rows_never_panic(bytes: Vec<u8>) {
            let _ = RawEvent::unpack(&mut Reader::new(&bytes), layouts().as_slice());
        }
    }

    #[test]
    fn floats_keep_every_bit() {
        for value in [0.0, -0.0, 0.125, -90.5, 0.001, 1e300, f64::MIN_POSITIVE, 0.1 + 0.2, 123_456.789, 2f64.powi(52)] {
            let mut bytes = Vec::new();
            put_float(&mut bytes, value);
            assert_eq!(read_float(&mut Reader::new(&bytes)).unwrap().to_bits(), value.to_bits(), "{value}");
        }
    }
}
