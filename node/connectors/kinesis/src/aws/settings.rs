//! A configuration as the SDK's own.

use std::time::Duration;

use aws_config::{
    AppName, BehaviorVersion, Region, SdkConfig,
    environment::EnvironmentVariableCredentialsProvider,
    profile::ProfileFileCredentialsProvider,
    provider_config::ProviderConfig,
    sts::AssumeRoleProvider,
    web_identity_token::{StaticConfiguration, WebIdentityTokenCredentialsProvider},
};
use aws_runtime::env_config::file::EnvConfigFiles;
use aws_sdk_kinesis::{
    Client,
    config::{
        Credentials, SharedCredentialsProvider, SharedHttpClient, StalledStreamProtectionConfig, retry::RetryConfig,
        timeout::TimeoutConfig,
    },
};

use super::{elsewhere, profiles};
use crate::{AssumedRole, ClientConfig, CredentialsFrom, KinesisError};

/// What sessions of roles are called, and what AWS is told that calls it.
const NAME: &str = "thalweg";
/// When connecting is given up, unless the whole call is earlier.
const CONNECT_LIMIT: Duration = Duration::from_secs(5);

/// A client, and where the node's surroundings lead it (`elsewhere`). It is not connected yet, but files, and an instance's own
/// services, may be asked for the region.
pub(super) async fn client(
    config: &ClientConfig,
    http: SharedHttpClient,
) -> Result<(Client, Option<String>), KinesisError> {
    let files = match &config.credentials {
        // Read once: what was looked at is what is used.
        CredentialsFrom::Profile { file: Some(file), .. } => Some(profiles::read(file).await?),
        CredentialsFrom::Profile { file: None, .. }
        | CredentialsFrom::Default
        | CredentialsFrom::Environment
        | CredentialsFrom::Static(_)
        | CredentialsFrom::WebIdentity { .. } => None,
    };
    let shared = shared(config, files.as_ref(), http).await;
    if shared.region().is_none() {
        let reason = "no region is known: give one, or the stream's ARN, or set AWS_REGION or the profile's region";
        return Err(KinesisError::Config { reason: reason.to_owned() });
    }
    let limit = Duration::from_millis(config.timeout_ms);
    let timeouts = TimeoutConfig::builder().connect_timeout(CONNECT_LIMIT.min(limit)).operation_timeout(limit).build();
    let mut own = aws_sdk_kinesis::config::Builder::from(&shared)
        // The connector itself tries again, and shows that it does.
        .retry_config(RetryConfig::disabled())
        .timeout_config(timeouts)
        // A subscription without records is no stalled stream; everything else has its time limit.
        .stalled_stream_protection(StalledStreamProtectionConfig::disabled());
    own.set_credentials_provider(credentials(config, files.as_ref(), &shared).await);
    let led_to = match &config.endpoint {
        Some(endpoint) => {
            own = own.endpoint_url(endpoint);
            None
        }
        None => elsewhere::of(&shared),
    };
    Ok((Client::from_conf(own.build()), led_to))
}

/// What all services of AWS have in common.
async fn shared(config: &ClientConfig, files: Option<&EnvConfigFiles>, http: SharedHttpClient) -> SdkConfig {
    let mut loader = aws_config::defaults(BehaviorVersion::latest()).http_client(http);
    if let Ok(name) = AppName::new(NAME) {
        loader = loader.app_name(name);
    }
    if let Some(region) = config.region.as_deref().or_else(|| config.stream.region()) {
        loader = loader.region(Region::new(region.to_owned()));
    }
    if let CredentialsFrom::Profile { name: Some(name), .. } = &config.credentials {
        loader = loader.profile_name(name);
    }
    if let Some(files) = files {
        loader = loader.profile_files(files.clone());
    }
    loader.load().await
}

async fn credentials(
    config: &ClientConfig,
    files: Option<&EnvConfigFiles>,
    shared: &SdkConfig,
) -> Option<SharedCredentialsProvider> {
    let own = match &config.credentials {
        CredentialsFrom::Default => shared.credentials_provider(),
        CredentialsFrom::Environment => {
            Some(SharedCredentialsProvider::new(EnvironmentVariableCredentialsProvider::new()))
        }
        CredentialsFrom::Static(keys) => Some(SharedCredentialsProvider::new(Credentials::new(
            &keys.access_key_id,
            &keys.secret_access_key,
            keys.session_token.clone(),
            None,
            NAME,
        ))),
        CredentialsFrom::Profile { name, file: _ } => {
            let mut profile = ProfileFileCredentialsProvider::builder().configure(&provider_config(shared));
            if let Some(name) = name {
                profile = profile.profile_name(name);
            }
            if let Some(files) = files {
                profile = profile.profile_files(files.clone());
            }
            Some(SharedCredentialsProvider::new(profile.build()))
        }
        CredentialsFrom::WebIdentity { token_file, role_arn, session_name } => {
            let given = StaticConfiguration {
                web_identity_token_file: token_file.clone(),
                role_arn: role_arn.clone(),
                session_name: session_name.clone().unwrap_or_else(|| NAME.to_owned()),
            };
            let builder = WebIdentityTokenCredentialsProvider::builder().configure(&provider_config(shared));
            Some(SharedCredentialsProvider::new(builder.static_configuration(given).build()))
        }
    };
    match (own, &config.role) {
        (Some(own), Some(role)) => Some(assume(role, own, shared).await),
        (own, _) => own,
    }
}

async fn assume(role: &AssumedRole, own: SharedCredentialsProvider, shared: &SdkConfig) -> SharedCredentialsProvider {
    let mut of_sts = shared.clone().into_builder();
    if let Some(endpoint) = &role.sts_endpoint {
        of_sts = of_sts.endpoint_url(endpoint);
    }
    let mut provider = AssumeRoleProvider::builder(&role.arn)
        .configure(&of_sts.build())
        .session_name(role.session_name.as_deref().unwrap_or(NAME));
    if let Some(id) = &role.external_id {
        provider = provider.external_id(id);
    }
    SharedCredentialsProvider::new(provider.build_from_provider(own).await)
}

fn provider_config(shared: &SdkConfig) -> ProviderConfig {
    let mut config = ProviderConfig::without_region().with_region(shared.region().cloned());
    if let Some(http) = shared.http_client() {
        config = config.with_http_client(http);
    }
    config
}
