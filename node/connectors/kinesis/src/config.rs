//! How a client reaches a stream, and as whom.

use std::{fmt, path::PathBuf};

use crate::KinesisError;

/// The time limit of a call, unless one is given.
const TIMEOUT_MS: u64 = 30_000;
/// The most bytes of a stream's name.
const NAME_BYTES_MAX: usize = 128;

/// How a client reaches a stream. `Debug` shows no secrets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientConfig {
    /// The stream.
    pub stream: StreamName,
    /// `None`: that of the ARN, else that which AWS's tools find (`AWS_REGION`, the profile, the instance).
    pub region: Option<String>,
    /// A URL that is asked instead of AWS's.
    pub endpoint: Option<String>,
    /// Who the client is.
    pub credentials: CredentialsFrom,
    /// A role that is assumed with them.
    pub role: Option<AssumedRole>,
    /// When a call is given up, in milliseconds. It has no bearing on a running subscription.
    pub timeout_ms: u64,
}

impl ClientConfig {
    /// A stream of the region and the account that AWS's tools find.
    #[must_use]
    pub fn new(stream: StreamName) -> Self {
        Self {
            stream,
            region: None,
            endpoint: None,
            credentials: CredentialsFrom::Default,
            role: None,
            timeout_ms: TIMEOUT_MS,
        }
    }

    /// Checks what can be checked without asking anybody. Clients do so, too.
    ///
    /// # Errors
    /// `Config`, if something does not fit.
    pub fn check(&self) -> Result<(), KinesisError> {
        self.stream.name()?;
        let of_role = self.role.as_ref().and_then(|role| role.sts_endpoint.as_ref());
        for endpoint in self.endpoint.iter().chain(of_role) {
            if !endpoint.starts_with("http://") && !endpoint.starts_with("https://") {
                return Err(config(format!("'{endpoint}' is no URL: it has to begin with https:// or http://")));
            }
        }
        if let (Some(given), Some(of_arn)) = (self.region.as_deref(), self.stream.region())
            && given != of_arn
        {
            return Err(config(format!("the stream's ARN is of the region {of_arn}, and the region given is {given}")));
        }
        if self.timeout_ms == 0 {
            return Err(config("the time limit of a call has to be more than 0 ms".to_owned()));
        }
        Ok(())
    }
}

/// How a stream is named.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StreamName {
    /// By its ARN, which may be that of another account.
    Arn(String),
    /// By its name in the client's account and region.
    Name(String),
}

impl StreamName {
    /// The stream's own name.
    ///
    /// # Errors
    /// `Config`, if it is no name, or no ARN of a stream.
    pub fn name(&self) -> Result<&str, KinesisError> {
        let name = match self {
            Self::Name(name) => name,
            Self::Arn(arn) => {
                let is_whole = arn.split(':').count() == 6 && arn.starts_with("arn:") && arn.contains(":kinesis:");
                let name = arn.rsplit_once(":stream/").map(|(_, name)| name).filter(|_| is_whole);
                name.ok_or_else(|| {
                    let shape = "arn:aws:kinesis:REGION:ACCOUNT:stream/NAME";
                    config(format!("'{arn}' is no ARN of a stream: it has to look like {shape}"))
                })?
            }
        };
        let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
        if name.is_empty() || name.len() > NAME_BYTES_MAX || !name.bytes().all(is_allowed) {
            let allowed = format!("1 to {NAME_BYTES_MAX} letters, digits, '.', '_' and '-'");
            return Err(config(format!("'{name}' cannot be the name of a stream: it needs {allowed}")));
        }
        Ok(name)
    }

    /// The region that an ARN names.
    #[must_use]
    pub fn region(&self) -> Option<&str> {
        match self {
            Self::Name(_) => None,
            Self::Arn(arn) => arn.split(':').nth(3).filter(|region| !region.is_empty()),
        }
    }
}

impl fmt::Display for StreamName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Arn(name) | Self::Name(name) => f.write_str(name),
        }
    }
}

