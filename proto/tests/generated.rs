//! The committed code in `src/gen` is what the `.proto` files say. `UPDATE=1 cargo test -p madang-proto` renews it.
#![allow(missing_docs, clippy::unwrap_used)] // a test: a panic is its failure

use prost_types::FileDescriptorSet;
use std::{fs, path::Path};

const FILES: [&str; 7] = [
    "madang/client/v1/client.proto",
    "madang/log/v1/log.proto",
    "madang/chat/v1/chat_service.proto",
    "madang/store/v1/store_service.proto",
    "madang/group/v1/group_service.proto",
    "madang/account/v1/account_service.proto",
    "madang/notify/v1/notify_service.proto",
];

fn generate(root: &Path, out: &Path) {
    let files: Vec<_> = FILES.iter().map(|f| root.join(f)).collect();
    let set: FileDescriptorSet = protox::compile(files, [root]).unwrap();
    let bytes = prost::Message::encode_to_vec(&set);
    fs::write(out.join("descriptors.bin"), &bytes).unwrap();
    tonic_prost_build::configure()
        .build_transport(false)
        .bytes(".madang.chat.v1")
        .bytes(".madang.log.v1")
        .out_dir(out)
        .compile_fds(set)
        .unwrap();
    pbjson_build::Builder::new()
        .out_dir(out)
        .register_descriptors(&bytes)
        .unwrap()
        .emit_fields()
        .ignore_unknown_fields()
        .ignore_unknown_enum_variants()
        .build(&[".madang.client.v1"])
        .unwrap();
}

#[test]
fn generated_code_is_fresh() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let committed = root.join("src/gen");
    if std::env::var_os("UPDATE").is_some() {
        return generate(root, &committed);
    }
    let fresh = tempfile::tempdir().unwrap();
    generate(root, fresh.path());
    for entry in fs::read_dir(fresh.path()).unwrap() {
        let name = entry.unwrap().file_name();
        let (new, old) =
            (fs::read(fresh.path().join(&name)).unwrap(), fs::read(committed.join(&name)).unwrap_or_default());
        assert!(new == old, "{name:?} is stale: run UPDATE=1 cargo test -p madang-proto --test generated");
    }
}
