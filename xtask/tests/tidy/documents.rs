//! No text names a document that is not in the repository, and every link of a
//! document leads somewhere.

use std::collections::BTreeSet;
use std::path::Path;

use crate::files::{self, File};

/// Texts in which documents are named.
const TEXTS: &[&str] = &[
    "*.md",
    "*.rs",
    "*.yaml",
    "*.yml",
    "*.toml",
    "*.sh",
    "*Dockerfile",
    ".ci/*",
];

/// Documents that the repository never had. They send a reader nowhere.
const ELSEWHERE: [&str; 2] = ["PROTOCOL", "DESIGN"];

/// Where such a word is no document, and what it is.
const NO_DOCUMENT: [(&str, &str); 2] = [
    ("envoy.yaml", "Envoy's %PROTOCOL% is the version of HTTP"),
    (
        "xtask/tests/tidy/documents.rs",
        "the words that are looked for",
    ),
];

/// The words of a text, as far as they are made of these characters.
fn words<'a>(text: &'a str, also: &'a str) -> impl Iterator<Item = &'a str> {
    text.split(move |c: char| !c.is_ascii_alphanumeric() && !also.contains(c))
}

/// The documents that a text names.
fn named(text: &str) -> impl Iterator<Item = &str> {
    let words = words(text, "_-./").map(|word| word.trim_matches(['.', '/']));
    words.filter(|word| word.ends_with(".md"))
}

#[test]
fn every_document_that_is_named_exists() {
    let documents = files::listed(&["*.md"]);
    let is_known = |name: &str| {
        let mut paths = documents.iter().filter_map(|path| path.strip_suffix(name));
        paths.any(|folder| folder.is_empty() || folder.ends_with('/'))
    };
    let mut missing = Vec::new();
    for file in files::read(TEXTS) {
        let unknown = named(&file.text).filter(|name| !is_known(name));
        missing.extend(unknown.map(|name| format!("{}: {name}", file.path)));
        if NO_DOCUMENT.iter().all(|(path, _)| file.path != *path) {
            let elsewhere = words(&file.text, "_").filter(|word| ELSEWHERE.contains(word));
            missing.extend(elsewhere.map(|word| format!("{}: {word}", file.path)));
        }
    }
    assert!(missing.is_empty(), "not in the repository: {missing:#?}");
}

#[test]
fn every_link_leads_somewhere() {
    let mut broken = Vec::new();
    for file in files::read(&["*.md"]) {
        for link in links(&file.text) {
            if !leads_somewhere(&file, link) {
                broken.push(format!("{}: {link}", file.path));
            }
        }
    }
    assert!(broken.is_empty(), "broken links: {broken:#?}");
}

/// The targets of a document's links and pictures, without those of the web.
fn links(text: &str) -> impl Iterator<Item = &str> {
    let targets = text.split("](").skip(1);
    let targets = targets.filter_map(|rest| rest.split(')').next());
    targets.filter(|target| !target.contains("://"))
}

fn leads_somewhere(file: &File, link: &str) -> bool {
    let (path, anchor) = link.split_once('#').unwrap_or((link, ""));
    let folder = Path::new(&file.path).parent().unwrap_or(Path::new(""));
    let target = files::root().join(folder).join(path);
    let there = match path {
        "" => Some(file.text.clone()),
        _ if anchor.is_empty() => return target.exists(),
        _ => std::fs::read_to_string(target).ok(),
    };
    there.is_some_and(|text| anchors(&text).contains(anchor))
}

/// What a document's headings are linked by, as GitHub makes it of them.
fn anchors(text: &str) -> BTreeSet<String> {
    let mut is_code = false;
    let headings = text.lines().filter(|line| {
        is_code ^= line.starts_with("```");
        !is_code && line.starts_with('#')
    });
    let anchor = |heading: &str| {
        let words = heading.trim_start_matches('#').trim().to_lowercase();
        let kept = words
            .chars()
            .filter(|c| c.is_alphanumeric() || " -_".contains(*c));
        kept.map(|c| if c == ' ' { '-' } else { c }).collect()
    };
    headings.map(anchor).collect()
}

#[test]
fn names_links_and_anchors_are_read() {
    let text = "# A `b` C's\n[x](README.md#z) ![p](q.png)\n```\n# no\n```\n[w](https://w)";
    assert_eq!(links(text).collect::<Vec<_>>(), ["README.md#z", "q.png"]);
    assert_eq!(named(text).collect::<Vec<_>>(), ["README.md"]);
    assert_eq!(anchors(text), BTreeSet::from(["a-b-cs".to_owned()]));
}
