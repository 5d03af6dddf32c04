//! A simulated cluster that runs one job while faults happen at chosen moments of virtual time.

use std::{
    cell::RefCell,
    collections::{BTreeMap, VecDeque},
    rc::Rc,
    sync::Arc,
    time::Duration,
};

use anyhow::{Context, Result, anyhow};
use arrow::array::RecordBatch;
use thalweg_client::{Client, ClientConfig, SubmitOptions};
use thalweg_consensus::store::MemoryStore;
use thalweg_types::{job::JobOverview, seam::Seams};

use super::{SimulatedNetwork, processes, seams_for};

/// Something that goes wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// A host dies and is started again after a while; its disk survives.
    Crash {
        /// `coordinator-N` or `node-N`.
        host: String,
        /// How long it stays down.
        down: Duration,
    },
    /// Whichever coordinator leads dies, and is started again after a while.
    CrashLeader {
        /// How long it stays down.
        down: Duration,
    },
}

/// What a run is made of.
#[derive(Debug, Clone)]
pub struct Simulation {
    /// Of all randomness, the network's delays included.
    pub seed: u64,
    /// Members of the Raft group.
    pub coordinators: u32,
    /// Worker nodes, of two slots each.
    pub nodes: u32,
    /// The job's script; the rows of its query, where it has one, are what a run gives.
    pub sql: String,
    /// Slices of the job.
    pub parallelism: u32,
    /// Faults, each so long after the job was submitted.
    pub faults: Vec<(Duration, Fault)>,
}

/// What a run gave.
#[derive(Debug)]
pub struct Outcome {
    /// The rows of the job's query, in the order of their arrival; none where it only inserts.
    pub rows: Vec<RecordBatch>,
    /// The job at its end.
    pub job: JobOverview,
}

/// What the client has seen so far; read by the loop that steps the simulation.
#[derive(Debug, Default)]
struct Progress {
    submitted_at: Option<Duration>,
    leader: Option<u64>,
    outcome: Option<Result<Outcome>>,
}

/// No run needs more virtual time: one that does has lost its way.
const DURATION_MAX: Duration = Duration::from_secs(300);

impl Simulation {
    /// Runs the job to its end.
    ///
    /// # Errors
    /// When the job does not finish within five minutes of virtual time, or a call fails for good.
    pub fn run(&self) -> Result<Outcome> {
        let mut sim = turmoil::Builder::new()
            .rng_seed(self.seed)
            .simulation_duration(DURATION_MAX)
            .tick_duration(Duration::from_millis(1))
            .min_message_latency(Duration::from_millis(1))
            .max_message_latency(Duration::from_millis(5))
            .tcp_capacity(4096)
            .build();
        let names: Vec<String> = (1..=self.coordinators).map(processes::coordinator_name).collect();
        for member in 1..=self.coordinators {
            // The store outlives the host's process: it is the disk.
            let (disk, count, seed) = (Arc::new(MemoryStore::new()), self.coordinators, self.seed);
            let host = move || processes::coordinator(member, count, disk.clone(), seed);
            sim.host(processes::coordinator_name(member), host);
        }
        for node in 1..=self.nodes {
            let (coordinators, seed) = (addresses(&names), self.seed);
            sim.host(processes::node_name(node), move || processes::node(node, coordinators.clone(), seed));
        }
        let progress = Rc::new(RefCell::new(Progress::default()));
        sim.client("client", client(self.clone(), addresses(&names), progress.clone()));
        self.step_to_the_end(&mut sim, &progress)?;
        let outcome = progress.borrow_mut().outcome.take();
        outcome.unwrap_or_else(|| Err(anyhow!("the simulation ended before the client")))
    }

    fn step_to_the_end(&self, sim: &mut turmoil::Sim<'_>, progress: &Rc<RefCell<Progress>>) -> Result<()> {
        let mut due: VecDeque<(Duration, Fault)> = self.faults.clone().into();
        let mut down: BTreeMap<Duration, String> = BTreeMap::new();
        loop {
            let now = sim.elapsed();
            let (submitted_at, leader) = (progress.borrow().submitted_at, progress.borrow().leader);
            let is_due = |after: &Duration| submitted_at.is_some_and(|submitted| now >= submitted + *after);
            while let Some((_, fault)) = due.pop_front_if(|(after, _)| is_due(after)) {
                let (host, lasts) = match fault {
                    Fault::Crash { host, down } => (host, down),
                    Fault::CrashLeader { down } => (format!("coordinator-{}", leader.unwrap_or(1)), down),
                };
                sim.crash(host.as_str());
                down.insert(now + lasts, host);
            }
            while let Some(entry) = down.first_entry().filter(|entry| *entry.key() <= now) {
                sim.bounce(entry.remove().as_str());
            }
            if sim.step().map_err(|error| anyhow!("{error}"))? {
                return Ok(());
            }
        }
    }
}

fn addresses(names: &[String]) -> Vec<String> {
    names.iter().map(|name| processes::address(name)).collect()
}

/// Submits the job and takes its rows to the end.
async fn client(
    simulation: Simulation,
    coordinators: Vec<String>,
    progress: Rc<RefCell<Progress>>,
) -> Result<(), Box<dyn std::error::Error>> {
    let seams = seams_for("client", simulation.seed);
    let outcome = follow(&simulation, coordinators, &seams, &progress).await;
    progress.borrow_mut().outcome = Some(outcome);
    Ok(())
}

async fn follow(
    simulation: &Simulation,
    coordinators: Vec<String>,
    seams: &Seams,
    progress: &Rc<RefCell<Progress>>,
) -> Result<Outcome> {
    let config = ClientConfig { coordinators, ..ClientConfig::default() };
    let client = Client::connect(config, Arc::new(SimulatedNetwork), seams.entropy.clone()).await?;
    wait_for_nodes(&client, simulation.nodes).await?;
    let options = SubmitOptions {
        sql: simulation.sql.clone(),
        parallelism: Some(simulation.parallelism),
        ..SubmitOptions::default()
    };
    let submitted = client.submit(options).await?;
    {
        let leader = client.cluster().await?.leader.map(|member| member.0);
        let mut progress = progress.borrow_mut();
        progress.submitted_at = Some(turmoil::sim_elapsed().context("this runs in a simulation")?);
        progress.leader = leader;
    }
    let mut rows = Vec::new();
    for query in &submitted.queries {
        let mut pull = client.fetch_rows(submitted.job, query.query);
        while let Some(batch) = pull.next().await? {
            rows.push(batch);
        }
    }
    let job = client.wait(submitted.job).await?;
    Ok(Outcome { rows, job })
}

async fn wait_for_nodes(client: &Client, wanted: u32) -> Result<()> {
    while client.nodes().await?.len() < wanted as usize {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Ok(())
}
