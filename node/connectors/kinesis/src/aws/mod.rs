//! AWS's SDK as a client.
//!
//! It finds credentials and the region when it is asked first, and renews credentials by itself. It tries nothing again but what gets
//! credentials. TLS is rustls on ring, with the system's certificates.

mod convert;
mod elsewhere;
mod failures;
mod profiles;
mod settings;
mod stream;
mod subscription;

use std::{fmt, sync::Arc};

use aws_sdk_kinesis::config::SharedHttpClient;
use aws_smithy_http_client::{
    Builder,
    tls::{Provider, rustls_provider::CryptoMode},
};

use self::stream::AwsStream;
use crate::{ClientConfig, Kinesis, KinesisError, Stream};

/// Opens clients, which share connections.
#[derive(Clone)]
pub struct Aws {
    http: SharedHttpClient,
}

impl fmt::Debug for Aws {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Aws").finish_non_exhaustive()
    }
}

impl Aws {
    /// Does not connect to anything yet.
    #[must_use]
    pub fn new() -> Self {
        Self { http: Builder::new().tls_provider(Provider::Rustls(CryptoMode::Ring)).build_https() }
    }

    /// What carries the calls, for other services of AWS.
    #[must_use]
    pub fn http_client(&self) -> SharedHttpClient {
        self.http.clone()
    }
}

impl Default for Aws {
    fn default() -> Self {
        Self::new()
    }
}

impl Kinesis for Aws {
    fn stream(&self, config: &ClientConfig) -> Result<Arc<dyn Stream>, KinesisError> {
        config.check()?;
        Ok(Arc::new(AwsStream::new(self.http.clone(), config.clone())))
    }
}

#[cfg(test)]
mod tests;
