//! Checks the configuration once, and turns it into typed values for the components.
//!
//! `layers` decides where a value comes from. An error names the key in the file, the flag and the variable.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use thalweg_connectors::AllowedPaths;
use thalweg_consensus::store::RedbStore;
use thalweg_coordinator::CoordinatorConfig;
use thalweg_node::NodeConfig;
use thalweg_proto::network::ConnectionLimits;
use thalweg_types::{address, settings::parse_duration};
use thiserror::Error;

use crate::{
    args::{ClusterArgs, CoordinatorArgs, DevArgs, NodeArgs},
    endpoint, file_limit, memory_limit,
    tcp::is_every_interface,
};

/// The default address of a coordinator.
pub const COORDINATOR_ADDRESS: &str = "127.0.0.1:7070";
/// The default address at which `dev` takes records over HTTP.
const DEV_HTTP_ADDRESS: &str = "127.0.0.1:7080";
/// The default interval of a cluster in one process. It is short because state is small there and users watch the
/// output.
pub const EMBEDDED_CHECKPOINT_INTERVAL: Duration = Duration::from_secs(1);

/// How many listeners share a process's open files. A coordinator's are those for all and for health, and it may have one for
/// clients alone.
const COORDINATOR_LISTENERS: u32 = 2;
/// The listeners of a node: gRPC, HTTP and health.
const NODE_LISTENERS: u32 = 3;
/// The listeners of `dev` beside those of its nodes: gRPC, HTTP and health.
const DEV_OTHER_LISTENERS: u32 = 3;

/// An error in the configuration.
#[derive(Debug, Error)]
pub enum ConfigError {
    /// A value is wrong or missing.
    #[error("configuration key {section}.{key} (--{flag}, {variable}): {reason}")]
    Value {
        /// The section of the file.
        section: &'static str,
        key: &'static str,
        flag: String,
        variable: String,
        reason: String,
    },
}

fn wrong(section: &'static str, key: &'static str, reason: impl Into<String>) -> ConfigError {
    let variable = format!("THALWEG_{}", key.to_uppercase());
    ConfigError::Value { section, key, flag: key.replace('_', "-"), variable, reason: reason.into() }
}

/// The coordinators that a client connects to.
///
/// # Errors
/// If an address is not `host:port`.
pub fn coordinators(args: &ClusterArgs) -> Result<Vec<String>, ConfigError> {
    addresses_of("client", &args.coordinator)
}

fn addresses_of(section: &'static str, given: &[String]) -> Result<Vec<String>, ConfigError> {
    let default = [COORDINATOR_ADDRESS.to_owned()];
    let given = if given.is_empty() { &default } else { given };
    given.iter().map(|address| host_and_port(section, "coordinator", address.clone())).collect()
}

/// A new leader needs the checkpoints that the previous one wrote.
const SHARED_CHECKPOINTS: &str = "needed for a cluster of several members: a place for checkpoints that each of them and all nodes \
                                  reach; or --checkpoint-interval off";

/// A coordinator's configuration.
#[derive(Debug, Clone, PartialEq)]
pub struct Coordinator {
    /// Its member number, from 1.
    pub member: u64,
    /// The address it listens at.
    pub listen: String,
    /// The address for others; `None` if it is `listen`.
    pub advertise: Option<String>,
    /// The address at which it listens for clients alone.
    pub client_listen: Option<String>,
    /// The address of the health endpoints.
    pub health: Option<String>,
    /// The directory of its log.
    pub data_dir: PathBuf,
    /// The first members of the cluster; empty for a cluster of one, or with `join`.
    pub members: Vec<(u64, String)>,
    /// The cluster's name, if given.
    pub cluster: Option<String>,
    /// Whether it waits to be added to an existing cluster.
    pub join: bool,
    /// Whether the cluster starts even if some of the first members do not answer.
    pub bootstrap: bool,
    /// How long a node is trusted without a heartbeat.
    pub lease: Duration,
    /// How long a job waits for all the slots it asks for.
    pub slot_wait: Duration,
    /// How long a deployment may take.
    pub deploy_timeout: Duration,
    /// The URL or absolute path of the checkpoints.
    pub checkpoints: String,
    /// Whether a marker in that place names this cluster as the owner.
    pub marks_checkpoints: bool,
    /// The default checkpoint interval of jobs; zero for none.
    pub checkpoint_interval: Duration,
    /// How many ended jobs are kept.
    pub ended_jobs_max: usize,
    /// The length of a Raft tick.
    pub raft_tick: Duration,
    /// Ticks without a heartbeat after which a new leader is elected.
    pub election_ticks: usize,
    /// Ticks between a leader's heartbeats.
    pub heartbeat_ticks: usize,
    /// Limits of the connections of each listener.
    pub limits: ConnectionLimits,
}

