//! Compiles the .proto files with protox, a protoc in Rust, so that no protoc has to be installed.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let files = ["client", "session", "exchange", "raft", "trace"].map(|name| format!("thalweg/v1/{name}.proto"));
    println!("cargo:rerun-if-changed=thalweg");
    let descriptors = protox::compile(&files, ["."])?;
    tonic_prost_build::configure()
        .bytes(".thalweg.v1.BatchFrame")
        .bytes(".thalweg.v1.CollectResponse.batches")
        .bytes(".thalweg.v1.FetchRowsResponse.batches")
        .bytes(".thalweg.v1.RaftEnvelope.message")
        .bytes(".thalweg.v1.ReadTableResponse.rows")
        .compile_fds(descriptors)?;
    Ok(())
}
