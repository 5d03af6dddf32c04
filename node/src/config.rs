//! A node's configuration: as written, and as checked.

use std::{num::NonZeroUsize, time::Duration};

use serde::{Deserialize, Serialize};
use thalweg_proto::network::ConnectionLimits;
use thalweg_types::{NodeId, address};
use thiserror::Error;

/// The most slots of a node. A job has at most this many slices.
const SLOTS_MAX: u32 = 4096;
/// With less, not even the exchange windows of a small job fit.
const MEMORY_BUDGET_MIN: u64 = 64 << 20;

/// How a node is set up. Times are in milliseconds, sizes in bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct NodeConfig {
    /// The node's id, from 1, unique in the cluster and constant over restarts. If absent, one is drawn at random at
    /// each start.
    pub node: Option<NodeId>,
    /// Where the node listens for other nodes and coordinators, as `host:port`. With port 0 the system chooses.
    pub listen: String,
    /// How others reach that listener, as `host:port`, or as `host` with the listener's port. Empty: the bound address.
    pub advertise: String,
    /// Where the node takes records over HTTP, as `host:port`. Empty: nowhere.
    pub http_listen: String,
    /// How clients reach the HTTP listener, in the form of `advertise`.
    pub http_advertise: String,
    /// The coordinators, as `host:port`. One that runs is enough, but all should be listed.
    pub coordinators: Vec<String>,
    /// How many slices of jobs the node runs at once. 0: twice its number of cores.
    pub slots: u32,
    /// The failure zone, for spreading jobs. Empty: unknown.
    pub zone: String,
    /// The most bytes that exchange windows and state may hold. Default 2 GiB.
    pub memory_budget_bytes: u64,
    /// How long attempts run on without contact to a leader. Default 10 minutes.
    pub orphan_timeout_ms: u64,
    /// How long a cancelled attempt may take to end, before the process must end. Default 30 seconds.
    pub stop_timeout_ms: u64,
    /// How long a leaving node waits for its work to be moved. Default 30 seconds.
    pub leave_grace_ms: u64,
    /// The most connections of each of its listeners. Default 256.
    pub connections_max: usize,
}

impl Default for NodeConfig {
    fn default() -> Self {
        Self {
            node: None,
            listen: "127.0.0.1:0".to_owned(),
            advertise: String::new(),
            http_listen: String::new(),
            http_advertise: String::new(),
            coordinators: Vec::new(),
            slots: 0,
            zone: String::new(),
            memory_budget_bytes: 2 << 30,
            orphan_timeout_ms: 600_000,
            stop_timeout_ms: 30_000,
            leave_grace_ms: 30_000,
            connections_max: ConnectionLimits::default().connections_max,
        }
    }
}

/// What is wrong with a configuration.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("node configuration: {field}: {reason}")]
pub struct ConfigError {
    /// The field's name.
    pub field: &'static str,
    /// What is wrong with it.
    pub reason: String,
}

/// A checked configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Checked {
    pub(crate) node: Option<NodeId>,
    pub(crate) listen: String,
    pub(crate) advertise: String,
    pub(crate) http: Option<HttpAddresses>,
    pub(crate) coordinators: Vec<String>,
    pub(crate) slots: u32,
    pub(crate) zone: String,
    pub(crate) memory_budget_bytes: u64,
    pub(crate) orphan_timeout: Duration,
    pub(crate) stop_timeout: Duration,
    pub(crate) leave_grace: Duration,
    pub(crate) limits: ConnectionLimits,
}

/// Where HTTP is served.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct HttpAddresses {
    pub(crate) listen: String,
    pub(crate) advertise: String,
}

impl NodeConfig {
    /// Checks every field, and fills in what depends on the machine.
    pub(crate) fn check(self) -> Result<Checked, ConfigError> {
        let refuse = |field, reason: &str| Err(ConfigError { field, reason: reason.to_owned() });
        if self.node == Some(NodeId(0)) {
            return refuse("node", "ids begin at 1");
        }
        if self.slots > SLOTS_MAX {
            return refuse("slots", "at most 4096 are allowed");
        }
        if self.coordinators.is_empty() {
            return refuse("coordinators", "at least one is needed");
        }
        if self.memory_budget_bytes < MEMORY_BUDGET_MIN {
            return refuse("memory_budget_bytes", "at least 64 MiB are needed");
        }
        if self.http_listen.is_empty() && !self.http_advertise.is_empty() {
            return refuse("http_advertise", "nothing listens there: http_listen is empty");
        }
        let http = (!self.http_listen.is_empty())
            .then(|| {
                let listen = host_and_port("http_listen", self.http_listen)?;
                Ok(HttpAddresses { listen, advertise: self.http_advertise })
            })
            .transpose()?;
        let coordinators = self.coordinators.into_iter().map(|address| host_and_port("coordinators", address));
        Ok(Checked {
            node: self.node,
            listen: host_and_port("listen", self.listen)?,
            advertise: self.advertise,
            http,
            coordinators: coordinators.collect::<Result<_, _>>()?,
            slots: if self.slots == 0 { default_slots() } else { self.slots },
            zone: self.zone,
            memory_budget_bytes: self.memory_budget_bytes,
            orphan_timeout: above_zero("orphan_timeout_ms", self.orphan_timeout_ms)?,
            stop_timeout: above_zero("stop_timeout_ms", self.stop_timeout_ms)?,
            leave_grace: Duration::from_millis(self.leave_grace_ms),
            limits: ConnectionLimits::at_most(self.connections_max),
        })
    }
}

