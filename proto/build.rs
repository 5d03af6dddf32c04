//! Compiles the .proto files with protox, a protoc in Rust, so that no protoc has to be installed.

use std::{fs, path::Path};

use protox::prost::Message;
use protox::prost_reflect::prost_types::{FileDescriptorProto, FileDescriptorSet};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let files = ["client", "session", "exchange", "raft", "trace"].map(|name| format!("thalweg/v1/{name}.proto"));
    println!("cargo:rerun-if-changed=thalweg");
    let descriptors = protox::compile(&files, ["."])?;
    write_public(&descriptors)?;
    tonic_prost_build::configure()
        .bytes(".thalweg.v1.BatchFrame")
        .bytes(".thalweg.v1.CollectResponse.batches")
        .bytes(".thalweg.v1.FetchRowsResponse.batches")
        .bytes(".thalweg.v1.RaftEnvelope.message")
        .bytes(".thalweg.v1.ReadTableResponse.rows")
        .compile_fds(descriptors)?;
    Ok(())
}

/// Keeps the descriptors of what clients call, so that a coordinator can show them.
#[allow(clippy::disallowed_methods, reason = "cargo tells a build where to write by the environment")]
fn write_public(descriptors: &FileDescriptorSet) -> Result<(), Box<dyn std::error::Error>> {
    let is_public = |file: &&FileDescriptorProto| file.name() == "thalweg/v1/client.proto";
    let public = FileDescriptorSet { file: descriptors.file.iter().filter(is_public).cloned().collect() };
    let path = Path::new(&std::env::var("OUT_DIR")?).join("thalweg_client.bin");
    fs::write(path, public.encode_to_vec())?;
    Ok(())
}
