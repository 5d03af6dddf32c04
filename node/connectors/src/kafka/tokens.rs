//! Clients that show who they are by tokens.
//!
//! | `'properties.sasl.mechanism'` | tokens |
//! |---|---|
//! | `OAUTHBEARER` | what `'properties.sasl.oauthbearer.token'` says (`bearer.rs`) |
//! | `AWS_MSK_IAM`, as Java's clients say it | Amazon MSK's, whose brokers know IAM's identities: this node signs them by its own AWS credentials. The region is the one in the names of MSK's brokers, or `'properties.aws.region'` |
//!
//! To librdkafka both are OAUTHBEARER.

use std::{collections::BTreeMap, sync::Arc};

use thalweg_kafka::{
    Admin, ClientConfig, Consumer, Isolation, Kafka, KafkaError, Producer, TransactionalProducer, Transactions,
    msk::MskTokens,
};
use thalweg_types::seam::Seams;

use super::{
    bearer::{Given, GivenToken},
    options::{TOKEN, TOKEN_SECRET},
};
use crate::Secrets;

const MECHANISM: &str = "sasl.mechanism";
const PROTOCOL: &str = "security.protocol";
const REGION: &str = "aws.region";
const IAM: &str = "AWS_MSK_IAM";

const BEARER: &str = "OAUTHBEARER";

/// Opens clients, those that need them with tokens.
#[derive(Debug)]
pub(super) struct WithTokens<K> {
    pub(super) clients: K,
    pub(super) seams: Seams,
    /// What the process's environment says of AWS's credentials.
    pub(super) environment: BTreeMap<String, String>,
    pub(super) secrets: Arc<dyn Secrets>,
}

impl<K> WithTokens<K> {
    /// A client's configuration as librdkafka takes it.
    fn config(&self, given: &ClientConfig) -> Result<ClientConfig, KafkaError> {
        let mut config = given.clone();
        let region = config.properties.remove(REGION);
        let (token, secret) = (config.properties.remove(TOKEN), config.properties.remove(TOKEN_SECRET));
        if config.properties.get(MECHANISM).is_some_and(|mechanism| mechanism == BEARER) {
            let given = match (token, secret) {
                (_, Some(name)) => Given::Secret { name, secrets: self.secrets.clone() },
                (Some(token), None) => Given::Written(token),
                (None, None) => return Err(refused(format!("'{MECHANISM}' = '{BEARER}' needs '{TOKEN}'"))),
            };
            config.token = Some(Arc::new(GivenToken::new(given, &self.seams)));
            return Ok(config);
        }
        if config.properties.get(MECHANISM).is_none_or(|mechanism| mechanism != IAM) {
            return match region {
                None => Ok(config),
                Some(_) => Err(refused(format!("'{REGION}' is for '{MECHANISM}' = '{IAM}'"))),
            };
        }
        let servers = config.properties.get("bootstrap.servers").map_or("", String::as_str);
        let region = region.or_else(|| region_of(servers)).ok_or_else(|| {
            refused(format!("'{MECHANISM}' = '{IAM}' needs '{REGION}', since no broker's name in '{servers}' says it"))
        })?;
        config.token = Some(Arc::new(MskTokens::new(&region, self.environment.clone(), &self.seams)?));
        config.properties.insert(MECHANISM.to_owned(), BEARER.to_owned());
        config.properties.entry(PROTOCOL.to_owned()).or_insert_with(|| "SASL_SSL".to_owned());
        Ok(config)
    }
}

/// `b-1.name.x.c2.kafka.eu-central-1.amazonaws.com:9098`, `boot-x.c2.kafka-serverless.eu-central-1.amazonaws.com:9098`
fn region_of(servers: &str) -> Option<String> {
    let host = servers.split(',').next()?.trim().split(':').next()?;
    let names: Vec<&str> = host.split('.').collect();
    let amazon = names.iter().position(|name| *name == "amazonaws")?;
    let [.., service, region] = names.get(..amazon)? else { return None };
    service.starts_with("kafka").then(|| (*region).to_owned())
}

fn refused(reason: String) -> KafkaError {
    KafkaError::Config { reason }
}

