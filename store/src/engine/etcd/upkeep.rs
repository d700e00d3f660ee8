//! What has to be done now and then, by whichever store comes first.

use std::time::Duration;

use super::Etcd;

/// Between two segments of the audit log. Each store does it, so they are shorter with
/// several stores.
const TICK_EVERY: Duration = Duration::from_secs(600);

/// Begins segments of the audit log, as long as this store serves.
pub(super) async fn tick(engine: Etcd) {
    let mut turns = tokio::time::interval(TICK_EVERY);
    loop {
        tokio::select! {
            _ = turns.tick() => {}
            _ = engine.replica.lost() => return,
        }
        if let Err(error) = engine.tick().await {
            tracing::warn!(%error, "no new segment of the audit log");
        }
    }
}
