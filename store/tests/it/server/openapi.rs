//! The API's description: exactly the routes that there are.

use std::collections::BTreeSet;

use crate::process::Home;

const OPERATIONS: &[(&str, &str, &str)] = &[
    ("/healthz", "get", "open"),
    ("/livez", "get", "open"),
    ("/metrics", "get", "open"),
    ("/openapi.json", "get", "open"),
    ("/readyz", "get", "open"),
    ("/v1/audit", "get", "admin"),
    ("/v1/feed", "post", "gateway"),
    ("/v1/import", "post", "admin"),
    ("/v1/keys", "get", "admin"),
    ("/v1/keys/issue", "post", "admin"),
    ("/v1/keys/resolve", "post", "gateway"),
    ("/v1/keys/revoke", "post", "admin"),
    ("/v1/keys/revoke-many", "post", "admin"),
    ("/v1/keys/rotate", "post", "gateway"),
    ("/v1/users", "get", "admin"),
    ("/v1/users", "post", "admin"),
    ("/v1/users/email", "post", "admin"),
    ("/v1/users/password", "post", "admin"),
    ("/v1/users/remove", "post", "admin"),
];

#[test]
fn the_document_lists_exactly_the_routes() {
    let home = Home::new();
    let store = home.start();
    let url = format!("{}/openapi.json", store.url);
    let document = store.call("GET", &url, None, None).json();
    assert_eq!(document["openapi"], "3.1.0");
    let mut found = BTreeSet::new();
    for (path, operations) in document["paths"].as_object().unwrap() {
        for (method, operation) in operations.as_object().unwrap() {
            let tag = operation["tags"][0].as_str().unwrap();
            let secured = operation["security"][0].as_object();
            let scheme = secured
                .and_then(|scheme| scheme.keys().next())
                .map(String::as_str);
            assert_eq!(scheme.unwrap_or("open"), tag, "{method} {path}");
            found.insert((path.clone(), method.clone(), tag.to_owned()));
        }
    }
    let owned = |(path, method, tag): &(&str, &str, &str)| {
        (path.to_string(), method.to_string(), tag.to_string())
    };
    assert_eq!(found, OPERATIONS.iter().map(owned).collect());
    // They are where their tags say, and want a token if they say so.
    for (path, method, tag) in &found {
        let base = match tag.as_str() {
            "admin" => &store.admin_url,
            _ => &store.url,
        };
        let method = method.to_uppercase();
        let answer = store.call(&method, &format!("{base}{path}"), None, None);
        let expected = if tag == "open" { 200 } else { 401 };
        assert_eq!(answer.status, expected, "{method} {path}");
    }
}

#[test]
fn every_schema_that_is_referred_to_is_there() {
    let home = Home::new();
    let store = home.start();
    let url = format!("{}/openapi.json", store.url);
    let text = store.call("GET", &url, None, None).text;
    let document: serde_json::Value = serde_json::from_str(&text).unwrap();
    let schemas = document["components"]["schemas"].as_object().unwrap();
    let references: BTreeSet<_> = text
        .split("#/components/schemas/")
        .skip(1)
        .filter_map(|rest| rest.split('"').next())
        .collect();
    assert!(references.len() > 10, "{references:?}");
    for reference in references {
        assert!(schemas.contains_key(reference), "{reference}");
    }
}
