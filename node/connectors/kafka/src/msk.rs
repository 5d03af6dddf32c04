//! Tokens for Amazon MSK, whose brokers know IAM's identities (`sasl.mechanism=OAUTHBEARER`).
//!
//! A token is a URL, signed by Signature Version 4, that asks for `kafka-cluster:Connect`; its text in base64. Brokers ask AWS whether it is
//! right. Nobody is asked for it, so there is one as long as there are credentials: in variables of the environment, or in the file that
//! AWS's own tools use. Both are read for each token, since others renew them.

use std::{collections::BTreeMap, fmt, path::PathBuf, sync::Arc, time::Duration};

use async_trait::async_trait;
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use chrono::DateTime;
use sha2::{Digest as _, Sha256};
use thalweg_types::seam::{Clock, Seams};

use crate::{KafkaError, Token, TokenError, TokenSource};

/// The variables of the environment that say who signs.
pub const VARIABLES: &[&str] = &[
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AWS_PROFILE",
    "AWS_SHARED_CREDENTIALS_FILE",
    "HOME",
];
/// What is said whatever is missing, with what was found in the last place behind it.
const NO_CREDENTIALS: &str = "the node has no credentials of AWS: it needs AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY (with \
    AWS_SESSION_TOKEN if they expire), or a file with keys at AWS_SHARED_CREDENTIALS_FILE or ~/.aws/credentials, by \
    AWS_PROFILE; roles of instances and web identities are not asked for:";
/// How long brokers take a token, in seconds: as long as AWS's libraries let it be.
const VALID_SECONDS: u32 = 900;
const SERVICE: &str = "kafka-cluster";
/// SHA-256's blocks, which HMAC needs to know.
const BLOCK_BYTES: usize = 64;

/// Who signs. `Debug` shows no secret.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    /// Who signs.
    pub access_key_id: String,
    /// What is signed with.
    pub secret_access_key: String,
    /// Of credentials that expire.
    pub session_token: Option<String>,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials").field("access_key_id", &self.access_key_id).finish_non_exhaustive()
    }
}

/// Signs tokens for the clusters of a region.
pub struct MskTokens {
    region: String,
    environment: BTreeMap<String, String>,
    clock: Arc<dyn Clock>,
}

impl fmt::Debug for MskTokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MskTokens").field("region", &self.region).finish_non_exhaustive()
    }
}

impl MskTokens {
    /// Credentials are those of the environment's `VARIABLES`, or of the file that they name.
    ///
    /// # Errors
    /// If there can be no such region.
    pub fn new(region: &str, environment: BTreeMap<String, String>, seams: &Seams) -> Result<Self, KafkaError> {
        let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        if region.is_empty() || !region.bytes().all(fits) {
            let reason = format!("'{region}' is no region of AWS: it looks like 'eu-central-1'");
            return Err(KafkaError::Config { reason });
        }
        Ok(Self { region: region.to_owned(), environment, clock: seams.clock.clone() })
    }

    async fn credentials(&self) -> Result<Credentials, TokenError> {
        let of = |name: &str| self.environment.get(name).filter(|value| !value.is_empty()).cloned();
        if let (Some(access_key_id), Some(secret_access_key)) = (of("AWS_ACCESS_KEY_ID"), of("AWS_SECRET_ACCESS_KEY")) {
            return Ok(Credentials { access_key_id, secret_access_key, session_token: of("AWS_SESSION_TOKEN") });
        }
        let default = || of("HOME").map(|home| PathBuf::from(home).join(".aws/credentials"));
        let file = of("AWS_SHARED_CREDENTIALS_FILE").map(PathBuf::from).or_else(default);
        let denied = |reason: String| TokenError::Denied { reason };
        let file = file.ok_or_else(|| denied(format!("{NO_CREDENTIALS} HOME is not set")))?;
        let profile = of("AWS_PROFILE").unwrap_or_else(|| "default".to_owned());
        let text = tokio::fs::read_to_string(&file).await;
        let text = text.map_err(|error| denied(format!("{NO_CREDENTIALS} {}: {error}", file.display())))?;
        let lacks = || denied(format!("{NO_CREDENTIALS} {} has no keys for the profile '{profile}'", file.display()));
        credentials_in(&text, &profile).ok_or_else(lacks)
    }
}

