//! The dashboard without a browser: forms as its pages send them, where a test
//! wants the bytes, or two answers at once.

use url::form_urlencoded::Serializer;

use crate::support::client::{Answer, Client};

/// Somebody with a session.
pub(crate) struct Visitor {
    home: String,
    client: Client,
    cookies: String,
}

impl Visitor {
    /// Goes on with a browser's session.
    pub(crate) fn with_cookies(home: &str, cookies: &str) -> Self {
        Self {
            home: home.to_owned(),
            client: Client::new(home),
            cookies: cookies.to_owned(),
        }
    }

    /// Logs in.
    ///
    /// # Panics
    /// It is refused.
    pub(crate) fn log_in(home: &str, email: &str, password: &str) -> Self {
        let mut visitor = Self::with_cookies(home, "");
        let form = [("email", email), ("password", password)];
        let answer = visitor.send("/login", &form);
        assert_eq!(answer.status, 303, "{}", answer.body);
        let set = answer.headers.get_all("set-cookie").iter();
        let cookies = set.filter_map(|set| set.to_str().unwrap().split(';').next());
        visitor.cookies = cookies.collect::<Vec<_>>().join("; ");
        visitor
    }

    /// The header by which the dashboard knows them.
    pub(crate) fn cookies(&self) -> &str {
        &self.cookies
    }

    /// Opens a page.
    pub(crate) fn open(&self, path: &str) -> Answer {
        let headers = [("cookie", self.cookies.clone())];
        self.client.send("GET", path, &headers, "")
    }

    /// Sends a form.
    pub(crate) fn send(&self, path: &str, fields: &[(impl AsRef<str>, impl AsRef<str>)]) -> Answer {
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

/// The hidden field of this name in a page's first form.
///
/// # Panics
/// It has none.
pub(crate) fn hidden_field(page: &str, name: &str) -> String {
    let begin = format!("name=\"{name}\" value=\"");
    let found = page.split_once(&begin);
    let (_, rest) = found.unwrap_or_else(|| panic!("no field {name} in: {page}"));
    rest.split('"').next().unwrap_or_default().to_owned()
}
