//! The requests of one worker that were let through and are not over, by key:
//! what has to end when a key is revoked. Most are over in a moment; WebSockets,
//! event streams, gRPC calls, downloads and uploads are not.
//!
//! A request is entered in the callback that lets it through and leaves when it
//! is over, so for each there is one insertion and one removal, and its key is
//! counted up and down. What a revocation costs, one look at each open request,
//! is paid by revocations.
//!
//! No request is let through that could not be ended with its key: one that does
//! not fit in here is refused. One key has a share only, or somebody with a single
//! key could shut all others out.
//!
//! A request is *covered* in a generation of the gateway's cache if its key was
//! active at some point of it: then whatever revokes the key later is heard of,
//! for all that changes in a generation is (G3). One that is not, because it was
//! let through when nothing could be cached or because the generation it was
//! covered in is over, may have missed its revocation: its key is asked about.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};

use rekey_protocol::Digest;

use crate::cache::slots::View;
use crate::host::outbox::RequestId;
use crate::request::refusal::ApiRefusal;

/// One key gets one part in so many of the room, and room for one request at
/// least.
const SHARES: usize = 16;
/// Keys that are asked about at a time.
const MOST_ASKED: usize = 4;
/// Keys that are looked up in one event.
const MOST_LOOKED_UP: usize = 256;
/// How long after a question that came to nothing the next is asked, in
/// milliseconds.
const PAUSE_MS: u64 = 1_000;

/// The open requests of one worker.
pub(crate) struct Streams {
    /// How many can be entered (I8).
    most: usize,
    open: BTreeMap<RequestId, Stream>,
    /// Those of dead keys. They take their place until the host says that they
    /// are over.
    dying: BTreeMap<RequestId, Digest>,
    /// Those of them that have still to be ended.
    to_end: BTreeSet<RequestId>,
    /// How many each key has, the dying ones with the others.
    of_key: BTreeMap<Digest, usize>,
    /// The number of the revocation up to which all are known here.
    handled: u64,
    /// The generation in which the others are covered.
    generation: u64,
    /// Whether some request may not be covered.
    doubtful: bool,
    /// Keys that are being asked about.
    asked: BTreeSet<Digest>,
    /// When the next may be asked about, in monotonic milliseconds.
    due: u64,
}

struct Stream {
    digest: Digest,
    /// The generation in which it is covered, if it is in any.
    covered_in: Option<u64>,
}

impl Streams {
    /// Room for so many; with 0 nothing is entered, and nothing ended.
    pub(crate) fn new(most: u32) -> Self {
        Self {
            most: usize::try_from(most).unwrap_or(usize::MAX),
            open: BTreeMap::new(),
            dying: BTreeMap::new(),
            to_end: BTreeSet::new(),
            of_key: BTreeMap::new(),
            handled: 0,
            generation: 0,
            doubtful: false,
            asked: BTreeSet::new(),
            due: 0,
        }
    }

    /// Whether streams are ended at all.
    pub(crate) fn are_kept(&self) -> bool {
        self.most > 0
    }

    /// How many requests are entered.
    pub(crate) fn entered(&self) -> usize {
        self.open.len() + self.dying.len()
    }

    /// A request with this key is let through, unless there is no room for it. To
    /// be called in the same callback in which its key was found to be good, see
    /// [`Streams::handled`].
    ///
    /// # Errors
    /// What to tell the client, who is not let through.
    pub(crate) fn open(
        &mut self,
        request: RequestId,
        digest: Digest,
        covered_in: Option<u64>,
    ) -> Result<(), ApiRefusal> {
        if !self.are_kept() {
            return Ok(());
        }
        let is_full = self.entered() >= self.most;
        let share = (self.most / SHARES).max(1);
        match self.of_key.entry(digest) {
            Entry::Occupied(held) if *held.get() >= share => {
                return Err(ApiRefusal::TooManyOpenRequests);
            }
            _ if is_full => return Err(ApiRefusal::GatewayBusy),
            held => *held.or_default() += 1,
        }
        self.doubtful |= covered_in.is_none();
        let stream = Stream { digest, covered_in };
        self.open.insert(request, stream);
        Ok(())
    }

    /// A request is over.
    pub(crate) fn close(&mut self, request: RequestId) {
        let open = self.open.remove(&request).map(|stream| stream.digest);
        let digest = open.or_else(|| {
            self.to_end.remove(&request);
            self.dying.remove(&request)
        });
        let Some(digest) = digest else { return };
        if let Entry::Occupied(mut held) = self.of_key.entry(digest) {
            match *held.get() {
                0 | 1 => drop(held.remove()),
                more => *held.get_mut() = more - 1,
            }
        }
    }

