//! The host's side of proxy-wasm ABI 0.2.1: only this folder names a hostcall
//! (clippy.toml sees to it), and `sys` declares them.
//!
//! The SDK panics on a status that it does not expect and on header values
//! that are not UTF-8, and a panic takes the whole VM down (I9). So the calls
//! are declared here once more and every status is a value. Only the dispatch
//! of a call stays with the SDK, which has to know the tokens.

#![allow(clippy::disallowed_methods)]

mod sys;

use std::time::Duration;

use rekey_engine::{Cas, EntropyError, Moment, Reply, SharedData, SharedDataError, Versioned};

const STATUS_OK: u32 = 0;
const STATUS_NOT_FOUND: u32 = 1;
const STATUS_CAS_MISMATCH: u32 = 8;

const MAP_REQUEST_HEADERS: u32 = 0;
const MAP_CALL_RESPONSE_HEADERS: u32 = 6;
const BUFFER_CALL_RESPONSE_BODY: u32 = 4;
const BUFFER_PLUGIN_CONFIGURATION: u32 = 7;
const STREAM_REQUEST: u32 = 0;
const METRIC_COUNTER: u32 = 0;
const METRIC_GAUGE: u32 = 1;
const CLOCK_WALL: u32 = 0;
const CLOCK_MONOTONIC: u32 = 1;
/// The gRPC status of a local reply, where the host is to derive it.
const NO_GRPC_STATUS: i32 = -1;

/// A version that no entry ever has: with it a write creates an entry and
/// never replaces one (Envoy, tried).
const CAS_CREATE: u32 = u32::MAX;

/// Path of a property: its parts are separated by NUL.
const PROPERTY_SEPARATOR: &str = "\0";

/// More items than a doorbell ever holds.
const QUEUE_DRAIN: usize = 4096;

/// Time, entropy and shared data of the host.
pub(crate) struct HostSources;

impl SharedData for HostSources {
    fn get(&mut self, name: &str) -> Result<Option<Versioned>, SharedDataError> {
        let mut cas = 0;
        let Returned { status, bytes } = returned(|data, size| {
            // SAFETY: the pointers are to live memory of the given sizes; the
            // host writes the three places and nothing else.
            unsafe {
                sys::proxy_get_shared_data(name.as_ptr(), name.len(), data, size, &raw mut cas)
            }
        });
        match status {
            STATUS_OK => Ok(Some(Versioned {
                value: bytes,
                version: cas,
            })),
            STATUS_NOT_FOUND => Ok(None),
            status => Err(SharedDataError::Host(status)),
        }
    }

    fn set(&mut self, name: &str, value: &[u8], cas: Cas) -> Result<(), SharedDataError> {
        let cas = match cas {
            Cas::Absent => CAS_CREATE,
            Cas::Version(version) => version,
        };
        // SAFETY: the host only reads the two ranges.
        let status = unsafe {
            sys::proxy_set_shared_data(name.as_ptr(), name.len(), value.as_ptr(), value.len(), cas)
        };
        match status {
            STATUS_OK => Ok(()),
            STATUS_CAS_MISMATCH => Err(SharedDataError::CasMismatch),
            status => Err(SharedDataError::Host(status)),
        }
    }
}

impl rekey_engine::Sources for HostSources {
    fn fill_random(&mut self, buffer: &mut [u8]) -> Result<(), EntropyError> {
        getrandom::fill(buffer).map_err(|_| EntropyError)
    }
}

/// The moment by the host's clocks; the monotonic one is the same for all
/// workers.
pub(crate) fn now() -> Moment {
    Moment {
        monotonic: milliseconds(CLOCK_MONOTONIC),
        wall: milliseconds(CLOCK_WALL),
    }
}

fn milliseconds(clock: u32) -> u64 {
    let mut nanoseconds = 0;
    // SAFETY: the host writes one u64. It fails for unknown clocks only.
    unsafe { sys::clock_time_get(clock, 0, &raw mut nanoseconds) };
    nanoseconds / 1_000_000
}

/// The plugin configuration as the host has it, JSON.
pub(crate) fn plugin_configuration() -> Vec<u8> {
    buffer(BUFFER_PLUGIN_CONFIGURATION, usize::MAX >> 1)
}