impl<K: Kafka> Kafka for WithTokens<K> {
    fn admin(&self, config: &ClientConfig) -> Result<Arc<dyn Admin>, KafkaError> {
        self.clients.admin(&self.config(config)?)
    }

    fn consumer(&self, config: &ClientConfig, isolation: Isolation) -> Result<Arc<dyn Consumer>, KafkaError> {
        self.clients.consumer(&self.config(config)?, isolation)
    }

    fn producer(&self, config: &ClientConfig) -> Result<Box<dyn Producer>, KafkaError> {
        self.clients.producer(&self.config(config)?)
    }

    fn transactional(
        &self,
        config: &ClientConfig,
        transactions: &Transactions,
    ) -> Result<Box<dyn TransactionalProducer>, KafkaError> {
        self.clients.transactional(&self.config(config)?, transactions)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::context;

    fn config(properties: &[(&str, &str)]) -> Result<ClientConfig, String> {
        let properties = properties.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        let given = ClientConfig { properties, queue_bytes: 1, token: None };
        let secrets = Arc::new(crate::NoSecrets);
        let clients = WithTokens { clients: (), seams: context().seams, environment: BTreeMap::new(), secrets };
        clients.config(&given).map_err(|error| error.to_string())
    }

    #[tokio::test]
    async fn an_identity_of_iam_becomes_tokens() {
        let servers = ("bootstrap.servers", "b-1.x.c2.kafka.eu-central-1.amazonaws.com:9098,b-2.x:9098");
        let made = config(&[servers, (MECHANISM, IAM)]).expect("it is sound");
        assert!(made.token.is_some());
        assert_eq!(made.properties[MECHANISM], "OAUTHBEARER");
        assert_eq!(made.properties[PROTOCOL], "SASL_SSL");
        let made = config(&[("bootstrap.servers", "proxy:1"), (MECHANISM, IAM), (REGION, "eu-west-1")]);
        assert!(made.is_ok_and(|made| made.token.is_some() && !made.properties.contains_key(REGION)));
        let unknown = config(&[("bootstrap.servers", "proxy:1"), (MECHANISM, IAM)]).expect_err("no region");
        assert!(unknown.contains("needs 'aws.region'"), "{unknown}");
        assert!(config(&[servers, (MECHANISM, IAM), (REGION, "../x")]).is_err());
    }

    #[tokio::test]
    async fn a_token_that_is_given_is_taken_away_from_the_properties() {
        let bearer = [("bootstrap.servers", "a:1"), (MECHANISM, BEARER), (PROTOCOL, "SASL_SSL")];
        for given in [&[(TOKEN, "x")][..], &[(TOKEN, "x"), (TOKEN_SECRET, "name")]] {
            let made = config(&[&bearer[..], given].concat()).expect("it is sound");
            assert!(made.token.is_some() && made.properties.len() == bearer.len(), "{made:?}");
        }
        let none = config(&bearer).expect_err("there is no token");
        assert!(none.contains("needs 'sasl.oauthbearer.token'"), "{none}");
    }

    #[tokio::test]
    async fn all_other_clients_stay_as_they_are() {
        let given = [("bootstrap.servers", "a:1"), (MECHANISM, "SCRAM-SHA-512"), (PROTOCOL, "SASL_PLAINTEXT")];
        let made = config(&given).expect("it is sound");
        assert!(made.token.is_none() && made.properties[PROTOCOL] == "SASL_PLAINTEXT");
        assert!(
            config(&[("bootstrap.servers", "a:1"), (REGION, "x")]).expect_err("for nothing").contains("AWS_MSK_IAM")
        );
    }

    #[test]
    fn regions_are_in_the_names_of_brokers() {
        let region = |servers| region_of(servers);
        assert_eq!(region("boot-x.c2.kafka-serverless.us-east-1.amazonaws.com:9098").as_deref(), Some("us-east-1"));
        assert_eq!(region("b-1.x.kafka.cn-north-1.amazonaws.com.cn:9098").as_deref(), Some("cn-north-1"));
        for other in ["", "a:1", "s3.eu-central-1.amazonaws.com", "amazonaws.com"] {
            assert_eq!(region(other), None, "{other}");
        }
    }
}
