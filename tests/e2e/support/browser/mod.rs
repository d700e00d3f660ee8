//! A person's browser: what one does in it and sees in it, in the words of a
//! story. Every step waits for what it needs, and for nothing else.
//!
//! Elements are named by their `id`. A step that leads to another page is
//! [`Browser::follow`] or one of its kind: it returns when the other page is
//! there, so that nothing is read from the one before.

mod driver;
mod hands;

use std::{fs, thread};

use fantoccini::elements::Element;
use fantoccini::error::CmdError;
use fantoccini::wd::WindowHandle;
use fantoccini::{Client, Locator};
use rekey_testbed::workspace;
use serde_json::{Value, json};

use self::driver::Driver;
pub(crate) use self::driver::{Patience, Seats};
pub(crate) use self::hands::{ENTER, TAB};
use crate::support::fleet::eventually;

/// A point in time that no two documents share; none while one is loading.
const DOCUMENT: &str = "return document.readyState === 'complete' ? performance.timeOrigin : null";

/// One browser with a profile of its own: no cookies, no history.
pub(crate) struct Browser {
    driver: Driver,
    /// The site that paths are of: `http://127.0.0.1:port`.
    home: String,
}

/// What a browser holds of a cookie.
pub(crate) struct Cookie {
    /// Its name.
    pub name: String,
    /// Its value.
    pub value: String,
    /// Whether scripts cannot read it.
    pub http_only: bool,
    /// Whether other sites' requests bear it.
    pub same_site: String,
    /// Which paths get it.
    pub path: String,
}

impl Browser {
    /// Starts one.
    ///
    /// # Panics
    /// It does not start.
    pub(crate) fn start(home: &str, patience: Patience) -> Self {
        Self {
            driver: Driver::start(patience),
            home: home.to_owned(),
        }
    }

    /// Opens a page of the site, or any by its whole URL.
    pub(crate) fn visit(&self, url: &str) {
        let url = if url.starts_with('/') {
            format!("{}{url}", self.home)
        } else {
            url.to_owned()
        };
        self.to_another_page(|| self.run(async |client| client.goto(&url).await));
    }

    /// The page that is open: a path if it is of the site, else the whole URL.
    pub(crate) fn page(&self) -> String {
        let url = self.run(async |client| client.current_url().await);
        let url = url.to_string();
        let path = url.strip_prefix(&self.home).map(str::to_owned);
        path.unwrap_or(url)
    }

    /// Reloads the page, and has a form sent again where it came from one.
    pub(crate) fn reload(&self) {
        self.to_another_page(|| self.run(async |client| client.refresh().await));
    }

    /// The button "back".
    pub(crate) fn back(&self) {
        self.to_another_page(|| self.run(async |client| client.back().await));
    }

    /// The button "forward".
    pub(crate) fn forward(&self) {
        self.to_another_page(|| self.run(async |client| client.forward().await));
    }

    /// The text of an element as one sees it.
    pub(crate) fn text(&self, id: &str) -> String {
        let text = eventually(&format!("the text of #{id}"), || {
            let text = self.try_run(async |client| {
                let element = client.find(Locator::Id(id)).await?;
                element.text().await
            });
            text.ok()
        });
        text.trim().to_owned()
    }

    /// The text of the whole page as one sees it.
    pub(crate) fn whole_text(&self) -> String {
        let text = self.script("return document.body ? document.body.innerText : ''", &[]);
        text.as_str().unwrap().to_owned()
    }

    /// Whether the page has this element now.
    pub(crate) fn has(&self, id: &str) -> bool {
        let found = self.run(async |client| client.find_all(Locator::Id(id)).await);
        !found.is_empty()
    }

    /// The value of a form's field, hidden or not.
    pub(crate) fn field(&self, name: &str) -> String {
        let script = "return document.querySelector(`[name=\"${arguments[0]}\"]`).value";
        let value = self.script(script, &[json!(name)]);
        value.as_str().unwrap().to_owned()
    }

    /// The page's source as it is now.
    pub(crate) fn source(&self) -> String {
        self.run(async |client| client.source().await)
    }

    /// The value that a script returns.
    pub(crate) fn script(&self, script: &str, arguments: &[Value]) -> Value {
        let arguments = arguments.to_vec();
        self.run(async |client| client.execute(script, arguments).await)
    }

    /// What a script gives to its function `done`, now or later.
    pub(crate) fn script_later(&self, script: &str) -> Value {
        let script = format!("const done = arguments[0]; {script}");
        self.run(async |client| client.execute_async(&script, Vec::new()).await)
    }

