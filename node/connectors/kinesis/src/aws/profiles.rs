//! A file of profiles that a table names. Whoever may submit a job chooses it, and no table may run a program on a node, or reach its
//! files: profiles can name such. Those of the node's own files may, since whoever runs the node has written them.

use std::{io, path::Path};

use aws_config::profile;
use aws_runtime::env_config::file::{EnvConfigFileKind, EnvConfigFiles};
use tokio::io::AsyncReadExt as _;

use crate::KinesisError;

/// The most bytes of such a file.
const BYTES_MAX: u64 = 1 << 20;
/// What no such profile may have, and why.
const REFUSED: [(&str, &str); 2] = [
    ("credential_process", "no program is run for a table; profiles of the node's own files may have one"),
    ("web_identity_token_file", "a table names such a file itself, as the option of WEB_IDENTITY_TOKEN"),
];

/// The file's contents instead of AWS's own file of credentials, beside AWS's own of profiles.
///
/// # Errors
/// `Config`, if it cannot be read, or has what it may not have.
pub(super) async fn read(file: &Path) -> Result<EnvConfigFiles, KinesisError> {
    let wrong = |why: String| KinesisError::Config { reason: format!("the profiles of {}: {why}", file.display()) };
    let contents = contents(file).await.map_err(|error| wrong(format!("they cannot be read: {error}")))?;
    let alone = EnvConfigFiles::builder().with_contents(EnvConfigFileKind::Credentials, &contents).build();
    // AWS's own parser says what would be used, whatever its rules are.
    let parsed = profile::load(&Default::default(), &Default::default(), &alone, None).await;
    let parsed = parsed.map_err(|error| wrong(super::failures::chain(&error)))?;
    for (key, why) in REFUSED {
        let has = |name: &&str| parsed.get_profile(name).is_some_and(|profile| profile.get(key).is_some());
        if let Some(name) = parsed.profiles().find(has) {
            return Err(wrong(format!("profile '{name}' has a {key}, and {why}")));
        }
    }
    let both = EnvConfigFiles::builder().include_default_config_file(true);
    Ok(both.with_contents(EnvConfigFileKind::Credentials, contents).build())
}

async fn contents(file: &Path) -> io::Result<String> {
    let opened = tokio::fs::File::open(file).await?;
    if !opened.metadata().await?.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is no regular file"));
    }
    let mut contents = String::new();
    if opened.take(BYTES_MAX + 1).read_to_string(&mut contents).await? as u64 > BYTES_MAX {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, format!("it has more than {BYTES_MAX} bytes")));
    }
    Ok(contents)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    async fn told(contents: &[u8]) -> Result<(), String> {
        let directory = tempfile::tempdir().expect("a directory");
        let file = directory.path().join("profiles");
        fs::write(&file, contents).expect("a file");
        read(&file).await.map(drop).map_err(|error| error.to_string())
    }

    #[tokio::test]
    async fn a_profile_that_names_a_program_is_refused() {
        assert_eq!(told(b"[a]\naws_access_key_id = x\naws_secret_access_key = y\n").await, Ok(()));
        assert_eq!(told(b"[a]\n# credential_process = x\nregion = eu-west-1\n").await, Ok(()));
        for named in ["credential_process = /bin/sh", "Credential_Process=/bin/sh", "credential_process\t=\t/bin/sh"] {
            let refused = told(format!("[work]\nregion = a\n[other]\n{named}\n").as_bytes()).await.unwrap_err();
            assert!(refused.contains("profile 'other' has a credential_process"), "{named}: {refused}");
        }
    }

    #[tokio::test]
    async fn a_profile_that_names_a_file_of_the_node_is_refused() {
        let named = b"[a]\nrole_arn = r\nweb_identity_token_file = /etc/passwd\n";
        assert!(told(named).await.unwrap_err().contains("profile 'a' has a web_identity_token_file"));
    }

    #[tokio::test]
    async fn what_is_no_file_of_profiles_is_refused() {
        assert!(told(&vec![b'#'; (1 << 20) + 1]).await.unwrap_err().contains("more than 1048576 bytes"));
        assert!(told(b"\xff\xfe").await.unwrap_err().contains("cannot be read"));
        assert!(told(b"neither").await.is_err());
        let endless = read(Path::new("/dev/zero")).await.unwrap_err().to_string();
        assert!(endless.contains("no regular file"), "{endless}");
    }
}
