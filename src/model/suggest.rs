//! "Did you mean": the closest of the names that would have been right.

/// `, did you mean `x`?` with the candidate closest to `name`, or nothing when none is close.
pub(crate) fn did_you_mean<'c>(name: &str, candidates: impl IntoIterator<Item = &'c str>) -> String {
    // A name of absurd length is not a typing error, and the distance costs length times length.
    if name.len() > 64 {
        return String::new();
    }
    let allowed = (name.chars().count() / 3).max(1);
    candidates
        .into_iter()
        .filter(|candidate| candidate.len() <= 64)
        .map(|candidate| (distance(name, candidate), candidate))
        .filter(|&(distance, candidate)| distance <= allowed || candidate.eq_ignore_ascii_case(name))
        .min()
        .map_or_else(String::new, |(_, candidate)| format!(", did you mean `{candidate}`?"))
}

/// Insertions, deletions, replacements and swaps of neighbours that turn `a` into `b`.
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let width = b.len() + 1;
    let mut rows: Vec<usize> = vec![0; (a.len() + 1) * width];
    for i in 0..=a.len() {
        for j in 0..=b.len() {
            let at = |i: usize, j: usize| rows[i * width + j];
            rows[i * width + j] = match (i, j) {
                (0, _) => j,
                (_, 0) => i,
                _ => {
                    let replaced = at(i - 1, j - 1) + usize::from(a[i - 1] != b[j - 1]);
                    let mut best = replaced.min(at(i - 1, j) + 1).min(at(i, j - 1) + 1);
                    if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                        best = best.min(at(i - 2, j - 2) + 1);
                    }
                    best
                }
            };
        }
    }
    rows[a.len() * width + b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_closest_name_is_suggested_and_a_far_one_is_not() {
        let names = ["kind", "time", "severity", "subjects"];
        assert_eq!(did_you_mean("knid", names), ", did you mean `kind`?");
        assert_eq!(did_you_mean("severtiy", names), ", did you mean `severity`?");
        assert_eq!(did_you_mean("Subjects", names), ", did you mean `subjects`?");
        assert_eq!(did_you_mean("colour", names), "");
        assert_eq!(did_you_mean("", names), "");
    }
}
