//! Severity scales in common use, mapped onto the numbers 1 to 24.
//!
//! syslog as in appendix B of OpenTelemetry's log data model; X.733 through RFC 5674 onto syslog;
//! tickets and deployments are our judgement. A mapping can give its own table instead.

/// The names of the scales.
pub(super) const NAMES: [&str; 6] = ["otel", "syslog", "x733", "tmf621", "deployment", "http"];

/// A known scale.
#[derive(Clone, Copy, Debug)]
pub(super) enum Scale {
    Otel,
    Syslog,
    X733,
    Tmf621,
    Deployment,
    Http,
}

impl Scale {
    pub(super) fn named(name: &str) -> Option<Scale> {
        Some(match name {
            "otel" => Scale::Otel,
            "syslog" => Scale::Syslog,
            "x733" => Scale::X733,
            "tmf621" => Scale::Tmf621,
            "deployment" => Scale::Deployment,
            "http" => Scale::Http,
            _ => return None,
        })
    }

    /// The number for a word or number of the scale, in any case.
    pub(super) fn number(self, word: &str) -> Option<u8> {
        let word = word.trim().to_ascii_lowercase();
        match self {
            Scale::Otel => otel(&word),
            Scale::Syslog => syslog(&word),
            Scale::X733 => x733(&word),
            Scale::Tmf621 => tmf621(&word),
            Scale::Deployment => deployment(&word),
            Scale::Http => http(&word),
        }
    }
}

/// `info`, `warn2`, ... or the number itself.
fn otel(word: &str) -> Option<u8> {
    if let Ok(number) = word.parse() {
        return (number <= 24).then_some(number);
    }
    let name = word.trim_end_matches(|c: char| c.is_ascii_digit());
    let step = match &word[name.len()..] {
        "" => 0,
        step => step.parse::<u8>().ok().filter(|step| (1..=4).contains(step))? - 1,
    };
    let first = match name {
        "trace" => 1,
        "debug" => 5,
        "info" | "information" => 9,
        "warn" | "warning" => 13,
        "error" => 17,
        "fatal" | "critical" => 21,
        _ => return None,
    };
    Some(first + step)
}

fn syslog(word: &str) -> Option<u8> {
    Some(match word {
        "7" | "debug" => 5,
        "6" | "info" | "informational" => 9,
        "5" | "notice" => 10,
        "4" | "warning" | "warn" => 13,
        "3" | "error" | "err" => 17,
        "2" | "critical" | "crit" => 18,
        "1" | "alert" => 19,
        "0" | "emergency" | "emerg" | "panic" => 21,
        _ => return None,
    })
}

fn x733(word: &str) -> Option<u8> {
    Some(match word {
        "indeterminate" | "cleared" => 10,
        "warning" => 13,
        "minor" => 17,
        "major" => 18,
        "critical" => 19,
        _ => return None,
    })
}

fn tmf621(word: &str) -> Option<u8> {
    Some(match word {
        "minor" | "low" => 10,
        "medium" => 13,
        "major" | "high" => 17,
        "critical" => 18,
        _ => return None,
    })
}

fn deployment(word: &str) -> Option<u8> {
    Some(match word {
        "success" | "succeeded" | "started" => 9,
        "inactive" => 10,
        "cancelled" | "canceled" => 13,
        "failure" | "failed" | "rolledback" => 17,
        "error" => 18,
        _ => return None,
    })
}

fn http(word: &str) -> Option<u8> {
    match word.parse::<u16>() {
        Ok(100..=399) => Some(9),
        Ok(400..=499) => Some(13),
        Ok(500..=599) => Some(17),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn worse_words_have_greater_numbers() {
        let rising = |scale: &str, words: &[&str]| {
            let scale = Scale::named(scale).unwrap();
            let numbers: Vec<u8> = words.iter().map(|word| scale.number(word).unwrap()).collect();
            assert!(numbers.windows(2).all(|pair| pair[0] < pair[1]), "{words:?}: {numbers:?}");
            assert_eq!(scale.number("nonsense"), None);
            assert_eq!(scale.number(""), None);
        };
        rising("otel", &["0", "trace", "debug", "info", "INFO2", "warn", "error", "error2", "fatal4"]);
        rising("syslog", &["7", "6", "5", "4", "3", "2", "1", "0"]);
        rising("syslog", &["debug", "info", "notice", "warning", "err", "crit", "alert", "emerg"]);
        rising("x733", &["indeterminate", "warning", "minor", "major", "Critical"]);
        rising("tmf621", &["minor", "medium", "major", "critical"]);
        rising("deployment", &["success", "inactive", "cancelled", "failure", "error"]);
        rising("http", &["200", "404", "503"]);
        assert!(NAMES.iter().all(|name| Scale::named(name).is_some()));
        assert_eq!(Scale::Otel.number("warn5"), None);
        assert_eq!(Scale::Otel.number("25"), None);
    }
}