#[async_trait]
impl TokenSource for MskTokens {
    async fn token(&self) -> Result<Token, TokenError> {
        Ok(token(&self.region, &self.credentials().await?, self.clock.unix_time()))
    }
}

/// The token of a moment, which is given as the time since 1970.
#[must_use]
pub fn token(region: &str, credentials: &Credentials, now: Duration) -> Token {
    let url = signed_url(region, credentials, now);
    let user_agent = concat!("&User-Agent=thalweg%2F", env!("CARGO_PKG_VERSION"));
    Token {
        value: URL_SAFE_NO_PAD.encode(url + user_agent),
        expires: Duration::from_secs(now.as_secs() + u64::from(VALID_SECONDS)),
        // Brokers take the identity from the signature, but a token has to have one.
        principal: "thalweg".to_owned(),
    }
}

/// See AWS's "Create a signed AWS API request", with the signature in the query.
fn signed_url(region: &str, credentials: &Credentials, now: Duration) -> String {
    let at = i64::try_from(now.as_secs()).ok().and_then(|seconds| DateTime::from_timestamp(seconds, 0));
    let time = at.unwrap_or_default().format("%Y%m%dT%H%M%SZ").to_string();
    let date = &time[..8];
    let host = format!("kafka.{region}.amazonaws.com");
    let scope = format!("{date}/{region}/{SERVICE}/aws4_request");
    // In the order of their names, as they are signed.
    let mut query = format!(
        "Action=kafka-cluster%3AConnect&X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential={}&X-Amz-Date={time}\
         &X-Amz-Expires={VALID_SECONDS}",
        encoded(&format!("{}/{scope}", credentials.access_key_id))
    );
    if let Some(session_token) = &credentials.session_token {
        query += &format!("&X-Amz-Security-Token={}", encoded(session_token));
    }
    query += "&X-Amz-SignedHeaders=host";
    let request = format!("GET\n/\n{query}\nhost:{host}\n\nhost\n{}", hex(&Sha256::digest(b"")));
    let to_sign = format!("AWS4-HMAC-SHA256\n{time}\n{scope}\n{}", hex(&Sha256::digest(request)));
    let secret = format!("AWS4{}", credentials.secret_access_key);
    let parts = [date, region, SERVICE, "aws4_request"];
    let key = parts.iter().fold(secret.into_bytes(), |key, part| hmac(&key, part.as_bytes()).to_vec());
    format!("https://{host}/?{query}&X-Amz-Signature={}", hex(&hmac(&key, to_sign.as_bytes())))
}

/// The keys of a profile in the text of a credentials file.
fn credentials_in(text: &str, profile: &str) -> Option<Credentials> {
    let mut found = BTreeMap::new();
    let mut is_wanted = false;
    for line in text.lines().map(str::trim) {
        if let Some(name) = line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
            is_wanted = name.trim() == profile;
        } else if let Some((key, value)) = line.split_once('=').filter(|_| is_wanted && !line.starts_with('#')) {
            found.insert(key.trim().to_lowercase(), value.trim().to_owned());
        }
    }
    Some(Credentials {
        access_key_id: found.remove("aws_access_key_id")?,
        secret_access_key: found.remove("aws_secret_access_key")?,
        session_token: found.remove("aws_session_token"),
    })
}

/// RFC 2104.
fn hmac(key: &[u8], message: &[u8]) -> [u8; 32] {
    let mut block = [0; BLOCK_BYTES];
    let digest = Sha256::digest(key);
    let short = if key.len() > BLOCK_BYTES { digest.as_slice() } else { key };
    block[..short.len()].copy_from_slice(short);
    let inner = Sha256::new().chain_update(block.map(|byte| byte ^ 0x36)).chain_update(message).finalize();
    Sha256::new().chain_update(block.map(|byte| byte ^ 0x5c)).chain_update(inner).finalize().into()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Percent-encodes all but RFC 3986's unreserved characters.
fn encoded(text: &str) -> String {
    let encode = |byte: u8| match byte {
        b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => char::from(byte).to_string(),
        _ => format!("%{byte:02X}"),
    };
    text.bytes().map(encode).collect()
}

#[cfg(test)]
mod tests;