    /// The number of the revocation up to which all have been handled here.
    ///
    /// No stream slips through. Its key was read as active before it was entered,
    /// in one callback. A tombstone is written before the revocation's entry in
    /// the log; so if the entry was read in an earlier callback, the tombstone was
    /// there to be seen, and the request was refused. If it is read in a later one,
    /// the stream is in here. Callbacks of a worker do not overlap.
    pub(crate) fn handled(&self) -> u64 {
        self.handled
    }

    /// These keys, up to the revocation of this number, are dead.
    pub(crate) fn revoked(&mut self, revoked: Vec<Digest>, newest: u64) {
        self.handled = newest;
        let revoked: BTreeSet<_> = revoked.into_iter().collect();
        self.end_all(|stream| revoked.contains(&stream.digest));
    }

    /// More keys than can be told are dead, up to the revocation of this number:
    /// the slots say which. What was written before they are read is in them.
    pub(crate) fn fell_behind(&mut self, newest: u64) {
        self.handled = newest;
        for stream in self.open.values_mut() {
            stream.covered_in = None;
        }
        self.doubtful = true;
    }

    /// This key is dead.
    pub(crate) fn end(&mut self, digest: &Digest) {
        self.end_all(|stream| stream.digest == *digest);
    }

    fn end_all(&mut self, is_dead: impl Fn(&Stream) -> bool) {
        for (request, stream) in self.open.extract_if(.., |_, stream| is_dead(stream)) {
            self.dying.insert(request, stream.digest);
            self.to_end.insert(request);
        }
    }

    /// Gives the streams that are to be ended.
    pub(crate) fn take_dying(&mut self) -> BTreeSet<RequestId> {
        std::mem::take(&mut self.to_end)
    }

    /// Whether keys have to be looked up in this generation.
    pub(crate) fn are_doubtful(&mut self, generation: u64, now: u64) -> bool {
        self.doubtful |= generation != self.generation && !self.open.is_empty();
        self.generation = generation;
        self.doubtful && now >= self.due
    }

    /// Looks the keys up of requests that are not covered in this generation.
    /// Returns those that the store has to be asked about; [`Streams::answered`]
    /// is to be told when it was.
    pub(crate) fn look_up(&mut self, mut look: impl FnMut(&Digest) -> View) -> Vec<Digest> {
        let mut seen = BTreeMap::new();
        let mut asked = Vec::new();
        self.doubtful = false;
        for stream in self.open.values_mut() {
            if stream.covered_in == Some(self.generation) {
                continue;
            }
            let digest = stream.digest;
            if self.asked.contains(&digest) {
                self.doubtful = true;
                continue;
            }
            if !seen.contains_key(&digest) && seen.len() >= MOST_LOOKED_UP {
                self.doubtful = true;
                break;
            }
            match seen.entry(digest).or_insert_with(|| look(&digest)) {
                View::Active(_) => stream.covered_in = Some(self.generation),
                View::Revoked(_) => {}
                View::Absent => {
                    self.doubtful = true;
                    if self.asked.len() >= MOST_ASKED {
                        break;
                    }
                    self.asked.insert(digest);
                    asked.push(digest);
                }
            }
        }
        self.end_all(|stream| matches!(seen.get(&stream.digest), Some(View::Revoked(_))));
        asked
    }

    /// The store was asked about this key, or could not be. Returns whether that
    /// was for its streams.
    pub(crate) fn answered(&mut self, digest: &Digest) -> bool {
        self.asked.remove(digest)
    }

    /// Nothing came of a question: the next has time.
    pub(crate) fn pause(&mut self, now: u64) {
        self.due = now + PAUSE_MS;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn i8_nothing_is_left_of_requests_that_are_over() {
        let mut streams = Streams::new(64);
        let (dead, alive) = (Digest::of(b"dead"), Digest::of(b"alive"));
        for number in 0..4 {
            assert_eq!(streams.open(RequestId(number), dead, Some(1)), Ok(()));
            assert_eq!(streams.open(RequestId(10 + number), alive, Some(1)), Ok(()));
        }
        streams.revoked(vec![dead], 1);
        // One is over before it is ended.
        streams.close(RequestId(0));
        let dying = streams.take_dying();
        assert!(dying.into_iter().eq([1, 2, 3].map(RequestId)));
        assert_eq!((streams.entered(), streams.of_key[&dead]), (7, 3));
        // A place is given back once, and only by who has one.
        for number in [1, 2, 3, 3, 99] {
            streams.close(RequestId(number));
        }
        assert_eq!(streams.of_key, BTreeMap::from([(alive, 4)]));
        (10..14).for_each(|number| streams.close(RequestId(number)));
        assert_eq!(streams.entered(), 0);
        assert!(streams.of_key.is_empty() && streams.to_end.is_empty());
    }
}
