//! Who was erased, and whether all of that can be read.

use crate::codec::{key, record};
use crate::error::Result;
use crate::ingest::Ledger;
use crate::salvage::report::SalvageReport;
use crate::store::{Family, Wreck};

/// The ledger as far as it can be read, and the reasons to doubt that this is all of it.
pub(super) fn read(wreck: &Wreck, report: &mut SalvageReport) -> Result<(Ledger, Vec<String>)> {
    let mut doubts: Vec<String> = Vec::new();
    let lost = wreck.lost_tables().iter().filter(|table| table.family == Family::Meta);
    doubts.extend(lost.map(|table| format!("{} is lost", table.name)));
    // The first row of an erasure may be nowhere else.
    doubts.extend(wreck.log_damage().map(|place| format!("the write-ahead log is damaged at {place}")));
    let mut ledger = Ledger::default();
    let (mut expected, mut odd) = (1, 0u64);
    let mut gaps = Vec::new();
    let mut each = |key: &[u8], value: &[u8]| {
        if key == key::ERASURE_KEY {
            ledger.key = record::decode(value).ok();
            odd += u64::from(ledger.key.is_none());
        } else if let Ok(Some(number)) = key::parse_erasure(key) {
            let row = record::decode::<record::Erasure>(value).ok();
            let row = row.filter(|row| row.numbers.len() == row.hashes.len());
            odd += u64::from(row.is_none()) + u64::from(number != expected);
            report.erasures.lost += u64::from(row.is_none()) + number.saturating_sub(expected);
            expected = number + 1;
            ledger.rows.extend(row);
        }
        Ok(())
    };
    // Behind the key of the hashes come the rows.
    let mut end = key::ERASURE.to_vec();
    *end.last_mut().expect("it is not empty") += 1;
    wreck.scan(Family::Meta, (key::ERASURE_KEY, Some(&end)), &mut each, &mut |gap| gaps.push(gap.0))?;
    doubts.extend(gaps);
    if odd > 0 {
        doubts.push(format!("{odd} rows are missing or do not decode"));
    }
    if ledger.key.is_none() && !ledger.rows.is_empty() {
        doubts.push("what names are hashed under is lost".to_owned());
        report.erasures.lost += ledger.rows.len() as u64;
    } else {
        report.erasures.copied = ledger.rows.len() as u64;
    }
    Ok((ledger, doubts))
}
