//! `ofone-cohort`: Q3 to Q10 on ofone, with the parameters and the digests of the peers' scripts.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use ofone::{
    Bucket, Cohort, Comparison, Db, Expr, Period, Predicate, Score, Severity, Snapshot, TimelineBucket, Timestamp,
    Window,
};
use roaring::{MultiOps, RoaringBitmap};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::Result;
use crate::args::Args;
use crate::data::{Meta, Names};
use crate::measure::{self, Latencies};

/// Parameters of all queries: which of them one has depends on the query.
#[derive(Clone, Default, Deserialize)]
#[serde(default)]
pub struct Parameter {
    /// Kinds.
    pub k: String,
    pub a: String,
    pub b: String,
    pub n: String,
    /// A layer.
    pub l: String,
    /// A component.
    pub x: u32,
    /// Microseconds.
    pub lo: i64,
    pub hi: i64,
    pub t: i64,
}

#[derive(Deserialize)]
pub struct Parameters {
    q3c: Vec<Parameter>,
    q3m: Vec<Parameter>,
    q3r: Vec<Parameter>,
    q4: Vec<Parameter>,
    q5: Vec<Parameter>,
    q6: Vec<Parameter>,
    q7: Vec<Parameter>,
    q8: Vec<Parameter>,
    q9: Vec<Parameter>,
    q10: Vec<Parameter>,
}

impl Parameters {
    pub fn read(scale_dir: &Path) -> Result<Parameters> {
        Ok(serde_json::from_str(&std::fs::read_to_string(scale_dir.join("params.json"))?)?)
    }

    /// The queries in order, each with what it is asked with.
    pub fn by_query(&self) -> [(&'static str, &[Parameter]); 12] {
        [
            ("Q3common", &self.q3c),
            ("Q3medium", &self.q3m),
            ("Q3rare", &self.q3r),
            ("Q4count", &self.q4),
            ("Q4ids", &self.q4),
            ("Q5", &self.q5),
            ("Q6", &self.q6),
            ("Q7", &self.q7),
            ("Q8", &self.q8),
            ("Q9", &self.q9),
            ("Q10", &self.q10),
            ("Q7first8", &self.q7[..8]),
        ]
    }
}

pub const DAY_US: i64 = 86_400_000_000;
pub const HOUR_US: i64 = DAY_US / 24;

pub fn run(args: &Args) -> Result {
    let scale_dir = args.scale_dir()?;
    let db_path = args.path("db")?;
    let seconds: f64 = args.number("seconds")?.unwrap_or(12.0);
    let options = args.store_options()?.create(false);
    let column = args.text("name").unwrap_or("ofone").to_owned();
    let only = args.text("only").map(str::to_owned);
    let rounds = args.number("rounds")?.unwrap_or(1);
    // One parameter of each query alone, to profile.
    let at: Option<usize> = args.number("at")?;
    let explain = args.text("explain") == Some("yes");
    args.finish()?;
    let meta = Meta::read(&scale_dir)?;
    let names = Names::new(&meta);
    let parameters = Parameters::read(&scale_dir)?;
    let db = Db::open(&db_path, options)?;
    let asker = Asker { snapshot: db.snapshot(), names: &names, t0: meta.t0 };
    println!("p50 / p99 ms (n)");
    for (query, list) in
        parameters.by_query().into_iter().filter(|(name, _)| only.as_ref().is_none_or(|only| only == name))
    {
        let list = &at.and_then(|at| list.get(at)).map_or_else(|| list.to_vec(), |one| vec![one.clone()]);
        // Warm: each page and row was touched before, as the peers' columns are after a few questions.
        let started = Instant::now();
        for parameter in list {
            asker.ask(query, parameter)?;
            if started.elapsed() > Duration::from_secs_f64(seconds) {
                break;
            }
        }
        let (mut took, mut digests) = (Latencies::default(), Vec::new());
        let started = Instant::now();
        for (at, parameter) in std::iter::repeat_n(list, rounds).flatten().enumerate() {
            let (length, answer) = asker.ask(query, parameter)?;
            took.push(length);
            if at < list.len() {
                digests.push(answer);
            }
            if started.elapsed() > Duration::from_secs_f64(seconds) && took.len() >= 8 {
                break;
            }
        }
        println!("{query:<10} {}", took.cell());
        if explain {
            // The parameter that took the median.
            asker.explain(query, &list[took.median_at() % list.len()])?;
        }
        let mut result = took.json();
        result["digests"] = Value::Array(digests);
        measure::save(&scale_dir, &column, "query", json!({ query: result }))?;
    }
    measure::save(&scale_dir, &column, "run", json!({ "cohort_peak_rss_mb": measure::peak_rss_mb()? }))
}

/// `bitmaps`: Q3 over whole days beside joining sets of customers by day that are in memory already.
pub fn bitmaps(args: &Args) -> Result {
    let scale_dir = args.scale_dir()?;
    let db_path = args.path("db")?;
    let options = args.store_options()?.create(false);
    args.finish()?;
    let meta = Meta::read(&scale_dir)?;
    let names = Names::new(&meta);
    let parameters = Parameters::read(&scale_dir)?;
    let db = Db::open(&db_path, options)?;
    let asker = Asker { snapshot: db.snapshot(), names: &names, t0: meta.t0 };
    println!("p50 / p99 ms (n): ofone; sets of days joined");
    let p = &parameters;
    for (query, list) in [("Q3common", &p.q3c), ("Q3medium", &p.q3m), ("Q3rare", &p.q3r)] {
        let (mut ours, mut theirs) = (Latencies::default(), Latencies::default());
        for parameter in list {
            let mut days = Vec::new();
            for from in (parameter.lo..parameter.hi).step_by(DAY_US as usize) {
                let day = Parameter { lo: from, hi: from + DAY_US, ..parameter.clone() };
                let ids = asker.who(query, &day)?.ids().collect::<ofone::Result<Vec<_>>>()?;
                days.push(ids.iter().map(|id| customer(id) as u32).collect::<RoaringBitmap>());
            }
            for _ in 0..8 {
                let (took, count) = asker.ask(query, parameter)?;
                ours.push(took);
                let started = Instant::now();
                let joined = days.iter().union().len();
                theirs.push(started.elapsed());
                if count != json!(joined) {
                    return Err(format!("{query}: {count} and {joined} customers").into());
                }
            }
        }
        println!("{query:<10} {}; {}", ours.cell(), theirs.cell());
    }
    Ok(())
}

struct Asker<'a> {
    snapshot: Snapshot,
    names: &'a Names,
    /// Microseconds at which the month begins.
    t0: i64,
}

