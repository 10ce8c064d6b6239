//! Percentiles, memory, disk, and the result files the table is made of.

use std::path::Path;
use std::time::Duration;

use serde_json::{Map, Value, json};

use crate::Result;

/// Latencies of one kind of call.
#[derive(Clone, Default)]
pub struct Latencies(Vec<f64>);

impl Latencies {
    pub fn push(&mut self, took: Duration) {
        self.0.push(took.as_secs_f64() * 1e3);
    }

    pub fn extend(&mut self, other: &Latencies) {
        self.0.extend_from_slice(&other.0);
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// The smallest latency that the share `p` of all calls kept, in milliseconds.
    pub fn percentile(&self, p: f64) -> f64 {
        let mut sorted = self.0.clone();
        sorted.sort_unstable_by(f64::total_cmp);
        let rank = (p * sorted.len() as f64).ceil() as usize;
        sorted.get(rank.clamp(1, sorted.len().max(1)) - 1).copied().unwrap_or(f64::NAN)
    }

    /// The place of the call that took the median.
    pub fn median_at(&self) -> usize {
        let middle = self.p50();
        self.0.iter().position(|&took| took == middle).unwrap_or(0)
    }

    pub fn p50(&self) -> f64 {
        self.percentile(0.5)
    }

    pub fn p99(&self) -> f64 {
        self.percentile(0.99)
    }

    pub fn max(&self) -> f64 {
        self.percentile(1.0)
    }

    /// `p50 / p99 (n)` in milliseconds.
    pub fn cell(&self) -> String {
        format!("{:.4} / {:.4} ({})", self.p50(), self.p99(), self.len())
    }

    /// As the peers' harness writes it.
    pub fn json(&self) -> Value {
        let mean = self.0.iter().sum::<f64>() / self.len() as f64;
        json!({ "reps": self.len(), "p50": self.p50(), "p95": self.percentile(0.95), "p99": self.p99(), "max": self.max(), "mean": mean })
    }
}

/// Peak resident memory of this process so far, in megabytes.
pub fn peak_rss_mb() -> Result<f64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).ok_or("no VmHWM in /proc/self/status")?;
    Ok(line.trim().trim_end_matches(" kB").parse::<f64>()? / 1024.0)
}

/// Bytes of all files under `path`, or of the file.
pub fn disk_bytes(path: &Path) -> Result<u64> {
    if !path.is_dir() {
        return Ok(path.metadata()?.len());
    }
    let mut sum = 0;
    for entry in std::fs::read_dir(path)? {
        sum += disk_bytes(&entry?.path())?;
    }
    Ok(sum)
}

/// Merges `value` into part `part` of `results/NAME.json`, where the peers' harness keeps its own.
pub fn save(scale_dir: &Path, name: &str, part: &str, value: Value) -> Result {
    let folder = scale_dir.join("results");
    std::fs::create_dir_all(&folder)?;
    let path = folder.join(format!("{name}.json"));
    let mut all: Map<String, Value> = match std::fs::read_to_string(&path) {
        Ok(text) => serde_json::from_str(&text)?,
        Err(_) => Map::new(),
    };
    let part = all.entry(part).or_insert_with(|| json!({}));
    let (Some(part), Value::Object(value)) = (part.as_object_mut(), value) else {
        return Err(format!("{}: a result is an object", path.display()).into());
    };
    part.extend(value);
    Ok(std::fs::write(path, serde_json::to_string_pretty(&all)?)?)
}