    /// All cookies that this page's site has set.
    pub(crate) fn cookies(&self) -> Vec<Cookie> {
        let cookies = self.run(async |client| client.get_all_cookies().await);
        let own = |cookie: fantoccini::cookies::Cookie<'static>| Cookie {
            name: cookie.name().to_owned(),
            value: cookie.value().to_owned(),
            http_only: cookie.http_only().unwrap_or(false),
            same_site: cookie
                .same_site()
                .map_or(String::new(), |site| site.to_string()),
            path: cookie.path().unwrap_or_default().to_owned(),
        };
        let mut cookies: Vec<_> = cookies.into_iter().map(own).collect();
        // The driver tells them now in this order, now in that.
        cookies.sort_by(|one, other| one.name.cmp(&other.name));
        cookies
    }

    /// The same as the header in which they are sent.
    pub(crate) fn cookie_header(&self) -> String {
        let cookies = self.cookies();
        let pairs: Vec<_> = cookies
            .iter()
            .map(|cookie| format!("{}={}", cookie.name, cookie.value))
            .collect();
        pairs.join("; ")
    }

    /// What one would paste now.
    pub(crate) fn clipboard(&self) -> String {
        let read = json!({ "descriptor": { "name": "clipboard-read" }, "state": "granted" });
        self.driver.post("permissions", read);
        let text = self.script_later("navigator.clipboard.readText().then(done, done)");
        text.as_str().expect("a text in the clipboard").to_owned()
    }

    /// The URLs that "back" and "forward" lead through.
    pub(crate) fn history(&self) -> Vec<String> {
        let history = self.driver.devtools("Page.getNavigationHistory", json!({}));
        let entries = history["entries"].as_array().unwrap();
        let url = |entry: &Value| entry["url"].as_str().unwrap().to_owned();
        entries.iter().map(url).collect()
    }

    /// Runs no scripts of any page from now on.
    pub(crate) fn without_scripts(&self) {
        self.driver.devtools(
            "Emulation.setScriptExecutionDisabled",
            json!({ "value": true }),
        );
    }

    /// Looks through a window of this size; a narrow one is a telephone's.
    pub(crate) fn resize(&self, width: u32, height: u32) {
        let metrics = json!({
            "width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600,
        });
        self.driver
            .devtools("Emulation.setDeviceMetricsOverride", metrics);
    }

    /// Likes `light` or `dark` pages.
    pub(crate) fn prefer(&self, scheme: &str) {
        let feature = json!({ "name": "prefers-color-scheme", "value": scheme });
        self.driver.devtools(
            "Emulation.setEmulatedMedia",
            json!({ "features": [feature] }),
        );
    }

    /// Writes what the window shows as `<target>/rekey/screenshots/<name>.png`.
    pub(crate) fn take_picture(&self, name: &str) {
        let folder = workspace::output_dir().unwrap().join("screenshots");
        fs::create_dir_all(&folder).unwrap();
        let picture = self.run(async |client| client.screenshot().await);
        fs::write(folder.join(format!("{name}.png")), picture).unwrap();
    }

    /// The tab that is in front.
    pub(crate) fn tab(&self) -> WindowHandle {
        self.run(async |client| client.window().await)
    }

    /// Opens another tab and brings it to the front.
    pub(crate) fn open_tab(&self) -> WindowHandle {
        let opened = self.run(async |client| client.new_window(true).await);
        self.bring_to_front(&opened.handle);
        opened.handle
    }

    /// Brings a tab to the front.
    pub(crate) fn bring_to_front(&self, tab: &WindowHandle) {
        self.run(async |client| client.switch_to_window(tab.clone()).await);
    }

    /// Looks into the page's first frame from now on.
    pub(crate) fn enter_frame(&self) {
        self.run(async |client| client.enter_frame(0).await);
    }

    /// Looks at the whole page again.
    pub(crate) fn leave_frame(&self) {
        self.run(async |client| client.enter_parent_frame().await);
    }

    /// Does something that leads to another page, and waits for that.
    fn to_another_page(&self, step: impl FnOnce()) {
        let before = self.document();
        step();
        eventually("another page", || {
            let now = self.document()?;
            (Some(now) != before).then_some(())
        });
    }

    fn document(&self) -> Option<f64> {
        let origin = self.try_run(async |client| client.execute(DOCUMENT, Vec::new()).await);
        origin.ok()?.as_f64()
    }

    fn element(&self, id: &str) -> Element {
        eventually(&format!("#{id}"), || {
            self.try_run(async |client| client.find(Locator::Id(id)).await)
                .ok()
        })
    }

    fn run<T>(&self, command: impl AsyncFnOnce(&Client) -> Result<T, CmdError>) -> T {
        self.driver
            .run(command)
            .unwrap_or_else(|error| panic!("the browser: {error}"))
    }

    fn try_run<T>(
        &self,
        command: impl AsyncFnOnce(&Client) -> Result<T, CmdError>,
    ) -> Result<T, CmdError> {
        self.driver.run(command)
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        if !thread::panicking() {
            return;
        }
        let url = self.try_run(async |client| client.current_url().await);
        let text = self.try_run(async |client| client.source().await);
        eprintln!(
            "--- the page that was open: {}\n{}",
            url.map(|url| url.to_string()).unwrap_or_default(),
            text.unwrap_or_default()
        );
    }
}
