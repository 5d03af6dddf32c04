//! The token that a table's options have, for `'properties.sasl.mechanism' = 'OAUTHBEARER'`.
//!
//! A client asks for the next one in time before the last expires, and by then another one may stand in the secret. When a token expires is
//! in it if it is a JWT (RFC 7519); its signature is the brokers' to check. Of others that is not known, so they are read anew every now and
//! then.

use std::{fmt, sync::Arc, time::Duration};

use async_trait::async_trait;
use base64::{
    Engine as _,
    alphabet::URL_SAFE,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use serde::Deserialize;
use thalweg_kafka::{Token, TokenError, TokenSource};
use thalweg_types::{
    seam::{Clock, Seams},
    text::with_causes,
};

use crate::Secrets;

/// How long a token is taken to be valid that does not tell: librdkafka asks again before.
const UNTOLD: Duration = Duration::from_mins(5);
/// Of a JWT without a `sub`.
const PRINCIPAL: &str = "thalweg";
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &URL_SAFE,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

/// Where the token stands.
pub(super) enum Given {
    /// In the script.
    Written(String),
    Secret {
        name: String,
        secrets: Arc<dyn Secrets>,
    },
}

/// Gives the token of a table.
pub(super) struct GivenToken {
    given: Given,
    clock: Arc<dyn Clock>,
}

impl fmt::Debug for GivenToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GivenToken").finish_non_exhaustive()
    }
}

/// What of a JWT counts here.
#[derive(Deserialize, Default)]
struct Claims {
    /// Seconds since 1970, which may have a fraction.
    exp: Option<f64>,
    sub: Option<String>,
}

impl GivenToken {
    pub(super) fn new(given: Given, seams: &Seams) -> Self {
        Self { given, clock: seams.clock.clone() }
    }

    fn read(&self) -> Result<String, TokenError> {
        match &self.given {
            Given::Written(token) => Ok(token.clone()),
            // It may be just about to be replaced.
            Given::Secret { name, secrets } => secrets.resolve(name).map_err(|error| TokenError::Unavailable {
                reason: format!("the token is secret '{name}', and {}", with_causes(&error)),
            }),
        }
    }

    fn expired(&self) -> TokenError {
        let reason = match &self.given {
            Given::Written(_) => {
                "the token in 'properties.sasl.oauthbearer.token' has expired: one that is renewed has to be a secret"
                    .to_owned()
            }
            Given::Secret { name, .. } => {
                format!("the token in secret '{name}' has expired: it is read again and again until there is another")
            }
        };
        TokenError::Unavailable { reason }
    }
}

#[async_trait]
impl TokenSource for GivenToken {
    async fn token(&self) -> Result<Token, TokenError> {
        let value = self.read()?.trim().to_owned();
        let now = self.clock.unix_time();
        let claims = claims_of(&value).unwrap_or_default();
        let told = claims.exp.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
        match told {
            Some(expires) if expires <= now => Err(self.expired()),
            told => Ok(Token {
                value,
                expires: told.unwrap_or(now + UNTOLD),
                principal: claims.sub.unwrap_or_else(|| PRINCIPAL.to_owned()),
            }),
        }
    }
}

/// The claims of a JWT: the second of three parts in base64. `None`: it is none.
fn claims_of(token: &str) -> Option<Claims> {
    let mut parts = token.split('.');
    let (_, claims, _) = (parts.next()?, parts.next()?, parts.next()?);
    if parts.next().is_some() {
        return None;
    }
    serde_json::from_slice(&BASE64.decode(claims).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use base64::engine::general_purpose::URL_SAFE_NO_PAD;

    use super::*;
    use crate::{SecretError, testing::context};

    /// A secret that changes.
    #[derive(Debug, Default)]
    struct Changing(Mutex<Option<String>>);

    impl Secrets for Changing {
        fn resolve(&self, name: &str) -> Result<String, SecretError> {
            assert_eq!(name, "kafka-token");
            let content = self.0.lock().expect("no panics").clone();
            content.ok_or_else(|| SecretError::Missing { looked: "there is no file".to_owned() })
        }
    }

    fn jwt(claims: &str) -> String {
        format!("e30.{}.c2ln", URL_SAFE_NO_PAD.encode(claims))
    }

    #[tokio::test]
    async fn a_token_is_read_anew_whenever_a_client_asks() {
        let (seams, secret) = (context().seams, Arc::new(Changing::default()));
        let now = seams.clock.unix_time().as_secs();
        let put = |token: String| *secret.0.lock().expect("no panics") = Some(token);
        let token = GivenToken::new(Given::Secret { name: "kafka-token".to_owned(), secrets: secret.clone() }, &seams);
        let missing = token.token().await.expect_err("there is none").to_string();
        assert!(missing.contains("secret 'kafka-token'") && missing.contains("there is no file"), "{missing}");
        let expiring = jwt(&format!("{{\"exp\": {}, \"sub\": \"me\"}}", now + 60));
        put(format!("{expiring}\n"));
        let given = token.token().await.expect("a token");
        assert_eq!((given.value, given.principal.as_str()), (expiring, "me"), "what surrounds it does not count");
        assert_eq!(given.expires.as_secs(), now + 60);
        put(jwt(&format!("{{\"exp\": {}.5}}", now + 90)));
        let given = token.token().await.expect("another token");
        assert_eq!((given.expires.as_secs(), given.principal.as_str()), (now + 90, "thalweg"));
        put(jwt(&format!("{{\"exp\": {}}}", now - 1)));
        let expired = token.token().await.expect_err("it has expired");
        assert!(
            matches!(&expired, TokenError::Unavailable { reason } if reason.contains("secret 'kafka-token' has expired"))
        );
    }

    #[tokio::test]
    async fn what_does_not_tell_when_it_expires_is_read_again_soon() {
        let seams = context().seams;
        for token in [
            "opaque",
            "a.b",
            "a.b.c",
            "a.b.c.d",
            &jwt("{}"),
            &jwt("[1]"),
            &jwt("{\"exp\": -1}"),
            &jwt("{\"exp\": 1e300}"),
        ] {
            let given = GivenToken::new(Given::Written(token.to_owned()), &seams).token().await.expect("a token");
            let left = given.expires.saturating_sub(seams.clock.unix_time());
            assert!(given.value == token && left <= UNTOLD && left > UNTOLD / 2, "{token}: {left:?}");
        }
        let written = GivenToken::new(Given::Written(jwt("{\"exp\": 1}")), &seams);
        assert!(written.token().await.expect_err("it has expired").to_string().contains("has to be a secret"));
        assert!(!format!("{written:?}").contains("e30"), "nothing of it is shown");
    }
}
