//! The wire: generated protobuf code, every conversion between it and domain values, and the network seam. And `compute`, which is for
//! what serves it.
//!
//! Protobuf types stop here and at files named `service.rs`, `rpc.rs` and `*_codec.rs`. Conversion from the wire is
//! `TryFrom`, which checks everything, or `From` where any value is sound. Conversion to the wire is `From`.

pub mod compute;
pub mod convert;
pub mod network;
#[cfg(any(test, feature = "testing"))]
pub mod testing;

/// Generated from `thalweg/v1/*.proto`.
#[allow(
    missing_docs,
    unreachable_pub,
    clippy::all,
    clippy::disallowed_methods,
    clippy::too_many_lines,
    clippy::allow_attributes_without_reason,
    reason = "generated"
)]
pub mod v1 {
    tonic::include_proto!("thalweg.v1");
}

/// The descriptors of what clients call: `thalweg/v1/client.proto`, encoded.
pub const CLIENT_DESCRIPTORS: &[u8] = tonic::include_file_descriptor_set!("thalweg_client");

/// The metadata key under which a coordinator that does not lead gives the leader's address.
pub const LEADER_KEY: &str = "thalweg-leader";

/// The metadata key that marks an UNAVAILABLE: the connection to another process broke while that process had the
/// request.
pub const BROKE_KEY: &str = "thalweg-broke";

/// The most bytes of one message that our services send or accept.
pub const MESSAGE_BYTES_MAX: usize = 64 << 20;
