//! What a store counts, as its `/metrics` tell it.

use std::str::FromStr;

use super::Store;

impl Store {
    /// All of it, a line a series.
    pub(crate) fn metrics(&self) -> String {
        let url = format!("{}/metrics", self.url);
        self.call("GET", &url, None, None).text
    }

    /// The value of one series, by its name after `rekey_store_`, labels and all. None as
    /// long as nothing was counted there.
    pub(crate) fn metric<T: FromStr>(&self, series: &str) -> Option<T> {
        let name = format!("rekey_store_{series} ");
        let text = self.metrics();
        let value = text.lines().find_map(|line| line.strip_prefix(&name))?;
        value.parse().ok()
    }
}
