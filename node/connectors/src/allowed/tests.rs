//! Which paths may be used, tested in a real directory with links.

use std::{fs, os::unix::fs::symlink};

use tempfile::TempDir;

use super::*;

/// A directory with an allowed (`in`) and a forbidden folder (`out`), and links between them.
fn place() -> (TempDir, PathBuf) {
    let directory = tempfile::tempdir().expect("a directory");
    let root = directory.path().canonicalize().expect("it is there");
    for folder in ["in/deep", "out", "in/checkpoints"] {
        fs::create_dir_all(root.join(folder)).expect("created");
    }
    for file in ["in/a.json", "out/secret.json", "in/checkpoints/m.json"] {
        fs::write(root.join(file), "{}\n").expect("written");
    }
    symlink("../out", root.join("in/leak")).expect("a link");
    symlink("../out/secret.json", root.join("in/leak.json")).expect("a link");
    symlink("deep", root.join("in/inner")).expect("a link");
    symlink("nowhere", root.join("in/dangling")).expect("a link");
    symlink("in", root.join("alias")).expect("a link");
    (directory, root)
}

fn confined(root: &Path) -> AllowedPaths {
    let prefix = root.join("in");
    let allowed = AllowedPaths::below([prefix.to_str().expect("text")], None).expect("a prefix").of("node-7");
    allowed.refuse(root.join("in/checkpoints").to_str().expect("text"));
    allowed
}

#[test]
fn only_what_lies_below_a_prefix_may_be_used_as_the_system_resolves_it() {
    let (_directory, root) = place();
    let allowed = confined(&root);
    let resolved = |path: &str| {
        allowed.check_local(&root.join(path)).map(|reach| reach.path().strip_prefix(&root).unwrap().to_owned())
    };
    for (path, real) in [
        ("in", "in"),
        ("in/a.json", "in/a.json"),
        ("alias/a.json", "in/a.json"),
        ("in/deep/../a.json", "in/a.json"),
        ("out/../in/a.json", "in/a.json"),
        ("in/inner/new/part", "in/deep/new/part"),
        ("in/new/later", "in/new/later"),
        ("in/", "in"),
        ("in//deep/./", "in/deep"),
    ] {
        assert_eq!(resolved(path).expect(path), Path::new(real), "{path}");
    }
    for path in [
        "out",
        "out/secret.json",
        "in/../out/secret.json",
        "in/leak",
        "in/leak/secret.json",
        "in/leak/new",
        "in/leak.json",
        "in/new/../../out/secret.json",
        "in/dangling",
        "in/dangling/new",
        "inner",
        "in2",
        "in2/../in3",
        "in/a.json/../../out",
        "",
        "..",
        "/",
        "/etc/passwd",
        "in/checkpoints",
        "in/checkpoints/m.json",
        "in/checkpoints/new",
        "in/deep/../checkpoints/m.json",
    ] {
        let error = resolved(path).expect_err(path).to_string();
        assert!(error.contains("node-7"), "{error}");
    }
}

#[test]
fn a_refusal_names_path_and_node_and_flag() {
    let (_directory, root) = place();
    let allowed = confined(&root);
    let error = allowed.check_local(&root.join("in/leak/secret.json")).expect_err("it leads out");
    let root = root.display();
    assert_eq!(
        error.to_string(),
        format!(
            "could not use {root}/in/leak/secret.json, which is {root}/out/secret.json, on node-7: of local paths only those below \
             {root}/in may be used there; start the process with --allow-path PREFIX to allow others"
        )
    );
    for path in ["/proc/self/cwd/x", "/proc/self/root", "/dev/stdin"] {
        let error = allowed.check_local(Path::new(path)).expect_err("it is elsewhere").to_string();
        assert!(error.starts_with(&format!("could not use {path} on node-7: ")), "where it leads is not told: {error}");
    }
    let nothing = AllowedPaths::below([], None).expect("no prefix").of("node-8");
    let error = nothing.check_local(Path::new("/tmp/x")).expect_err("nothing is allowed").to_string();
    assert!(error.starts_with("could not use /tmp/x on node-8: no local path may be used there"), "{error}");
}