impl Coordinator {
    /// Checks the arguments and fills in defaults.
    ///
    /// # Errors
    /// Names the first key whose value is wrong or missing.
    pub fn of(args: CoordinatorArgs, host: Option<&str>) -> Result<Self, ConfigError> {
        const SECTION: &str = "coordinator";
        // A coordinator that is alone takes no number from its host's name, which may end in any number.
        let host = host.filter(|_| args.join || !args.members.is_empty());
        let member = args.member.or_else(|| host.and_then(ordinal_of)).unwrap_or(1);
        if member == 0 {
            return Err(wrong(SECTION, "member", "members are counted from 1"));
        }
        let members = args.members.iter().map(|text| parse_member(text)).collect::<Result<Vec<_>, _>>()?;
        if !members.is_empty() && members.iter().all(|(id, _)| *id != member) {
            let reason = format!("member {member}, which this process is, is not among them");
            return Err(wrong(SECTION, "members", reason));
        }
        if args.bootstrap && members.is_empty() {
            return Err(wrong(
                SECTION,
                "members",
                "needed with --bootstrap: the members that the new cluster begins with",
            ));
        }
        if members.len() > 1 && args.cluster.is_none() {
            return Err(wrong(
                SECTION,
                "cluster",
                "needed for a cluster of several members: any name, the same on each",
            ));
        }
        let Some(data_dir) = args.data_dir else {
            return Err(wrong(SECTION, "data_dir", "needed: the directory in which the coordinator keeps its log"));
        };
        let listen = args.listen.unwrap_or_else(|| COORDINATOR_ADDRESS.to_owned());
        let own = members.iter().find(|(id, _)| *id == member).map(|(_, address)| address.clone());
        let listen = host_and_port(SECTION, "listen", listen)?;
        let advertise = optional_address(SECTION, "advertise", args.advertise)?.or(own);
        if is_every_interface(advertise.as_ref().unwrap_or(&listen)) {
            let reason = format!("the listener is bound to every interface ({listen}): say how others reach it");
            return Err(wrong(SECTION, "advertise", reason));
        }
        let defaults = CoordinatorConfig::default();
        let or_default = |given: Option<Duration>, millis| given.unwrap_or(Duration::from_millis(millis));
        let checkpoint_interval = or_default(args.checkpoint_interval, defaults.checkpoint_interval_ms);
        if (members.len() > 1 || args.join) && args.checkpoints.is_none() && !checkpoint_interval.is_zero() {
            return Err(wrong(SECTION, "checkpoints", SHARED_CHECKPOINTS));
        }
        let listeners = COORDINATOR_LISTENERS + u32::from(args.client_listen.is_some());
        Ok(Self {
            member,
            listen,
            advertise,
            client_listen: optional_address(SECTION, "client_listen", args.client_listen)?,
            health: optional_address(SECTION, "health", args.health)?,
            marks_checkpoints: args.checkpoints.is_some() || !checkpoint_interval.is_zero(),
            checkpoints: match args.checkpoints {
                Some(url) if url.contains("://") => url,
                Some(folder) => absolute(SECTION, "checkpoints", Path::new(&folder))?,
                None => checkpoints_in(SECTION, &data_dir)?,
            },
            checkpoint_interval,
            data_dir,
            members,
            cluster: args.cluster,
            join: args.join,
            bootstrap: args.bootstrap,
            lease: or_default(args.lease.map(|lease| checked_lease(&lease)).transpose()?, defaults.lease_ms),
            slot_wait: or_default(args.slot_wait, defaults.slot_wait_ms),
            deploy_timeout: or_default(args.deploy_timeout, defaults.deploy_timeout_ms),
            ended_jobs_max: args.ended_jobs_max.unwrap_or(defaults.ended_jobs_max),
            raft_tick: or_default(args.raft_tick, defaults.raft_tick_ms),
            election_ticks: args.election_ticks.unwrap_or(defaults.election_ticks),
            heartbeat_ticks: args.heartbeat_ticks.unwrap_or(defaults.heartbeat_ticks),
            limits: file_limit::connections(args.max_connections, listeners),
        })
    }
}

