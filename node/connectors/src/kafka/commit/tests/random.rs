//! Random troubles: whatever happens in whatever order, each row is there once at the end, and no look in between sees anything
//! else.

use proptest::prelude::*;

use super::*;

#[derive(Debug, Clone)]
enum Step {
    /// A checkpoint is complete: so many rows, from so many subtasks.
    Take {
        rows: i64,
        subtasks: u32,
    },
    /// The leader orders the oldest checkpoint of this node, and hears of the outcome or not.
    Order {
        node: usize,
        is_heard: bool,
    },
    /// The committer of this node crashes so many milliseconds after it was ordered to publish.
    Crash {
        node: usize,
        after_ms: u64,
    },
    /// Two nodes publish at the same time.
    Both {
        one: usize,
        other: usize,
    },
    /// The next calls go wrong.
    Trouble(Call, Trouble),
    Outage {
        seconds: u64,
    },
    Expire,
    Restart {
        node: usize,
    },
    DelayMarks {
        ms: u64,
    },
}

#[derive(Debug, Clone, Copy)]
enum Trouble {
    Hang,
    Unavailable,
    Aborted,
    Broken,
    LoseAnswer,
}

impl Trouble {
    fn fault(self) -> Fault {
        let reason = "a trouble".to_owned();
        match self {
            Self::Hang => Fault::Hang,
            Self::Unavailable => Fault::Fail(KafkaError::Unavailable { reason }),
            Self::Aborted => Fault::Fail(KafkaError::Aborted { reason }),
            Self::Broken => Fault::Fail(KafkaError::Broken { reason }),
            Self::LoseAnswer => Fault::LoseAnswer,
        }
    }
}

fn step() -> impl Strategy<Value = Step> {
    let node = || 0..2_usize;
    let call = prop::sample::select(vec![
        Call::Topics,
        Call::TopicConfig,
        Call::Init,
        Call::Offsets,
        Call::Fetch,
        Call::Produce,
        Call::Commit,
    ]);
    let trouble = prop::sample::select(vec![
        Trouble::Hang,
        Trouble::Unavailable,
        Trouble::Aborted,
        Trouble::Broken,
        Trouble::LoseAnswer,
    ]);
    prop_oneof![
        6 => (0..40_i64, 1..5_u32).prop_map(|(rows, subtasks)| Step::Take { rows, subtasks }),
        6 => (node(), any::<bool>()).prop_map(|(node, is_heard)| Step::Order { node, is_heard }),
        3 => (node(), 0..3000_u64).prop_map(|(node, after_ms)| Step::Crash { node, after_ms }),
        2 => (node(), node()).prop_map(|(one, other)| Step::Both { one, other }),
        4 => (call, trouble).prop_map(|(call, trouble)| Step::Trouble(call, trouble)),
        1 => (1..100_u64).prop_map(|seconds| Step::Outage { seconds }),
        1 => Just(Step::Expire),
        2 => node().prop_map(|node| Step::Restart { node }),
        1 => (0..3000_u64).prop_map(|ms| Step::DelayMarks { ms }),
    ]
}

async fn take_step(rig: &mut Rig, job: &mut Job, nodes: &mut [ConnectorContext], step: Step) {
    match step {
        Step::Take { rows, subtasks } => _ = job.take(rig, rows, subtasks).await,
        Step::Order { node, is_heard } if !job.complete.is_empty() => {
            let order = rig.order(job, &nodes[node]).await;
            if order.is_ok() && is_heard {
                job.on_published();
            }
        }
        Step::Crash { node, after_ms } if !job.complete.is_empty() => {
            // It crashes even if it was done in time: nobody hears of that.
            let _ = timeout(Duration::from_millis(after_ms), rig.order(job, &nodes[node])).await;
            nodes[node] = rig.node();
        }
        Step::Both { one, other } if !job.complete.is_empty() => {
            let second = rig.node();
            let other = if one == other { &second } else { &nodes[other] };
            let (first, second) = tokio::join!(rig.order(job, &nodes[one]), rig.order(job, other));
            if first.is_ok() || second.is_ok() {
                job.on_published();
            }
        }
        Step::Order { .. } | Step::Crash { .. } | Step::Both { .. } => {}
        Step::Trouble(call, trouble) => rig.kafka.fault(call, trouble.fault()),
        Step::Outage { seconds } => {
            rig.kafka.brokers_down();
            sleep(Duration::from_secs(seconds)).await;
            rig.kafka.brokers_up();
        }
        Step::Expire => rig.kafka.open_transactions().iter().for_each(|id| _ = rig.kafka.expire(id)),
        Step::Restart { node } => nodes[node] = rig.node(),
        Step::DelayMarks { ms } => rig.kafka.delay_marks(Duration::from_millis(ms)),
    }
    rig.check_seen(job).await;
}

async fn run(steps: Vec<Step>) {
    let mut rig = Rig::new().await;
    let (mut job, mut nodes) = (Job::new(), [rig.node(), rig.node()]);
    for step in steps {
        take_step(&mut rig, &mut job, &mut nodes, step).await;
    }
    // Troubles that nobody has met yet are met now, one by one.
    for _ in 0..200 {
        if job.complete.is_empty() {
            break;
        }
        if rig.order(&job, &nodes[0]).await.is_ok() {
            job.on_published();
        }
        rig.check_seen(&job).await;
    }
    assert!(job.complete.is_empty(), "it is published at last");
    sleep(Duration::from_secs(5)).await;
    rig.check_all(&job).await;
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, max_shrink_iters: 200, ..ProptestConfig::default() })]

    #[test]
    fn each_row_is_written_once_whatever_happens(steps in prop::collection::vec(step(), 1..40)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build();
        runtime.expect("a runtime").block_on(run(steps));
    }
}
