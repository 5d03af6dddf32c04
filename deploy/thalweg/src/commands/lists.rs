//! `thalweg jobs`, `nodes` and `cluster`.

use anyhow::{Context, Result};
use serde::Serialize;
use thalweg_client::{Client, MemberOverview};
use thalweg_types::{
    ClusterId, MemberId, Term,
    job::JobOverview,
    node::{NodeRegistration, NodeState},
};

use super::Remote;
use crate::{
    args::{ClusterArgs, MemberCommand, MembersArgs, OutputFormat},
    output::print_list,
};

/// The heads of `job_cells`, for a job in one line.
pub(super) const JOB_HEAD: [&str; 6] = ["job", "name", "status", "attempt", "parallelism", "failures"];

pub(super) fn job_cells(job: &JobOverview) -> Vec<String> {
    vec![
        job.job.to_string(),
        job.name.clone(),
        job.status.to_string(),
        job.attempt.0.to_string(),
        job.parallelism.to_string(),
        job.failures.to_string(),
    ]
}

pub(super) async fn jobs(args: &ClusterArgs, format: OutputFormat, remote: &Remote) -> Result<()> {
    let (client, _surroundings) = remote.connect(args).await?;
    print_jobs(&client.jobs().await?, format)
}

pub(super) fn print_jobs(jobs: &[JobOverview], format: OutputFormat) -> Result<()> {
    let head = [&JOB_HEAD[..], &["last failure"]].concat();
    print_list(format, &head, jobs, |job| {
        let failure = job.failure.as_ref().map(|failure| first_line(&failure.message)).unwrap_or_default();
        let mut cells = job_cells(job);
        cells.push(failure.to_owned());
        cells
    })
}

#[derive(Serialize)]
struct NodeLine {
    #[serde(flatten)]
    registration: NodeRegistration,
    state: NodeState,
    slots_used: u32,
}

pub(super) async fn nodes(args: &ClusterArgs, format: OutputFormat, remote: &Remote) -> Result<()> {
    let (client, _surroundings) = remote.connect(args).await?;
    let nodes = client.nodes().await?.into_iter();
    let lines: Vec<NodeLine> = nodes
        .map(|node| NodeLine { registration: node.registration, state: node.state, slots_used: node.slots_used })
        .collect();
    let head = ["node", "state", "slots", "used", "address", "http", "zone", "version"];
    print_list(format, &head, &lines, |line| {
        let registration = &line.registration;
        vec![
            registration.node.to_string(),
            line.state.word().to_owned(),
            registration.slots.to_string(),
            line.slots_used.to_string(),
            registration.address.clone(),
            registration.http_address.clone(),
            registration.zone.clone(),
            registration.version.clone(),
        ]
    })
}

#[derive(Serialize)]
struct MemberLine {
    cluster: ClusterId,
    term: Term,
    version: String,
    member: MemberId,
    address: String,
    role: &'static str,
    heard_ms: Option<u64>,
}

pub(super) async fn cluster(args: MembersArgs, format: OutputFormat, remote: &Remote) -> Result<()> {
    let (client, _surroundings) = remote.connect(&ClusterArgs { coordinator: args.coordinator }).await?;
    match args.change {
        None => return members(&client, format).await,
        Some(MemberCommand::Add { member: (member, address) }) => {
            client.add_member(MemberId(member), &address).await?;
        }
        Some(MemberCommand::Remove { member }) => client.remove_member(MemberId(member)).await?,
    }
    members(&client, format).await.context("the change is made, but the members could not be shown")
}

async fn members(client: &Client, format: OutputFormat) -> Result<()> {
    let overview = client.cluster().await?;
    let role_of = |member: &MemberOverview| match (overview.leader == Some(member.member), member.voter) {
        (true, _) => "leader",
        (false, true) => "follower",
        (false, false) => "learner",
    };
    let line = |member: &MemberOverview| MemberLine {
        cluster: overview.cluster.clone(),
        term: overview.term,
        version: overview.version.clone(),
        member: member.member,
        address: member.address.clone(),
        role: role_of(member),
        heard_ms: member.heard.map(|heard| u64::try_from(heard.as_millis()).unwrap_or(u64::MAX)),
    };
    let lines: Vec<MemberLine> = overview.members.iter().map(line).collect();
    let head = ["member", "address", "role", "last heard", "term", "cluster", "version"];
    print_list(format, &head, &lines, |line| {
        vec![
            line.member.to_string(),
            line.address.clone(),
            line.role.to_owned(),
            heard_text(line.heard_ms),
            line.term.0.to_string(),
            line.cluster.to_string(),
            line.version.clone(),
        ]
    })
}

/// When the leader, or whichever member answers, last heard from a member. Healthy members are heard several times a
/// second.
fn heard_text(heard_ms: Option<u64>) -> String {
    match heard_ms {
        None => "never".to_owned(),
        Some(..2_000) => "now".to_owned(),
        Some(ms @ ..120_000) => format!("{} s ago", ms / 1000),
        Some(ms @ ..7_200_000) => format!("{} min ago", ms / 60_000),
        Some(ms) => format!("{} h ago", ms / 3_600_000),
    }
}

fn first_line(text: &str) -> &str {
    text.lines().next().unwrap_or_default()
}