#[test]
fn what_is_given_takes_the_place_of_the_default_by_kind() {
    let (_directory, root) = place();
    let default = || Some(root.join("in"));
    let inside = root.join("in/a.json");
    let of = |prefixes: &[&str]| AllowedPaths::below(prefixes.iter().copied(), default()).expect("prefixes");
    assert!(of(&[]).check_local(&inside).is_ok());
    assert!(of(&["s3://bucket/x"]).check_local(&inside).is_ok());
    assert!(of(&["/somewhere"]).check_local(&inside).is_err());
    assert!(of(&["/"]).check_local(&inside).is_ok());
    let file_url = format!("file://{}", root.join("in").display());
    assert!(of(&[&file_url]).check_local(&inside).is_ok());
    assert!(of(&["/somewhere"]).check_url("s3://other/y").is_ok(), "stores are open where none is given");
}

#[test]
fn urls_are_below_a_prefix_by_whole_parts() {
    let allowed = AllowedPaths::below(["s3://bucket/data", "gs://other"], None).expect("prefixes");
    for url in [
        "s3://bucket/data",
        "s3://bucket/data/x/y.json",
        "S3://bucket/data/x",
        "gs://other/x",
        "s3://bucket/data/*.json",
        "s3://bucket/data/a?b#c",
        "s3://bucket/x/../data/y",
    ] {
        assert!(allowed.check_url(url).is_ok(), "{url}");
    }
    for url in [
        "s3://bucket",
        "s3://bucket/database",
        "s3://bucket/data/../x",
        "s3://bucket/data/%2e%2e/x",
        "s3://bucket/data#/../../x",
        "s3://bucket/data?/../../x",
        "s3://bucket/da%74a/../x",
        "s3://buck%65t/data",
        "s3://bucket:1/data",
        " file:///etc/passwd",
        "fi\nle:///etc/passwd",
        "s3://bucket2/data",
        "s3a://bucket/data",
        "https://bucket.s3.amazonaws.com/data",
        "gs://another/x",
        "s3://x@bucket/data",
    ] {
        assert!(allowed.check_url(url).is_err(), "{url}");
    }
}

#[test]
fn what_is_not_confined_is_kept_from_the_checkpoints_all_the_same() {
    let (_directory, root) = place();
    let everywhere = AllowedPaths::everywhere();
    assert!(everywhere.check_local(Path::new("/etc/passwd")).is_ok() && everywhere.check_url("s3://b/x").is_ok());
    everywhere.refuse(&format!("file://{}", root.join("in/checkpoints").display()));
    everywhere.clone().refuse("s3://bucket/checkpoints/");
    let error = everywhere.check_local(&root.join("alias/checkpoints/m.json")).expect_err("refused").to_string();
    assert!(
        error.ends_with("checkpoints and what else the cluster keeps for itself are there, and no table can be"),
        "{error}"
    );
    for url in [
        "s3://bucket/checkpoints",
        "s3://bucket/checkpoints/c/job-1",
        "s3://bucket/check%70oints/c",
        "s3://bucket/x/../checkpoints",
        "S3://bucket/checkpoints/x",
        "s3a://bucket/checkpoints/x",
        "s3://buck%65t/checkpoints/x",
        "https://bucket.s3.eu-north-1.amazonaws.com/checkpoints/x",
        "https://s3.eu-north-1.amazonaws.com/bucket/checkpoints/x",
    ] {
        assert!(everywhere.check_url(url).is_err(), "{url}");
    }
    for url in [
        "s3://bucket/checkpoints-of-mine",
        "s3://other/checkpoints/x",
        "gs://bucket/checkpoints/x",
        "https://s3.eu-north-1.amazonaws.com/bucket/x",
    ] {
        assert!(everywhere.check_url(url).is_ok(), "{url}");
    }
    assert!(everywhere.check_local(&root.join("out/secret.json")).is_ok());
}
