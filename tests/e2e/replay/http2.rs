//! The client's own connection in HTTP/2: a stream or all of it ends before,
//! while and after the rotation is under way.

use hyper::Request;
use hyper::body::Bytes;
use rekey_protocol::ROTATE_PATH;

use super::owner::{Owner, Told};
use super::{Cuttable, side_by_side};
use crate::support::client::REGENERATE;
use crate::support::fleet::eventually;
use crate::support::wire::http2::{Body, Http2};

/// Users for each stage.
const EACH: usize = 8;

/// When it ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// The headers are sent and not the end of the request.
    InTheRequest,
    /// The request is sent, and nothing waited for.
    BehindTheRequest,
    /// The store has made the rotation, and its answer is held back.
    Held,
    /// The answer has begun.
    BehindTheHead,
}

/// What ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ends {
    Stream,
    Connection,
}

impl Owner {
    fn http2_request(&self) -> Request<()> {
        let mut request = Request::post(format!("http://gateway{REGENERATE}"));
        for (name, value) in self.headers() {
            request = request.header(name, value);
        }
        request.body(()).unwrap()
    }
}

#[test]
fn i4_over_http2_a_stream_that_ends_at_any_stage_costs_no_key() {
    let run = Cuttable::start(1);
    for ends in [Ends::Stream, Ends::Connection] {
        for stage in [
            Stage::InTheRequest,
            Stage::BehindTheRequest,
            Stage::Held,
            Stage::BehindTheHead,
        ] {
            let told = at(&run, stage, ends);
            let replayed = told.iter().filter(|told| told.replayed).count();
            println!("{stage:?}, {ends:?}: {replayed} of {EACH} replayed");
            let is_made = matches!(stage, Stage::Held | Stage::BehindTheHead);
            assert!(replayed == EACH || !is_made, "{stage:?}, {ends:?}");
        }
    }
    run.fleet.assert_no_trap();
}

/// All of one stage on one connection.
fn at(run: &Cuttable, stage: Stage, ends: Ends) -> Vec<Told> {
    let owners: Vec<_> = (0..EACH)
        .map(|number| Owner::new(&run.fleet, (stage, ends, number)))
        .collect();
    if stage == Stage::Held {
        run.proxies[0].hold_answers(ROTATE_PATH);
    }
    let connection = Http2::connect(run.fleet.gateways[0].address());
    let body = || match stage {
        Stage::InTheRequest => Body::Unfinished(Bytes::new()),
        _ => Body::None,
    };
    let begun = owners
        .iter()
        .map(|owner| connection.begin(owner.http2_request(), body()));
    let mut begun: Vec<_> = begun.collect();
    match stage {
        Stage::InTheRequest | Stage::BehindTheRequest => {}
        Stage::Held => eventually("all of them to be held", || {
            (run.proxies[0].held() as usize == EACH).then_some(())
        }),
        Stage::BehindTheHead => {
            for request in &mut begun {
                assert_eq!(request.wait_for_head(), 200);
            }
        }
    }
    if ends == Ends::Stream {
        begun.into_iter().for_each(|request| request.reset());
    } else {
        drop(begun);
        drop(connection);
    }
    run.proxies[0].release();
    let client = run.fleet.client();
    side_by_side(&owners, |owner| {
        owner.ends_with_one_key(&run.fleet, &client)
    })
}