/// Where credentials come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CredentialsFrom {
    /// As AWS's tools find them, in their order: environment, profiles (with SSO and roles), web identity, container, instance.
    Default,
    /// Only from environment variables.
    Environment,
    /// Given here.
    Static(StaticKeys),
    /// From a profile.
    Profile {
        /// `None`: `AWS_PROFILE`, else `default`.
        name: Option<String>,
        /// A file of profiles with credentials; `None`: AWS's own files.
        file: Option<PathBuf>,
    },
    /// A role by a token that is read from a file anew each time.
    WebIdentity {
        /// The file that has the token.
        token_file: PathBuf,
        /// The role.
        role_arn: String,
        /// What the session is called; `None`: a name of the client's.
        session_name: Option<String>,
    },
}

/// What the client was told to use, as errors say it. It has no secrets.
impl fmt::Display for CredentialsFrom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("the environment, profiles, a web identity, a container or an instance"),
            Self::Environment => f.write_str("environment variables"),
            Self::Static(keys) => write!(f, "the keys of '{}'", keys.access_key_id),
            Self::Profile { name, file } => {
                write!(f, "the profile '{}'", name.as_deref().unwrap_or("AWS_PROFILE or default"))?;
                file.as_ref().map_or(Ok(()), |file| write!(f, " of {}", file.display()))
            }
            Self::WebIdentity { token_file, role_arn, session_name: _ } => {
                write!(f, "the role '{role_arn}' by the token in {}", token_file.display())
            }
        }
    }
}

/// Keys of an account. `Debug` shows none of them but the first, which is no secret.
#[derive(Clone, PartialEq, Eq)]
pub struct StaticKeys {
    /// The access key's id.
    pub access_key_id: String,
    /// The access key.
    pub secret_access_key: String,
    /// For temporary keys.
    pub session_token: Option<String>,
}

impl fmt::Debug for StaticKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StaticKeys").field("access_key_id", &self.access_key_id).finish_non_exhaustive()
    }
}

/// A role that is assumed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AssumedRole {
    /// The role.
    pub arn: String,
    /// What the session is called; `None`: a name of the client's.
    pub session_name: Option<String>,
    /// What the role's account asks of others.
    pub external_id: Option<String>,
    /// A URL that is asked instead of AWS's Security Token Service.
    pub sts_endpoint: Option<String>,
}

fn config(reason: String) -> KinesisError {
    KinesisError::Config { reason }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(stream: StreamName) -> ClientConfig {
        ClientConfig::new(stream)
    }

    fn arn(arn: &str) -> StreamName {
        StreamName::Arn(arn.to_owned())
    }

    #[test]
    fn an_arn_names_a_stream_and_its_region() {
        let clicks = arn("arn:aws-cn:kinesis:cn-north-1:123456789012:stream/clicks");
        assert_eq!((clicks.name(), clicks.region()), (Ok("clicks"), Some("cn-north-1")));
        assert_eq!(of(clicks).check(), Ok(()));
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let named = |name: &str| of(StreamName::Name(name.to_owned()));
        assert_eq!(named("clicks-1.a_b").check(), Ok(()));
        let whole = arn("arn:aws:kinesis:eu-west-1:1:stream/clicks");
        for config in [
            named(""),
            named("a/b"),
            named(&"a".repeat(129)),
            of(arn("clicks")),
            of(arn("arn:aws:s3:::bucket")),
            of(arn("arn:aws:kinesis:eu-west-1:1:stream/")),
            of(arn("arn:aws:kinesis:eu-west-1:1:stream/clicks/consumer/x:1")),
            ClientConfig { endpoint: Some("localhost:4567".to_owned()), ..named("clicks") },
            ClientConfig { region: Some("eu-central-1".to_owned()), ..of(whole) },
            ClientConfig { timeout_ms: 0, ..named("clicks") },
        ] {
            assert!(matches!(config.check(), Err(KinesisError::Config { .. })), "{config:?}");
        }
    }

    #[test]
    fn secrets_are_not_shown() {
        let keys = StaticKeys {
            access_key_id: "AKID".to_owned(),
            secret_access_key: "hidden".to_owned(),
            session_token: Some("hidden".to_owned()),
        };
        let mut config = of(StreamName::Name("clicks".to_owned()));
        config.credentials = CredentialsFrom::Static(keys);
        let shown = format!("{config:?}");
        assert!(shown.contains("AKID") && !shown.contains("hidden"), "{shown}");
    }
}
