//! Reads what libFuzzer says of a run.

use std::fmt;

/// A run in one line.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Summary {
    runs: u64,
    per_second: u64,
    /// Edges of the control flow that were reached at the start, by what was
    /// kept, and in the end.
    edges: (u64, u64),
    /// The run that reached the last new one of them.
    last: u64,
}

impl Summary {
    /// From the log of a run.
    pub(super) fn of(log: &str) -> Self {
        let mut summary = Self::default();
        for line in log.lines() {
            summary.stat(line);
            summary.progress(line);
        }
        summary
    }

    /// `stat::number_of_executed_units: 123`
    fn stat(&mut self, line: &str) {
        let Some((name, value)) = line
            .strip_prefix("stat::")
            .and_then(|stat| stat.split_once(':'))
        else {
            return;
        };
        let Ok(value) = value.trim().parse() else {
            return;
        };
        match name {
            "number_of_executed_units" => self.runs = value,
            "average_exec_per_sec" => self.per_second = value,
            _ => {}
        }
    }

    /// `#123 NEW    cov: 45 ft: 67 corp: …`
    fn progress(&mut self, line: &str) {
        let mut words = line.split_whitespace();
        let run = words.next().and_then(|word| word.strip_prefix('#'));
        let Some(run) = run.and_then(|run| run.parse().ok()) else {
            return;
        };
        let began = words.next() == Some("INITED");
        let edges = words.skip_while(|word| *word != "cov:").nth(1);
        let Some(edges) = edges.and_then(|edges| edges.parse().ok()) else {
            return;
        };
        if began {
            self.edges = (edges, edges);
        }
        if edges > self.edges.1 {
            (self.edges.1, self.last) = (edges, run);
        }
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (runs, per_second, (first, edges)) = (self.runs, self.per_second, self.edges);
        write!(f, "{runs} runs ({per_second}/s), {edges} edges")?;
        match edges - first {
            0 => write!(f, ", none of them new"),
            new => write!(f, ", {new} of them new, the last in run {}", self.last),
        }
    }
}

/// What a target said when it failed.
pub(super) fn why(log: &str) -> String {
    let mut lines = log.lines().skip_while(|line| !line.contains("panicked at"));
    let found: Vec<_> = lines.by_ref().take(2).collect();
    if found.is_empty() {
        let error = log.lines().find(|line| line.contains("ERROR:"));
        return error.unwrap_or("see its log").to_owned();
    }
    found.join(" ")
}

/// Where the input is that it failed on.
pub(super) fn failing(log: &str) -> Option<&str> {
    let line = log
        .lines()
        .find(|line| line.contains("Test unit written to "))?;
    line.split_once("Test unit written to ")
        .map(|(_, path)| path)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOG: &str = "\
INFO: seed corpus: files: 14 min: 1b max: 146b total: 1000b rss: 40Mb
#15\tINITED cov: 300 ft: 420 corp: 12/900b exec/s: 0 rss: 41Mb
#2048\tpulse  cov: 300 ft: 430 corp: 15/1000b lim: 146 exec/s: 1024 rss: 42Mb
#3000\tNEW    cov: 312 ft: 450 corp: 16/1100b lim: 146 exec/s: 1024 rss: 42Mb L: 9/146
#4000\tREDUCE cov: 312 ft: 450 corp: 16/1099b lim: 146 exec/s: 1024 rss: 42Mb L: 8/146
#5000\tDONE   cov: 312 ft: 450 corp: 16/1099b lim: 146 exec/s: 1024 rss: 42Mb
stat::number_of_executed_units: 5000
stat::average_exec_per_sec:     1024
stat::new_units_added:          3
";

    #[test]
    fn a_run_is_told_in_one_line() {
        let text = Summary::of(LOG).to_string();
        let expected = "5000 runs (1024/s), 312 edges, 12 of them new, the last in run 3000";
        assert_eq!(text, expected);
        let flat = LOG.replace("312", "300");
        let text = Summary::of(&flat).to_string();
        assert!(text.ends_with("300 edges, none of them new"), "{text}");
    }

    #[test]
    fn a_failure_is_named_with_its_input() {
        let log = "\
thread '<unnamed>' (1) panicked at fuzz/src/wire/key.rs:30:5:
issued, and does not verify
==2== ERROR: libFuzzer: deadly signal
artifact_prefix='x/'; Test unit written to x/crash-01
";
        assert!(why(log).ends_with("issued, and does not verify"));
        assert_eq!(failing(log), Some("x/crash-01"));
        assert_eq!(
            why("==2== ERROR: libFuzzer: timeout"),
            "==2== ERROR: libFuzzer: timeout"
        );
    }
}
