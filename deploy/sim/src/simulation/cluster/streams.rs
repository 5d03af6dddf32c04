//! Faults of Kafka and of Kinesis.

use std::time::Duration;

use super::{
    super::{
        faults::Fault,
        kafka::{KafkaFault, Remedy, Sender, Witness},
        kinesis::{KinesisFault, KinesisTrouble},
        processes,
    },
    Direction, End, Streams,
};

/// How long after a fault could not begin it is tried again.
const TRIED_AGAIN: Duration = Duration::from_millis(100);

/// What faults of Kafka wait for.
pub(super) struct Streaming {
    /// The number of jobs that are submitted.
    pub(super) jobs: usize,
}

impl Streams {
    pub(super) fn witness(&self) -> Witness {
        Witness::new(self.cluster.clone(), self.group.clone(), self.is_forgetful)
    }
}

impl Direction<'_> {
    /// Begins a fault of Kafka, once all jobs have run: who submits a job wants to know at once that nobody answers, so before it
    /// has run nothing is waited for.
    pub(super) fn begin_kafka(&mut self, fault: KafkaFault, now: Duration) {
        let Some(kafka) = self.stage.kafka.clone() else { return };
        if self.observer.jobs_that_ran() < self.streaming.jobs {
            return self.schedule(now + TRIED_AGAIN, End::Begin(Fault::Kafka(fault)));
        }
        let until = now + fault.lasts();
        match fault {
            KafkaFault::Trouble { trouble, .. } => {
                self.journal.say(trouble.to_string());
                if let Some(remedy) = kafka.begin(trouble, processes::node_name) {
                    self.later(until, End::MendKafka(remedy));
                }
            }
            KafkaFault::Expiry => {
                let expired = kafka.expire();
                self.journal.say(format!("transactions expire: {}", expired.join(", ")));
            }
            KafkaFault::AtCall { call, nth, message, sender } => kafka.watch_for(call, nth, (message, sender)),
            KafkaFault::Overtaken { nth, freezes } => kafka.watch_for_overtaking(nth, freezes),
        }
    }

    pub(super) fn mend_kafka(&mut self, remedy: Remedy) {
        self.journal.say(format!("Kafka is mended: {remedy:?}"));
        if let Some(kafka) = &self.stage.kafka {
            kafka.end(remedy);
        }
    }

    /// Begins a fault of Kinesis, once all jobs have run.
    pub(super) fn begin_kinesis(&mut self, fault: KinesisFault, now: Duration) {
        let Some(kinesis) = self.stage.kinesis.clone() else { return };
        if self.observer.jobs_that_ran() < self.streaming.jobs {
            return self.schedule(now + TRIED_AGAIN, End::Begin(Fault::Kinesis(fault)));
        }
        self.journal.say(fault.trouble.to_string());
        if kinesis.begin(fault.trouble, processes::node_name) {
            self.later(now + fault.lasts, End::MendKinesis(fault.trouble));
        }
    }

    pub(super) fn mend_kinesis(&mut self, trouble: KinesisTrouble) {
        self.journal.say(format!("Kinesis is mended: {trouble:?}"));
        if let Some(kinesis) = &self.stage.kinesis {
            kinesis.end(trouble, processes::node_name);
        }
    }

    /// Strikes the hosts whose awaited call has come. After the job's end none is struck any more.
    pub(super) fn follow_kafka(&mut self, is_over: bool, now: Duration) {
        let struck = self.stage.kafka.as_ref().map(|kafka| kafka.struck()).unwrap_or_default();
        for (host, sender) in struck.into_iter().filter(|_| !is_over) {
            match sender {
                Sender::Stays => {}
                Sender::Crashes(down) => self.crash(host, now + down),
                Sender::Freezes(lasts) if !self.down.contains(&host) => self.pause(host, now + lasts),
                Sender::Freezes(_) => {}
            }
        }
    }
}
