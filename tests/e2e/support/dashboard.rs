//! The dashboard without a browser: forms as its pages send them, where a test
//! wants the bytes, or two answers at once.

use url::form_urlencoded::Serializer;

use super::client::{Answer, Client};

/// Somebody with a session.
pub struct Visitor {
    home: String,
    client: Client,
    cookies: String,
}

impl Visitor {
    /// Goes on with a browser's session.
    pub fn with_cookies(home: &str, cookies: &str) -> Self {
        Self {
            home: home.to_owned(),
            client: Client::new(home),
            cookies: cookies.to_owned(),
        }
    }

    /// Sends a form.
    pub fn send(&self, path: &str, fields: &[(impl AsRef<str>, impl AsRef<str>)]) -> Answer {
        let mut form = Serializer::new(String::new());
        form.extend_pairs(fields.iter().map(|(name, value)| (name, value)));
        let headers = [
            ("origin", self.home.clone()),
            ("cookie", self.cookies.clone()),
            (
                "content-type",
                "application/x-www-form-urlencoded".to_owned(),
            ),
        ];
        self.client.send("POST", path, &headers, &form.finish())
    }
}
