//! Where the surroundings of a node lead its clients, if no table says where: by AWS's variables, and by profiles.

use aws_config::SdkConfig;
use aws_runtime::env_config::EnvConfigValue;
use aws_types::service_config::ServiceConfigKey;

const OF_ALL: &str = "AWS_ENDPOINT_URL";
const OF_KINESIS: &str = "AWS_ENDPOINT_URL_KINESIS";

/// The URL that is asked instead of AWS's, with what says so; `None`: AWS's own. The SDK's own clients find it so, too.
pub(super) fn of(shared: &SdkConfig) -> Option<String> {
    let key = ServiceConfigKey::builder().service_id("Kinesis").env(OF_ALL).profile("endpoint_url").build().ok()?;
    let of_kinesis = shared.service_config().and_then(|settings| settings.load_config(key));
    let url = of_kinesis.or_else(|| shared.endpoint_url().map(str::to_owned))?;
    let source = [OF_KINESIS, OF_ALL].into_iter().find(|variable| is_set(variable));
    Some(format!("{url} ({})", source.unwrap_or("endpoint_url of the node's profile")))
}

/// Whether a variable is set, as the SDK sees it.
fn is_set(variable: &'static str) -> bool {
    EnvConfigValue::new().env(variable).load(&Default::default(), None).is_some()
}