fn kind(name: &str) -> Predicate {
    Predicate::kind(name)
}

fn window(parameter: &Parameter) -> Window {
    Window::new(Timestamp::from_micros(parameter.lo), Timestamp::from_micros(parameter.hi))
}

fn bad() -> Predicate {
    Predicate::severity_at_least(Severity::new(3).expect("below 25"))
}

impl Asker<'_> {
    /// How long the question took, and the digest of its answer.
    fn ask(&self, query: &str, p: &Parameter) -> Result<(Duration, Value)> {
        let started = Instant::now();
        match query {
            "Q5" | "Q6" | "Q7" | "Q7first8" | "Q4count" | "Q3common" | "Q3medium" | "Q3rare" => {
                let count = self.who(query, p)?.len();
                Ok((started.elapsed(), json!(count)))
            }
            "Q4ids" => {
                let ids = self.who(query, p)?.ids_after(None, usize::MAX)?;
                let took = started.elapsed();
                let ids: Vec<u64> = ids.iter().map(|id| customer(id)).collect();
                let sum: u64 = ids.iter().sum();
                let squares: u128 = ids.iter().map(|&id| u128::from(id) * u128::from(id)).sum();
                Ok((took, json!([ids.len(), sum, (squares % 1_000_000_007) as u64])))
            }
            "Q8" => {
                let what = || kind(&p.k).and(Predicate::layer(p.l.as_str()));
                let hours = self.snapshot.timeline(what()).every(Bucket::Length(HOUR_US * 1000)).events_only().run()?;
                let days = self.snapshot.timeline(what()).every(Bucket::Length(DAY_US * 1000)).run()?;
                let took = started.elapsed();
                let place =
                    |bucket: &TimelineBucket, length: i64| (bucket.from.as_nanos() / 1000 - self.t0).div_euclid(length);
                let hours: Vec<(i64, u64)> = hours.iter().map(|b| (place(b, HOUR_US), b.events)).collect();
                let days: Vec<(i64, u64)> = days.iter().map(|b| (place(b, DAY_US), b.customers)).collect();
                let digest = |rows: &[(i64, u64)]| {
                    let rows = rows.iter().filter(|row| row.1 > 0);
                    rows.fold([0, 0, 0], |[n, sum, weighted], &(at, count)| {
                        [n + 1, sum + count as i64, weighted + at * count as i64]
                    })
                };
                let ([a, b, c], [d, e, f]) = (digest(&hours), digest(&days));
                Ok((took, json!([a, b, c, d, e, f])))
            }
            "Q9" => {
                // Equal scores are told in the peers' order, by id: a few more rows hold the ties.
                let what = Predicate::Severity(Comparison::Greater, Severity::NONE);
                let query = self.snapshot.top_customers(what, Score::SeveritySquared);
                let rows = query.window(window(p)).limit(400).run()?;
                let took = started.elapsed();
                let mut rows: Vec<(std::cmp::Reverse<u64>, u64)> =
                    rows.iter().map(|row| (std::cmp::Reverse(row.score), customer(&row.customer))).collect();
                if rows.len() == 400 && rows[99].0 == rows[399].0 {
                    return Err("Q9: more ties than rows asked for".into());
                }
                rows.sort_unstable();
                rows.truncate(100);
                let sum: u64 = rows.iter().map(|row| row.1).sum();
                let score: u64 = rows.iter().map(|row| row.0.0).sum();
                Ok((took, json!([rows.len(), sum, score])))
            }
            "Q10" => {
                let exposed = self.snapshot.who(Expr::did(self.with(p))).run()?;
                let mut rows = BTreeMap::new();
                for (after, from, to) in [(0, p.lo, p.t), (1, p.t, p.hi)] {
                    let window = Window::new(Timestamp::from_micros(from), Timestamp::from_micros(to));
                    let count = |what: Predicate, within: Option<&Cohort>| -> Result<u64> {
                        let query = self.snapshot.timeline(what).window(window);
                        let query = query.every(Bucket::Length(1000 * DAY_US * 1000)).events_only();
                        let query = if let Some(within) = within { query.cohort(within) } else { query };
                        Ok(query.run()?.iter().map(|bucket| bucket.events).sum())
                    };
                    let (all, all_bad) = (count(Predicate::Any, None)?, count(bad(), None)?);
                    let (own, own_bad) = (count(Predicate::Any, Some(&exposed))?, count(bad(), Some(&exposed))?);
                    rows.insert((0, after), (all - own, all_bad - own_bad));
                    rows.insert((1, after), (own, own_bad));
                }
                let took = started.elapsed();
                let rows = rows.iter().filter(|row| row.1.0 > 0);
                let rows: Vec<_> = rows.map(|((e, a), (count, bad))| json!([e, a, count, bad])).collect();
                Ok((took, Value::Array(rows)))
            }
            _ => Err(format!("no query {query}").into()),
        }
    }

    fn with(&self, p: &Parameter) -> Predicate {
        Predicate::with(self.names.component(p.x))
    }

    fn expr(&self, query: &str, p: &Parameter) -> Expr {
        match query {
            "Q5" => Expr::did(kind(&p.k).and(self.with(p)).and(bad())).into(),
            "Q6" => Expr::did(kind(&p.k)).at_least(3).into(),
            "Q7" | "Q7first8" => {
                Expr::seq([kind(&p.a), kind(&p.b)]).within(Duration::from_micros(DAY_US as u64)).into()
            }
            "Q4count" | "Q4ids" => {
                let did = |name: &str| Expr::did(kind(name)).during(Period::from(window(p)));
                did(&p.a).and(did(&p.b)).minus(did(&p.n))
            }
            _ => Expr::did(kind(&p.k)).during(Period::from(window(p))).into(),
        }
    }

    fn who(&self, query: &str, p: &Parameter) -> Result<Cohort> {
        Ok(self.snapshot.who(self.expr(query, p)).run()?)
    }

    fn explain(&self, query: &str, p: &Parameter) -> Result {
        match query {
            "Q8" => {
                let what = || kind(&p.k).and(Predicate::layer(p.l.as_str()));
                for length in [HOUR_US, DAY_US] {
                    let query = self.snapshot.timeline(what()).every(Bucket::Length(length * 1000));
                    println!("{}", query.run_explained()?.1);
                }
            }
            "Q9" => {
                let what = Predicate::Severity(Comparison::Greater, Severity::NONE);
                let query = self.snapshot.top_customers(what, Score::SeveritySquared);
                println!("{}", query.window(window(p)).limit(400).run_explained()?.1);
            }
            "Q10" => {
                let exposed = self.snapshot.who(Expr::did(self.with(p))).run()?;
                println!("{}", exposed.explain());
                for (what, within) in
                    [Predicate::Any, bad()].into_iter().flat_map(|what| [(what.clone(), false), (what, true)])
                {
                    let window = Window::new(Timestamp::from_micros(p.lo), Timestamp::from_micros(p.t));
                    let query = self.snapshot.timeline(what).window(window).every(Bucket::Length(1000 * DAY_US * 1000));
                    let query = query.events_only();
                    let query = if within { query.cohort(&exposed) } else { query };
                    println!("{}", query.run_explained()?.1);
                }
            }
            _ => println!("{}\n{}", self.expr(query, p), self.who(query, p)?.explain()),
        }
        Ok(())
    }
}

/// The number in `C00000042`.
fn customer(id: &str) -> u64 {
    id.trim_start_matches('C').parse().expect("ids of the workload are C and digits")
}
