//! Every source file says what it is for, and can be read in one sitting.

use crate::files::{File, sources};

/// Lines that a file may have before it wants a seam.
const MOST_LINES: usize = 400;
/// Lines that a function may have.
const MOST_IN_A_FUNCTION: usize = 70;

fn complain(rule: &str, is_broken: impl Fn(&str) -> bool) {
    let found: Vec<_> = sources()
        .into_iter()
        .filter(|file| is_broken(&file.text))
        .map(|file| file.path)
        .collect();
    assert!(found.is_empty(), "{rule}: {found:#?}");
}

#[test]
fn every_file_says_what_it_is_for() {
    complain("begins with //!", |text| !text.starts_with("//!"));
}

#[test]
fn no_line_ends_in_white_space() {
    complain("no white space at the end of a line", |text| {
        text.lines().any(|line| line.ends_with([' ', '\t'])) || !text.ends_with('\n')
    });
}

#[test]
fn every_file_can_be_read_in_one_sitting() {
    let lines = |text: &str| text.lines().count();
    complain("a file has 400 lines at most", |text| {
        lines(text) > MOST_LINES
    });
}

#[test]
fn every_function_can_be_seen_at_once() {
    let mut over = Vec::new();
    for file in sources() {
        let long = functions(&file).filter(|(_, lines)| *lines > MOST_IN_A_FUNCTION);
        over.extend(long.map(|(name, lines)| format!("{} {name} has {lines}", file.path)));
    }
    assert!(
        over.is_empty(),
        "a function has 70 lines at most: {over:#?}"
    );
}

/// The functions of the shipped part and their lines, signature included.
fn functions(file: &File) -> impl Iterator<Item = (&str, usize)> {
    let lines: Vec<_> = file.shipped_and_tested().0.lines().collect();
    let starts: Vec<_> = (0..lines.len()).collect();
    starts.into_iter().filter_map(move |start| {
        let rest = lines.get(start..)?;
        Some((function_name(rest.first()?)?, function_lines(rest)))
    })
}

fn function_name(line: &str) -> Option<&str> {
    const BEFORE: [&str; 8] = [
        "pub",
        "pub(crate)",
        "pub(super)",
        "const",
        "async",
        "unsafe",
        "extern",
        "\"C\"",
    ];
    let (before, after) = line.split_once("fn ")?;
    let is_function = before.split_whitespace().all(|word| BEFORE.contains(&word));
    let name = after.split(['(', '<']).next()?;
    is_function.then_some(name)
}

/// Of rustfmt's form: a body ends with a brace under the line where its function
/// began.
fn function_lines(lines: &[&str]) -> usize {
    let first = lines.first().copied().unwrap_or_default();
    let indent = first.len() - first.trim_start().len();
    let Some(opens) = lines
        .iter()
        .position(|line| line.ends_with(['{', ';', '}']))
    else {
        return 1;
    };
    if !lines.get(opens).is_some_and(|line| line.ends_with('{')) {
        return opens + 1;
    }
    let closes = |line: &&str| line.trim() == "}" && line.len() == indent + 1;
    lines.iter().position(closes).map_or(1, |last| last + 1)
}

#[test]
fn functions_are_counted() {
    let text = "impl A {\n    pub async fn one(\n        a: u8,\n    ) -> u8 {\n        if a {\n        }\n    }\n    fn two(&self);\n    fn three() {}\n}\n// fn four() {\n";
    let file = File {
        path: "engine/src/a.rs".to_owned(),
        text: text.to_owned(),
    };
    let counted: Vec<_> = functions(&file).collect();
    assert_eq!(counted, [("one", 6), ("two", 1), ("three", 1)]);
}