/// A node's configuration.
#[derive(Debug, Clone)]
pub struct Node {
    /// Its number; `None` if it is drawn.
    pub node: Option<u64>,
    /// The addresses of coordinators.
    pub coordinators: Vec<String>,
    /// The address it listens at.
    pub listen: String,
    /// The address for others; `None` if it is `listen`.
    pub advertise: Option<String>,
    /// The address at which it takes records over HTTP.
    pub http: Option<String>,
    /// That address for clients; `None` for the host that other nodes dial.
    pub http_advertise: Option<String>,
    /// The address of the health endpoints.
    pub health: Option<String>,
    /// The slots it offers; `None` for twice its cores.
    pub slots: Option<u32>,
    /// Its failure zone.
    pub zone: String,
    /// Its memory budget, in bytes.
    pub memory_bytes: u64,
    /// How long its attempts go on without contact to a leader.
    pub orphan_timeout: Duration,
    /// How long a cancelled attempt may take to end.
    pub stop_timeout: Duration,
    /// How long it waits for its work to be moved when it leaves.
    pub leave_grace: Duration,
    /// Limits of the connections of each listener.
    pub limits: ConnectionLimits,
    /// The paths that tables may name.
    pub allowed: AllowedPaths,
    /// The directory of secrets.
    pub secrets: Option<PathBuf>,
}

impl Node {
    /// Checks the arguments and fills in defaults.
    ///
    /// # Errors
    /// Names the first key whose value is wrong.
    pub fn of(args: NodeArgs, host: Option<&str>) -> Result<Self, ConfigError> {
        const SECTION: &str = "node";
        let node = args.node.or_else(|| host.and_then(ordinal_of));
        if node == Some(0) {
            return Err(wrong(SECTION, "node", "nodes are counted from 1"));
        }
        let defaults = NodeConfig::default();
        let or_default = |given: Option<Duration>, millis| given.unwrap_or(Duration::from_millis(millis));
        let listen = host_and_port(SECTION, "listen", args.listen.unwrap_or_else(|| "127.0.0.1:0".to_owned()))?;
        let http = optional_address(SECTION, "http", args.http)?;
        let listeners: Vec<&str> = [Some(&listen), http.as_ref()].into_iter().flatten().map(String::as_str).collect();
        let allowed = allowed_paths(SECTION, &args.allow_path, &listeners)?;
        Ok(Self {
            node,
            coordinators: addresses_of(SECTION, &args.coordinator)?,
            secrets: secrets(SECTION, args.secrets, &allowed)?,
            allowed,
            listen,
            advertise: optional_address(SECTION, "advertise", args.advertise)?,
            http,
            http_advertise: args.http_advertise,
            health: optional_address(SECTION, "health", args.health)?,
            slots: checked_slots(SECTION, args.slots)?,
            zone: args.zone.unwrap_or_default(),
            memory_bytes: args.memory.map_or(Ok(defaults.memory_budget_bytes), |memory| checked_memory(&memory))?,
            orphan_timeout: or_default(args.orphan_timeout, defaults.orphan_timeout_ms),
            stop_timeout: or_default(args.stop_timeout, defaults.stop_timeout_ms),
            leave_grace: or_default(args.leave_grace, defaults.leave_grace_ms),
            limits: file_limit::connections(args.max_connections, NODE_LISTENERS),
        })
    }
}

