//! Waiting for a condition of another process, which cannot notify us.

use std::{
    thread,
    time::{Duration, Instant},
};

use anyhow::bail;

/// How often the condition is looked at: often enough not to cost a test any
/// time, seldom enough not to cost it a core.
const INTERVAL: Duration = Duration::from_millis(5);

/// Looks until `condition` has something, at most for `limit`.
///
/// # Errors
/// The condition's own, at once; or, after `limit`, one that names `what`.
pub fn until<T>(
    what: &str,
    limit: Duration,
    mut condition: impl FnMut() -> anyhow::Result<Option<T>>,
) -> anyhow::Result<T> {
    let deadline = Instant::now() + limit;
    loop {
        if let Some(found) = condition()? {
            return Ok(found);
        }
        if Instant::now() >= deadline {
            bail!("still waiting for {what} after {limit:?}");
        }
        thread::sleep(INTERVAL);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_returns_what_it_waited_for_or_names_it() {
        let mut looks = 0;
        let found = until("the third look", Duration::from_secs(60), || {
            looks += 1;
            Ok((looks == 3).then_some(looks))
        });
        assert_eq!(found.unwrap(), 3);

        let never = until("the impossible", Duration::ZERO, || Ok(None::<()>));
        assert!(never.unwrap_err().to_string().contains("the impossible"));

        let broken = until("nothing", Duration::from_secs(60), || {
            bail!("broken") as anyhow::Result<Option<()>>
        });
        assert_eq!(broken.unwrap_err().to_string(), "broken");
    }
}
