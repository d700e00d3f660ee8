//! The documents are in plain English: short sentences, few of them long, and none
//! of the words that were found to stop readers.

use crate::files::{self, File};

/// Words of a sentence, on average.
const README_MEAN: f64 = 16.0;
const DOCUMENT_MEAN: f64 = 18.0;
/// A sentence with more words is long. One in twenty may be.
const LONG: usize = 30;
const LONG_IN: usize = 20;
/// Less is a label and no sentence.
const SENTENCE: usize = 3;

/// Lines that the two pages for newcomers may have.
const MOST_LINES: [(&str, usize); 3] = [
    ("README.md", 150),
    ("ARCHITECTURE.md", 200),
    ("CONTRIBUTING.md", 80),
];

/// What stops a reader, and what to write instead.
const STOPS: [(&str, &str); 9] = [
    (", for it ", "because"),
    (", for that ", "because"),
    (", for who", "because"),
    (", for there ", "because"),
    ("whoever ", "a client that, a user who"),
    (" anew", "again, afresh"),
    (" of ours", "our"),
    (" but for ", "except"),
    (" of its own", "separate, its"),
];

fn documents() -> Vec<File> {
    files::read(&[
        "README.md",
        "ARCHITECTURE.md",
        "CONTRIBUTING.md",
        "CHANGELOG.md",
        "docs/*.md",
    ])
}

#[test]
fn sentences_are_short() {
    let mut faults = Vec::new();
    for file in documents() {
        let counts: Vec<_> = sentences(&file.text).map(|text| words(&text)).collect();
        let counts: Vec<_> = counts
            .into_iter()
            .filter(|count| *count >= SENTENCE)
            .collect();
        let mean = counts.iter().sum::<usize>() as f64 / counts.len().max(1) as f64;
        let most = if file.path == "README.md" {
            README_MEAN
        } else {
            DOCUMENT_MEAN
        };
        if mean > most {
            faults.push(format!(
                "{}: {mean:.1} words a sentence, not {most}",
                file.path
            ));
        }
        let long = counts.iter().filter(|count| **count > LONG).count();
        if long * LONG_IN > counts.len() {
            let of = counts.len();
            faults.push(format!(
                "{}: {long} of {of} sentences have over {LONG} words",
                file.path
            ));
        }
    }
    assert!(faults.is_empty(), "{faults:#?}");
}

#[test]
fn no_word_stops_the_reader() {
    let mut faults = Vec::new();
    for file in documents() {
        let text = prose(&file.text).join(" ").to_lowercase();
        let found = STOPS.iter().filter(|(stop, _)| text.contains(stop));
        faults.extend(found.map(|(stop, better)| format!("{}: {stop:?}: {better}", file.path)));
    }
    assert!(faults.is_empty(), "{faults:#?}");
}

#[test]
fn the_first_pages_are_short() {
    for (path, most) in MOST_LINES {
        let lines = files::read(&[path])
            .first()
            .map_or(0, |file| file.text.lines().count());
        assert!(
            (1..=most).contains(&lines),
            "{path} has {lines} lines, not {most} at most"
        );
    }
}

/// The lines of a document that are read as text: no code, headings or tables. An
/// empty line ends what is before it, and so does the beginning of a list's item.
fn prose(text: &str) -> Vec<String> {
    let mut is_code = false;
    let mut lines = Vec::new();
    for line in text.lines().map(str::trim) {
        if line.starts_with("```") {
            is_code = !is_code;
        }
        if is_code || line.starts_with("```") || line.starts_with(['#', '|', '!']) {
            lines.push(String::new());
            continue;
        }
        let item = line.strip_prefix("- ").or_else(|| numbered(line));
        if let Some(item) = item {
            lines.extend([String::new(), without_marks(item)]);
        } else {
            lines.push(without_marks(line));
        }
    }
    lines
}

/// What follows the number of a list's item.
fn numbered(line: &str) -> Option<&str> {
    let (number, item) = line.split_once(". ")?;
    number.parse::<u8>().ok().map(|_| item)
}

/// Without the targets of links; code is one word.
fn without_marks(line: &str) -> String {
    let mut text = String::new();
    for (index, part) in line.split('`').enumerate() {
        text.push_str(if index % 2 == 0 { part } else { "code" });
    }
    let mut parts = text.split("](");
    let mut kept = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        kept.push_str(part.split_once(')').map_or("", |(_, rest)| rest));
    }
    kept
}

fn sentences(text: &str) -> impl Iterator<Item = String> {
    let mut found = vec![String::new()];
    for line in prose(text) {
        if line.is_empty() {
            found.push(String::new());
        }
        for word in line.split_whitespace() {
            if let Some(last) = found.last_mut() {
                last.push_str(word);
                last.push(' ');
            }
            let end = word.trim_end_matches(['*', ')', '"', '\'']);
            if end.ends_with(['.', '!', '?']) {
                found.push(String::new());
            }
        }
    }
    found.into_iter()
}

fn words(sentence: &str) -> usize {
    let is_word = |word: &&str| word.contains(char::is_alphanumeric);
    sentence.split_whitespace().filter(is_word).count()
}

#[test]
fn sentences_are_found() {
    let text = "# No\n\nOne `two three` (four). Five\n[six](seven eight).\n\n| no |\n- Nine ten\n```\nno\n```\n2. Eleven.";
    let found: Vec<_> = sentences(text)
        .map(|text| words(&text))
        .filter(|count| *count > 0)
        .collect();
    assert_eq!(found, [3, 2, 2, 1]);
}