/// The configuration of a whole cluster in one process.
#[derive(Debug, Clone)]
pub struct Dev {
    /// The address its coordinator listens at.
    pub listen: String,
    /// The address at which its first node takes records over HTTP.
    pub http: String,
    /// That address for clients; `None` if it is `http`.
    pub http_advertise: Option<String>,
    /// Where health is answered.
    pub health: Option<String>,
    /// The directory of the cluster's log and checkpoints.
    pub data_dir: PathBuf,
    /// The number of nodes.
    pub nodes: u32,
    /// Slots per node; `None` for twice the cores.
    pub slots: Option<u32>,
    /// The default checkpoint interval of jobs; zero for none.
    pub checkpoint_interval: Duration,
    /// Limits of the connections of each listener.
    pub limits: ConnectionLimits,
    /// The paths that tables may name.
    pub allowed: AllowedPaths,
    /// The directory of secrets.
    pub secrets: Option<PathBuf>,
}

impl Dev {
    /// Checks the arguments and fills in defaults.
    ///
    /// # Errors
    /// Names the first key whose value is wrong.
    pub fn of(args: DevArgs) -> Result<Self, ConfigError> {
        const SECTION: &str = "dev";
        let listen = host_and_port(SECTION, "listen", args.listen.unwrap_or_else(|| COORDINATOR_ADDRESS.to_owned()))?;
        let http = host_and_port(SECTION, "http", args.http.unwrap_or_else(|| DEV_HTTP_ADDRESS.to_owned()))?;
        let data_dir = args.data_dir.unwrap_or_else(|| PathBuf::from(".thalweg"));
        let allowed = allowed_paths(SECTION, &args.allow_path, &[&listen, &http])?;
        // Tables must not reach the log. The cluster itself refuses tables in the place for checkpoints.
        allowed.refuse(&absolute(SECTION, "data_dir", &data_dir.join(RedbStore::FILE))?);
        let nodes = args.nodes.unwrap_or(1);
        if !(1..=64).contains(&nodes) {
            return Err(wrong(SECTION, "nodes", format!("expected 1 to 64, got {nodes}")));
        }
        Ok(Self {
            listen,
            http,
            http_advertise: args.http_advertise,
            health: optional_address(SECTION, "health", args.health)?,
            data_dir,
            secrets: secrets(SECTION, args.secrets, &allowed)?,
            allowed,
            nodes,
            slots: checked_slots(SECTION, args.slots)?,
            checkpoint_interval: args.checkpoint_interval.unwrap_or(EMBEDDED_CHECKPOINT_INTERVAL),
            limits: file_limit::connections(args.max_connections, nodes + DEV_OTHER_LISTENERS),
        })
    }
}

/// The paths that tables may name: those below the given prefixes. By default, every object store, and local paths
/// below the working directory if only this machine can reach the process.
fn allowed_paths(section: &'static str, given: &[String], listeners: &[&str]) -> Result<AllowedPaths, ConfigError> {
    let is_of_this_machine = listeners.iter().all(|address| {
        let host = address::split(address).map(|(host, _)| host);
        host.is_some_and(address::is_loopback)
    });
    let working = || std::path::absolute(".").map_err(|error| wrong(section, "allow_path", error.to_string()));
    let otherwise = is_of_this_machine.then(working).transpose()?;
    let allowed = AllowedPaths::below(given.iter().map(String::as_str), otherwise);
    allowed.map_err(|error| wrong(section, "allow_path", error.to_string()))
}

/// Checks the directory of secrets, and keeps it from being used as the path of a table.
///
/// # Errors
/// If there is no such directory.
pub fn secrets(
    section: &'static str,
    given: Option<PathBuf>,
    allowed: &AllowedPaths,
) -> Result<Option<PathBuf>, ConfigError> {
    let Some(given) = given else { return Ok(None) };
    if !given.is_dir() {
        return Err(wrong(section, "secrets", format!("{} is no directory", given.display())));
    }
    let path = absolute(section, "secrets", &given)?;
    allowed.refuse(&path);
    Ok(Some(path.into()))
}

