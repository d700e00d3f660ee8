//! The hostcalls themselves (proxy-wasm ABI 0.2.1, WASI preview 1).

#[link(wasm_import_module = "env")]
unsafe extern "C" {
    pub(super) fn proxy_get_shared_data(
        name: *const u8,
        name_size: usize,
        value: *mut *mut u8,
        value_size: *mut usize,
        cas: *mut u32,
    ) -> u32;
    pub(super) fn proxy_set_shared_data(
        name: *const u8,
        name_size: usize,
        value: *const u8,
        value_size: usize,
        cas: u32,
    ) -> u32;
    pub(super) fn proxy_set_tick_period_milliseconds(period: u32) -> u32;
    pub(super) fn proxy_get_header_map_value(
        map: u32,
        name: *const u8,
        name_size: usize,
        value: *mut *mut u8,
        value_size: *mut usize,
    ) -> u32;
    pub(super) fn proxy_get_buffer_bytes(
        buffer: u32,
        start: usize,
        most: usize,
        value: *mut *mut u8,
        value_size: *mut usize,
    ) -> u32;
    pub(super) fn proxy_get_property(
        path: *const u8,
        path_size: usize,
        value: *mut *mut u8,
        value_size: *mut usize,
    ) -> u32;
    pub(super) fn proxy_set_property(
        path: *const u8,
        path_size: usize,
        value: *const u8,
        value_size: usize,
    ) -> u32;
    pub(super) fn proxy_set_effective_context(id: u32) -> u32;
    pub(super) fn proxy_continue_stream(stream: u32) -> u32;
    pub(super) fn proxy_close_stream(stream: u32) -> u32;
    pub(super) fn proxy_send_local_response(
        status: u32,
        details: *const u8,
        details_size: usize,
        body: *const u8,
        body_size: usize,
        headers: *const u8,
        headers_size: usize,
        grpc_status: i32,
    ) -> u32;
    pub(super) fn proxy_register_shared_queue(
        name: *const u8,
        name_size: usize,
        queue: *mut u32,
    ) -> u32;
    pub(super) fn proxy_resolve_shared_queue(
        vm: *const u8,
        vm_size: usize,
        name: *const u8,
        name_size: usize,
        queue: *mut u32,
    ) -> u32;
    pub(super) fn proxy_enqueue_shared_queue(
        queue: u32,
        value: *const u8,
        value_size: usize,
    ) -> u32;
    pub(super) fn proxy_dequeue_shared_queue(
        queue: u32,
        value: *mut *mut u8,
        value_size: *mut usize,
    ) -> u32;
    pub(super) fn proxy_define_metric(
        kind: u32,
        name: *const u8,
        name_size: usize,
        metric: *mut u32,
    ) -> u32;
    pub(super) fn proxy_increment_metric(metric: u32, by: i64) -> u32;
    pub(super) fn proxy_record_metric(metric: u32, value: u64) -> u32;
}

#[link(wasm_import_module = "wasi_snapshot_preview1")]
unsafe extern "C" {
    pub(super) fn clock_time_get(clock: u32, precision: u64, time: *mut u64) -> u16;
}
