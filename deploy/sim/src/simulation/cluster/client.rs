//! The client of a run: submits the job, and follows it to its end.

use std::{cell::RefCell, rc::Rc, sync::Arc, time::Duration};

use anyhow::{Context, Result, ensure};
use arrow::array::RecordBatch;
use thalweg_client::{Client, ClientConfig, ClientError, SubmitOptions, SubmittedJob};
use thalweg_types::{JobId, JobStatus, job::JobOverview};

use super::{
    super::{SimulatedNetwork, kafka::Feeder, kinesis::StreamFeeder, processes::Stage},
    Arrivals, Ending, Outcome, Progress, Simulation,
};
use crate::input::Dice;

/// Runs the client. Its outcome is in `progress`.
pub(super) async fn client(
    simulation: Simulation,
    stage: Stage,
    progress: Rc<RefCell<Progress>>,
) -> Result<(), Box<dyn std::error::Error>> {
    let outcome = follow(&simulation, &stage, &progress).await;
    progress.borrow_mut().outcome = Some(outcome);
    Ok(())
}

async fn follow(simulation: &Simulation, stage: &Stage, progress: &Rc<RefCell<Progress>>) -> Result<Outcome> {
    let seams = stage.begin("client").seams();
    let config = ClientConfig { coordinators: stage.coordinators(), ..ClientConfig::default() };
    let client = Client::connect(config, Arc::new(SimulatedNetwork::default()), seams.entropy.clone()).await?;
    wait_for_nodes(&client, simulation.nodes).await?;
    let feeder = match &simulation.kafka {
        Some(streams) => Some((Feeder::begin(&streams.cluster, &streams.feed).await?, &streams.feed)),
        None => None,
    };
    let stream_feeder = match &simulation.kinesis {
        Some(kinesis) => Some((StreamFeeder::begin(&kinesis.streams, &kinesis.feed).await?, &kinesis.feed)),
        None => None,
    };
    let options = SubmitOptions {
        sql: simulation.sql.clone(),
        parallelism: Some(simulation.parallelism),
        ..SubmitOptions::default()
    };
    let submitted = client.submit(options.clone()).await.context("the job was refused")?;
    let now = turmoil::sim_elapsed().context("this runs in a simulation")?;
    progress.borrow_mut().submitted_at = Some(now);
    if let Some(posts) = &simulation.posts {
        posts.send(simulation.nodes, &mut Dice::new(simulation.seed)).await.context("records were not taken")?;
    }
    let companion = async {
        let Some(cancelled) = simulation.companion else { return Ok(None) };
        let companion = client.submit(options.clone()).await.context("the other job was refused")?.job;
        if let Some(after) = cancelled {
            tokio::time::sleep(after).await;
            end(&client, companion, Ending::Cancel).await?;
        }
        client.wait(companion).await.context("the client lost the other job").map(Some)
    };
    let feeding = async {
        if let Some((feeder, feed)) = feeder {
            feeder.go_on(feed, now).await.context("records were not written")?;
        }
        match stream_feeder {
            Some((feeder, feed)) => feeder.go_on(feed, now).await.context("records were not put"),
            None => Ok(()),
        }
    };
    let main = run_main(simulation, &client, &submitted);
    let (outcome, companion, ()) = tokio::try_join!(main, companion, feeding)?;
    Ok(Outcome { companion, ..outcome })
}

/// Follows the job to its end, which the client may order.
async fn run_main(simulation: &Simulation, client: &Client, submitted: &SubmittedJob) -> Result<Outcome> {
    let read = match &simulation.arrivals {
        Some(arrivals) => Some(wait_until_read(client, submitted.job, arrivals).await?),
        None => None,
    };
    if let Some((after, ending)) = simulation.ending {
        tokio::time::sleep(after).await;
        end(client, submitted.job, ending).await?;
    }
    let is_kept = async {
        match &read {
            Some(read) => is_kept(client, read).await,
            None => Ok(true),
        }
    };
    let (pulled, is_kept) = tokio::try_join!(pull(client, submitted), is_kept)?;
    let job = client.wait(submitted.job).await.context("the client lost the job")?;
    let Pulled { rows, lost } = pulled;
    if let Some(error) = &lost {
        // Almost every fault may cost a node its lease.
        let is_excused = job.status.is_terminal() && !simulation.faults.is_empty();
        ensure!(is_excused, "rows were lost though no node was: {error}");
    }
    Ok(Outcome { rows, has_all_rows: lost.is_none(), job, is_kept, companion: None, has_leaders: false })
}

/// The rows of a job's queries, and why there are no more if the node that had them is lost.
struct Pulled {
    rows: Vec<RecordBatch>,
    lost: Option<String>,
}

async fn pull(client: &Client, submitted: &SubmittedJob) -> Result<Pulled> {
    let mut rows = Vec::new();
    for query in &submitted.queries {
        let mut pull = client.fetch_rows(submitted.job, query.query);
        loop {
            match pull.next().await {
                Ok(Some(batch)) => rows.push(batch),
                Ok(None) => break,
                Err(ClientError::Rejected { message }) if message.ends_with(", which is lost") => {
                    return Ok(Pulled { rows, lost: Some(message) });
                }
                Err(error) => return Err(error.into()),
            }
        }
    }
    Ok(Pulled { rows, lost: None })
}

/// Whether a checkpoint was complete, or the job at its end, before the attempt failed that had read all.
async fn is_kept(client: &Client, read: &JobOverview) -> Result<bool> {
    let last = |job: &JobOverview| job.checkpoints.last_complete.map_or(0, |checkpoint| checkpoint.0);
    loop {
        let job = client.job(read.job).await.context("the client lost the job")?;
        if job.attempt != read.attempt {
            return Ok(false);
        }
        // The next one may have been in progress.
        if job.status.is_terminal() || last(&job) > last(read) + 1 {
            return Ok(true);
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Waits until the job has read all files, or has ended.
async fn wait_until_read(client: &Client, job: JobId, arrivals: &Arrivals) -> Result<JobOverview> {
    loop {
        let job = client.job(job).await.context("the client lost the job")?;
        let sources = || job.subtasks.iter().filter(|subtask| subtask.is_source);
        let read: u64 = sources().map(|source| source.metrics.records_in).sum();
        let malformed: u64 = sources().map(|source| source.metrics.dead_letters).sum();
        if job.status.is_terminal() || (read >= arrivals.records && malformed >= arrivals.malformed) {
            return Ok(job);
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Ends a job. A refusal is fine if the job had already finished, or if it was to be stopped and had read all its
/// input.
async fn end(client: &Client, job: JobId, ending: Ending) -> Result<()> {
    let ended = match ending {
        Ending::Cancel => client.cancel(job).await,
        Ending::Stop => client.stop(job).await,
    };
    let Err(error) = ended else { return Ok(()) };
    let status = client.job(job).await.context("the client lost the job")?.status;
    let is_late = status == JobStatus::Finished || (status, ending) == (JobStatus::Committing, Ending::Stop);
    let is_refused = matches!(error, ClientError::Rejected { .. });
    if is_refused && is_late { Ok(()) } else { Err(error).context(format!("{ending:?} of a job that is {status}")) }
}

async fn wait_for_nodes(client: &Client, wanted: u32) -> Result<()> {
    while client.nodes().await?.len() < wanted as usize {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Ok(())
}