/// The absolute path of the checkpoints in a data directory: a relative one depends on the process.
///
/// # Errors
/// If the working directory, which a relative path starts from, does not exist.
pub fn checkpoints_in(section: &'static str, data_dir: &Path) -> Result<String, ConfigError> {
    absolute(section, "data_dir", &data_dir.join("checkpoints"))
}

fn absolute(section: &'static str, key: &'static str, path: &Path) -> Result<String, ConfigError> {
    let refuse = |reason| Err(wrong(section, key, reason));
    match std::path::absolute(path).map(|path| path.into_os_string().into_string()) {
        Ok(Ok(path)) => Ok(path),
        Ok(Err(path)) => refuse(format!("{} is not UTF-8", path.display())),
        Err(error) => refuse(format!("it has no absolute path: {error}")),
    }
}

fn checked_lease(text: &str) -> Result<Duration, ConfigError> {
    parse_duration(text)
        .filter(|lease| *lease >= Duration::from_millis(100))
        .ok_or_else(|| wrong("coordinator", "lease", format!("expected a duration from 100 ms, got '{text}'")))
}

fn checked_memory(text: &str) -> Result<u64, ConfigError> {
    memory_limit::budget(text).map_err(|error| wrong("node", "memory", error.to_string()))
}

fn checked_slots(section: &'static str, slots: Option<u32>) -> Result<Option<u32>, ConfigError> {
    match slots {
        Some(slots) if !(1..=4096).contains(&slots) => {
            Err(wrong(section, "slots", format!("expected 1 to 4096, got {slots}")))
        }
        slots => Ok(slots),
    }
}

fn optional_address(
    section: &'static str,
    key: &'static str,
    address: Option<String>,
) -> Result<Option<String>, ConfigError> {
    address.map(|address| host_and_port(section, key, address)).transpose()
}

fn host_and_port(section: &'static str, key: &'static str, address: String) -> Result<String, ConfigError> {
    endpoint::host_and_port(&address).ok_or_else(|| wrong(section, key, format!("expected HOST:PORT, got '{address}'")))
}

/// Parses a member as `N=HOST:PORT`.
fn parse_member(text: &str) -> Result<(u64, String), ConfigError> {
    let refuse = || wrong("coordinator", "members", format!("expected N=HOST:PORT, got '{text}'"));
    let (number, address) = endpoint::numbered(text).ok_or_else(refuse)?;
    Ok((number, host_and_port("coordinator", "members", address.to_owned())?))
}