/// How often the root ticks; zero: never.
pub(crate) fn set_tick_period(period: Duration) {
    let milliseconds = u32::try_from(period.as_millis()).unwrap_or(u32::MAX);
    // SAFETY: no memory is passed.
    unsafe { sys::proxy_set_tick_period_milliseconds(milliseconds) };
}

/// A header of the request whose header callback is running.
pub(crate) fn request_header(name: &str) -> Option<Vec<u8>> {
    header(MAP_REQUEST_HEADERS, name)
}

/// A header of the call's answer whose callback is running. Only where there
/// are headers at all.
pub(crate) fn call_header(name: &str) -> Option<Vec<u8>> {
    header(MAP_CALL_RESPONSE_HEADERS, name)
}

/// The body, `size` bytes, of the call's answer whose callback is running.
pub(crate) fn call_body(size: usize) -> Vec<u8> {
    buffer(BUFFER_CALL_RESPONSE_BODY, size)
}

/// An attribute of the request, as bytes.
pub(crate) fn property(path: &[&str]) -> Option<Vec<u8>> {
    let path = path.join(PROPERTY_SEPARATOR);
    let value = returned(|data, size| {
        // SAFETY: as for shared data.
        unsafe { sys::proxy_get_property(path.as_ptr(), path.len(), data, size) }
    });
    value.if_ok()
}

/// Puts `wasm.<name>` into the request's filter state.
pub(crate) fn set_property(name: &str, value: &[u8]) -> bool {
    // SAFETY: the host only reads the two ranges.
    let status =
        unsafe { sys::proxy_set_property(name.as_ptr(), name.len(), value.as_ptr(), value.len()) };
    status == STATUS_OK
}

/// Makes the calls that follow refer to this context; false if it has gone.
pub(crate) fn set_effective_context(id: u32) -> bool {
    // SAFETY: no memory is passed.
    unsafe { sys::proxy_set_effective_context(id) == STATUS_OK }
}

/// Lets the request go on that was paused.
pub(crate) fn resume_request() {
    // SAFETY: no memory is passed. A request that has gone is no fault.
    unsafe { sys::proxy_continue_stream(STREAM_REQUEST) };
}

/// Ends the request, in both directions, when the running callback has returned.
pub(crate) fn close_stream() {
    // SAFETY: no memory is passed. A request that has gone is no fault.
    unsafe { sys::proxy_close_stream(STREAM_REQUEST) };
}

/// Answers the request. Its `details` become `%RESPONSE_CODE_DETAILS%`, which
/// the SDK's own call cannot set.
pub(crate) fn send_reply(reply: &Reply) {
    let headers = serialize_pairs(&reply.headers);
    // SAFETY: the host only reads the three ranges.
    let status = unsafe {
        sys::proxy_send_local_response(
            reply.status.into(),
            reply.details.as_ptr(),
            reply.details.len(),
            reply.body.as_ptr(),
            reply.body.len(),
            headers.as_ptr(),
            headers.len(),
            NO_GRPC_STATUS,
        )
    };
    if status != STATUS_OK {
        log::warn!("rekey: the host refused an answer (status {status})");
    }
}

/// Sends a call in the name of the active context; its token, or none if the
/// host refused it at once.
pub(crate) fn dispatch_call(
    cluster: &str,
    headers: Vec<(&str, &str)>,
    body: &[u8],
    timeout: Duration,
) -> Option<u32> {
    proxy_wasm::hostcalls::dispatch_http_call(cluster, headers, Some(body), vec![], timeout).ok()
}

/// Makes the root the owner of the queue of this name.
pub(crate) fn register_queue(name: &str) -> Option<u32> {
    let mut queue = 0;
    // SAFETY: the host reads the name and writes one u32.
    let status =
        unsafe { sys::proxy_register_shared_queue(name.as_ptr(), name.len(), &raw mut queue) };
    (status == STATUS_OK).then_some(queue)
}

/// Wakes the owner of a queue. The item says nothing.
pub(crate) fn ring(queue: u32) {
    // SAFETY: the host reads one byte.
    unsafe { sys::proxy_enqueue_shared_queue(queue, [0].as_ptr(), 1) };
}