/// The address to advertise for a bound listener.
pub(crate) fn advertised(field: &'static str, advertise: &str, bound: &str) -> Result<String, ConfigError> {
    let (bound_host, bound_port) = split_port(bound);
    let bound_port = bound_port.unwrap_or_default();
    let (host, port) = match split_port(advertise) {
        ("", _) => (bound_host, bound_port),
        (host, Some("0") | None) => (host, bound_port),
        (host, Some(port)) => (host, port),
    };
    if host.is_empty() || address::is_every_interface(host) {
        let reason = format!("the listener is bound to every interface ({bound}): say how others reach it");
        return Err(ConfigError { field, reason });
    }
    host_and_port(field, format!("{host}:{port}"))
}

fn host_and_port(field: &'static str, address: String) -> Result<String, ConfigError> {
    match address::split(&address) {
        Some(_) => Ok(address),
        None => Err(ConfigError { field, reason: format!("'{address}' is not host:port") }),
    }
}

/// Splits off the port, which may be missing. A colon within brackets is part of an IPv6 address.
fn split_port(address: &str) -> (&str, Option<&str>) {
    match address.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => (host, Some(port)),
        _ => (address, None),
    }
}

fn above_zero(field: &'static str, millis: u64) -> Result<Duration, ConfigError> {
    match millis {
        0 => Err(ConfigError { field, reason: "it must be above 0".to_owned() }),
        millis => Ok(Duration::from_millis(millis)),
    }
}

/// A job takes half of the free slots by default. So the first job gets as many slices as there are cores.
fn default_slots() -> u32 {
    let cores = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
    u32::try_from(cores).map_or(SLOTS_MAX, |cores| cores.saturating_mul(2).min(SLOTS_MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sound() -> NodeConfig {
        NodeConfig { coordinators: vec!["host:7070".to_owned()], ..NodeConfig::default() }
    }

    #[track_caller]
    fn check_refused(field: &str, config: NodeConfig) {
        assert_eq!(config.check().expect_err("it is wrong").field, field);
    }

    #[test]
    fn the_defaults_need_coordinators_only() {
        let checked = sound().check().expect("it is sound");
        assert_eq!(checked.slots as usize, 2 * std::thread::available_parallelism().map_or(1, NonZeroUsize::get));
        assert_eq!(checked.orphan_timeout, Duration::from_mins(10));
        check_refused("coordinators", NodeConfig::default());
    }

    #[test]
    fn wrong_fields_are_named() {
        check_refused("node", NodeConfig { node: Some(NodeId(0)), ..sound() });
        check_refused("slots", NodeConfig { slots: 5000, ..sound() });
        check_refused("listen", NodeConfig { listen: "host".to_owned(), ..sound() });
        check_refused("listen", NodeConfig { listen: "host:99999".to_owned(), ..sound() });
        check_refused("http_listen", NodeConfig { http_listen: ":80".to_owned(), ..sound() });
        check_refused("http_advertise", NodeConfig { http_advertise: "host:80".to_owned(), ..sound() });
        check_refused("coordinators", NodeConfig { coordinators: vec!["host".to_owned()], ..sound() });
        check_refused("memory_budget_bytes", NodeConfig { memory_budget_bytes: 1, ..sound() });
        check_refused("orphan_timeout_ms", NodeConfig { orphan_timeout_ms: 0, ..sound() });
        check_refused("stop_timeout_ms", NodeConfig { stop_timeout_ms: 0, ..sound() });
    }

    #[test]
    fn unknown_fields_are_refused() {
        let error = serde_json::from_str::<NodeConfig>(r#"{"slot": 3}"#).expect_err("it is 'slots'");
        assert!(error.to_string().contains("slot"));
        assert_eq!(serde_json::from_str::<NodeConfig>(r#"{"slots": 3}"#).expect("it is known").slots, 3);
    }

    #[test]
    fn the_advertised_address_falls_back_on_the_bound_one() {
        let advertised = |advertise, bound| advertised("advertise", advertise, bound);
        assert_eq!(advertised("", "10.0.0.1:81").as_deref(), Ok("10.0.0.1:81"));
        assert_eq!(advertised("node-1", "0.0.0.0:81").as_deref(), Ok("node-1:81"));
        assert_eq!(advertised("node-1:0", "0.0.0.0:81").as_deref(), Ok("node-1:81"));
        assert_eq!(advertised("node-1:90", "0.0.0.0:81").as_deref(), Ok("node-1:90"));
        assert_eq!(advertised("[fe80::1]", "[::]:81").as_deref(), Ok("[fe80::1]:81"));
        assert!(advertised("", "0.0.0.0:81").is_err());
        assert!(advertised("", "[::]:81").is_err());
    }
}