/// The number by a host's name: `coordinator-2` is the third pod of its set, member 3.
fn ordinal_of(host: &str) -> Option<u64> {
    let (_, ordinal) = host.split('.').next()?.rsplit_once('-')?;
    ordinal.parse::<u64>().ok()?.checked_add(1)
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory, Parser};

    use super::*;
    use crate::args::{Cli, CliCommand};

    fn coordinator(flags: &[&str], host: Option<&str>) -> Result<Coordinator, ConfigError> {
        let cli = Cli::try_parse_from(["thalweg", "coordinator"].iter().chain(flags)).unwrap();
        let CliCommand::Coordinator(args) = cli.command else { panic!("another command") };
        Coordinator::of(args, host)
    }

    #[track_caller]
    fn check_refused(flags: &[&str], expected: &str) {
        let error = coordinator(flags, None).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }

    #[test]
    fn wrong_values_are_named() {
        check_refused(&[], "coordinator.data_dir (--data-dir, THALWEG_DATA_DIR)");
        check_refused(&["--data-dir", "d", "--lease", "soon"], "coordinator.lease");
        check_refused(&["--data-dir", "d", "--listen", "here"], "expected HOST:PORT, got 'here'");
        check_refused(&["--data-dir", "d", "--members", "2=a:1"], "member 1, which this process is");
        check_refused(&["--data-dir", "d", "--members", "1=a:1,2=b:1"], "coordinator.cluster");
        check_refused(&["--data-dir", "d", "--bootstrap"], "coordinator.members");
    }

    #[test]
    fn several_coordinators_must_share_the_place_for_checkpoints_or_take_none() {
        let several = ["--data-dir", "d", "--cluster", "x", "--members", "1=a:1,2=b:1"];
        let joining = ["--data-dir", "d", "--cluster", "x", "--join"];
        for flags in [&several[..], &joining[..]] {
            check_refused(flags, "coordinator.checkpoints (--checkpoints, THALWEG_CHECKPOINTS)");
            check_refused(&[flags, &["--checkpoint-interval", "1 s"]].concat(), "or --checkpoint-interval off");
            for enough in [["--checkpoint-interval", "off"], ["--checkpoints", "s3://bucket/path"]] {
                coordinator(&[flags, &enough].concat(), None).unwrap();
            }
        }
        coordinator(&["--data-dir", "d", "--cluster", "x", "--members", "1=a:1"], None).unwrap();
    }

    #[test]
    fn whoever_listens_on_every_interface_must_say_how_others_reach_it() {
        let every = ["--data-dir", "d", "--listen", "0.0.0.0:7070"];
        check_refused(&every, "coordinator.advertise (--advertise, THALWEG_ADVERTISE)");
        check_refused(&["--data-dir", "d", "--listen", "[::]:7070"], "bound to every interface ([::]:7070)");
        let config = coordinator(&[&every[..], &["--advertise", "a:1"]].concat(), None).unwrap();
        assert_eq!(config.advertise.as_deref(), Some("a:1"));
    }

    #[test]
    fn tables_use_the_working_directory_only_where_this_machine_alone_reaches_the_process() {
        let allowed = |flags: &[&str]| {
            let allowed = match Cli::try_parse_from(["thalweg"].iter().chain(flags)).unwrap().command {
                CliCommand::Node(args) => Node::of(args, None).unwrap().allowed,
                CliCommand::Dev(args) => Dev::of(args).unwrap().allowed,
                _ => panic!("another command"),
            };
            format!("{allowed:?}")
        };
        let here = format!("local: Some([{:?}])", std::path::absolute(".").unwrap());
        let node = ["node", "--coordinator", "a:1"];
        let beyond = ["--listen", "0.0.0.0:1", "--advertise", "b:1"];
        for flags in [&node[..], &[&node[..], &["--listen", "[::1]:1", "--http", "localhost:1"]].concat(), &["dev"]] {
            assert!(allowed(flags).contains(&here), "{flags:?}: {}", allowed(flags));
        }
        let http = ["dev", "--http", "0.0.0.0:1"];
        for flags in [&[&node[..], &beyond].concat(), &[&node[..], &["--http", "0.0.0.0:1"]].concat(), &http[..]] {
            assert!(allowed(flags).contains("local: Some([])"), "{flags:?}: {}", allowed(flags));
        }
        let told = allowed(&[&node[..], &beyond, &["--allow-path", "/a/,file:///b%20c"]].concat());
        assert!(told.contains("local: Some([\"/a\", \"/b c\"])"), "{told}");
    }

    #[test]
    fn checkpoints_lie_in_the_data_directory_or_where_it_is_said() {
        let place = |flags: &[&str]| coordinator(&[&["--data-dir", "/d"], flags].concat(), None).unwrap().checkpoints;
        assert_eq!(place(&[]), "/d/checkpoints");
        assert_eq!(place(&["--checkpoints", "s3://bucket/path"]), "s3://bucket/path");
        assert_eq!(place(&["--checkpoints", "/shared"]), "/shared");
        assert!(Path::new(&place(&["--checkpoints", "here"])).is_absolute());
        let marks =
            |flags: &[&str]| coordinator(&[&["--data-dir", "/d"], flags].concat(), None).unwrap().marks_checkpoints;
        assert!(marks(&[]) && marks(&["--checkpoint-interval", "off", "--checkpoints", "/shared"]));
        assert!(!marks(&["--checkpoint-interval", "off"]), "there is nothing to mark");
        let interval = coordinator(&["--data-dir", "/d", "--checkpoint-interval", "off"], None);
        assert_eq!(interval.unwrap().checkpoint_interval, Duration::ZERO);
    }

    /// The defaults in `--help` are those of the components.
    #[test]
    fn defaults_are_those_of_the_components_and_help_is_true() {
        let (theirs, ours) = (CoordinatorConfig::default(), coordinator(&["--data-dir", "d"], None).unwrap());
        let millis = |duration: Duration| u64::try_from(duration.as_millis()).unwrap();
        assert_eq!(
            [ours.lease, ours.slot_wait, ours.deploy_timeout, ours.raft_tick].map(millis),
            [theirs.lease_ms, theirs.slot_wait_ms, theirs.deploy_timeout_ms, theirs.raft_tick_ms]
        );
        let seconds = |millis: u64| format!("; {} s by default", millis / 1000);
        check_help("coordinator", "lease", &seconds(theirs.lease_ms));
        check_help("coordinator", "slot_wait", &seconds(theirs.slot_wait_ms));
        check_help("coordinator", "deploy_timeout", &seconds(theirs.deploy_timeout_ms));
        check_help("coordinator", "checkpoint_interval", &seconds(theirs.checkpoint_interval_ms));
        check_help("dev", "checkpoint_interval", &format!("; {} s by default", EMBEDDED_CHECKPOINT_INTERVAL.as_secs()));
        check_help("coordinator", "ended_jobs_max", &format!("; {} by default", theirs.ended_jobs_max));
        check_help("coordinator", "raft_tick", &format!("; {} ms by default", theirs.raft_tick_ms));
        check_help("coordinator", "election_ticks", &format!("; {} by default", theirs.election_ticks));
        check_help("coordinator", "heartbeat_ticks", &format!("; {} by default", theirs.heartbeat_ticks));
        let theirs = NodeConfig::default();
        check_help("node", "memory", &format!("; {} GiB by default", theirs.memory_budget_bytes >> 30));
        check_help("node", "orphan_timeout", &seconds(theirs.orphan_timeout_ms));
        check_help("node", "stop_timeout", &seconds(theirs.stop_timeout_ms));
        check_help("node", "leave_grace", &seconds(theirs.leave_grace_ms));
    }

    #[track_caller]
    fn check_help(command: &str, argument: &str, expected: &str) {
        let cli = Cli::command();
        let command = cli.find_subcommand(command).unwrap();
        let help = command.get_arguments().find(|found| found.get_id() == argument).unwrap().get_help().unwrap();
        assert!(help.to_string().ends_with(expected), "{argument}: {help}");
    }

    #[test]
    fn a_coordinator_may_be_named_by_its_url() {
        let args = ClusterArgs { coordinator: vec!["http://a:1/".to_owned(), "b:2".to_owned()] };
        assert_eq!(coordinators(&args).unwrap(), ["a:1", "b:2"]);
        let error = coordinators(&ClusterArgs { coordinator: vec!["a".to_owned()] }).unwrap_err().to_string();
        assert!(error.contains("client.coordinator (--coordinator, THALWEG_COORDINATOR)"), "{error}");
    }

    #[test]
    fn a_pod_knows_its_member_by_its_name() {
        let members = "1=c-0.c:1,2=c-1.c:1,3=c-2.c:1";
        let flags = ["--data-dir", "d", "--checkpoints", "/c", "--cluster", "x", "--members", members];
        let config = coordinator(&flags, Some("c-2")).unwrap();
        assert_eq!((config.member, config.advertise.as_deref()), (3, Some("c-2.c:1")));
        assert_eq!(ordinal_of("workstation"), None);
        let alone = coordinator(&["--data-dir", "d"], Some("ip-10-0-0-7")).unwrap();
        assert_eq!(alone.member, 1, "the name of a host says nothing of a coordinator alone");
    }
}