/// Wakes the owner of the queue of this name, another worker's; the host knows
/// queues by the id that all VMs of the filter have, too.
pub(crate) fn ring_by_name(name: &str) {
    let Some(vm) = property(&["plugin_vm_id"]) else {
        return;
    };
    let mut queue = 0;
    // SAFETY: the host reads the two ranges and writes one u32.
    let status = unsafe {
        sys::proxy_resolve_shared_queue(
            vm.as_ptr(),
            vm.len(),
            name.as_ptr(),
            name.len(),
            &raw mut queue,
        )
    };
    if status == STATUS_OK {
        ring(queue);
    }
}

/// Throws away what waits in a queue.
pub(crate) fn empty_queue(queue: u32) {
    for _ in 0..QUEUE_DRAIN {
        let item = returned(|data, size| {
            // SAFETY: as for shared data.
            unsafe { sys::proxy_dequeue_shared_queue(queue, data, size) }
        });
        if item.status != STATUS_OK {
            break;
        }
    }
}

/// Defines a counter; none if the host has no metrics.
pub(crate) fn define_counter(name: &str) -> Option<u32> {
    define_metric(METRIC_COUNTER, name)
}

/// Defines a gauge; none if the host has no metrics.
pub(crate) fn define_gauge(name: &str) -> Option<u32> {
    define_metric(METRIC_GAUGE, name)
}

fn define_metric(kind: u32, name: &str) -> Option<u32> {
    let mut metric = 0;
    // SAFETY: the host reads the name and writes one u32.
    let status =
        unsafe { sys::proxy_define_metric(kind, name.as_ptr(), name.len(), &raw mut metric) };
    (status == STATUS_OK).then_some(metric)
}

/// Adds one to a counter.
pub(crate) fn increment(metric: u32) {
    // SAFETY: no memory is passed.
    unsafe { sys::proxy_increment_metric(metric, 1) };
}

/// Sets a gauge to this value.
pub(crate) fn record(metric: u32, value: u64) {
    // SAFETY: no memory is passed.
    unsafe { sys::proxy_record_metric(metric, value) };
}

fn header(map: u32, name: &str) -> Option<Vec<u8>> {
    let value = returned(|data, size| {
        // SAFETY: as for shared data.
        unsafe { sys::proxy_get_header_map_value(map, name.as_ptr(), name.len(), data, size) }
    });
    value.if_ok()
}

fn buffer(buffer: u32, most: usize) -> Vec<u8> {
    let bytes = returned(|data, size| {
        // SAFETY: as for shared data.
        unsafe { sys::proxy_get_buffer_bytes(buffer, 0, most, data, size) }
    });
    bytes.if_ok().unwrap_or_default()
}

/// What a hostcall that returns bytes came to.
struct Returned {
    status: u32,
    /// Empty where the status is no success.
    bytes: Vec<u8>,
}

impl Returned {
    fn if_ok(self) -> Option<Vec<u8>> {
        (self.status == STATUS_OK).then_some(self.bytes)
    }
}

/// Runs a hostcall that returns bytes, and takes the memory over that the host
/// had allocated for them in this VM (`proxy_on_memory_allocate`).
fn returned(call: impl FnOnce(*mut *mut u8, *mut usize) -> u32) -> Returned {
    let mut data = std::ptr::null_mut();
    let mut size = 0;
    let status = call(&raw mut data, &raw mut size);
    if status != STATUS_OK || data.is_null() {
        let bytes = Vec::new();
        return Returned { status, bytes };
    }
    // SAFETY: the SDK's allocator made a Vec of this capacity and forgot it;
    // the host filled it and passes it on to us alone.
    let bytes = unsafe { Vec::from_raw_parts(data, size, size) };
    Returned { status, bytes }
}

/// The ABI's form of a list of pairs: count, the sizes, then each name and
/// value with a NUL behind it; numbers are 32-bit little-endian.
fn serialize_pairs(pairs: &[(&str, String)]) -> Vec<u8> {
    let number = |n: usize| u32::try_from(n).unwrap_or(u32::MAX).to_le_bytes();
    let mut bytes = number(pairs.len()).to_vec();
    for (name, value) in pairs {
        bytes.extend(number(name.len()));
        bytes.extend(number(value.len()));
    }
    for (name, value) in pairs {
        bytes.extend(name.as_bytes());
        bytes.push(0);
        bytes.extend(value.as_bytes());
        bytes.push(0);
    }
    bytes
}
