//! OpenSSL, which librdkafka uses.

use std::{
    ffi::{c_int, c_void},
    ptr,
    sync::Once,
};

/// `OPENSSL_INIT_NO_ATEXIT` of `openssl/crypto.h`.
const NO_ATEXIT: u64 = 0x0008_0000;

unsafe extern "C" {
    fn OPENSSL_init_crypto(options: u64, settings: *const c_void) -> c_int;
}

/// Lets OpenSSL stay whole when the process ends. By itself it frees what it has then, and librdkafka's threads, which nobody waits for,
/// may be in the middle of a handshake, or of freeing the same. It counts only before anything else of OpenSSL is used.
pub(in crate::librdkafka) fn keep_to_the_end() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // SAFETY: it may be called by any thread and at any time, and takes null for no settings. If it fails, so will all else of
        // OpenSSL, which tells of it.
        unsafe { OPENSSL_init_crypto(NO_ATEXIT, ptr::null()) };
    });
}
